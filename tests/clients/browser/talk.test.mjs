// The playground as a person uses it: typing, talking, dropping a picture, hearing the answer.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { heardSeconds, openPage } from '../support/browser.mjs';
import { until } from '../support/server.mjs';
import { MEDIA, padded, readWav, spoken } from '../support/sound.mjs';
import { serverAndBrowser } from '../support/suite.mjs';

const shared = serverAndBrowser();

/** Runs `use` with a page; nothing may have gone to the console as an error. */
async function withPage(use, options) {
  const page = await openPage(shared.browser, shared.server, options);
  try {
    await use(page);
    assert.deepEqual(page.problems, []);
  } finally {
    await page.context().close();
  }
}

const box = (page) => page.getByRole('textbox', { name: 'Message', exact: true });
const answers = (page) => page.getByRole('article', { name: 'Model' });
const questions = (page) => page.getByRole('article', { name: 'You' });

async function ask(page, text) {
  await box(page).fill(text);
  await page.getByRole('button', { name: 'Send' }).click();
}

/** Waits until the worklet has put out all that the last answer has, and it has come through to the speakers. */
async function heardToTheEnd(page) {
  const sound = answers(page).last().locator('audio');
  await sound.waitFor({ state: 'attached' });
  await until(() => sound.evaluate((audio) => audio.readyState > 0), 'the answer cannot be replayed');
  const length = await sound.evaluate((audio) => audio.duration);
  assert.ok(length > 1, `${length} s of speech`);
  const all = Math.round(24000 * length);
  await until(() => page.evaluate((samples) => window.heard.played >= samples, all), `not all of ${length} s was played`);
  // The meter in the page may miss blocks when the machine is busy, and some samples of speech are zero.
  await until(async () => (await heardSeconds(page)) > 0.6 * length, `only a part of ${length} s was heard`);
  return length;
}

test('type and hear', async () => {
  await withPage(async (page) => {
    assert.equal(await heardSeconds(page).catch(() => 0), 0);
    await ask(page, 'What is the capital of France?');
    await answers(page).getByText('The capital of France is Paris.').waitFor();
    const length = await heardToTheEnd(page);
    const energy = await page.evaluate(() => window.heard.energy);
    assert.ok(energy / (24000 * length) > 1e-4, 'it is no silence');
    // The timeline says what each stage did.
    const stages = page.getByRole('list', { name: 'Stages over time' });
    for (const stage of ['thinker', 'talker', 'code2wav']) {
      await stages.getByRole('img', { name: new RegExp(`^${stage}: waited`) }).waitFor();
    }
    await page.getByText('TTFA', { exact: true }).waitFor();
    // The next turn knows the one before it.
    const posted = page.waitForRequest((request) => request.method() === 'POST');
    await ask(page, 'Hello!');
    const { messages } = (await posted).postDataJSON();
    assert.deepEqual(messages.map((message) => message.role), ['user', 'assistant', 'user']);
  });
});

/** Holds the button until `enough` has become true in the page. */
async function holdToTalk(page, enough) {
  await page.getByRole('button', { name: 'Hold to talk' }).hover();
  await page.mouse.down();
  await page.waitForFunction(enough);
  await page.mouse.up();
  await questions(page).locator('audio').waitFor({ state: 'attached' });
}

test('hold to talk, and hear', async () => {
  await withPage(
    async (page) => {
      await holdToTalk(page, () => window.spoken);
      await answers(page).getByText('A spider has eight legs.').waitFor();
      await heardToTheEnd(page);
    },
    { says: padded(spoken('ask_legs'), 0.1, 0.5) },
  );
});

test("the device's own sound is what is recorded", async () => {
  await withPage(async (page) => {
    // Half a second with a beep of Chromium's fake device in it.
    await holdToTalk(page, () => window.heard.recorded > 12_000 && window.heard.level > 0.001);
    const url = await questions(page).locator('audio').getAttribute('src');
    const { rate, samples } = readWav(Buffer.from(url.slice(url.indexOf(',') + 1), 'base64'));
    assert.equal(rate, 24000);
    assert.ok(samples.length > 12_000, `${samples.length} samples`);
    assert.ok(samples.some((sample) => Math.abs(sample) > 0.001 * 32768), 'it is silence');
  });
  await shared.server.idle();
});

test('talk hands-free: the question is written down and answered aloud', async () => {
  await withPage(
    async (page) => {
      await page.getByRole('button', { name: 'Hands-free' }).click();
      await questions(page)
        .getByText('How many legs does a spider have?')
        .waitFor()
        .catch(async (error) => {
          throw new Error(`heard only: ${JSON.stringify(await questions(page).allInnerTexts())}`, { cause: error });
        });
      await answers(page).getByText('A spider has eight legs.').waitFor();
      await heardToTheEnd(page);
      await page.getByRole('button', { name: 'Hands-free' }).click();
      assert.equal(await page.getByRole('button', { name: 'Hands-free' }).getAttribute('aria-pressed'), 'false');
    },
    { says: padded(spoken('ask_legs'), 0.5, 0) },
  );
  await shared.server.idle();
});

test('drop a picture and ask about it', async () => {
  await withPage(async (page) => {
    const dropped = await page.evaluateHandle((base64) => {
      const bytes = Uint8Array.from(atob(base64), (c) => c.charCodeAt(0));
      const transfer = new DataTransfer();
      transfer.items.add(new File([bytes], 'above.png', { type: 'image/png' }));
      return transfer;
    }, readFileSync(join(MEDIA, 'above.png')).toString('base64'));
    await page.locator('form.composer').dispatchEvent('drop', { dataTransfer: dropped });
    await page.getByRole('list', { name: 'To be sent' }).getByText('above.png').waitFor();
    await ask(page, 'Describe this picture.');
    await answers(page).getByText('There is a green triangle above a purple circle.').waitFor();
    assert.equal(await questions(page).getByRole('img', { name: 'above.png' }).count(), 1);
    // What is no picture, sound or video is refused in a sentence.
    const text = await page.evaluateHandle(() => {
      const transfer = new DataTransfer();
      transfer.items.add(new File(['a'], 'notes.txt', { type: 'text/plain' }));
      return transfer;
    });
    await page.locator('form.composer').dispatchEvent('drop', { dataTransfer: text });
    await page.getByRole('alert').getByText('notes.txt is text/plain').waitFor();
  });
});

test('stop in the middle: the sound ends and so does the request', async () => {
  await withPage(async (page) => {
    // An answer that would go on.
    await page.route('**/v1/chat/completions', (route) => {
      const body = { ...route.request().postDataJSON(), ignore_eos: true, max_tokens: 20_000 };
      return route.continue({ postData: JSON.stringify(body) });
    });
    await ask(page, 'Count from one to ten.');
    await until(async () => (await heardSeconds(page)) > 0.3, 'nothing was heard');
    assert.equal(await shared.server.total('vllm:num_requests_running'), 1);
    await page.getByRole('button', { name: 'Stop' }).click();
    await answers(page).getByText('Stopped').waitFor();
    await shared.server.idle();
    assert.ok((await shared.server.total('vllm:request_success_total', 'finished_reason="abort"')) >= 1);
    await page.getByRole('button', { name: 'Send' }).waitFor();
    const before = await heardSeconds(page);
    await page.waitForTimeout(400);
    const later = await heardSeconds(page);
    assert.ok(later - before < 0.2, `${later - before} s were still heard`);
  });
});
