// WS /v1/realtime through the official client's socket, which speaks TLS alone.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { OpenAIRealtimeWS } from 'openai/realtime/ws';
import { makeCertificate } from '../support/certificate.mjs';
import { connect } from '../support/openai.mjs';
import { startServer } from '../support/server.mjs';
import { loudness, padded, pcm16, resample, spoken } from '../support/sound.mjs';

process.env.NODE_TLS_REJECT_UNAUTHORIZED = '0'; // nobody vouches for the certificate
const certificate = makeCertificate();

let server, client;
before(async () => {
  server = await startServer('--api-key', 'secret', '--tls-cert', certificate.cert, '--tls-key', certificate.key);
  client = connect(server, { apiKey: 'secret' });
});
after(async () => {
  certificate.remove();
  await server?.stop();
});

const WAIT_MS = 60_000;

/** A socket whose events are kept; `next(type)` resolves with the first event of that type not taken yet. */
class Talk {
  events = [];
  waiting = [];

  constructor() {
    this.socket = new OpenAIRealtimeWS({ model: 'nano' }, client);
    this.socket.on('event', (event) => {
      this.events.push(event);
      this.settle();
    });
    this.socket.on('error', (error) => {
      if (error.error) return; // an event of the server, which the tests wait for
      this.broken = error;
      for (const { reject } of this.waiting.splice(0)) reject(error);
    });
  }

  /** With a session that has been greeted, and changed when asked for. */
  static async open(session) {
    const talk = new Talk();
    talk.created = await talk.next('session.created');
    if (session) {
      talk.socket.send({ type: 'session.update', session: { type: 'realtime', ...session } });
      talk.updated = await talk.next('session.updated');
    }
    return talk;
  }

  settle() {
    this.waiting = this.waiting.filter(({ type, resolve }) => {
      const at = this.events.findIndex((event) => event.type === type && !event.taken);
      if (at < 0) return true;
      this.events[at].taken = true;
      resolve(this.events[at]);
      return false;
    });
  }

  next(type) {
    if (this.broken) return Promise.reject(this.broken);
    return new Promise((resolve, reject) => {
      const overdue = setTimeout(
        () => reject(new Error(`no ${type}; there was: ${this.events.map((event) => event.type)}`)),
        WAIT_MS,
      );
      this.waiting.push({ type, reject, resolve: (event) => (clearTimeout(overdue), resolve(event)) });
      this.settle();
    });
  }

  of(type) {
    return this.events.filter((event) => event.type === type);
  }

  /** In pieces of 40 ms, as a microphone would give it. */
  say({ rate, samples }) {
    const bytes = Buffer.from(samples.buffer, samples.byteOffset, samples.byteLength);
    const piece = 2 * Math.round(0.04 * rate);
    for (let at = 0; at < bytes.length; at += piece) {
      const audio = bytes.subarray(at, at + piece).toString('base64');
      this.socket.send({ type: 'input_audio_buffer.append', audio });
    }
  }

  async close() {
    const closed = new Promise((resolve) => this.socket.socket.once('close', resolve));
    this.socket.close();
    await closed;
  }
}

const text = (content) => ({
  type: 'conversation.item.create',
  item: { type: 'message', role: 'user', content: [{ type: 'input_text', text: content }] },
});
const words = () => resample(spoken('ask_legs'), 24000);
const question = () => padded(words(), 0.4, 1.2); // with the silence that ends a turn

test('answers typed text in text', async () => {
  const talk = await Talk.open({ output_modalities: ['text'] });
  assert.equal(talk.created.session.model, 'nano');
  assert.deepEqual(talk.updated.session.output_modalities, ['text']);
  talk.socket.send(text('What is the capital of France?'));
  talk.socket.send({ type: 'response.create' });
  const done = await talk.next('response.done');
  assert.equal(done.response.status, 'completed');
  assert.equal(talk.of('response.output_text.delta').map((event) => event.delta).join(''), 'The capital of France is Paris.');
  assert.equal(talk.of('response.output_audio.delta').length, 0);
  await talk.close();
});

