// The page for everybody: keyboard, phone width, dark, screen readers, and the live plots.
import assert from 'node:assert/strict';
import { createRequire } from 'node:module';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { openPage } from '../support/browser.mjs';
import { startServer, until } from '../support/server.mjs';
import { serverAndBrowser } from '../support/suite.mjs';

const AXE = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');
const PHONE = { viewport: { width: 320, height: 740 }, isMobile: true, hasTouch: true };
const DESK = { viewport: { width: 1280, height: 800 } };

const shared = serverAndBrowser();

async function converse(page) {
  await page.getByRole('textbox', { name: 'Message', exact: true }).fill('What is the capital of France?');
  await page.keyboard.press('Enter');
  await page.getByText('The capital of France is Paris.').waitFor();
  await page.getByRole('link', { name: 'Save' }).waitFor();
}

/** What WCAG 2.1 A and AA forbid, as axe finds it. */
async function violations(page) {
  await page.evaluate(AXE);
  const { violations: found } = await page.evaluate(() =>
    window.axe.run(document, { runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'best-practice'] }),
  );
  return found.map(({ id, nodes }) => `${id}: ${nodes.map((node) => node.html.slice(0, 160)).join(' | ')}`);
}

for (const colorScheme of ['light', 'dark']) {
  for (const [name, size] of Object.entries({ desk: DESK, phone: PHONE })) {
    test(`nothing is in a reader's way, and nothing scrolls sideways: ${name}, ${colorScheme}`, async () => {
      const page = await openPage(shared.browser, shared.server, { ...size, colorScheme, reducedMotion: 'reduce' });
      assert.deepEqual(await violations(page), []);
      await converse(page);
      assert.deepEqual(await violations(page), []);
      const width = () => page.evaluate(() => document.documentElement.scrollWidth - window.innerWidth);
      assert.ok((await width()) <= 0);
      const ground = await page.evaluate(() => getComputedStyle(document.querySelector('#app')).backgroundColor);
      const light = ground.match(/\d+/g).slice(0, 3).every((value) => Number(value) > 128);
      assert.equal(light, colorScheme === 'light', ground);
      await page.goto(`${shared.server.url}/#live`);
      await page.getByRole('figure').first().waitFor();
      assert.deepEqual(await violations(page), []);
      assert.ok((await width()) <= 0);
      assert.deepEqual(page.problems, []);
      await page.context().close();
    });
  }
}

test('on a phone the settings and the stages are one touch away', async () => {
  const page = await openPage(shared.browser, shared.server, PHONE);
  await converse(page);
  await page.getByRole('button', { name: 'Settings and stages' }).tap();
  await page.getByRole('list', { name: 'Stages over time' }).waitFor();
  await page.getByRole('combobox', { name: 'Voice' }).waitFor();
  assert.ok((await page.evaluate(() => document.documentElement.scrollWidth - window.innerWidth)) <= 0);
  await page.keyboard.press('Escape');
  await page.getByRole('combobox', { name: 'Voice' }).waitFor({ state: 'hidden' });
  const name = await page.evaluate(() => document.activeElement.getAttribute('aria-label'));
  assert.equal(name, 'Settings and stages', 'the focus is lost with what it was on');
  await page.context().close();
});

test('everything can be reached and done with the keyboard alone', async () => {
  const page = await openPage(shared.browser, shared.server, DESK);
  const focused = () =>
    page.evaluate(() => {
      const at = document.activeElement;
      return at.getAttribute('aria-label') ?? at.closest('label')?.textContent.trim() ?? at.textContent.trim();
    });
  // Nobody can choose among voices that are not known yet.
  await page.getByRole('combobox', { name: 'Voice' }).locator('option').first().waitFor({ state: 'attached' });
  const reached = [];
  for (let i = 0; i < 40; ++i) {
    await page.keyboard.press('Tab');
    const name = await focused();
    if (reached.includes(name)) break;
    reached.push(name);
  }
  for (const wanted of [/^Talk$/, /^Live$/, /^New conversation$/, /^Model/, /^Speak/, /^Voice/, /^Sampling/, /^Message$/, /^Add/, /talk/i, /^Hands-free/]) {
    assert.ok(reached.some((name) => wanted.test(name)), `${wanted} is not among ${reached.join(', ')}`);
  }
  await page.getByRole('textbox', { name: 'Message', exact: true }).focus();
  await page.keyboard.type('What is the capital of France?');
  await page.keyboard.press('Shift+Enter');
  await page.keyboard.type('Say it.');
  assert.equal(await page.getByRole('textbox', { name: 'Message', exact: true }).inputValue(), 'What is the capital of France?\nSay it.');
  await page.keyboard.press('Enter');
  await page.getByRole('article', { name: 'You' }).waitFor();
  await page.keyboard.press('Escape');
  await page.getByRole('button', { name: 'Send' }).waitFor();
  await page.getByRole('link', { name: 'Live' }).focus();
  await page.keyboard.press('Enter');
  await page.getByRole('heading', { name: 'Live' }).waitFor();
  await page.context().close();
});

