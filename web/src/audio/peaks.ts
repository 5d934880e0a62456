// The outline of a sound for the eye: the loudest sample of each of a few equal parts.
import { PCM_RATE } from './pcm';

const MOST_BARS = 64;
const SAMPLES_PER_BAR = 0.06 * PCM_RATE; // a short answer has fewer bars, not wider ones

/** Heights from 0 to 1; their number depends on the length alone. */
export function peaks(chunks: Int16Array[]): number[] {
  const total = chunks.reduce((sum, chunk) => sum + chunk.length, 0);
  const bars = Math.min(MOST_BARS, Math.ceil(total / SAMPLES_PER_BAR));
  const out = new Array<number>(bars).fill(0);
  let at = 0;
  for (const chunk of chunks) {
    for (const sample of chunk) {
      const bar = Math.floor((at++ * bars) / total);
      const height = Math.abs(sample) / 32768;
      if (height > out[bar]!) out[bar] = height;
    }
  }
  const loudest = Math.max(0.05, ...out);
  return out.map((height) => height / loudest);
}