test('reads the certificate: https works too', async () => {
  assert.match(server.url, /^https:/);
  assert.equal((await client.models.list()).data[0].id, 'nano');
});

test('hears a question, knows when it has ended, writes it down and speaks the answer', async () => {
  const talk = await Talk.open({
    output_modalities: ['audio'],
    audio: {
      input: { turn_detection: { type: 'server_vad' }, transcription: { model: 'nano' } },
      output: { voice: 'nora' },
    },
  });
  talk.say(question());
  const started = await talk.next('input_audio_buffer.speech_started');
  const stopped = await talk.next('input_audio_buffer.speech_stopped');
  assert.ok(stopped.audio_end_ms > started.audio_start_ms + 1000);
  const done = await talk.next('response.done');
  assert.equal(done.response.status, 'completed');
  const answer = talk.of('response.output_audio_transcript.delta').map((event) => event.delta).join('');
  assert.match(answer, /spider has eight legs/);
  const sound = pcm16(Buffer.concat(talk.of('response.output_audio.delta').map((event) => Buffer.from(event.delta, 'base64'))));
  assert.ok(sound.length > 24000);
  assert.ok(loudness(sound) > 0.005);
  const heard = await talk.next('conversation.item.input_audio_transcription.completed');
  assert.equal(heard.item_id, stopped.item_id);
  assert.match(heard.transcript, /spider/i);
  await talk.close();
});

test('push to talk: nothing is answered before it is asked for', async () => {
  const talk = await Talk.open({ output_modalities: ['text'], audio: { input: { turn_detection: null } } });
  talk.say(words());
  talk.socket.send({ type: 'input_audio_buffer.commit' });
  await talk.next('input_audio_buffer.committed');
  assert.equal(talk.of('response.created').length, 0);
  talk.socket.send({ type: 'response.create' });
  assert.equal((await talk.next('response.done')).response.status, 'completed');
  assert.match(talk.of('response.output_text.delta').map((event) => event.delta).join(''), /eight legs/);
  await talk.close();
});

test('an answer can be cancelled, and the next question is answered', async () => {
  const talk = await Talk.open({ audio: { input: { turn_detection: { type: 'server_vad' } } } });
  talk.socket.send(text('Count from one to ten.'));
  talk.socket.send({ type: 'response.create' });
  await talk.next('response.output_audio.delta');
  talk.socket.send({ type: 'response.cancel' });
  const done = await talk.next('response.done');
  assert.equal(done.response.status, 'cancelled');
  await server.idle();
  talk.say(question());
  assert.equal((await talk.next('response.done')).response.status, 'completed');
  await talk.close();
});

test('errors name the event and leave the session usable', async () => {
  const talk = await Talk.open();
  talk.socket.send({ type: 'response.create', event_id: 'mine', response: { output_modalities: ['smell'] } });
  const { error } = await talk.next('error');
  assert.equal(error.event_id, 'mine');
  assert.equal(error.type, 'invalid_request_error');
  talk.socket.send({ type: 'no.such.event' });
  assert.match((await talk.next('error')).error.message, /unknown/);
  talk.socket.send(text('Hello'));
  talk.socket.send({ type: 'response.create', response: { output_modalities: ['text'] } });
  assert.equal((await talk.next('response.done')).response.status, 'completed');
  await talk.close();
});

test('a socket that closes takes its answer with it; a wrong key opens none', async () => {
  const talk = await Talk.open();
  talk.socket.send(text('Count from one to ten.'));
  talk.socket.send({ type: 'response.create' });
  await talk.next('response.created');
  await talk.close();
  await server.idle();
  const stranger = new OpenAIRealtimeWS({ model: 'nano' }, connect(server, { apiKey: 'guess' }));
  const refused = await new Promise((resolve) => stranger.on('error', resolve));
  assert.match(String(refused.message), /401/);
});
