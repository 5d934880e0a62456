// Debian's Chromium on a server's page, with a microphone that says what a test wants.
import { existsSync } from 'node:fs';
import { chromium } from 'playwright-core';
import { resample } from './sound.mjs';

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

/** A browser whose microphone beeps now and then. */
export async function openBrowser() {
  if (!existsSync(CHROMIUM)) throw new Error(`there is no ${CHROMIUM}; install the package chromium, or set CHROMIUM`);
  return chromium.launch({ executablePath: CHROMIUM, args: FLAGS });
}

/**
 * The server's page, with a meter between its sound and the speakers; `problems` gathers what the console says. `says`: a
 * sound that the page hears in place of the microphone's, once, from the moment it listens to it.
 */
export async function openPage(browser, server, { says, ...options } = {}) {
  const context = await browser.newContext({ permissions: ['microphone'], ...options });
  const page = await context.newPage();
  page.setDefaultTimeout(60_000);
  page.problems = [];
  page.on('console', (message) => message.type() === 'error' && page.problems.push(message.text()));
  page.on('pageerror', (error) => page.problems.push(String(error)));
  await page.addInitScript(meterOutput);
  if (says) {
    const { rate, samples } = resample(says, MICROPHONE_RATE);
    await page.addInitScript(speakAtTheMicrophone, { rate, samples: Array.from(samples) });
  }
  await page.goto(options.path ? `${server.url}${options.path}` : server.url);
  return page;
}

// The rate at which the page listens.
const MICROPHONE_RATE = 24000;

// Runs in the page: the sound takes the place of the microphone's inside the page's own AudioContext, where a busy machine
// delays it and takes nothing from it. Chromium's fake device has a clock: who comes late misses samples, and a word with a
// hole of 80 ms is another word to a small model. `window.spoken` is true when the sound is over; silence follows.
function speakAtTheMicrophone({ rate, samples }) {
  AudioContext.prototype.createMediaStreamSource = function () {
    const buffer = this.createBuffer(1, samples.length, rate);
    buffer.copyToChannel(Float32Array.from(samples, (value) => value / 32768), 0);
    const voice = this.createBufferSource();
    voice.buffer = buffer;
    voice.onended = () => (window.spoken = true);
    const silence = this.createConstantSource();
    silence.offset.value = 0;
    const both = this.createGain();
    for (const source of [voice, silence]) {
      source.connect(both);
      source.start();
    }
    return both;
  };
}

// Runs in the page: what reaches an AudioContext's destination also goes through a meter, and what the player's worklet
// says it has put out is noted, and what the microphone's has taken in.
function meterOutput() {
  const heard = { played: 0, samples: 0, audible: 0, energy: 0, recorded: 0, level: 0 };
  window.heard = heard;
  window.AudioWorkletNode = class extends AudioWorkletNode {
    constructor(...given) {
      super(...given);
      this.port.addEventListener('message', ({ data }) => {
        heard.played = Math.max(heard.played, data.played ?? 0);
        heard.recorded += data.pcm?.length ?? 0;
        heard.level = Math.max(heard.level, data.level ?? 0);
      });
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
