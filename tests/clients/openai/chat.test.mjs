// Chat completions through the official client.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { collect, connect, failure } from '../support/openai.mjs';
import { startServer } from '../support/server.mjs';
import { loudness, MEDIA, pcm16, readWav, resample } from '../support/sound.mjs';

let server, client;
before(async () => {
  server = await startServer();
  client = connect(server);
});
after(() => server?.stop());

const CAPITAL = [{ role: 'user', content: 'What is the capital of France?' }];
const PARIS = 'The capital of France is Paris.';
const base64 = (name) => readFileSync(join(MEDIA, name)).toString('base64');

test('answers with content, finish reason and usage', async () => {
  const answer = await client.chat.completions.create({ model: 'nano', messages: CAPITAL, temperature: 0 });
  assert.equal(answer.object, 'chat.completion');
  assert.equal(answer.choices[0].message.role, 'assistant');
  assert.equal(answer.choices[0].message.content, PARIS);
  assert.equal(answer.choices[0].finish_reason, 'stop');
  assert.equal(answer.usage.total_tokens, answer.usage.prompt_tokens + answer.usage.completion_tokens);
  assert.ok(answer.usage.completion_tokens > 3);
});

const BEGUN = [...CAPITAL, { role: 'assistant', content: 'The capital of' }];

test('goes on with the last message, and echoes it where it is asked to', async () => {
  const ask = (more) => client.chat.completions.create({ model: 'nano', messages: BEGUN, temperature: 0, ...more });
  const open = { continue_final_message: true };
  const text = (answer) => answer.choices[0].message.content;
  assert.equal(text(await ask({ ...open, add_generation_prompt: false })), ' France is Paris.');
  assert.equal(text(await ask(open)), ' France is Paris.');
  assert.equal(text(await ask({ ...open, echo: true })), PARIS);
  const pieces = (await collect(await ask({ ...open, echo: true, stream: true }))).map((chunk) => chunk.choices[0].delta.content);
  assert.deepEqual(pieces.slice(0, 2), ['', 'The capital of']);
  assert.equal(pieces.join(''), PARIS);
  const spoken = (await ask({ ...open, seed: 1, modalities: ['text', 'audio'], audio: { voice: 'nora', format: 'wav' } })).choices[0].message;
  assert.equal(spoken.audio.transcript, ' France is Paris.');
  assert.ok(loudness(readWav(Buffer.from(spoken.audio.data, 'base64')).samples) > 0.005);
});

test('what cannot be gone on with is an error with its path', async () => {
  const refused = (more) => failure(client.chat.completions.create({ model: 'nano', messages: BEGUN, continue_final_message: true, ...more }));
  for (const [more, sentence] of [
    [{ add_generation_prompt: true }, /are both true/],
    [{ messages: CAPITAL }, /is of 'user'; it must be of 'assistant'/],
  ]) {
    const error = await refused(more);
    assert.equal(error.status, 400);
    assert.equal(error.param, 'continue_final_message');
    assert.match(error.message, sentence);
  }
});

test('streams the same words, piece by piece', async () => {
  const chunks = await collect(
    await client.chat.completions.create({
      model: 'nano',
      messages: CAPITAL,
      temperature: 0,
      stream: true,
      stream_options: { include_usage: true },
    }),
  );
  const pieces = chunks.map((chunk) => chunk.choices[0]?.delta?.content).filter(Boolean);
  assert.equal(pieces.join(''), PARIS);
  assert.ok(pieces.length > 1);
  assert.equal(new Set(chunks.map((chunk) => chunk.id)).size, 1);
  assert.deepEqual(chunks.at(-1).choices, []);
  assert.ok(chunks.at(-1).usage.completion_tokens > 3);
  assert.ok(chunks.slice(0, -1).every((chunk) => chunk.usage === null), 'usage is null until it is known');
});

