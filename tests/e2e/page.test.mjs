// The chat page in Chromium: two windows, one conversation. Leaves screenshots in build/test.
import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { moduleBundle, startServer, top, until } from './harness.mjs';

const { chromium } = await import(join(top, 'build/tools/node_modules/playwright-core/index.mjs'));
const executable = ['/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome'].find(existsSync);
const shots = join(top, 'build/test');

let server, browser;
const problems = [];
before(async () => {
  server = await startServer({ words: ['--static', join(top, 'build/chat/public')] });
  await server.publish('chat', moduleBundle('chat'));
  browser = await chromium.launch({
    executablePath: executable,
    args: [
      '--no-sandbox',
      '--disable-background-networking',
      '--disable-component-update',
      '--disable-domain-reliability',
      '--disable-sync',
      '--no-first-run',
      '--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1',
    ],
  });
});
after(async () => {
  await browser?.close();
  await server?.end();
});

async function openWindow(context, size = { width: 1180, height: 760 }) {
  const page = await context.newPage();
  await page.setViewportSize(size);
  page.on('pageerror', error => problems.push(String(error)));
  page.on('console', message => message.type() === 'error' && problems.push(message.text()));
  await page.goto(server.url + '/');
  await page.getByText('Connected').waitFor();
  return page;
}

async function nameYourself(page, name) {
  await page.locator('.hint').getByLabel('Your name').fill(name);
  await page.locator('.hint').getByRole('button', { name: 'Save' }).click();
  await page.locator('.side').getByText(name, { exact: true }).waitFor();
}

async function say(page, text) {
  await page.getByLabel('Message', { exact: true }).fill(text);
  await page.keyboard.press('Enter');
  await page.locator('.mine .bubble', { hasText: text }).waitFor();
}

test('two windows of one browser are two people who see each other at once', async () => {
  const context = await browser.newContext({ colorScheme: 'light' });
  const ada = await openWindow(context);
  await ada.getByText('Nothing has been said yet').waitFor();
  await ada.screenshot({ path: join(shots, 'chat-empty.png') });
  const grace = await openWindow(context);
  await nameYourself(ada, 'Ada');
  await nameYourself(grace, 'Grace');
  await ada.locator('.side').getByText('Grace', { exact: true }).waitFor();
  await say(ada, 'Have you seen it? The page talks to the database directly.');
  await say(ada, 'No server in between.');
  await grace.locator('.turn:not(.mine) .bubble', { hasText: 'No server in between.' }).waitFor();
  await say(grace, 'And every message is on disk before it shows up here?');
  await say(ada, 'Before it shows up anywhere.');
  await grace.locator('.bubble', { hasText: 'Before it shows up anywhere.' }).waitFor();
  await say(grace, 'Then I will pull the plug and see 🙂');
  await ada.locator('.bubble', { hasText: 'pull the plug' }).waitFor();
  assert.equal(await ada.locator('.bubble').count(), 5);
  assert.deepEqual(await ada.locator('.bubble').allInnerTexts(), await grace.locator('.bubble').allInnerTexts());
  await ada.screenshot({ path: join(shots, 'chat.png') });
  await grace.emulateMedia({ colorScheme: 'dark' });
  await grace.screenshot({ path: join(shots, 'chat-dark.png') });
  await context.close();
});

test('what the database refuses is said beside the box and the text stays', async () => {
  const context = await browser.newContext();
  const page = await openWindow(context);
  const long = 'x'.repeat(2001);
  const spare = await page.getByLabel('Message', { exact: true }).evaluate(box => box.clientHeight - box.scrollHeight);
  assert.ok(spare >= 0, `the empty box is ${-spare} pixels too low and has a scroll bar`);
  await page.getByLabel('Message', { exact: true }).fill(long);
  await page.keyboard.press('Enter');
  await page.getByText('Messages must not be longer than 2000 characters').waitFor();
  assert.equal(await page.getByLabel('Message', { exact: true }).inputValue(), long);
  await context.close();
});

test('a reload brings back the same person and the whole conversation', async () => {
  const context = await browser.newContext();
  const page = await openWindow(context);
  await nameYourself(page, 'Linus');
  await say(page, 'still me?');
  await page.reload();
  await page.locator('.mine .bubble', { hasText: 'still me?' }).waitFor();
  assert.equal(await page.locator('.hint').count(), 0);
  await context.close();
});

// Writes down every state of the list that the page could have painted: how many bubbles there are, and whether the
// first is the element that it was.
async function watchBubbles(page) {
  await page.evaluate(() => {
    const list = document.querySelector('.messages');
    const first = list.querySelector('.bubble');
    window.seen = { fewest: list.querySelectorAll('.bubble').length, replaced: false, emptied: false };
    new MutationObserver(() => {
      const bubbles = list.querySelectorAll('.bubble');
      window.seen.fewest = Math.min(window.seen.fewest, bubbles.length);
      window.seen.replaced ||= bubbles[0] !== first;
      window.seen.emptied ||= list.querySelector('.empty') !== null;
    }).observe(list, { childList: true, subtree: true });
  });
}

test('a killed server: the page says so, keeps what it shows, and hears new messages without a reload', async () => {
  const context = await browser.newContext();
  const page = await openWindow(context);
  await say(page, 'before the kill');
  const bubbles = page.locator('.bubble');
  const before = await bubbles.allInnerTexts();
  await watchBubbles(page);

  await server.kill();
  await page.getByRole('status').getByText('Reconnecting…').waitFor();
  assert.deepEqual(await bubbles.allInnerTexts(), before);
  const box = page.getByLabel('Message', { exact: true });
  await box.fill('written meanwhile');
  assert.ok(await page.getByRole('button', { name: 'Send' }).isDisabled(), 'nothing can be sent while it is away');
  await page.screenshot({ path: join(shots, 'chat-reconnecting.png') });

  await server.start();
  await page.locator('.state.ok').waitFor({ timeout: 60_000 });
  assert.equal(await box.inputValue(), 'written meanwhile');
  await box.press('Enter');
  await page.locator('.mine .bubble', { hasText: 'written meanwhile' }).waitFor();
  const called = await server.cli('call', 'chat', 'send_message', 'from elsewhere', '--server', server.url);
  assert.equal(called.code, 0, called.stderr);
  await page.locator('.turn:not(.mine) .bubble', { hasText: 'from elsewhere' }).waitFor();

  assert.deepEqual(await bubbles.allInnerTexts(), [...before, 'written meanwhile', 'from elsewhere']);
  assert.deepEqual(await page.evaluate(() => window.seen), { fewest: before.length, replaced: false, emptied: false });
  // The browser says by itself that it could not connect.
  const own = problems.filter(problem => !/WebSocket connection to .* failed|net::ERR_/.test(problem));
  problems.splice(0, problems.length, ...own);
  await context.close();
});

test('it works on a phone', async () => {
  const context = await browser.newContext({ hasTouch: true, isMobile: true });
  const page = await openWindow(context, { width: 390, height: 780 });
  await page.getByRole('button', { name: /online/ }).tap();
  await page.locator('.side.open').waitFor();
  await page.getByRole('button', { name: /online/ }).tap();
  await say(page, 'from the train');
  const width = await page.evaluate(() => document.documentElement.scrollWidth);
  assert.ok(width <= 390, `nothing may stick out sideways, but the page is ${width} px wide`);
  await page.screenshot({ path: join(shots, 'chat-phone.png') });
  await context.close();
});

test('the pages said nothing in the console that a developer would have to look into', async () => {
  await until(() => true, 'the end');
  assert.deepEqual(problems, []);
});
