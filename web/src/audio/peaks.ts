// The outline of a sound for the eye: the loudest sample of each of a few equal parts.
import { PCM_RATE } from './pcm';

const MOST_BARS = 64;
const SAMPLES_PER_BAR = 0.06 * PCM_RATE; // a short answer has fewer bars, not wider ones
const BLOCK = 240; // samples that are looked at once, however often the outline is drawn while the sound grows

const known = new WeakMap<Int16Array, Float32Array>();

/** The loudest sample of each block of a chunk, from 0 to 1. */
function blockPeaks(chunk: Int16Array): Float32Array {
  let found = known.get(chunk);
  if (found) return found;
  found = new Float32Array(Math.ceil(chunk.length / BLOCK));
  for (let i = 0; i < chunk.length; ++i) {
    const height = Math.abs(chunk[i]!) / 32768;
    const block = Math.floor(i / BLOCK);
    if (height > found[block]!) found[block] = height;
  }
  known.set(chunk, found);
  return found;
}

/** Heights from 0 to 1; their number depends on the length alone. */
export function peaks(chunks: Int16Array[]): number[] {
  const total = chunks.reduce((sum, chunk) => sum + chunk.length, 0);
  const bars = Math.min(MOST_BARS, Math.ceil(total / SAMPLES_PER_BAR));
  const out = new Array<number>(bars).fill(0);
  let begin = 0; // of the chunk
  for (const chunk of chunks) {
    blockPeaks(chunk).forEach((height, block) => {
      const middle = begin + Math.min(chunk.length - 1, block * BLOCK + BLOCK / 2);
      const bar = Math.floor((middle * bars) / total);
      if (height > out[bar]!) out[bar] = height;
    });
    begin += chunk.length;
  }
  const loudest = Math.max(0.05, ...out);
  return out.map((height) => height / loudest);
}
