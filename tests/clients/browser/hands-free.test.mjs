// What hands-free talk tells the model: all of the conversation that was seen and heard, and nothing that was not.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { openPage } from '../support/browser.mjs';
import { until } from '../support/server.mjs';
import { MEDIA, padded, spoken } from '../support/sound.mjs';
import { serverAndBrowser } from '../support/suite.mjs';

const shared = serverAndBrowser();

const SILENCE = padded({ ...spoken('ask_legs'), samples: new Int16Array(0) }, 0, 60);

async function withPage(use) {
  const page = await openPage(shared.browser, shared.server, { says: SILENCE });
  try {
    await use(page);
  } finally {
    await page.context().close();
  }
}

const box = (page) => page.getByRole('textbox', { name: 'Message', exact: true });
const answers = (page) => page.getByRole('article', { name: 'Model' });
const questions = (page) => page.getByRole('article', { name: 'You' });

async function ask(page, text) {
  await box(page).fill(text);
  await box(page).press('Enter');
}

async function attach(page, name) {
  const buffer = readFileSync(join(MEDIA, 'above.png'));
  await page.getByTestId('file').setInputFiles({ name, mimeType: 'image/png', buffer });
  await page.getByRole('list', { name: 'To be sent' }).getByText(name).waitFor();
}

test('a talk knows the pictures before it, and those that are shown in it', async () => {
  await withPage(async (page) => {
    const items = [];
    page.on('websocket', (socket) =>
      socket.on('framesent', ({ payload }) => {
        const event = JSON.parse(payload);
        if (event.type === 'conversation.item.create') items.push(event.item);
      }),
    );
    await attach(page, 'before.png');
    await ask(page, 'Describe this picture.');
    await answers(page).getByText('There is a green triangle above a purple circle.').waitFor();
    await page.getByRole('link', { name: 'Save' }).waitFor();
    await page.getByRole('button', { name: 'Hands-free' }).click();
    await until(() => items.length === 2, 'the talk does not know what was before it');
    const [question, answer] = items;
    assert.deepEqual(question.content.map(({ type }) => type), ['input_image', 'input_text']);
    assert.match(question.content[0].image_url, /^data:image\/png;base64,/);
    assert.deepEqual(answer.content, [{ type: 'output_text', text: 'There is a green triangle above a purple circle.' }]);
    await attach(page, 'meanwhile.png');
    await ask(page, 'Describe this picture.');
    await answers(page).last().getByText('There is a green triangle above a purple circle.').waitFor();
    assert.deepEqual(items[2].content.map(({ type }) => type), ['input_image', 'input_text']);
  });
});

test('turns that were not written down or failed are not told', async () => {
  await withPage(async (page) => {
    const sent = [];
    let say;
    await page.routeWebSocket(/realtime/, (socket) => {
      say = (event) => socket.send(JSON.stringify(event));
      socket.onMessage((text) => sent.push(JSON.parse(text)));
    });
    await page.reload(); // it holds for pages that are opened from now on
    await page.getByRole('button', { name: 'Hands-free' }).click();
    await until(() => sent.some(({ type }) => type === 'session.update'), 'no session');
    say({ type: 'input_audio_buffer.speech_started', item_id: 'mumbled' });
    await questions(page).getByRole('img', { name: 'Your words are being written down' }).waitFor();
    say({ type: 'input_audio_buffer.speech_started', item_id: 'clear' });
    // The words of the one before come late.
    say({ type: 'conversation.item.input_audio_transcription.completed', item_id: 'clear', transcript: 'I am clear.' });
    say({ type: 'conversation.item.input_audio_transcription.failed', item_id: 'mumbled', error: {} });
    await questions(page).getByText('Not written down').waitFor();
    await questions(page).getByText('I am clear.').waitFor();
    say({ type: 'response.created', response: { id: 'r1' } });
    say({ type: 'response.output_audio_transcript.delta', delta: 'So you are.' });
    say({ type: 'response.done', response: { id: 'r1', status: 'completed' } });
    await answers(page).getByText('So you are.').waitFor();
    const created = () => sent.filter(({ type }) => type === 'conversation.item.create');
    await ask(page, 'What the server refuses');
    await until(() => created().length === 1, 'nothing was said');
    say({ type: 'error', error: { message: 'That cannot be read.', event_id: created()[0].event_id } });
    await questions(page).getByRole('alert').getByText('That cannot be read.').waitFor();
    await ask(page, 'And this?');
    await until(() => created().length === 2, 'nothing was said');
    assert.ok(!sent.some(({ type }) => type === 'response.create'), 'what was refused is answered');
    const typed = created()[1].item.id;
    say({ type: 'conversation.item.added', item: { id: typed } });
    await until(() => sent.some(({ type }) => type === 'response.create'), 'nothing was asked');
    say({ type: 'response.created', response: { id: 'r2' } });
    say({ type: 'response.done', response: { id: 'r2', status: 'failed', status_details: { error: { message: 'No seat.' } } } });
    await answers(page).getByText('No seat.').waitFor();
    await until(() => sent.some(({ type, item_id }) => type === 'conversation.item.delete' && item_id === typed), 'it is still told');
    await page.getByRole('button', { name: 'Hands-free' }).click();
    const posted = page.waitForRequest((request) => request.method() === 'POST');
    await ask(page, 'Hello!');
    assert.deepEqual((await posted).postDataJSON().messages, [
      { role: 'user', content: 'I am clear.' },
      { role: 'assistant', content: 'So you are.' },
      { role: 'user', content: 'Hello!' },
    ]);
  });
});
