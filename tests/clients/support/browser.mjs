// Debian's Chromium on a server's page, with a microphone that says what a test wants.
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { chromium } from 'playwright-core';
import { writeWav } from './sound.mjs';

const CHROMIUM = process.env.CHROMIUM ?? '/usr/bin/chromium';
const FLAGS = [
  '--no-sandbox',
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
  '--use-fake-ui-for-media-stream',
  '--use-fake-device-for-media-stream',
  '--autoplay-policy=no-user-gesture-required',
];

/** A browser; `sound` is what its microphone hears, once, from the moment a page opens it. */
export async function openBrowser({ sound } = {}) {
  if (!existsSync(CHROMIUM)) throw new Error(`there is no ${CHROMIUM}; install the package chromium, or set CHROMIUM`);
  const args = [...FLAGS];
  const folder = mkdtempSync(join(tmpdir(), 'tutti-browser-'));
  if (sound) {
    writeFileSync(join(folder, 'microphone.wav'), writeWav(sound));
    args.push(`--use-file-for-fake-audio-capture=${join(folder, 'microphone.wav')}%noloop`);
  }
  const browser = await chromium.launch({ executablePath: CHROMIUM, args });
  return {
    browser,
    async close() {
      await browser.close();
      rmSync(folder, { recursive: true });
    },
  };
}

/** The server's page, with a meter between its sound and the speakers; `problems` gathers what the console says. */
export async function openPage(browser, server, options = {}) {
  const context = await browser.newContext({ permissions: ['microphone'], ...options });
  const page = await context.newPage();
  page.setDefaultTimeout(60_000);
  page.problems = [];
  page.on('console', (message) => message.type() === 'error' && page.problems.push(message.text()));
  page.on('pageerror', (error) => page.problems.push(String(error)));
  await page.addInitScript(meterOutput);
  await page.goto(options.path ? `${server.url}${options.path}` : server.url);
  return page;
}

// Runs in the page: what reaches an AudioContext's destination also goes through a meter, and what the player's worklet
// says it has put out is noted.
function meterOutput() {
  const heard = { played: 0, samples: 0, audible: 0, energy: 0 };
  window.heard = heard;
  window.AudioWorkletNode = class extends AudioWorkletNode {
    constructor(...given) {
      super(...given);
      this.port.addEventListener('message', ({ data }) => (heard.played = Math.max(heard.played, data.played ?? 0)));
    }
  };
  const connect = AudioNode.prototype.connect;
  AudioNode.prototype.connect = function (target, ...rest) {
    if (target instanceof AudioDestinationNode) {
      const meter = this.context.createScriptProcessor(1024, 1, 1);
      meter.onaudioprocess = ({ inputBuffer }) => {
        for (const value of inputBuffer.getChannelData(0)) {
          heard.samples += 1;
          if (value !== 0) heard.audible += 1;
          heard.energy += value * value;
        }
      };
      connect.call(this, meter);
      connect.call(meter, target); // a processor without a target is not run; it passes silence on
    }
    return connect.call(this, target, ...rest);
  };
}

/** Seconds of sound, silence left out, that have left the page so far. */
export const heardSeconds = (page, rate = 24000) => page.evaluate((hz) => window.heard.audible / hz, rate);
