'use strict';
// The TCP listener: any segmentation, many packages per segment, 1,024 requests in flight. Usage: node raw-tcp.js ADDRESS

const net = require('node:net');
const { address, check, equal, run, sleep, until, within } = require('./lib.js');
const { ACK, DATA, HANDSHAKE, HEARTBEAT, json, message, pack, parse, unpack } = require('./wire.js');

async function open({ host, port }) {
  const socket = net.connect({ host, port, noDelay: true });
  const peer = { socket, answer: null, messages: [], ended: false };
  let rest = Buffer.alloc(0);
  socket.on('data', (data) => {
    const read = unpack(Buffer.concat([rest, data]));
    rest = read.rest;
    for (const { type, body } of read.packages) {
      if (type === HANDSHAKE) peer.answer = json(body);
      if (type === DATA) peer.messages.push(parse(body));
    }
  });
  socket.on('error', () => {});
  socket.on('close', () => (peer.ended = true));
  await within(new Promise((resolve) => socket.on('connect', resolve)), 5000, 'connect');
  return peer;
}

const request = (id, data, route = 'Echo.Raw') => pack(DATA, message({ type: 'request', id, route, data }));
const hello = pack(HANDSHAKE, '{"sys":{"type":"raw","version":"1"},"user":{}}');

run(60, async () => {
  const server = address();
  const peer = await open(server);
  peer.socket.write(hello);
  await until(() => peer.answer !== null, 'handshake answer');
  equal(peer.answer.code, 200, 'handshake code');

  // A body of three bytes in a segment of its own stalls nano.
  peer.socket.write(pack(ACK));
  const short = request(1, '', 'Echo.Empty');
  peer.socket.write(short.subarray(0, short.length - 3));
  await sleep(50);
  peer.socket.write(short.subarray(short.length - 3));
  await until(() => peer.messages.length === 1, 'answer to a package whose end came alone');
  equal(peer.messages.pop().data.length, 0, 'empty answer');

  for (const byte of Buffer.concat([request(1, 'byte'), pack(HEARTBEAT), request(2, 'by byte')])) {
    peer.socket.write(Buffer.from([byte]));
    await sleep(1);
  }
  await until(() => peer.messages.length === 2, 'answers to single bytes');
  equal(peer.messages.splice(0).map(({ data }) => data.toString()), ['byte', 'by byte'], 'single bytes');

  for (const inFlight of [1, 16, 64, 1024]) {
    const packages = Array.from({ length: inFlight }, (_, i) => request(i + 1, `m${i}`));
    peer.socket.write(Buffer.concat(packages));
    await until(() => peer.messages.length >= inFlight, `${inFlight} in flight`);
    const seen = peer.messages.splice(0).map(({ id, data }) => `${id} ${data}`);
    equal(seen, packages.map((_, i) => `${i + 1} m${i}`), `${inFlight} in flight: all, right, in order`);
  }

  peer.socket.write(pack(DATA, message({ type: 'request', id: 9, route: 'No.Such', data: '' })));
  await until(() => peer.messages.length === 1, 'answer to an unknown route');
  const failed = peer.messages.pop();
  check(failed.failed, 'the error bit is set');
  equal(json(failed.data).code, 'PIT-404', 'code of an unknown route');

  peer.socket.write(pack(DATA, message({ type: 'request', id: 10, route: 'Echo.Bye', data: '' })));
  await until(() => peer.ended, 'the server closes after Echo.Bye');
  equal(peer.messages.map(({ type }) => type), [...Array(5).fill('push'), 'response'], 'five pushes and the answer come before the end');
});
