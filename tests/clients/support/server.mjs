// The real binary on a free port, as one test file has it for itself.
import { spawn } from 'node:child_process';
import { readFileSync, readdirSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as pause } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';

const HERE = dirname(dirname(fileURLToPath(import.meta.url)));
// The tests run from a copy in BUILD/tests/clients, where their packages are.
export const BINARY = process.env.TUTTI_BINARY ?? join(HERE, '../../tutti');
export const SOURCE = process.env.TUTTI_SOURCE_DIR ?? join(HERE, '../../../..');

const STARTUP_MS = 120_000;
const END_MS = 60_000;

/** Waits until `probe` returns something true, and returns that; throws `what` after `limit_ms`. */
export async function until(probe, what, limit_ms = 60_000) {
  const end = Date.now() + limit_ms;
  for (;;) {
    const found = await probe();
    if (found) return found;
    if (Date.now() > end) throw new Error(`after ${limit_ms / 1000} s: ${what}`);
    await pause(50);
  }
}

export async function startServer(...flags) {
  const child = spawn(BINARY, ['serve', 'nano', '--port', '0', '--quiet', ...flags], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const kill = () => child.kill('SIGKILL');
  process.once('exit', kill);
  const ended = new Promise((resolve) => child.once('exit', (code, signal) => resolve(signal ?? code)));
  const url = await new Promise((resolve, reject) => {
    setTimeout(() => reject(new Error(`no address after ${STARTUP_MS / 1000} s`)), STARTUP_MS).unref();
    createInterface(child.stdout).once('line', (line) => resolve(/https?:\/\/[^/]+/.exec(line)[0]));
    child.once('error', reject);
    void ended.then((how) => reject(new Error(`the server ended at once: ${how}`)));
  });
  return new Server(child, url, ended, kill);
}

export class Server {
  constructor(child, url, ended, kill) {
    Object.assign(this, { child, url, ended, kill, port: Number(new URL(url).port), over: false });
    void ended.then(() => (this.over = true));
  }

  /** All samples of one metric, as `[labels, value]`. */
  async metric(name) {
    const text = await (await fetch(`${this.url}/metrics`)).text();
    return text
      .split('\n')
      .filter((line) => line.startsWith(name) && /[ {]/.test(line[name.length]))
      .map((line) => [line.slice(name.length, line.lastIndexOf(' ')), Number(line.slice(line.lastIndexOf(' ') + 1))]);
  }

  async total(name, label = '') {
    const samples = await this.metric(name);
    return samples.filter(([labels]) => labels.includes(label)).reduce((sum, [, value]) => sum + value, 0);
  }

  /** Resolves once no request is alive in the engine. */
  async idle() {
    const live = async () => (await this.total('vllm:num_requests_running')) + (await this.total('vllm:num_requests_waiting'));
    await until(async () => (await live()) === 0, 'requests are still alive');
  }

  /** Open descriptors and resident bytes of the process. */
  usage() {
    const status = readFileSync(`/proc/${this.child.pid}/status`, 'utf8');
    return {
      fds: readdirSync(`/proc/${this.child.pid}/fd`).length,
      resident: 1024 * Number(/VmRSS:\s+(\d+)/.exec(status)[1]),
    };
  }

  /** Exit code after SIGTERM; a server that does not end is killed and reported as 'SIGKILL'. */
  async stop() {
    this.child.kill('SIGTERM');
    const overdue = setTimeout(this.kill, END_MS);
    const how = await this.ended;
    clearTimeout(overdue);
    process.removeListener('exit', this.kill);
    return how;
  }
}
