// node browser/screenshots.mjs DIR: the pictures of docs/playground.md, from the real page and the bundled model.
import { readFileSync, mkdirSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { openBrowser, openPage } from '../support/browser.mjs';
import { startServer } from '../support/server.mjs';
import { MEDIA, padded, spoken } from '../support/sound.mjs';

const folder = resolve(process.argv[2] ?? 'screenshots');
mkdirSync(folder, { recursive: true });
const DESK = { viewport: { width: 1200, height: 760 } };
const PHONE = { viewport: { width: 390, height: 780 }, isMobile: true, hasTouch: true };

const server = await startServer();
const browser = await openBrowser();
const shot = (page, name) => page.screenshot({ path: join(folder, `${name}.png`), animations: 'disabled' });

/** Sends a message and waits until its answer can be replayed. */
async function ask(page, text) {
  const answers = await page.getByRole('link', { name: 'Save' }).count();
  await page.getByRole('textbox', { name: 'Message', exact: true }).fill(text);
  await page.getByRole('button', { name: 'Send' }).click();
  await page.getByRole('link', { name: 'Save' }).nth(answers).waitFor();
}

const attach = (page) =>
  page.getByTestId('file').setInputFiles({ name: 'shapes.png', mimeType: 'image/png', buffer: readFileSync(join(MEDIA, 'above.png')) });

async function withPage(options, use) {
  const page = await openPage(browser, server, options);
  await use(page);
  await page.context().close();
}

await withPage({ ...DESK, colorScheme: 'light' }, async (page) => {
  await ask(page, 'What is the capital of France?');
  await attach(page);
  await ask(page, 'Describe this picture.');
  await pause(1200); // in the middle of the answer's sound
  await shot(page, 'talk');
});

await withPage(
  { ...DESK, colorScheme: 'dark', says: padded(spoken('ask_legs'), 0.5, 0) },
  async (page) => {
    await page.getByRole('button', { name: 'Hands-free' }).click();
    await page.getByText('A spider has eight legs.').waitFor();
    await page.getByText(/many legs/).waitFor();
    await page.getByRole('link', { name: 'Save' }).waitFor();
    await pause(500);
    await shot(page, 'hands-free');
  },
);

await withPage({ ...PHONE, colorScheme: 'light', deviceScaleFactor: 1.5 }, async (page) => {
  await shot(page, 'phone');
});

await withPage({ ...DESK, colorScheme: 'dark', path: '/#live' }, async (page) => {
  // Some listeners, of whom there are sometimes more and sometimes fewer.
  const end = Date.now() + 45_000;
  const listener = async (number) => {
    while (Date.now() < end) {
      await pause(400 * number + 2500 * Math.abs(Math.sin(Date.now() / 9000 + number)));
      const messages = [{ role: 'user', content: number % 2 ? 'Tell me who you are.' : 'What is the capital of France?' }];
      await fetch(`${server.url}/v1/chat/completions`, {
        method: 'POST',
        headers: { 'Content-Type': 'application/json' },
        body: JSON.stringify({ messages, modalities: ['text', 'audio'] }),
      }).then((answer) => answer.arrayBuffer());
    }
  };
  await Promise.all([0, 1, 2, 3].map(listener));
  await shot(page, 'live');
});
await browser.close();
await server.stop();
