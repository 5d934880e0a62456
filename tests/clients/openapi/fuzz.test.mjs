// A thousand requests from openapi.json, right and wrong. `node openapi/fuzz.mjs --requests 10000` is the long run.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { fuzz } from './fuzz.mjs';

test('every answer is as documented, and nothing is left behind', async () => {
  const { failures, statuses, taken, before, after } = await fuzz({ count: 1000, seed: 20240607 });
  assert.deepEqual(failures, []);
  assert.equal(statuses.get(500), undefined);
  // Idle connections of the runner's own may be closing still.
  assert.ok(after.fds <= before.fds + 4, `${before.fds} descriptors before, ${after.fds} after`);
  assert.ok(after.resident <= before.resident + 96 * 2 ** 20, `${before.resident} bytes before, ${after.resident} after`);
  // It has been let in: otherwise it would have tested refusals alone.
  for (const operation of ['POST /v1/chat/completions', 'POST /v1/completions', 'POST /v1/responses', 'POST /v1/audio/speech',
    'POST /v1/audio/transcriptions', 'POST /tokenize', 'POST /detokenize', 'POST /v1/omni/sleep', 'GET /metrics']) {
    assert.ok(taken.has(operation), `${operation} has never answered 200`);
  }
});
