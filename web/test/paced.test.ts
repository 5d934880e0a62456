// Drawing what comes faster than it can be seen.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Gathered, paced } from '../src/paced';

test('the first is drawn at once, the others now and then, and none is lost', () => {
  const waiting: (() => void)[] = [];
  const tick = () => waiting.splice(0).forEach((then) => then());
  let drawn = 0;
  const drawing = paced(() => ++drawn, (then) => waiting.push(then));
  drawing.now();
  assert.equal(drawn, 0, 'there is nothing new');
  for (let i = 0; i < 100; ++i) drawing.soon();
  assert.equal(drawn, 1);
  tick();
  assert.equal(drawn, 2);
  tick();
  assert.equal(drawn, 2, 'nothing came');
  drawing.soon();
  drawing.soon();
  assert.equal(drawn, 3);
  drawing.now();
  assert.equal(drawn, 4);
  tick();
  assert.equal(drawn, 4);
  assert.equal(waiting.length, 0);
});

test('words and sound are gathered in their order', () => {
  const shown: [string, number][] = [];
  const news = new Gathered((text, audio) => void shown.push([text, audio.length]));
  news.addText('One');
  news.addText(', two');
  news.addAudio(new Int16Array(1));
  news.addAudio(new Int16Array(1));
  news.flush();
  news.addText(', three');
  news.flush();
  news.flush();
  assert.deepEqual(shown, [['One', 0], [', two', 2], [', three', 0]]);
});
