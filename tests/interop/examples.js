'use strict';
// The drivers of core/examples with clients of other people: pinus-protocol 1.7.4 over node:net, and npm ws.
// Usage: node examples.js POMELO_ADDRESS POMELO_ADDRESS CHAT_ADDRESS

const net = require('node:net');
const { Message, Package } = require('pinus-protocol');
const WebSocket = require('ws');
const { address, check, equal, run, until, within } = require('./lib.js');

const REQUESTS = 200;

/** A client whose every byte is made and read by pinus-protocol. */
async function pomelo({ host, port }) {
  const socket = net.connect({ host, port, noDelay: true });
  const client = { socket, greeting: null, answers: [], ended: false };
  let rest = Buffer.alloc(0);
  socket.on('data', (data) => {
    rest = Buffer.concat([rest, data]);
    while (rest.length >= 4 && rest.length >= 4 + rest.readUIntBE(1, 3)) {
      const whole = 4 + rest.readUIntBE(1, 3);
      const { type, body } = Package.decode(rest.subarray(0, whole));
      if (type === Package.TYPE_HANDSHAKE) client.greeting = JSON.parse(body.toString());
      if (type === Package.TYPE_DATA) client.answers.push(Message.decode(body));
      rest = rest.subarray(whole);
    }
  });
  socket.on('error', () => {});
  socket.on('close', () => (client.ended = true));
  await within(new Promise((resolve) => socket.on('connect', resolve)), 5000, 'connect');
  socket.write(Package.encode(Package.TYPE_HANDSHAKE, Buffer.from('{"sys":{"type":"pinus","version":"1"}}')));
  await until(() => client.greeting !== null, 'handshake');
  equal(client.greeting.code, 200, 'handshake code');
  socket.write(Package.encode(Package.TYPE_HANDSHAKE_ACK));
  return client;
}

const request = (id, body) => Message.encode(id, Message.TYPE_REQUEST, false, 'Echo.Raw', Buffer.from(body));

async function requests(where) {
  const client = await pomelo(where);
  const bodies = Array.from({ length: REQUESTS }, (_, at) => `${at} 漢字 ${'x'.repeat((at * 37) % 900)}`);
  const sent = bodies.map((body, at) => Package.encode(Package.TYPE_DATA, request(at + 1, body)));
  // All at once, and cut where no package ends.
  const bytes = Buffer.concat(sent);
  for (let at = 0; at < bytes.length; at += 1000) client.socket.write(bytes.subarray(at, at + 1000));
  await until(() => client.answers.length === REQUESTS, 'every answer', 10_000);
  equal(client.answers.map(({ id }) => id), bodies.map((_, at) => at + 1), 'ids, in order');
  equal(client.answers.map(({ body }) => body.toString()), bodies, 'bodies');
  // Who breaks the protocol is gone, and alone.
  const hostile = await pomelo(where);
  hostile.socket.write(Buffer.from('\xff\xff\xff\xff', 'latin1'));
  await until(() => hostile.ended, 'the end of who breaks the protocol');
  client.socket.write(Package.encode(Package.TYPE_DATA, request(7, 'still here')));
  await until(() => client.answers.length === REQUESTS + 1, 'an answer to the other');
  client.socket.destroy();
}

async function chat(base, id) {
  const client = { socket: new WebSocket(`${base}ws/${id}`), heard: [], closed: null };
  client.socket.on('message', (data) => client.heard.push(data.toString()));
  client.socket.on('close', (code, reason) => (client.closed = [code, reason.toString()]));
  await within(new Promise((resolve, reject) => client.socket.once('open', resolve).once('error', reject)), 5000, 'open');
  return client;
}

async function messages(base) {
  const [ann, bob] = [await chat(base, 1), await chat(base, 2)];
  const text = (at) => JSON.stringify({ type: 1, sender: 1, receiver: 2, content: `${at} 漢字` });
  const sent = Array.from({ length: REQUESTS }, (_, at) => text(at));
  // This driver says 101 before the hub knows of bob: what comes sooner is for nobody.
  await until(() => bob.heard.length > 0 || ann.socket.send(text('probe')), 'a first message', 10_000);
  sent.forEach((message) => ann.socket.send(message));
  const heard = () => bob.heard.filter((message) => !message.includes('probe'));
  await until(() => heard().length === REQUESTS, 'every message', 10_000);
  equal(heard(), sent, 'byte for byte, in order');
  const pong = new Promise((resolve) => bob.socket.once('pong', () => resolve(true)));
  bob.socket.ping();
  check(await within(pong, 5000, 'the answer to a ping'), 'a ping is answered');
  const newer = await chat(base, 1);
  await until(() => ann.closed !== null, 'the older connection ends');
  equal(ann.closed, [4001, 'replaced'], 'why');
  newer.socket.send('{"type":3}');
  await until(() => newer.closed !== null, 'type 3 ends it');
  equal(newer.closed, [1000, ''], 'how');
  bob.socket.close();
}

run(60, async () => {
  const [first, second, third] = process.argv.slice(2).map((argument) => address(argument));
  await requests(first);
  await requests(second);
  await messages(third.ws);
  return `${2 * REQUESTS} requests, ${REQUESTS} messages`;
});
