// Sounds that the tests speak and hear: WAV files of 16-bit mono samples.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { SOURCE } from './server.mjs';

export const MEDIA = join(SOURCE, 'tests/data/nano/media');

/** `{ rate, samples }` of a WAV file's bytes. */
export function readWav(bytes) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const tag = (at) => bytes.toString('latin1', at, at + 4);
  if (tag(0) !== 'RIFF' || tag(8) !== 'WAVE') throw new Error('this is no WAV file');
  let rate = 0;
  for (let at = 12; at + 8 <= bytes.length; ) {
    const size = Math.min(view.getUint32(at + 4, true), bytes.length - at - 8);
    if (tag(at) === 'fmt ') rate = view.getUint32(at + 12, true);
    if (tag(at) === 'data') return { rate, samples: pcm16(bytes.subarray(at + 8, at + 8 + size)) };
    at += 8 + size + (size % 2);
  }
  throw new Error('the WAV file has no samples');
}

export function pcm16(bytes) {
  const samples = new Int16Array(bytes.length >> 1);
  for (let i = 0; i < samples.length; ++i) samples[i] = bytes.readInt16LE(2 * i);
  return samples;
}

export function writeWav({ rate, samples }) {
  const bytes = Buffer.alloc(44 + 2 * samples.length);
  bytes.write('RIFF', 0);
  bytes.writeUInt32LE(36 + 2 * samples.length, 4);
  bytes.write('WAVEfmt ', 8);
  bytes.writeUInt32LE(16, 16);
  bytes.writeUInt16LE(1, 20);
  bytes.writeUInt16LE(1, 22);
  bytes.writeUInt32LE(rate, 24);
  bytes.writeUInt32LE(2 * rate, 28);
  bytes.writeUInt16LE(2, 32);
  bytes.writeUInt16LE(16, 34);
  bytes.write('data', 36);
  bytes.writeUInt32LE(2 * samples.length, 40);
  samples.forEach((sample, i) => bytes.writeInt16LE(sample, 44 + 2 * i));
  return bytes;
}

/** The same sound at another rate, by straight lines between samples. */
export function resample({ rate, samples }, to) {
  const out = new Int16Array(Math.floor((samples.length * to) / rate));
  for (let i = 0; i < out.length; ++i) {
    const at = (i * rate) / to;
    const left = Math.floor(at);
    const right = Math.min(left + 1, samples.length - 1);
    out[i] = Math.round(samples[left] + (at - left) * (samples[right] - samples[left]));
  }
  return { rate: to, samples: out };
}

/** Silence before and after, in seconds. */
export function padded({ rate, samples }, before_s, after_s) {
  const out = new Int16Array(samples.length + Math.round(rate * before_s) + Math.round(rate * after_s));
  out.set(samples, Math.round(rate * before_s));
  return { rate, samples: out };
}

export const spoken = (name) => readWav(readFileSync(join(MEDIA, `${name}.wav`)));

/** Root mean square over full scale: 0 is silence. */
export function loudness(samples) {
  let sum = 0;
  for (const sample of samples) sum += (sample / 32768) ** 2;
  return Math.sqrt(sum / Math.max(1, samples.length));
}
