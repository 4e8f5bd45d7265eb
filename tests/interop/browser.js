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

/** Two users of the IM tab; the server lets one browser of a user in (policy 1), and takes any token (none). */
async function instant(browser, url, problems, directory) {
  const enter = async (settings, name, token) => {
    const page = await open(browser, url, problems, settings);
    await page.getByRole('link', { name: 'Instant messages' }).click();
    await page.getByLabel('Your user').fill(name);
    await page.getByRole('textbox', { name: 'Token' }).fill(token);
    await page.getByRole('button', { name: 'Log in' }).click();
    await page.locator('#status-text', { hasText: `logged in as ${name}` }).waitFor();
    return page;
  };
  const talk = async (page, name) => {
    await page.getByLabel('Talk to').fill(name);
    await page.getByRole('button', { name: 'Talk' }).click();
    await page.getByRole('textbox', { name: 'Message' }).waitFor();
  };
  const lines = (page) => page.locator('#messages li').allTextContents();
  const problem = (page, text) => page.locator('#problem', { hasText: text }).waitFor();
  const presence = (page, text) => page.locator('#presence', { hasText: text }).waitFor();
  const text = 'Hello, 漢字 😀 <b>not bold</b> & "quoted"';

  const ann = await enter({ colorScheme: 'light' }, 'ann', 'first');
  await talk(ann, 'bob');
  await presence(ann, 'bob is offline.');
  const bob = await enter({ colorScheme: 'dark' }, 'bob', 'any');
  await presence(ann, 'bob is online.');
  await say(ann, text);
  await problem(bob, `ann has written to you: ${text}`);
  await talk(bob, 'ann');
  await sees(bob, `ann ${text}`);
  await say(bob, 'Hello back');
  await sees(ann, 'bob Hello back');
  for (const page of [ann, bob]) equal(await lines(page), [`ann ${text}`, 'bob Hello back'], 'what was said');
  check((await ann.locator('#frames tr').count()) >= 8, 'the calls are listed');
  if (directory) {
    await ann.screenshot({ path: path.join(directory, 'im-light.png') });
    await bob.screenshot({ path: path.join(directory, 'im-dark.png') });
  }
  // Another browser of ann takes the place of the first, which is told and stays away.
  const newer = await enter({ viewport: { width: 390, height: 800 } }, 'ann', 'second');
  await problem(ann, 'The server ended this session: replaced by another device');
  await ann.locator('#status-text', { hasText: 'closed: 4003' }).waitFor();
  if (directory) await ann.screenshot({ path: path.join(directory, 'im-kicked.png') });
  await talk(newer, 'bob');
  await sees(newer, 'bob Hello back');
  await bob.getByRole('button', { name: 'Log out' }).click();
  await bob.waitForSelector('#status[data-state="closed"]');
  await presence(newer, 'bob is offline.');
  if (directory) await newer.screenshot({ path: path.join(directory, 'im-narrow.png') });
  for (const page of [ann, bob, newer]) await page.context().close();
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
    const { chat: hasChat, im: hasIm } = await (await fetch(`${url}config.json`)).json();
    if (hasChat) await direct(one, two, directory);
    if (hasIm) await instant(browser, url, problems, directory);
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