test('an answer without a word is an error, unless the client asked for it', async () => {
  const { tokens } = await client.post('/../tokenize', { body: { prompt: '<|im_end|>' } });
  assert.equal(tokens.length, 1);
  const request = { model: 'nano', messages: CAPITAL, temperature: 0, logit_bias: { [tokens[0]]: 100 } };
  const empty = await failure(client.chat.completions.create(request));
  assert.equal(empty.status, 500);
  assert.match(empty.message, /before its first word/);
  await assert.rejects(async () => collect(await client.chat.completions.create({ ...request, stream: true })), /before its first word/);
  const response = await failure(client.responses.create({ model: 'nano', input: 'Hello', ...{ logit_bias: request.logit_bias } }));
  assert.equal(response.status, 500);
  const stopped = await client.chat.completions.create({ model: 'nano', messages: CAPITAL, temperature: 0, stop: PARIS.slice(0, 3) });
  assert.equal(stopped.choices[0].message.content, '');
  assert.equal(stopped.choices[0].stop_reason, PARIS.slice(0, 3));
  const chunks = await collect(
    await client.chat.completions.create({ model: 'nano', messages: CAPITAL, temperature: 0, stop: 'Paris', stream: true }),
  );
  assert.equal(chunks.at(-1).choices[0].finish_reason, 'stop');
  assert.equal(chunks.at(-1).choices[0].stop_reason, 'Paris');
});

test("works with the client's stream helper", async () => {
  const stream = client.chat.completions.stream({ model: 'nano', messages: CAPITAL, temperature: 0 });
  const final = await stream.finalChatCompletion();
  assert.equal(final.choices[0].message.content, PARIS);
});

test('speaks: one message with a sound file', async () => {
  const answer = await client.chat.completions.create({
    model: 'nano',
    messages: CAPITAL,
    temperature: 0,
    modalities: ['text', 'audio'],
    audio: { voice: 'nora', format: 'wav' },
  });
  const { audio, content } = answer.choices[0].message;
  assert.equal(content, PARIS);
  assert.equal(audio.transcript, PARIS);
  assert.ok(audio.expires_at * 1000 > Date.now());
  const sound = readWav(Buffer.from(audio.data, 'base64'));
  assert.equal(sound.rate, 24000);
  assert.ok(sound.samples.length > 24000, 'more than a second of speech');
  assert.ok(loudness(sound.samples) > 0.005, 'and it is no silence');
});

test('speaks: a stream of 16-bit samples equals the file', async () => {
  const request = { model: 'nano', messages: CAPITAL, temperature: 0, seed: 7, modalities: ['text', 'audio'] };
  const chunks = await collect(
    await client.chat.completions.create({ ...request, audio: { voice: 'hugo', format: 'pcm16' }, stream: true }),
  );
  const deltas = chunks.map((chunk) => chunk.choices[0]?.delta?.audio).filter(Boolean);
  const text = deltas.map((delta) => delta.transcript ?? '').join('');
  const streamed = Buffer.concat(deltas.filter((d) => d.data).map((d) => Buffer.from(d.data, 'base64')));
  assert.ok(deltas.filter((d) => d.data).length > 3, 'in several pieces');
  assert.equal(text, PARIS);
  const whole = await client.chat.completions.create({ ...request, audio: { voice: 'hugo', format: 'wav' } });
  const file = readWav(Buffer.from(whole.choices[0].message.audio.data, 'base64'));
  assert.deepEqual(pcm16(streamed), file.samples);
});

test("streams as vLLM-Omni does, where it is asked to", async () => {
  const request = { model: 'nano', messages: CAPITAL, temperature: 0, seed: 7, modalities: ['text', 'audio'], audio: { voice: 'nora' }, stream: true };
  const chunks = await collect(await client.chat.completions.create({ ...request, audio_delta_format: 'vllm' }));
  const of = (modality) => chunks.filter((chunk) => chunk.modality === modality).map((chunk) => chunk.choices[0].delta.content ?? '');
  assert.equal(of('text').join(''), PARIS);
  const sounds = of('audio').map((content) => readWav(Buffer.from(content, 'base64')));
  assert.ok(sounds.length > 1 && sounds.every((sound) => sound.rate === 24000));
  const plain = await collect(await client.chat.completions.create({ ...request, audio: { voice: 'nora', format: 'pcm16' } }));
  const samples = plain.reduce((sum, chunk) => sum + Buffer.from(chunk.choices[0]?.delta?.audio?.data ?? '', 'base64').length / 2, 0);
  assert.equal(sounds.reduce((sum, sound) => sum + sound.samples.length, 0), samples);
});

