// The timeline of an answer that is coming, as the page sees it.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { beginProgress, elapsed, endProgress, sawSound, sawText } from '../src/progress';

test('text and sound have their first and last moments, since the request', () => {
  let p = beginProgress(1000);
  assert.equal(elapsed(p, 1500), 0.5);
  p = sawText(p, 1100);
  p = sawSound(p, 1250, 12_000);
  p = sawText(p, 1300);
  p = sawSound(p, 2000, 24_000);
  assert.deepEqual(p.text, { from_s: 0.1, to_s: 0.3 });
  assert.deepEqual(p.sound, { from_s: 0.25, to_s: 1 });
  assert.equal(p.audio_s, 1.5);
  p = endProgress(p, 3000);
  assert.equal(elapsed(p, 9000), 2);
  assert.equal(endProgress(p, 9000).end_s, 2);
});
