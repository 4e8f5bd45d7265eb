'use strict';
// pomelo-jsclient-websocket 0.1.1, pomelo's own browser client, unmodified. Usage: node jsclient.js ADDRESS

const { address, equal, linkspan, run, until, within } = require('./lib.js');

// The order matters: `window` first, so that pomelo-protocol picks its Uint8Array flavour.
globalThis.window = globalThis;
globalThis.WebSocket = require('ws');
require('pomelo-protocol/lib/protocol.js');
globalThis.EventEmitter = require('node:events').EventEmitter;
const pomelo = require('pomelo-jsclient-websocket');

const request = (route, body) =>
  within(new Promise((resolve) => pomelo.request(route, body, resolve)), 10_000, `answer to ${route}`);

run(60, async () => {
  const { host, port, ws } = address();
  await within(new Promise((resolve) => pomelo.init({ host, port, user: { token: 't' } }, resolve)), 10_000, 'handshake');

  // One after the other, beyond 127 so that ids take two bytes.
  for (let seq = 0; seq < 200; seq += 1) equal(await request('Echo.JSON', { seq, text: 'x' }), { seq, text: 'x' }, `answer ${seq}`);
  // Pipelined.
  const many = await Promise.all(Array.from({ length: 200 }, (_, seq) => request('Echo.Raw', { seq })));
  many.forEach((body, seq) => equal(body, { seq }, `pipelined answer ${seq}`));

  const pushes = [];
  pomelo.on('onEcho', (body) => pushes.push(body));
  pomelo.notify('Echo.PushMe', { a: 1 });
  await until(() => pushes.length === 1, 'onEcho');
  equal(pushes[0], { a: 1 }, 'onEcho');

  const numbered = [];
  pomelo.on('onPush', (body) => numbered.push(body.i));
  equal(await request('Echo.PushN', { n: 50, size: 20, route: 'onPush' }), { accepted: 50, asked: 50 }, 'Echo.PushN');
  equal(numbered, Array.from({ length: 50 }, (_, i) => i), 'pushes made before the answer arrive before it, in order');

  // This client writes characters beyond the BMP as two 3-byte surrogates, which is not UTF-8, and cannot read them as UTF-8: its own
  // bytes must come back from Echo.Raw, and everybody else must see the character that was meant.
  const text = 'é 漢字 😀 ключ';
  equal((await request('Echo.Raw', { text })).text, text, 'text beyond the BMP, raw');
  equal((await request('Echo.JSON', { seq: 7, text: 'é 漢字 ключ' })).text, 'é 漢字 ключ', 'text in the BMP');
  const { connect } = await linkspan();
  const other = await connect(ws, { WebSocket, reconnect: false });
  const seen = [];
  other.on('onMessage', (body) => seen.push(body));
  await other.request('room.join', { uid: 900001 });
  await request('room.join', { uid: 900002 });
  pomelo.notify('room.message', { name: 'js', content: text });
  await until(() => seen.length === 1, 'onMessage at another client');
  equal(seen[0], { name: 'js', content: text }, 'what another client sees');
  await other.close();

  const gone = new Promise((resolve) => pomelo.on('disconnect', resolve));
  pomelo.disconnect();
  await within(gone, 5000, 'disconnect');
  return '405 requests, 51 pushes';
});
