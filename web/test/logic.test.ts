// The page's own logic, without a browser.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { listModels, streamChat } from '../src/api';
import { readEvents } from '../src/events';
import { peaks } from '../src/audio/peaks';
import { entry, failTurn, toApi } from '../src/conversation';
import { parseMetrics, total } from '../src/prometheus';

const stream = (...pieces: Uint8Array[]) =>
  new ReadableStream<Uint8Array<ArrayBuffer>>({
    start(controller) {
      for (const piece of pieces) controller.enqueue(piece as Uint8Array<ArrayBuffer>);
      controller.close();
    },
  });

async function all(body: ReadableStream<Uint8Array<ArrayBuffer>>): Promise<string[]> {
  const out: string[] = [];
  for await (const data of readEvents(body)) out.push(data);
  return out;
}

test('events come out whole, wherever the network has cut them', async () => {
  const bytes = new TextEncoder().encode('id: 1\ndata: {"a":"ünï"}\n\n: a comment\n\ndata: one\ndata: two\n\ndata: [DONE]\n\n');
  const wanted = ['{"a":"ünï"}', 'one\ntwo', '[DONE]'];
  assert.deepEqual(await all(stream(bytes)), wanted);
  for (let cut = 1; cut < bytes.length; ++cut) {
    assert.deepEqual(await all(stream(bytes.slice(0, cut), bytes.slice(cut))), wanted);
  }
  // What has no end was cut off, and is no event.
  assert.deepEqual(await all(stream(new TextEncoder().encode('data: half'))), []);
});

test('who stops reading events ends the stream', async () => {
  let cancelled = false;
  const endless = new ReadableStream<Uint8Array<ArrayBuffer>>({
    pull: (controller) => controller.enqueue(new TextEncoder().encode('data: more\n\n') as Uint8Array<ArrayBuffer>),
    cancel: () => void (cancelled = true),
  });
  for await (const data of readEvents(endless)) {
    assert.equal(data, 'more');
    break;
  }
  await new Promise((resolve) => setImmediate(resolve));
  assert.ok(cancelled);
});

test('an answer that is cut off is no answer', async () => {
  const answer = async (text: string) => {
    globalThis.fetch = async () => new Response(text);
    let said = '';
    const final: boolean[] = [];
    const handlers = {
      onText: (delta: string) => void (said += delta),
      onAudio: () => {},
      onMetrics: (_: unknown, whole: boolean) => void final.push(whole),
    };
    await streamChat({ model: 'nano', messages: [], speech: false }, handlers, new AbortController().signal);
    return { said, final };
  };
  const hello = 'data: {"choices":[{"delta":{"content":"Hello"}}]}\n\ndata: {"choices":[],"stage_metrics":{"stages":[]}}\n\n';
  const end = 'data: {"choices":[],"usage":{},"stage_metrics":{"stages":[]}}\n\ndata: [DONE]\n\n';
  assert.deepEqual(await answer(hello + end), { said: 'Hello', final: [false, true] });
  await assert.rejects(answer(hello), /^Error: The connection to the server ended before the answer did\.$/);
  await assert.rejects(answer('event: error\ndata: {"error":{"message":"No seat."}}\n\n'), /^Error: No seat\.$/);
  globalThis.fetch = async () => {
    throw new TypeError('Failed to fetch');
  };
  await assert.rejects(listModels(), /^Error: The server cannot be reached\.$/);
});

test('the conversation goes to the API without what failed', () => {
  const picture = { kind: 'image' as const, name: 'a.png', dataUrl: 'data:image/png;base64,AA' };
  const sound = { kind: 'audio' as const, name: 'Recording', dataUrl: 'data:audio/mpeg;base64,BB' };
  const said = { ...entry('assistant', 'A dog.'), state: 'stopped' as const };
  const broken = entry('user', 'And this?', [picture]);
  const answer = { ...entry('assistant', 'Half an'), question: broken.id };
  const unheard = { ...entry('user', ''), state: 'stopped' as const };
  const all = [entry('user', 'What?', [picture]), said, broken, answer, unheard, entry('user', '', [sound])];
  const entries = failTurn(all, answer.id, 'No.');
  assert.deepEqual(entries.map((e) => e.state), ['done', 'stopped', 'failed', 'failed', 'stopped', 'done']);
  assert.equal(entries[3]!.error, 'No.');
  const messages = toApi(entries, 'Be brief.');
  assert.deepEqual(messages, [
    { role: 'system', content: 'Be brief.' },
    { role: 'user', content: [{ type: 'image_url', image_url: { url: picture.dataUrl } }, { type: 'text', text: 'What?' }] },
    { role: 'assistant', content: 'A dog.' },
    { role: 'user', content: [{ type: 'input_audio', input_audio: { data: 'BB', format: 'mp3' } }] },
  ]);
});

test('metrics are read with their labels, and summed', () => {
  const text = '# HELP a b\n# TYPE a counter\na{x="1",y="say \\"hi\\", {you}"} 2\na{x="2"} 3.5e1\nab 7\na_count 1\nbroken\n';
  const samples = parseMetrics(text);
  assert.equal(samples.length, 4);
  assert.equal(samples[0]!.labels.y, 'say "hi", {you}');
  assert.equal(total(samples, 'a'), 37);
  assert.equal(total(samples, 'a', { x: '2' }), 35);
  assert.equal(total(samples, 'ab'), 7);
});

test('a waveform has the outline of its sound', () => {
  assert.deepEqual(peaks([]), []);
  const quiet = new Int16Array(24000).fill(100);
  const loud = new Int16Array(24000).fill(-20000);
  const bars = peaks([quiet, loud]);
  assert.equal(bars.length, 34);
  assert.ok(bars.slice(0, 16).every((height) => height < 0.01));
  assert.ok(bars.slice(18).every((height) => height === 1));
  assert.equal(peaks(Array.from({ length: 60 }, () => loud)).length, 64);
});
