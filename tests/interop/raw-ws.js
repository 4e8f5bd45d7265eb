'use strict';
// What no pomelo client does by itself, over WebSocket: many packages in one message, packages split over messages, text frames, fragments,
// empty messages, pings, odd ids, broken input. Usage: node raw-ws.js ADDRESS

const { WebSocket } = require('ws');
const { address, check, equal, run, until, within } = require('./lib.js');
const { ACK, DATA, HANDSHAKE, HEARTBEAT, json, message, pack, parse, unpack } = require('./wire.js');

const hello = JSON.stringify({ sys: { type: 'raw', version: '1' }, user: {} });

/** A connection after its handshake. Every message from the server must be exactly one package. */
async function open({ ws }, { body = hello } = {}) {
  const socket = new WebSocket(ws);
  const peer = { socket, packages: [], messages: [], pongs: 0, closed: null };
  socket.on('message', (data, binary) => {
    const { packages, rest } = unpack(data);
    check(binary, 'the server sends binary messages');
    check(packages.length === 1 && rest.length === 0, 'one package per message from the server');
    peer.packages.push(packages[0]);
    if (packages[0].type === DATA) peer.messages.push(parse(packages[0].body));
  });
  socket.on('pong', () => (peer.pongs += 1));
  socket.on('error', () => {});
  socket.on('close', (code, reason) => (peer.closed = { code, reason: reason.toString() }));
  await within(new Promise((resolve) => socket.on('open', resolve)), 5000, 'open');
  if (body !== null) {
    socket.send(pack(HANDSHAKE, body));
    await until(() => peer.packages.length === 1, 'handshake answer');
    equal(peer.packages[0].type, HANDSHAKE, 'handshake answer');
    peer.answer = json(peer.packages[0].body);
    equal(peer.answer.code, 200, 'handshake code');
    socket.send(pack(ACK));
  }
  return peer;
}

const request = (id, data, route = 'Echo.Raw') => pack(DATA, message({ type: 'request', id, route, data }));

async function answers(peer, count, what) {
  await until(() => peer.messages.length >= count, what);
  return peer.messages.splice(0, count).map(({ data }) => data.toString());
}

async function framing(server) {
  const peer = await open(server);
  const { socket } = peer;
  const numbers = (n) => Array.from({ length: n }, (_, i) => `m${i}`);

  socket.send(Buffer.concat(numbers(100).map((text, i) => request(i + 1, text))));
  equal(await answers(peer, 100, 'many packages in one message'), numbers(100), 'many packages in one message');

  for (const byte of Buffer.concat([request(1, 'split'), pack(HEARTBEAT), request(2, 'again')])) socket.send(Buffer.from([byte]));
  equal(await answers(peer, 2, 'one byte per message'), ['split', 'again'], 'one byte per message');

  const [one, two] = [request(1, 'first'), request(2, 'second')];
  socket.send(Buffer.concat([one, two.subarray(0, 7)]));
  socket.send(two.subarray(7));
  equal(await answers(peer, 2, 'a message that ends inside a package'), ['first', 'second'], 'a message that ends inside a package');

  socket.send(request(3, 'text').toString('latin1'), { binary: false });
  equal(await answers(peer, 1, 'text frame'), ['text'], 'text frame');

  const whole = request(4, 'fragments');
  socket.send(whole.subarray(0, 3), { fin: false });
  socket.send(whole.subarray(3, 9), { fin: false });
  socket.send(whole.subarray(9), { fin: true });
  equal(await answers(peer, 1, 'fragmented message'), ['fragments'], 'fragmented message');

  socket.send(Buffer.alloc(0));
  socket.send(request(5, 'after nothing'));
  equal(await answers(peer, 1, 'empty message'), ['after nothing'], 'empty message');

  socket.ping('x');
  await until(() => peer.pongs === 1, 'pong');
  socket.close(1000, 'bye');
  await until(() => peer.closed !== null, 'close answered');
  equal(peer.closed.code, 1000, 'close code echoed');
}

async function ids(server) {
  const peer = await open(server);
  // Minimal, two groups, not minimal, big-endian 128 of the old client, ten groups.
  const forms = ['01', '8001', '8100', '8100'.padStart(6, '80'), 'ffffffffffffffffff01'].map((hex) => Buffer.from(hex, 'hex'));
  peer.socket.send(Buffer.concat(forms.map((id) => request(id, 'x'))));
  await until(() => peer.messages.length === forms.length, 'answers to odd ids');
  equal(peer.messages.map(({ idBytes }) => idBytes.toString('hex')), forms.map((id) => id.toString('hex')), 'ids come back as they were written');
  peer.messages.length = 0;
  peer.socket.send(Buffer.concat([request(7, 'a'), request(7, 'b'), request(3, 'c')]));
  equal(await answers(peer, 3, 'repeated ids'), ['a', 'b', 'c'], 'repeated and falling ids are answered in order');
  peer.socket.close();
}

async function handshakes(server) {
  for (const body of ['', '{}', '{"sys":{"platform":"mac","libVersion":"0.3.5-release","clientVersion":"2.1"},"user":{}}']) {
    const peer = await open(server, { body });
    check(Number.isInteger(peer.answer.sys.heartbeat), 'heartbeat is an integer');
    equal(peer.answer.sys.serializer, 'json', 'serializer');
    peer.socket.close();
  }
}

/** Each of these ends this connection only, with a close frame that says why. */
async function violations(server) {
  const bystander = await open(server);
  const cases = [
    ['data before the handshake', null, request(1, 'x'), 1002],
    ['unknown package type', hello, Buffer.from('09000000', 'hex'), 1002],
    ['too large a package', hello, Buffer.from('04ffffff', 'hex'), 1009],
    ['unterminated id', hello, pack(DATA, Buffer.from('00ffff', 'hex')), 1002],
    ['route longer than the message', hello, pack(DATA, Buffer.from('0001ff61', 'hex')), 1002],
    ['unknown route code', hello, pack(DATA, Buffer.from('0101fffe', 'hex')), 1002],
    ['message type 5', hello, pack(DATA, Buffer.from('0a0161', 'hex')), 1002],
    ['handshake that is not JSON', null, pack(HANDSHAKE, 'not json'), null],
  ];
  for (const [what, body, bytes, code] of cases) {
    const peer = await open(server, { body });
    peer.socket.send(bytes);
    await until(() => peer.closed !== null, `closed after: ${what}`);
    check(code === null || peer.closed.code === code, `${what}: close ${JSON.stringify(peer.closed)}, expected ${code}`);
    check(peer.closed.code !== 1006, `${what}: a close frame says why`);
  }
  bystander.socket.send(request(1, 'still here'));
  equal(await answers(bystander, 1, 'bystander'), ['still here'], 'other connections never notice');
  bystander.socket.close();
}

run(60, async () => {
  const server = address();
  await framing(server);
  await ids(server);
  await handshakes(server);
  // The stand-in checks nothing.
  if (!process.argv.includes('--lenient')) await violations(server);
});
