// The conversation when not all goes well, or much is in it: what fails is left out, the end stays in view, the sound can be held.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { heardSeconds, openPage } from '../support/browser.mjs';
import { until } from '../support/server.mjs';
import { MEDIA } from '../support/sound.mjs';
import { serverAndBrowser } from '../support/suite.mjs';

const DESK = { viewport: { width: 1280, height: 560 } };
const PICTURE = { name: 'above.png', mimeType: 'image/png', buffer: readFileSync(join(MEDIA, 'above.png')) };

const shared = serverAndBrowser();

async function withPage(use) {
  const page = await openPage(shared.browser, shared.server, DESK);
  try {
    await use(page);
  } finally {
    await page.context().close();
  }
}

const box = (page) => page.getByRole('textbox', { name: 'Message', exact: true });
const answers = (page) => page.getByRole('article', { name: 'Model' });
const questions = (page) => page.getByRole('article', { name: 'You' });
const attach = (page, ...files) => page.getByTestId('file').setInputFiles(files);

/** Sends a message; what the page tells the model. */
async function ask(page, text) {
  const posted = page.waitForRequest((request) => request.url().endsWith('/v1/chat/completions'));
  await box(page).fill(text);
  await box(page).press('Enter');
  return (await posted).postDataJSON().messages;
}

/** Lets answers go on for as long as a test needs. */
const neverEnding = (page) =>
  page.route('**/v1/chat/completions', (route) => {
    const body = { ...route.request().postDataJSON(), ignore_eos: true, max_tokens: 20_000 };
    return route.continue({ postData: JSON.stringify(body) });
  });

test('a picture that cannot be read fails its own turn only', async () => {
  await withPage(async (page) => {
    await attach(page, { name: 'broken.png', mimeType: 'image/png', buffer: Buffer.from('no picture') });
    await page.getByRole('list', { name: 'To be sent' }).getByText('broken.png').waitFor();
    await ask(page, 'Describe this picture.');
    await answers(page).getByRole('alert').waitFor();
    await questions(page).getByRole('img', { name: 'broken.png cannot be shown here' }).waitFor();
    await questions(page).getByText('Not answered').waitFor();
    const messages = await ask(page, 'What is the capital of France?');
    assert.deepEqual(messages, [{ role: 'user', content: 'What is the capital of France?' }]);
    await answers(page).getByText('The capital of France is Paris.').waitFor();
  });
});

test('what failed can be tried again', async () => {
  await withPage(async (page) => {
    const busy = { status: 503, json: { error: { message: 'All seats are taken.' } } };
    await page.route('**/v1/chat/completions', (route) => route.fulfill(busy), { times: 1 });
    await attach(page, PICTURE);
    await page.getByRole('list', { name: 'To be sent' }).getByText('above.png').waitFor();
    await ask(page, 'Describe this picture.');
    await answers(page).getByText('All seats are taken.').waitFor();
    await page.getByRole('button', { name: 'Try again' }).click();
    await answers(page).getByText('There is a green triangle above a purple circle.').waitFor();
    assert.equal(await questions(page).count(), 1);
    assert.equal(await answers(page).count(), 1);
    assert.equal(await page.getByRole('alert').count(), 0);
  });
});

test('an answer whose connection is lost is not taken for a whole one', async () => {
  await withPage(async (page) => {
    const half = 'data: {"choices":[{"index":0,"delta":{"content":"Half an"}}]}\n\n';
    await page.route('**/v1/chat/completions', (route) => route.fulfill({ contentType: 'text/event-stream', body: half }), { times: 1 });
    await ask(page, 'Hello!');
    await answers(page).getByText('The connection to the server ended before the answer did.').waitFor();
    await answers(page).getByText('Half an', { exact: true }).waitFor();
    await page.getByRole('button', { name: 'Try again' }).focus();
    await page.keyboard.press('Enter');
    await page.getByRole('link', { name: 'Save' }).waitFor();
    assert.equal(await page.getByRole('log').evaluate((element) => element === document.activeElement), true);
  });
});

test('a new conversation keeps the settings and nothing else', async () => {
  await withPage(async (page) => {
    await page.getByText('System message and key').click();
    await page.getByLabel('System message').fill('Be brief.');
    assert.equal((await ask(page, 'Hello!')).length, 2);
    await page.getByRole('link', { name: 'Save' }).waitFor();
    await page.getByRole('button', { name: 'New conversation' }).focus();
    await page.keyboard.press('Enter');
    await page.getByRole('heading', { name: 'Ask, and hear the answer' }).waitFor();
    assert.equal(await page.getByRole('article').count(), 0);
    assert.equal(await box(page).evaluate((element) => element === document.activeElement), true);
    assert.deepEqual(await ask(page, 'What is your name?'), [
      { role: 'system', content: 'Be brief.' },
      { role: 'user', content: 'What is your name?' },
    ]);
    // In the middle of an answer it ends the request too.
    await page.getByRole('link', { name: 'Save' }).waitFor();
    await neverEnding(page);
    await ask(page, 'Count from one to ten.');
    await until(async () => (await heardSeconds(page)) > 0.3, 'nothing was heard');
    await page.getByRole('button', { name: 'New conversation' }).click();
    await shared.server.idle();
  });
});

