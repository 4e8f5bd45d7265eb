'use strict';
// The demo page in headless Chromium, two tabs. Usage: node browser.js ADDRESS_OF_THE_PAGE [SCREENSHOT_DIRECTORY]
// CHROMIUM may name another browser than /usr/bin/chromium.

const fs = require('node:fs');
const path = require('node:path');
const { chromium } = require('playwright-core');
const { address, check, equal, run } = require('./lib.js');

const options = { executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium', args: ['--no-sandbox', '--disable-gpu'] };

/** `search` is what follows the address of the page. */
async function open(browser, url, problems, settings, search = '') {
  const context = await browser.newContext({ viewport: { width: 1200, height: 860 }, ...settings });
  const page = await context.newPage();
  page.setDefaultTimeout(10_000);
  page.on('pageerror', (error) => problems.push(String(error)));
  page.on('console', (entry) => {
    if (entry.type() === 'error' && !entry.location().url.endsWith('/favicon.ico')) problems.push(entry.text());
  });
  page.on('request', (request) => request.url().startsWith(url) || problems.push(`loads ${request.url()}`));
  await page.goto(`${url}${search}`);
  await page.waitForSelector('#status[data-state="open"]');
  return page;
}

async function join(page, name) {
  await page.getByLabel('Your name').fill(name);
  await page.getByRole('button', { name: 'Join the room' }).click();
  await page.getByRole('textbox', { name: 'Message' }).waitFor();
}

async function say(page, text) {
  await page.getByRole('textbox', { name: 'Message' }).fill(text);
  await page.getByRole('button', { name: 'Send' }).click();
}

const sees = (page, text) => page.locator('#messages li', { hasText: text }).waitFor();
const members = (page) => page.locator('#members li').allTextContents();

async function chat(one, two) {
  await join(one, 'Ann');
  await join(two, 'Bob');
  await sees(one, 'Bob joined.');
  equal((await members(one)).sort(), ['Ann', 'Bob'], 'members seen by the first');
  equal((await members(two)).sort(), ['Ann', 'Bob'], 'members seen by the second');
  await say(one, 'Hello from the first tab');
  await say(two, 'Hello back – 漢字 😀 <b>not bold</b>');
  for (const page of [one, two]) {
    await sees(page, 'Hello from the first tab');
    await sees(page, 'Hello back – 漢字 😀 <b>not bold</b>');
  }
  equal(await one.locator('#messages li.mine').count(), 1, 'own messages of the first');
  check((await one.locator('#frames tr').count()) >= 5, 'the frames are listed');
}

/** Two users by number, in the tab of direct messages. */
async function direct(one, two, directory) {
  const numbers = ['71', '18446744073709551615'];
  for (const [page, number] of [[one, numbers[0]], [two, numbers[1]]]) {
    await page.getByRole('link', { name: 'Direct chat' }).click();
    await page.getByLabel('Your number').fill(number);
    await page.getByRole('button', { name: 'Connect', exact: true }).click();
    await page.getByRole('textbox', { name: 'Direct message' }).waitFor();
  }
  const say = async (page, to, text) => {
    await page.getByLabel('To number').fill(to);
    await page.getByRole('textbox', { name: 'Direct message' }).fill(text);
    await page.getByRole('button', { name: 'Send' }).click();
  };
  const hears = (page, text) => page.locator('#direct-messages li.theirs', { hasText: text }).waitFor();
  await say(one, numbers[1], 'Hello, 漢字 😀 <b>not bold</b>');
  await hears(two, 'Hello, 漢字 😀 <b>not bold</b>');
  await hears(two, 'from 71');
  await say(two, numbers[0], 'Hello back');
  await hears(one, `from ${numbers[1]}`);
  equal(await one.locator('#direct-frames tr').count(), 2, 'frames of the first');
  if (directory) await two.screenshot({ path: path.join(directory, 'direct.png') });
  await two.getByRole('button', { name: 'Disconnect' }).click();
  await two.locator('#direct-messages li.notice', { hasText: 'Disconnected: 1000' }).waitFor();
  for (const page of [one, two]) await page.getByRole('link', { name: 'Room chat' }).click();
}

/** A page that was removed says so and can come back when asked to. */
async function ends(page) {
  await page.evaluate(() => window.linkspan.notify('Echo.Kick', {}));
  await page.waitForSelector('#status[data-state="closed"]');
  check((await page.locator('#problem').textContent()).length > 0, 'the page says why it was removed');
  await page.getByRole('button', { name: 'Connect again' }).click();
  await page.waitForSelector('#status[data-state="open"]');
}

run(90, async () => {
  const url = `${address().http}/`;
  const directory = process.argv[3];
  const problems = [];
  const browser = await chromium.launch(options);
  process.on('exit', () => browser.process?.()?.kill('SIGKILL'));
  try {
    const one = await open(browser, url, problems, { colorScheme: 'light' });
    const two = await open(browser, url, problems, { colorScheme: 'dark', viewport: { width: 1000, height: 860 } });
    await chat(one, two);
    if (directory) {
      fs.mkdirSync(directory, { recursive: true });
      await one.screenshot({ path: path.join(directory, 'chat-light.png') });
      await two.screenshot({ path: path.join(directory, 'chat-dark.png') });
    }
    const { chat: hasChat } = await (await fetch(`${url}config.json`)).json();
    if (hasChat) await direct(one, two, directory);
    // Leaving by the button, coming back, leaving by closing the tab.
    await two.getByRole('button', { name: 'Leave' }).click();
    await sees(one, 'Bob left.');
    equal(await members(one), ['Ann'], 'members after leaving');
    const { pomelo_ws: ws } = await (await fetch(`${url}config.json`)).json();
    const narrow = { viewport: { width: 390, height: 800 } };
    const three = await open(browser, url, problems, narrow, `?ws=${encodeURIComponent(ws)}`);
    await join(three, 'Cy');
    await sees(one, 'Cy joined.');
    if (directory) await three.screenshot({ path: path.join(directory, 'chat-narrow.png') });
    await three.context().close();
    await sees(one, 'Cy left.');
    await ends(one);
    equal(problems, [], 'errors in the pages');
  } finally {
    await browser.close();
  }
  return directory ? `screenshots in ${directory}` : '';
});