test('goes on from a spoken answer by its id', async () => {
  const first = await client.chat.completions.create({
    model: 'nano',
    messages: CAPITAL,
    temperature: 0,
    modalities: ['text', 'audio'],
    audio: { voice: 'nora', format: 'wav' },
  });
  const next = (assistant) =>
    client.chat.completions.create({
      model: 'nano',
      temperature: 0,
      messages: [...CAPITAL, assistant, { role: 'user', content: 'Hello!' }],
    });
  const byId = await next({ role: 'assistant', audio: { id: first.choices[0].message.audio.id } });
  const byText = await next({ role: 'assistant', content: PARIS });
  assert.equal(byId.choices[0].message.content, byText.choices[0].message.content);
  assert.equal(byId.usage.prompt_tokens, byText.usage.prompt_tokens);
});

test('sees a picture and hears a question', async () => {
  const seen = await client.chat.completions.create({
    model: 'nano',
    temperature: 0,
    messages: [
      {
        role: 'user',
        content: [
          { type: 'image_url', image_url: { url: `data:image/png;base64,${base64('above.png')}` } },
          { type: 'text', text: 'Describe this picture.' },
        ],
      },
    ],
  });
  assert.equal(seen.choices[0].message.content, 'There is a green triangle above a purple circle.');
  const heard = await client.chat.completions.create({
    model: 'nano',
    temperature: 0,
    messages: [
      {
        role: 'user',
        content: [
          { type: 'input_audio', input_audio: { data: base64('ask_legs.wav'), format: 'wav' } },
          { type: 'text', text: 'Answer the question.' },
        ],
      },
    ],
  });
  assert.equal(heard.choices[0].message.content, 'A spider has eight legs.');
});

test('n, seed, stop, logprobs and max tokens do what they say', async () => {
  const several = await client.chat.completions.create({ model: 'nano', messages: CAPITAL, n: 3, seed: 5 });
  assert.deepEqual(several.choices.map((choice) => choice.index), [0, 1, 2]);
  const again = await client.chat.completions.create({ model: 'nano', messages: CAPITAL, n: 3, seed: 5 });
  const texts = (answer) => answer.choices.map((choice) => choice.message.content);
  assert.deepEqual(texts(again), texts(several));

  const cut = await client.chat.completions.create({ model: 'nano', messages: CAPITAL, temperature: 0, stop: ' is' });
  assert.equal(cut.choices[0].message.content, 'The capital of France');
  assert.equal(cut.choices[0].finish_reason, 'stop');

  const short = await client.chat.completions.create({
    model: 'nano',
    messages: CAPITAL,
    temperature: 0,
    max_completion_tokens: 2,
    logprobs: true,
    top_logprobs: 3,
  });
  assert.equal(short.choices[0].finish_reason, 'length');
  const { content } = short.choices[0].logprobs;
  assert.equal(content.length, 2);
  assert.equal(content.map((token) => token.token).join(''), short.choices[0].message.content);
  for (const token of content) {
    assert.equal(token.top_logprobs.length, 3);
    assert.ok(token.logprob <= 0 && token.logprob >= token.top_logprobs[2].logprob);
  }
});

test('a wrong field is a 400 with its path', async () => {
  const { BadRequestError } = client.constructor;
  const cases = [
    [{ temperature: 9 }, 'temperature'],
    [{ messages: [{ role: 'user', content: [{ type: 'text' }] }] }, 'messages[0].content[0].text'],
    [{ modalities: ['text', 'audio'], audio: { voice: 'nobody', format: 'wav' } }, 'audio.voice'],
    [{ temprature: 1 }, 'temprature'],
  ];
  for (const [change, param] of cases) {
    const error = await failure(client.chat.completions.create({ model: 'nano', messages: CAPITAL, ...change }));
    assert.ok(error instanceof BadRequestError, String(error));
    assert.equal(error.status, 400);
    assert.equal(error.param, param);
    assert.equal(error.type, 'invalid_request_error');
  }
});

test('a sound of another rate is understood as well', async () => {
  const { writeWav } = await import('../support/sound.mjs');
  const question = writeWav(resample(readWav(readFileSync(join(MEDIA, 'ask_legs.wav'))), 24000));
  const heard = await client.chat.completions.create({
    model: 'nano',
    temperature: 0,
    messages: [
      {
        role: 'user',
        content: [
          { type: 'input_audio', input_audio: { data: question.toString('base64'), format: 'wav' } },
          { type: 'text', text: 'Answer the question.' },
        ],
      },
    ],
  });
  assert.match(heard.choices[0].message.content, /spider/);
});
