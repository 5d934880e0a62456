// The timeline of an answer that is coming, as the page sees it.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { beginProgress, elapsed, endProgress, sawSound, sawText, stageSpans } from '../src/progress';
import type { StageMetrics } from '../src/api';

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

test("a stage's bar grows until the stage is over", () => {
  const stage = { submitted_s: 0.1, first_scheduled_s: 0, finished_s: 0 } as StageMetrics;
  assert.deepEqual(stageSpans(stage, 0.4), { queue: { from_s: 0.1, to_s: 0.4 }, over: false });
  // The server's clock may be a little ahead of what the page has seen.
  assert.deepEqual(stageSpans(stage, 0.05).queue, { from_s: 0.1, to_s: 0.1 });
  const works = { ...stage, first_scheduled_s: 0.2 };
  assert.deepEqual(stageSpans(works, 0.4).active, { from_s: 0.2, to_s: 0.4 });
  assert.deepEqual(stageSpans(works, 0.9).active, { from_s: 0.2, to_s: 0.9 });
  assert.deepEqual(stageSpans(works, 0.15).active, { from_s: 0.2, to_s: 0.2 });
  const done = stageSpans({ ...works, finished_s: 0.5 }, 0.9);
  assert.deepEqual(done, { queue: { from_s: 0.1, to_s: 0.2 }, active: { from_s: 0.2, to_s: 0.5 }, over: true });
});
