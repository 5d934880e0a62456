// Keys, limits and clients that go away, through the official client.
import assert from 'node:assert/strict';
import net from 'node:net';
import { after, before, test } from 'node:test';
import { connect, failure } from '../support/openai.mjs';
import { startServer } from '../support/server.mjs';

let server, client;
before(async () => {
  server = await startServer('--api-key', 'secret', '--max-body-mb', '1');
  client = connect(server, { apiKey: 'secret' });
});
after(() => server?.stop());

const HELLO = { model: 'nano', messages: [{ role: 'user', content: 'Hello' }] };
// An answer that goes on until someone ends it.
const LONG = { ...HELLO, ignore_eos: true, max_tokens: 20_000 };

test('a wrong key is a 401', async () => {
  const error = await failure(connect(server, { apiKey: 'guess' }).chat.completions.create(HELLO));
  assert.equal(error.status, 401);
  assert.equal(error.type, 'authentication_error');
  assert.ok(error instanceof client.constructor.AuthenticationError);
  assert.ok((await client.chat.completions.create(HELLO)).choices.length === 1);
});

test('a body over the limit is a 413', async () => {
  const error = await failure(
    client.chat.completions.create({ ...HELLO, messages: [{ role: 'user', content: 'a'.repeat(2 << 20) }] }),
  );
  assert.equal(error.status, 413);
  assert.match(error.message, /--max-body-mb/);
});

test('HEAD is answered without a body, also when it is refused', async () => {
  for (const [path, status] of [['/health', 200], ['/v1/models', 401], ['/%zz', 400], ['/nothing', 404]]) {
    const bytes = await new Promise((resolve, reject) => {
      const socket = net.connect(server.port, '127.0.0.1', () => socket.write(`HEAD ${path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n`));
      let text = '';
      socket.on('data', (piece) => (text += piece));
      socket.on('end', () => resolve(text));
      socket.on('error', reject);
    });
    assert.ok(bytes.startsWith(`HTTP/1.1 ${status} `), bytes);
    assert.equal(bytes.indexOf('\r\n\r\n'), bytes.length - 4, bytes);
  }
});

test('the request of a client that leaves a stream is aborted', async () => {
  const stream = await client.chat.completions.create({ ...LONG, stream: true });
  for await (const chunk of stream) {
    if (!chunk.choices[0]?.delta?.content) continue;
    assert.equal(await server.total('vllm:num_requests_running'), 1);
    break; // the client closes the connection
  }
  await server.idle();
  assert.equal(await server.total('vllm:request_success_total', 'finished_reason="abort"'), 1);
});

test('the request of a client that no longer waits for the whole is aborted', async () => {
  const gone = new AbortController();
  const waiting = failure(client.chat.completions.create({ ...LONG, n: 2 }, { signal: gone.signal }));
  while ((await server.total('vllm:num_requests_running')) < 2) await new Promise((resolve) => setTimeout(resolve, 20));
  gone.abort();
  assert.ok((await waiting) instanceof client.constructor.APIUserAbortError);
  await server.idle();
  assert.equal(await server.total('vllm:request_success_total', 'finished_reason="abort"'), 3);
});

test('speech that nobody waits for is aborted', async () => {
  const gone = new AbortController();
  const input = 'The boat is late. '.repeat(200);
  const response = await client.audio.speech.create({ model: 'nano', input, voice: 'nora' }, { signal: gone.signal });
  assert.equal(response.status, 200);
  gone.abort();
  await server.idle();
});

test('after all that it still answers, and ends in order', async () => {
  assert.equal((await client.chat.completions.create(HELLO)).choices[0].finish_reason, 'stop');
  assert.equal(await server.stop(), 0);
});
