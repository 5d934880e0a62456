// Events that a realtime client should not send, between those that it may: the session answers each with an event and
// goes on. openapi.json cannot describe sockets, so the events are listed here.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import WebSocket from 'ws';
import { startServer, until } from '../support/server.mjs';
import { resample, spoken } from '../support/sound.mjs';
import { broken, mutated } from './mutate.mjs';
import { Random } from './random.mjs';

const SOUND = Buffer.from(resample(spoken('ask_name'), 24000).samples.buffer).toString('base64');
const message = (part) => ({ type: 'message', role: 'user', content: [part] });

const EVENTS = [
  { type: 'session.update', session: { type: 'realtime', instructions: 'Be brief.', output_modalities: ['audio'], max_output_tokens: 5 } },
  {
    type: 'session.update',
    session: {
      output_modalities: ['text'],
      audio: {
        input: { format: { type: 'audio/pcm', rate: 24000 }, turn_detection: { type: 'server_vad', threshold: 0.5, silence_duration_ms: 200 }, transcription: { model: 'nano' } },
        output: { voice: 'nora', speed: 1 },
      },
    },
  },
  { type: 'session.update', session: { audio: { input: { turn_detection: null } }, temperature: 0.5 } },
  { type: 'input_audio_buffer.append', audio: SOUND },
  { type: 'input_audio_buffer.append', audio: 'AAAAAA==' },
  { type: 'input_audio_buffer.commit' },
  { type: 'input_audio_buffer.clear' },
  { type: 'conversation.item.create', item: message({ type: 'input_text', text: 'Hello' }) },
  { type: 'conversation.item.create', previous_item_id: 'root', item: { id: 'mine', ...message({ type: 'input_audio', audio: SOUND }) } },
  { type: 'conversation.item.retrieve', item_id: 'mine' },
  { type: 'conversation.item.truncate', item_id: 'mine', content_index: 0, audio_end_ms: 10 },
  { type: 'conversation.item.delete', item_id: 'mine' },
  { type: 'response.create' },
  { type: 'response.create', response: { output_modalities: ['text'], instructions: 'Say yes.', max_output_tokens: 3 } },
  {
    type: 'response.create',
    response: { conversation: 'none', output_modalities: ['text'], metadata: { topic: 'greeting' }, input: [message({ type: 'input_text', text: 'Hi' }), { type: 'item_reference', id: 'mine' }], max_output_tokens: 2 },
  },
  { type: 'response.cancel' },
];

let server;
before(async () => (server = await startServer()));
after(() => server?.stop());

/** Sends `count` events; resolves with the types of what came back, once the session has answered the last. */
async function session(seed, count) {
  const random = new Random(seed);
  const socket = new WebSocket(`ws://127.0.0.1:${server.port}/v1/realtime`);
  const types = new Map();
  const wrong = [];
  let closed = null;
  socket.on('message', (data) => {
    const event = JSON.parse(data.toString());
    types.set(event.type, (types.get(event.type) ?? 0) + 1);
    if (!event.event_id) wrong.push(`${event.type} has no event_id`);
    if (event.type !== 'error') return;
    const { type, message: sentence } = event.error;
    if (typeof type !== 'string' || !(sentence?.length > 8)) wrong.push(`an error of another shape: ${data}`);
    if (/server_error|internal/i.test(type)) wrong.push(`the server blames itself: ${data}`);
  });
  socket.on('close', (code, reason) => (closed = `${code} ${reason}`));
  await new Promise((resolve, reject) => socket.once('open', resolve).once('error', reject));
  for (let i = 0; i < count && closed === null; ++i) {
    const event = structuredClone(random.pick(EVENTS));
    const sent = random.chance(0.4) ? event : mutated(event, random);
    const text = JSON.stringify(sent) ?? 'undefined';
    socket.send(random.chance(0.08) ? broken(text, random).toString() : text);
    if (random.chance(0.2)) await new Promise((resolve) => setTimeout(resolve, random.below(10)));
  }
  socket.send(JSON.stringify({ type: 'no.such.event', event_id: 'last' }));
  const ended = () => closed !== null || (types.get('error') ?? 0) > 0;
  await until(ended, 'the session is silent');
  socket.send(JSON.stringify({ type: 'session.update', session: {} }));
  const updates = types.get('session.updated') ?? 0;
  await until(() => closed !== null || (types.get('session.updated') ?? 0) > updates, 'the session is silent');
  assert.equal(closed, null, `the session was closed: ${closed}`);
  assert.deepEqual(wrong, []);
  socket.terminate();
  return types;
}

test('wrong events are answered with errors, and the session goes on', async () => {
  const all = new Map();
  for (let seed = 1; seed <= 8; ++seed) {
    for (const [type, times] of await session(seed, 100)) all.set(type, (all.get(type) ?? 0) + times);
  }
  for (const type of ['error', 'session.updated', 'input_audio_buffer.committed', 'conversation.item.added', 'conversation.item.deleted', 'response.created', 'response.done']) {
    assert.ok((all.get(type) ?? 0) > 0, `${type} has never come`);
  }
  await server.idle();
  assert.equal((await fetch(`${server.url}/health`)).status, 200);
});
