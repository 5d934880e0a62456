// Models, completions and responses through the official client.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { collect, connect, failure } from '../support/openai.mjs';
import { startServer } from '../support/server.mjs';

let server, client;
before(async () => {
  server = await startServer('--served-model-name', 'nano', 'tiny/nano');
  client = connect(server);
});
after(() => server?.stop());

const QUESTION = 'What is the capital of France?';
const PARIS = 'The capital of France is Paris.';

test('lists and describes its models', async () => {
  const models = await collect(client.models.list());
  assert.deepEqual(models.map((model) => model.id), ['nano', 'tiny/nano']);
  assert.equal((await client.models.retrieve('nano')).object, 'model');
  const unknown = await failure(client.models.retrieve('gpt-5'));
  assert.equal(unknown.status, 404);
  assert.equal(unknown.type, 'not_found_error');
  assert.equal((await client.models.retrieve('tiny/nano')).id, 'tiny/nano');
});

test('completes text, whole and streamed', async () => {
  const prompt = '<|im_start|>user\nWhat is the capital of France?<|im_end|>\n<|im_start|>assistant\n';
  const whole = await client.completions.create({ model: 'nano', prompt, temperature: 0, max_tokens: 20 });
  assert.equal(whole.object, 'text_completion');
  assert.equal(whole.choices[0].text, PARIS);
  const chunks = await collect(await client.completions.create({ model: 'nano', prompt, temperature: 0, max_tokens: 20, stream: true }));
  assert.equal(chunks.map((chunk) => chunk.choices[0]?.text ?? '').join(''), PARIS);
  assert.equal(chunks.at(-1).choices[0].finish_reason, 'stop');
});

test('completes several prompts, with echo or logprobs', async () => {
  const several = { model: 'nano', prompt: ['One', 'Two'], n: 2, max_tokens: 3, seed: 1 };
  const answer = await client.completions.create({ ...several, echo: true });
  assert.equal(answer.choices.length, 4);
  assert.deepEqual(answer.choices.map((choice) => choice.text.slice(0, 3)), ['One', 'One', 'Two', 'Two']);
  const judged = await client.completions.create({ ...several, logprobs: 2 });
  const chunks = await collect(
    await client.completions.create({ ...several, logprobs: 2, stream: true, stream_options: { include_usage: true } }),
  );
  for (const { index, text, logprobs } of judged.choices) {
    assert.equal(logprobs.tokens.length, logprobs.token_logprobs.length);
    assert.ok(logprobs.tokens.length > 0);
    logprobs.text_offset.forEach((offset, i) => assert.ok(text.slice(offset).startsWith(logprobs.tokens[i]), `${offset} in '${text}'`));
    const parts = chunks.flatMap((chunk) => chunk.choices).filter((choice) => choice.index === index && choice.logprobs);
    assert.deepEqual(parts.flatMap((part) => part.logprobs.text_offset), logprobs.text_offset, 'offsets go on from chunk to chunk');
  }
  assert.ok(chunks.slice(0, -1).every((chunk) => chunk.usage === null), 'usage is null until it is known');
  assert.ok(chunks.at(-1).usage.completion_tokens > 0);
  const both = await failure(client.completions.create({ ...several, echo: true, logprobs: 1 }));
  assert.equal(both.status, 400);
  assert.equal(both.param, 'echo');
  const byIds = await client.completions.create({ model: 'nano', prompt: [1, 2, 3], max_tokens: 2 });
  assert.equal(byIds.usage.prompt_tokens, 3);
});

test('tells the tokens of a prompt, and what each says', async () => {
  const tokenize = (body) => client.post('/../tokenize', { body });
  const { count, tokens, token_strs } = await tokenize({ prompt: 'The boat is late.', return_token_strs: true });
  assert.equal(tokens.length, count);
  assert.equal(token_strs.join(''), 'The boat is late.');
  assert.equal((await tokenize({ prompt: 'Hello' })).token_strs, undefined);
  const refused = await failure(tokenize({ prompt: 'Hello', add_special_tokens: false }));
  assert.equal(refused.status, 400);
  assert.equal(refused.param, 'add_special_tokens');
});

