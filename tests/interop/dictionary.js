'use strict';
// Route codes in both directions. Usage: node dictionary.js ADDRESS
// The server must have been started with a dictionary of at least these routes: Echo.Raw, Echo.JSON, onEcho.

const { WebSocket } = require('ws');
const { address, check, equal, linkspan, run, until, within } = require('./lib.js');
const { ACK, DATA, HANDSHAKE, json, message, pack, parse, unpack } = require('./wire.js');

/** A raw connection that says it is `type`; resolves to the answer and what follows. */
async function open({ ws }, sys) {
  const socket = new WebSocket(ws);
  const peer = { socket, messages: [], answer: null };
  socket.on('message', (data) => {
    for (const { type, body } of unpack(data).packages) {
      if (type === HANDSHAKE) peer.answer = json(body);
      if (type === DATA) peer.messages.push(parse(body));
    }
  });
  await within(new Promise((resolve) => socket.on('open', resolve)), 5000, 'open');
  socket.send(pack(HANDSHAKE, JSON.stringify({ sys, user: {} })));
  await until(() => peer.answer !== null, 'handshake answer');
  socket.send(pack(ACK));
  return peer;
}

run(30, async () => {
  const server = address();
  const knowing = await open(server, { type: 'js-websocket', version: '0.0.1' });
  const { dict } = knowing.answer.sys;
  for (const route of ['Echo.Raw', 'Echo.JSON', 'onEcho']) check(dict?.[route] >= 1, `the dictionary has ${route}`);

  const { socket, messages } = knowing;
  socket.send(pack(DATA, message({ type: 'request', id: 300, code: dict['Echo.Raw'], data: 'by code' })));
  socket.send(pack(DATA, message({ type: 'request', id: 301, route: 'Echo.Raw', data: 'by name' })));
  socket.send(pack(DATA, message({ type: 'notify', route: 'Echo.PushMe', data: '{"a":1}' })));
  await until(() => messages.length === 3, 'two answers and a push');
  const [coded, named, pushed] = messages;
  equal([coded.coded, coded.id, coded.data.toString()], [false, 300, 'by code'], 'a request by code; no code on the answer');
  equal([named.coded, named.id, named.data.toString()], [false, 301, 'by name'], 'a request by name');
  equal([pushed.code, pushed.data.toString()], [dict.onEcho, '{"a":1}'], 'the push has its code');
  socket.close();

  // libpitaya crashes on a push with a code.
  const plain = await open(server, { platform: 'mac', libVersion: '0.3.5-release', clientVersion: '2.1' });
  plain.socket.send(pack(DATA, message({ type: 'notify', route: 'Echo.PushMe', data: '{}' })));
  await until(() => plain.messages.length === 1, 'push to libpitaya');
  equal([plain.messages[0].coded, plain.messages[0].route], [false, 'onEcho'], 'libpitaya gets plain routes');
  plain.socket.close();

  // Our own module, by way of the frames it reports.
  const { connect } = await linkspan();
  const client = await connect(server.ws, { WebSocket, reconnect: false });
  equal(client.sys.dict['Echo.JSON'], dict['Echo.JSON'], 'dictionary seen by our module');
  equal(await client.request('Echo.JSON', { seq: 1, text: 'x' }), { seq: 1, text: 'x' }, 'request by our module');
  const pushes = [];
  client.on('onEcho', (body) => pushes.push(body));
  client.notify('Echo.PushMe', { b: 2 });
  await until(() => pushes.length === 1, 'push to our module');
  await client.close();

  // And the two clients of others that know dictionaries.
  const { spawnSync } = require('node:child_process');
  for (const script of ['jsclient.js', 'pinus-robot.js']) {
    const { status, stdout } = spawnSync(process.execPath, ['--no-deprecation', script, process.argv[2]], { cwd: __dirname, timeout: 20_000 });
    equal(status, 0, `${script} with a dictionary: ${String(stdout).trim().split('\n').pop()}`);
  }
});
