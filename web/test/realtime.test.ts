// What is typed in a talk: asked for once it is in the conversation, and not at all when it is refused.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Realtime, type RealtimeHandlers } from '../src/realtime';

class FakeSocket {
  static readonly CONNECTING = 0;
  static readonly OPEN = 1;
  static last: FakeSocket;
  readyState = FakeSocket.CONNECTING;
  sent: any[] = [];
  onopen = () => {};
  onmessage = (_: { data: string }) => {};
  onerror = () => {};
  onclose: ((event: { reason: string }) => void) | null = null;
  constructor() {
    FakeSocket.last = this;
  }
  send(text: string) {
    this.sent.push(JSON.parse(text));
  }
  close() {}
  open() {
    this.readyState = FakeSocket.OPEN;
    this.onopen();
  }
  says(event: unknown) {
    this.onmessage({ data: JSON.stringify(event) });
  }
  types() {
    return this.sent.map((event) => event.type);
  }
}
Object.assign(globalThis, { WebSocket: FakeSocket, location: { href: 'http://localhost:8091/' } });

function connect() {
  const seen: string[] = [];
  const note = (name: string) => (...given: unknown[]) => void seen.push([name, ...given].join(' '));
  const names = ['onUserSpeech', 'onUserTranscript', 'onResponse', 'onText', 'onAudio', 'onDone', 'onRefused', 'onError', 'onClose'];
  const handlers = Object.fromEntries(names.map((name) => [name, note(name)])) as unknown as RealtimeHandlers;
  const realtime = new Realtime({ model: 'nano', instructions: '', history: [] }, handlers);
  return { realtime, socket: FakeSocket.last, seen };
}

test('what is typed is asked for when it is in the conversation', () => {
  const { realtime, socket, seen } = connect();
  // Before there is a connection, it waits for one, and for what was said before.
  realtime.say('typed_1', 'Hello!', []);
  assert.deepEqual(socket.sent, []);
  socket.open();
  assert.deepEqual(socket.types(), ['session.update', 'conversation.item.create']);
  assert.deepEqual(socket.sent[1].item.content, [{ type: 'input_text', text: 'Hello!' }]);
  socket.says({ type: 'conversation.item.added', item: { id: 'another' } });
  assert.equal(socket.sent.length, 2);
  socket.says({ type: 'conversation.item.added', item: { id: 'typed_1' } });
  assert.equal(socket.types()[2], 'response.create');
  socket.says({ type: 'response.created', response: { id: 'r' } });
  assert.deepEqual(seen, ['onResponse r']);
});

test('an item that is refused is not answered', () => {
  const { realtime, socket, seen } = connect();
  socket.open();
  realtime.say('typed_1', 'Look!', []);
  socket.says({ type: 'error', error: { message: 'That is no picture.', event_id: socket.sent[1].event_id } });
  assert.deepEqual(socket.types(), ['session.update', 'conversation.item.create']);
  assert.deepEqual(seen, ['onRefused typed_1 That is no picture.']);
});

test('an answer that is refused takes its item out again', () => {
  const { realtime, socket, seen } = connect();
  socket.open();
  realtime.say('typed_1', 'Hello!', []);
  socket.says({ type: 'conversation.item.added', item: { id: 'typed_1' } });
  socket.says({ type: 'error', error: { message: 'One at a time.', event_id: socket.sent[2].event_id } });
  assert.deepEqual(socket.sent[3], { type: 'conversation.item.delete', item_id: 'typed_1' });
  assert.deepEqual(seen, ['onRefused typed_1 One at a time.']);
});

test('other errors are told, but for stopping what has ended', () => {
  const { socket, seen } = connect();
  socket.open();
  socket.says({ type: 'error', error: { message: 'No.', code: 'invalid_value', event_id: null } });
  socket.says({ type: 'error', error: { message: 'Nothing to cancel.', code: 'response_cancel_not_active' } });
  assert.deepEqual(seen, ['onError No.']);
});

test('a talk that the server ends is told with its reason, once', () => {
  const ended = connect();
  ended.socket.open();
  ended.socket.onclose!({ reason: 'Shutting down.' });
  assert.deepEqual(ended.seen, ['onError The server has ended the talk: Shutting down.', 'onClose']);
  const failed = connect();
  failed.socket.onerror();
  failed.socket.onclose!({ reason: '' });
  assert.deepEqual(failed.seen, ['onError The connection to the server failed.', 'onClose']);
  const own = connect();
  own.socket.open();
  own.realtime.close();
  assert.equal(own.socket.onclose, null);
});
