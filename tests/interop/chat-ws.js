'use strict';
// npm ws as a client of the chat protocol. Usage: node chat-ws.js HTTP_ADDRESS

const WebSocket = require('ws');
const { address, check, equal, run, until } = require('./lib.js');

const MESSAGES = 500;

/** A client of user `id`; `heard` is what came, `closed` the code at the end. */
async function connect(url, id) {
  const socket = new WebSocket(`${url}ws/${id}`);
  const client = { id, socket, heard: [], closed: null };
  socket.on('message', (data, binary) => client.heard.push(binary ? data : data.toString()));
  socket.on('close', (code, reason) => {
    client.closed = [code, reason.toString()];
  });
  await new Promise((resolve, reject) => socket.once('open', resolve).once('error', reject));
  return client;
}

const message = (sender, receiver, content) => JSON.stringify({ type: 1, sender, receiver, content });

run(60, async () => {
  const { ws } = address();
  const [ann, bob] = [await connect(ws, 9001), await connect(ws, '+09002')];

  const sent = { [ann.id]: [], 9002: [] };
  for (let at = 0; at < MESSAGES; at += 1) {
    const text = message(9001, 9002, `${at} 漢字 😀 ${'x'.repeat(at % 90)}`);
    sent[9002].push(text);
    if (at % 2) ann.socket.send(text);
    else ann.socket.send(Buffer.from(text));
    const back = message(9002, 9001, `back ${at}`);
    sent[9001].push(back);
    bob.socket.send(back);
  }
  await until(() => ann.heard.length === MESSAGES && bob.heard.length === MESSAGES, 'every message both ways', 20_000);
  equal(bob.heard, sent[9002], 'text and binary arrive as text, byte for byte, in order');
  equal(ann.heard, sent[9001], 'the other way too');

  const pong = new Promise((resolve) => ann.socket.once('pong', (data) => resolve(data.toString())));
  ann.socket.ping('are you there');
  equal(await pong, 'are you there', 'the answer to a ping');

  // A message in fragments is one message.
  ann.heard.length = 0;
  const long = message(9001, 9001, 'to myself');
  ann.socket.send(long.slice(0, 10), { fin: false });
  ann.socket.send(long.slice(10), { fin: true });
  await until(() => ann.heard.length === 1, 'a message in fragments');
  equal(ann.heard[0], long, 'it is whole');

  // A second connection of the same user, and what ends it.
  const newer = await connect(ws, 9001);
  await until(() => ann.closed !== null, 'the older connection ends');
  equal(ann.closed, [4001, 'replaced'], 'why');
  newer.socket.send('{"type":3}');
  await until(() => newer.closed !== null, 'type 3 ends it');
  equal(newer.closed, [1000, ''], 'how');

  bob.heard.length = 0;
  const bad = await connect(ws, 9003);
  bad.socket.send('not JSON');
  await until(() => bad.closed !== null, 'what cannot be read ends its connection');
  equal(bad.closed, [1007, 'invalid message'], 'why');
  bob.socket.send(message(9002, 9002, 'still here'));
  await until(() => bob.heard.length === 1, 'nobody else is concerned');
  check(bob.closed === null, 'it is connected');

  const refused = await new Promise((resolve) => {
    const socket = new WebSocket(`${ws}ws/-1`);
    socket.on('unexpected-response', (_, response) => resolve(response.statusCode));
    socket.on('error', () => {});
  });
  equal(refused, 400, 'a user that is none');
  const page = new WebSocket(`${ws}ws/9004`, { origin: 'https://elsewhere.example' });
  const foreign = await new Promise((resolve) => {
    page.on('unexpected-response', (_, response) => resolve(response.statusCode));
    page.on('error', () => {});
  });
  equal(foreign, 403, 'a page of another host');
  bob.socket.close();
  return `${2 * MESSAGES} messages`;
});
