'use strict';
// What every script here needs: the address argument, a watchdog, checks, one clear last line.

const path = require('node:path');
const { isDeepStrictEqual } = require('node:util');

const name = path.basename(process.argv[1] ?? 'script', '.js');

/** `127.0.0.1:3250` or `ws://127.0.0.1:3250/` or `http://…`. */
function address(argument = process.argv[2]) {
  if (!argument) {
    console.error(`usage: node ${name}.js ADDRESS   (host:port or a URL)`);
    process.exit(2);
  }
  const url = new URL(argument.includes('://') ? argument : `ws://${argument}/`);
  return { host: url.hostname, port: Number(url.port), ws: `ws://${url.host}/`, http: `http://${url.host}` };
}

/** The module that belongs to the gateway. */
const linkspan = () => import(path.join(__dirname, '../../gateway/web/linkspan.js'));

class CheckFailed extends Error {}

let checks = 0;

function check(condition, what) {
  checks += 1;
  if (!condition) throw new CheckFailed(what);
}

function equal(actual, expected, what) {
  check(isDeepStrictEqual(actual, expected), `${what}: got ${show(actual)}, expected ${show(expected)}`);
}

function show(value) {
  return value instanceof Uint8Array ? Buffer.from(value).toString('hex') : JSON.stringify(value);
}

/** Waits for a rejection with this code. */
async function fails(promise, code, what) {
  let value;
  try {
    value = await promise;
  } catch (error) {
    equal(error.code, code, `${what}: code of "${error.message}"`);
    return error;
  }
  throw new CheckFailed(`${what}: expected ${code}, got the answer ${show(value)}`);
}

const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

/** Waits until `condition()` holds. */
async function until(condition, what, ms = 5000) {
  const end = Date.now() + ms;
  while (!condition()) {
    if (Date.now() > end) throw new CheckFailed(`not within ${ms} ms: ${what}`);
    await sleep(5);
  }
  checks += 1;
}

/** The promise, or a failure after `ms`. */
function within(promise, ms, what) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new CheckFailed(`not within ${ms} ms: ${what}`)), ms);
  });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

/** Runs the script's body; ends the process with 0 or 1, after `seconds` at the latest. */
function run(seconds, body) {
  const finish = (code, line) => {
    console.log(line);
    process.exit(code);
  };
  setTimeout(() => finish(1, `FAIL ${name}: watchdog after ${seconds} s and ${checks} checks`), seconds * 1000);
  const failed = (error) => {
    if (!(error instanceof CheckFailed)) console.error(error);
    finish(1, `FAIL ${name}: ${error?.message ?? error}`);
  };
  process.on('uncaughtException', failed);
  process.on('unhandledRejection', failed);
  Promise.resolve()
    .then(body)
    .then((summary) => finish(0, `PASS ${name}: ${checks} checks${summary ? `; ${summary}` : ''}`), failed);
}

module.exports = { address, check, CheckFailed, equal, fails, linkspan, run, sleep, until, within };