test('the live page plots what the server does', async () => {
  const page = await openPage(shared.browser, shared.server, { ...DESK, path: '/#live' });
  const text = page.getByRole('img', { name: /^Text: now/ });
  await text.waitFor();
  await page.getByText('thinker', { exact: false }).first().waitFor();
  // Nothing, as long as it has not been looked twice.
  const most = async () => Number(/at most ([\d.]+)/.exec(await text.getAttribute('aria-label'))?.[1] ?? 0);
  assert.ok((await most()) < 1);
  const talk = async () => {
    const answer = await fetch(`${shared.server.url}/v1/chat/completions`, {
      method: 'POST',
      headers: { 'Content-Type': 'application/json' },
      body: JSON.stringify({ messages: [{ role: 'user', content: 'Hello' }], modalities: ['text', 'audio'] }),
    });
    assert.equal(answer.status, 200);
  };
  await until(async () => (await talk(), (await most()) > 1), 'the plot of the text stays flat');
  for (const title of ['Speech', 'Running', 'Waiting', 'Time to first token', 'Time to first audio', 'thinker busy', 'code2wav busy']) {
    await page.getByRole('img', { name: new RegExp(`^${title}: now`) }).waitFor();
  }
  // Shares have one and the same axis, whatever their values.
  for (const ticks of await page.locator('figure', { hasText: 'busy' }).locator('.ticks.up').allInnerTexts()) {
    assert.deepEqual(ticks.split(/\s+/), ['100', '50', '0']);
  }
  await page.context().close();
});

test('the live page knows what was before it was looked at', async () => {
  const page = await openPage(shared.browser, shared.server, DESK);
  await page.getByRole('combobox', { name: 'Model' }).waitFor();
  const readings = () => page.evaluate(() => performance.getEntriesByType('resource').filter(({ name }) => name.endsWith('/metrics')).length);
  await until(async () => (await readings()) > 0, 'nobody asks for the metrics');
  await converse(page);
  const then = await readings();
  await until(async () => (await readings()) > then + 1, 'nobody asks for the metrics any more');
  await page.getByRole('link', { name: 'Live' }).click();
  const text = await page.getByRole('img', { name: /^Text: now/ }).getAttribute('aria-label');
  assert.ok(Number(/at most ([\d.]+) tokens\/s in the last \d+ s$/.exec(text)[1]) > 1, text);
  await page.context().close();
});

test('a server that is gone is said so', async () => {
  const own = await startServer();
  const page = await openPage(shared.browser, own, DESK);
  await page.getByRole('combobox', { name: 'Model' }).waitFor();
  await own.stop();
  await page.getByRole('textbox', { name: 'Message', exact: true }).fill('Hello');
  await page.keyboard.press('Enter');
  await page.getByRole('alert').getByText('The server cannot be reached.').first().waitFor();
  await page.context().close();
});

test('a key that the server asks for can be given', async () => {
  const own = await startServer('--api-key', 'secret');
  try {
    const page = await openPage(shared.browser, own, DESK);
    await page.getByRole('alert').getByText('Authorization').waitFor();
    await page.getByText('System message and key').click();
    await page.getByLabel('API key').fill('secret');
    await page.keyboard.press('Tab');
    await page.getByRole('combobox', { name: 'Model' }).locator('option', { hasText: 'nano' }).waitFor({ state: 'attached' });
    await page.getByRole('alert').waitFor({ state: 'detached' });
    await converse(page);
    await page.context().close();
  } finally {
    await own.stop();
  }
});
