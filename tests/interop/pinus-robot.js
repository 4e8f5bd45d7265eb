'use strict';
// pinus-robot-plugin 1.7.3, the client pinus' load robots use, unmodified. Usage: node pinus-robot.js ADDRESS

const { address, equal, run, until, within } = require('./lib.js');

// It logs every step.
const log = console.log;
console.log = (...args) => (/^(PASS|FAIL)/.test(String(args[0])) ? log(...args) : undefined);
console.warn = () => {};

const { PinusWSClient } = require('pinus-robot-plugin/dist/PinusWSClient.js');

run(60, async () => {
  const { host, port } = address();
  const client = new PinusWSClient();
  const answer = await within(new Promise((resolve) => client.init({ host, port, user: {} }, resolve)), 10_000, 'handshake');
  equal(answer.code, 200, 'handshake code');
  const request = (route, body) =>
    within(new Promise((resolve) => client.request(route, body, resolve)), 10_000, `answer to ${route}`);

  // Its ids cycle 1 to 127, so they repeat within one connection.
  for (let seq = 0; seq < 200; seq += 1) equal(await request('Echo.JSON', { seq, text: 'é 漢字 😀' }), { seq, text: 'é 漢字 😀' }, `answer ${seq}`);
  const many = await Promise.all(Array.from({ length: 100 }, (_, seq) => request('Echo.Raw', { seq })));
  many.forEach((body, seq) => equal(body, { seq }, `pipelined answer ${seq}`));

  const pushes = [];
  client.on('onEcho', (body) => pushes.push(body));
  client.notify('Echo.PushMe', { a: 1 });
  await until(() => pushes.length === 1, 'onEcho');
  equal(pushes[0], { a: 1 }, 'onEcho');

  const numbered = [];
  client.on('onPush', (body) => numbered.push(body.i));
  await request('Echo.PushN', { n: 50, size: 20, route: 'onPush' });
  equal(numbered, Array.from({ length: 50 }, (_, i) => i), 'pushes before the answer, in order');
  console.error = () => {};
  client.disconnect();
  return '301 requests, 51 pushes';
});