test('responds, keeps the response, goes on from it and forgets it', async () => {
  const first = await client.responses.create({ model: 'nano', input: QUESTION, temperature: 0, metadata: { a: 'b' } });
  assert.equal(first.status, 'completed');
  assert.equal(first.output_text, PARIS);
  assert.deepEqual(first.metadata, { a: 'b' });
  const kept = await client.responses.retrieve(first.id);
  assert.deepEqual(kept.output, first.output);
  const next = await client.responses.create({ model: 'nano', input: 'Hello!', temperature: 0, previous_response_id: first.id });
  assert.equal(next.previous_response_id, first.id);
  assert.ok(next.usage.input_tokens > first.usage.input_tokens + 5, 'it has read the first turn too');
  await client.responses.delete(first.id);
  assert.equal((await failure(client.responses.retrieve(first.id))).status, 404);
  const gone = await failure(client.responses.create({ model: 'nano', input: 'Hi', previous_response_id: first.id }));
  assert.equal(gone.status, 404);
  assert.equal(gone.param, 'previous_response_id');
});

test('a response has log probabilities where they are asked for, and says what it cannot do', async () => {
  const request = { model: 'nano', input: QUESTION, temperature: 0, include: ['message.output_text.logprobs'], top_logprobs: 2 };
  const { output } = await client.responses.create(request);
  const { text, logprobs } = output[0].content[0];
  assert.equal(text, PARIS);
  assert.ok(logprobs.map((token) => token.token).join('').startsWith(PARIS));
  assert.ok(logprobs.every((token) => token.logprob <= 0 && token.top_logprobs.length === 2));
  const events = await collect(await client.responses.create({ ...request, stream: true }));
  const deltas = events.filter((event) => event.type === 'response.output_text.delta');
  // The last token, which ends the answer, has no text.
  const streamed = deltas.flatMap((event) => event.logprobs);
  assert.deepEqual(streamed, logprobs.slice(0, streamed.length));
  assert.ok(streamed.length >= logprobs.length - 1);
  for (const [more, param] of [
    [{ background: true }, 'background'],
    [{ truncation: 'auto' }, 'truncation'],
    [{ include: ['file_search_call.results'], top_logprobs: undefined }, 'include'],
    [{ include: undefined }, 'top_logprobs'],
    [{ tool_choice: 'required' }, 'tool_choice'],
    [{ tools: [{ type: 'web_search' }] }, 'tools[0].type'],
    [{ tools: [{ type: 'function', parameters: {}, strict: true }] }, 'tools[0].name'],
  ]) {
    const error = await failure(client.responses.create({ ...request, ...more }));
    assert.equal(error.status, 400, param);
    assert.equal(error.param, param);
  }
  const tools = [{ type: 'function', name: 'add', parameters: { type: 'object', properties: {} }, strict: false }];
  const told = await client.responses.create({ model: 'nano', input: QUESTION, temperature: 0, max_output_tokens: 3, tools });
  const untold = await client.responses.create({ model: 'nano', input: QUESTION, temperature: 0, max_output_tokens: 3, tools, tool_choice: 'none' });
  assert.ok(told.usage.input_tokens > untold.usage.input_tokens + 20, 'the template tells of the tool');
  assert.equal(told.tool_choice, 'auto');
  assert.equal(untold.tool_choice, 'none');
});

test('streams the events of a response in order', async () => {
  const events = await collect(await client.responses.create({ model: 'nano', input: QUESTION, temperature: 0, stream: true }));
  assert.deepEqual(events.map((event) => event.sequence_number), events.map((_, i) => i));
  const types = events.map((event) => event.type).filter((type, i, all) => type !== all[i - 1]);
  assert.deepEqual(types, [
    'response.created',
    'response.in_progress',
    'response.output_item.added',
    'response.content_part.added',
    'response.output_text.delta',
    'response.output_text.done',
    'response.content_part.done',
    'response.output_item.done',
    'response.completed',
  ]);
  const text = events.filter((event) => event.type === 'response.output_text.delta').map((event) => event.delta).join('');
  assert.equal(text, PARIS);
  assert.equal(events.at(-1).response.output[0].content[0].text, PARIS);
});

test("works with the client's response helper", async () => {
  const final = await client.responses.stream({ model: 'nano', input: QUESTION, temperature: 0 }).finalResponse();
  assert.equal(final.output_text, PARIS);
});

test('says that an answer was cut', async () => {
  const answer = await client.responses.create({ model: 'nano', input: QUESTION, temperature: 0, top_p: 0.5, max_output_tokens: 2 });
  assert.equal(answer.status, 'incomplete');
  assert.deepEqual([answer.temperature, answer.top_p, answer.max_output_tokens], [0, 0.5, 2]);
  assert.equal(answer.incomplete_details.reason, 'max_output_tokens');
});

test('there are no embeddings here, and it says so', async () => {
  const error = await failure(client.embeddings.create({ model: 'nano', input: 'Hello' }));
  assert.equal(error.status, 404);
  assert.match(error.message, /openapi\.json/);
});
