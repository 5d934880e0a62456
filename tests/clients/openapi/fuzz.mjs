// node openapi/fuzz.mjs [--requests 10000] [--seed 1] [--concurrency 8] [--only INDEX]: requests made from the server's own
// openapi.json, right and wrong, against `tutti serve nano`. Exit code 1 when an answer was not as documented.
import http from 'node:http';
import { parseArgs } from 'node:util';
import { pathToFileURL } from 'node:url';
import { startServer } from '../support/server.mjs';
import { judge } from './judge.mjs';
import { Requests } from './requests.mjs';
import { send } from './send.mjs';

const WARM_UP = 200; // requests before the first reading: threads, arenas and caches have their size then

const describe = (request) =>
  `${request.method} ${request.target.slice(0, 120)} (${request.kind}) ${(request.body ?? '').toString().slice(0, 600)}`;

/** Runs requests `from` to `to`; returns failures, and answers by status. */
async function run(server, document, requests, from, to, concurrency, progress) {
  const agent = new http.Agent({ keepAlive: true, maxSockets: concurrency });
  const failures = [];
  const statuses = new Map();
  const taken = new Set();
  let next = from;
  const worker = async () => {
    while (next < to && !server.over) {
      const request = requests.make(next++);
      const answer = await send(server, agent, request);
      const wrong = judge(requests.schemas, document, request, answer);
      if (wrong) failures.push(`#${request.index} ${describe(request)}\n    ${wrong}`);
      const status = answer.status ?? (answer.left ? 'left' : 'none');
      statuses.set(status, (statuses.get(status) ?? 0) + 1);
      if (status === 200 && !request.elsewhere) taken.add(`${request.method} ${request.path}`);
      // Nobody answers while the engine sleeps.
      if (request.path === '/v1/omni/sleep' && status !== 400) await fetch(`${server.url}/v1/omni/wakeup`, { method: 'POST' });
      progress?.(next);
    }
  };
  await Promise.all(Array.from({ length: concurrency }, worker));
  agent.destroy();
  return { failures, statuses, taken };
}

export async function fuzz({ count = 1000, seed = 1, concurrency = 8, from = 0, progress } = {}) {
  const server = await startServer();
  try {
    const document = await (await fetch(`${server.url}/openapi.json`)).json();
    const requests = new Requests(document, seed);
    const warm = await run(server, document, requests, from, from + Math.min(count, WARM_UP), concurrency, progress);
    if (!server.over) await server.idle();
    const before = server.usage();
    const main = await run(server, document, requests, from + Math.min(count, WARM_UP), from + count, concurrency, progress);
    const failures = [...warm.failures, ...main.failures];
    const statuses = new Map(warm.statuses);
    const taken = new Set([...warm.taken, ...main.taken]);
    for (const [status, times] of main.statuses) statuses.set(status, (statuses.get(status) ?? 0) + times);
    if (server.over) {
      failures.push(`the server has died: ${await server.ended}`);
      return { failures, statuses, taken, before, after: before };
    }
    await server.idle();
    const health = await fetch(`${server.url}/health`);
    if (health.status !== 200) failures.push(`/health answers ${health.status}: ${await health.text()}`);
    const after = server.usage();
    const ended = await server.stop();
    if (ended !== 0) failures.push(`the server ended with ${ended}`);
    return { failures, statuses, taken, before, after };
  } finally {
    if (!server.over) server.kill();
  }
}

async function main() {
  const { values } = parseArgs({
    options: {
      requests: { type: 'string', default: '10000' },
      seed: { type: 'string', default: '1' },
      concurrency: { type: 'string', default: '8' },
      only: { type: 'string' },
    },
  });
  const only = values.only === undefined ? {} : { from: Number(values.only), count: 1 };
  const began = Date.now();
  const { failures, statuses, before, after } = await fuzz({
    count: Number(values.requests),
    seed: Number(values.seed),
    concurrency: Number(values.concurrency),
    progress: (done) => process.stderr.isTTY && process.stderr.write(`\r${done}`),
    ...only,
  });
  const seconds = ((Date.now() - began) / 1000).toFixed(1);
  const answers = [...statuses].sort().map(([status, times]) => `${status}: ${times}`).join(', ');
  const mb = (bytes) => `${(bytes / 2 ** 20).toFixed(0)} MB`;
  console.log(`seed ${values.seed}: ${answers}; ${seconds} s`);
  console.log(`descriptors ${before.fds} -> ${after.fds}, memory ${mb(before.resident)} -> ${mb(after.resident)}`);
  for (const failure of failures.slice(0, 30)) console.log(`FAILED ${failure}`);
  console.log(`${failures.length} failures`);
  process.exitCode = failures.length > 0 ? 1 : 0;
}

if (import.meta.url === pathToFileURL(process.argv[1]).href) await main();
