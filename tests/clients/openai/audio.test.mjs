// Speech and transcriptions through the official client.
import assert from 'node:assert/strict';
import { createReadStream, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { toFile } from 'openai';
import { collect, connect, failure } from '../support/openai.mjs';
import { startServer } from '../support/server.mjs';
import { loudness, MEDIA, pcm16, readWav } from '../support/sound.mjs';

let server, client;
before(async () => {
  server = await startServer();
  client = connect(server);
});
after(() => server?.stop());

const REQUEST = { model: 'nano', input: 'The boat is late.', voice: 'nora' };
const bytesOf = async (response) => Buffer.from(await response.arrayBuffer());
const ogg = (bytes) => bytes.toString('latin1', 0, 4) === 'OggS';
const mp3 = (bytes) => bytes.toString('latin1', 0, 3) === 'ID3' || (bytes[0] === 0xff && (bytes[1] & 0xe0) === 0xe0);

const FORMATS = {
  wav: ['audio/wav', (bytes) => readWav(bytes).rate === 24000],
  flac: ['audio/flac', (bytes) => bytes.toString('latin1', 0, 4) === 'fLaC'],
  opus: ['audio/ogg', ogg],
  mp3: ['audio/mpeg', mp3],
  aac: ['audio/aac', (bytes) => bytes[0] === 0xff && (bytes[1] & 0xf6) === 0xf0], // ADTS
  pcm: ['audio/pcm', (bytes) => bytes.length % 2 === 0],
};

for (const [format, [type, fits]] of Object.entries(FORMATS)) {
  test(`reads aloud as ${format}, and understands its own file`, async () => {
    const response = await client.audio.speech.create({ ...REQUEST, response_format: format });
    assert.ok(response.headers.get('content-type').startsWith(type));
    const bytes = await bytesOf(response);
    assert.ok(bytes.length > 3000, `${bytes.length} bytes`);
    assert.ok(fits(bytes));
    if (format === 'pcm') return;
    const heard = await client.audio.transcriptions.create({ model: 'nano', file: await toFile(bytes, `speech.${format}`) });
    assert.equal(typeof heard.text, 'string');
    assert.ok(heard.text.length > 0);
  });
}

test('says the words of its input, sentence by sentence', async () => {
  for (const input of ['Seven birds sing in the garden. The boat is late.', 'My brother has a red car. The train leaves at noon.']) {
    const spoken = await client.audio.speech.create({ model: 'nano', input, voice: 'hugo', seed: 1, response_format: 'wav' });
    const heard = await client.audio.transcriptions.create({ model: 'nano', file: await toFile(await bytesOf(spoken), 'speech.wav') });
    assert.equal(heard.text, input);
  }
});

test('mp3 is what comes when nothing is said, speed shortens it, a seed repeats it', async () => {
  assert.ok(mp3(await bytesOf(await client.audio.speech.create(REQUEST))));
  const speak = async (more) => pcm16(await bytesOf(await client.audio.speech.create({ ...REQUEST, response_format: 'pcm', seed: 3, ...more })));
  const plain = await speak({});
  const fast = await speak({ speed: 2 });
  assert.ok(loudness(plain) > 0.005);
  assert.ok(fast.length > 0.4 * plain.length && fast.length < 0.6 * plain.length, `${fast.length} of ${plain.length}`);
  assert.deepEqual(await speak({}), plain);
});

test('speech as events ends with its usage', async () => {
  const response = await client.audio.speech.create({ ...REQUEST, response_format: 'pcm', stream_format: 'sse' });
  assert.match(response.headers.get('content-type'), /^text\/event-stream/);
  const text = (await bytesOf(response)).toString();
  const events = text.split('\n').filter((line) => line.startsWith('data: {')).map((line) => JSON.parse(line.slice(6)));
  const deltas = events.filter((event) => event.type === 'speech.audio.delta');
  assert.ok(deltas.length > 1);
  assert.ok(loudness(pcm16(Buffer.concat(deltas.map((delta) => Buffer.from(delta.audio, 'base64'))))) > 0.005);
  assert.equal(events.at(-1).type, 'speech.audio.done');
  assert.ok(events.at(-1).usage.output_tokens > 0);
});

test('writes down what is said, in every shape', async () => {
  const file = () => createReadStream(join(MEDIA, 'hear_words.wav'));
  const plain = await client.audio.transcriptions.create({ model: 'nano', file: file(), temperature: 0 });
  assert.ok(plain.text.length > 3);
  assert.equal(plain.usage.type, 'tokens');
  const text = await client.audio.transcriptions.create({ model: 'nano', file: file(), temperature: 0, response_format: 'text' });
  assert.equal(text.trim(), plain.text);
  const verbose = await client.audio.transcriptions.create({ model: 'nano', file: file(), temperature: 0, response_format: 'verbose_json' });
  assert.equal(verbose.text, plain.text);
  assert.equal(verbose.segments.length, 1);
  assert.equal(verbose.segments[0].text, plain.text);
  assert.ok(Math.abs(verbose.duration - verbose.segments[0].end) < 1e-9 && verbose.duration > 0.5 && verbose.duration < 10, `${verbose.duration}`);
  assert.ok(verbose.segments[0].avg_logprob <= 0);
  const srt = await client.audio.transcriptions.create({ model: 'nano', file: file(), temperature: 0, response_format: 'srt' });
  assert.match(srt, /^1\n00:00:00,000 --> 00:00:0\d,\d{3}\n/);
  assert.ok(srt.endsWith(`${plain.text}\n`));
  const words = await failure(
    client.audio.transcriptions.create({ model: 'nano', file: file(), response_format: 'verbose_json', timestamp_granularities: ['word'] }),
  );
  assert.equal(words.status, 400);
  const events = await collect(await client.audio.transcriptions.create({ model: 'nano', file: file(), temperature: 0, stream: true }));
  assert.equal(events.at(-1).type, 'transcript.text.done');
  assert.equal(events.at(-1).text, plain.text);
  assert.equal(events.slice(0, -1).map((event) => event.delta).join(''), plain.text);
});

test('wrong sounds and fields are refused with a sentence', async () => {
  const noSound = await failure(
    client.audio.transcriptions.create({ model: 'nano', file: await toFile(Buffer.from('no sound at all'), 'a.wav') }),
  );
  assert.equal(noSound.status, 400);
  const sound = await toFile(readFileSync(join(MEDIA, 'hear_words.wav')), 'a.wav');
  const format = await failure(client.audio.transcriptions.create({ model: 'nano', file: sound, response_format: 'docx' }));
  assert.equal(format.status, 400);
  assert.equal(format.param, 'response_format');
  for (const [change, param] of [[{ input: '' }, 'input'], [{ voice: 'nobody' }, 'voice'], [{ speed: 9 }, 'speed'], [{ response_format: 'xyz' }, 'response_format']]) {
    const error = await failure(client.audio.speech.create({ ...REQUEST, ...change }));
    assert.equal(error.status, 400);
    assert.equal(error.param, param);
  }
  // The model's own end token: nothing is left to say.
  const silent = await failure(client.audio.speech.create({ ...REQUEST, input: '<|im_end|>' }));
  assert.equal(silent.status, 400);
  assert.equal(silent.param, 'input');
  const unknown = await failure(client.audio.speech.create({ ...REQUEST, model: 'tts-1' }));
  assert.equal(unknown.status, 404);
});