test('several files at once, and a sentence for each that is none of these', async () => {
  await withPage(async (page) => {
    const sound = { name: 'legs.wav', mimeType: 'audio/wav', buffer: readFileSync(join(MEDIA, 'ask_legs.wav')) };
    const others = [
      { name: 'notes.txt', mimeType: 'text/plain', buffer: Buffer.from('a') },
      { name: 'paper.pdf', mimeType: 'application/pdf', buffer: Buffer.from('b') },
    ];
    await attach(page, PICTURE, others[0], sound, others[1]);
    const list = page.getByRole('list', { name: 'To be sent' });
    await list.getByText('legs.wav').waitFor();
    await page.getByRole('alert').getByText('paper.pdf').waitFor();
    assert.deepEqual(await list.getByRole('listitem').allInnerTexts(), ['above.png', '♪\nlegs.wav']);
    const alerts = await page.getByRole('alert').allInnerTexts();
    assert.deepEqual(
      alerts,
      ['notes.txt is text/plain', 'paper.pdf is application/pdf'].map((text) => `${text}; pictures, sounds and videos are allowed.`),
    );
  });
});

test('the end stays in view, unless the reader is elsewhere', async () => {
  await withPage(async (page) => {
    const log = page.getByRole('log');
    const below = () => log.evaluate((element) => element.scrollHeight - element.scrollTop - element.clientHeight);
    for (let turn = 1; turn <= 3; ++turn) {
      await attach(page, PICTURE);
      await page.getByRole('list', { name: 'To be sent' }).getByText('above.png').waitFor();
      await ask(page, 'Describe this picture.');
      await page.getByRole('link', { name: 'Save' }).nth(turn - 1).waitFor();
    }
    await until(async () => (await below()) < 2, 'the end is not in view');
    const player = await answers(page).last().getByRole('link', { name: 'Save' }).boundingBox();
    const composer = await page.locator('form.composer').boundingBox();
    assert.ok(player.y + player.height < composer.y, 'the last player is hidden');
    const height = () => log.evaluate((element) => element.clientHeight);
    const tall = await height();
    await box(page).fill('one\ntwo\nthree\nfour\nfive');
    await until(async () => (await height()) < tall, 'the composer has not grown');
    await until(async () => (await below()) < 2, 'a composer that grows hides the end');
    await log.evaluate((element) => (element.scrollTop = 0));
    await until(async () => (await below()) > 100, 'it did not scroll');
    await box(page).fill('one\ntwo\nthree\nfour\nfive\nsix\nseven');
    const small = await height();
    await until(async () => (await height()) <= small, 'the composer has not grown');
    assert.equal(await log.evaluate((element) => element.scrollTop), 0);
  });
});

test('the timeline grows with the answer, and the sound can be held', async () => {
  await withPage(async (page) => {
    await neverEnding(page);
    await ask(page, 'Count from one to ten.');
    const coming = page.getByRole('list', { name: 'The answer so far' });
    await coming.getByRole('img', { name: /^text: first at/ }).waitFor();
    const log = page.getByRole('log');
    await until(() => log.evaluate((element) => element.scrollTop > 60), 'the log does not follow the answer');
    const sound = coming.getByRole('img', { name: /^sound: first at/ });
    await sound.waitFor();
    const last = async () => /last at (.*)$/.exec(await sound.getAttribute('aria-label'))[1];
    const first = await last();
    await until(async () => (await last()) !== first, 'the timeline stands still');
    // Stages tell of themselves while they work; the talker, which has no output of its own, when it has ended.
    const stages = page.getByRole('list', { name: 'The stages so far' });
    await stages.getByRole('img', { name: /^thinker: waited .+, active since/ }).waitFor();
    const vocoder = stages.getByRole('img', { name: /^code2wav: waited .+, active since/ });
    await vocoder.waitFor();
    const width = () => vocoder.locator('.bar.work').evaluate((bar) => bar.getBoundingClientRect().width);
    assert.ok((await width()) > 0);
    assert.equal(await page.getByRole('list', { name: 'Stages over time' }).count(), 0, 'the answer has ended');
    await until(async () => (await heardSeconds(page)) > 1.2, 'nothing was heard');
    const below = () => log.evaluate((element) => element.scrollHeight - element.scrollTop - element.clientHeight);
    await until(async () => (await below()) < 32, 'the end is lost while the answer grows');
    assert.match(await answers(page).locator('.time').innerText(), /^0:0[1-9] \/ \d:\d\d$/);
    await page.getByRole('button', { name: 'Pause the answer' }).click();
    const play = page.getByRole('button', { name: 'Play the answer' });
    await play.waitFor();
    await page.waitForTimeout(200);
    const held = await heardSeconds(page);
    await page.waitForTimeout(500);
    assert.equal(await heardSeconds(page), held);
    await play.click();
    await until(async () => (await heardSeconds(page)) > held + 0.3, 'it does not go on');
    await page.keyboard.press('Escape');
    await page.getByText('The answer ended before its stages told all their times.').waitFor();
    await shared.server.idle();
    await page.unroute('**/v1/chat/completions');
    await ask(page, 'What is your name?');
    const thinker = page.getByRole('list', { name: 'Stages over time' }).getByRole('img', { name: /^thinker: / });
    assert.match(await thinker.getAttribute('aria-label'), /active for .+ from .+ to .+, computing for .+ of it/);
  });
});
