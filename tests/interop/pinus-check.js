'use strict';
// Our own module against the real pinus gateway. Usage: pinus-server/with-pinus.sh node pinus-check.js

const { WebSocket } = require('ws');
const { address, check, equal, linkspan, run, sleep, until } = require('./lib.js');

const route = (name) => `connector.entryHandler.${name}`;

run(60, async () => {
  const { ws } = address(process.env.PINUS_ADDRESS);
  const { connect } = await linkspan();
  const client = await connect(ws, { WebSocket, reconnect: { first: 50 } });
  equal([client.sys.heartbeat, client.sys.useDict], [1, true], 'the handshake answer');
  check(client.sys.dict[route('echo')] > 0, 'the dictionary has our route');
  for (let seq = 0; seq < 200; seq += 1) equal(await client.request(route('echo'), { seq, text: '漢字 😀' }), { seq, text: '漢字 😀' }, `answer ${seq}`);
  const many = await Promise.all(Array.from({ length: 100 }, (_, seq) => client.request(route('echo'), { seq })));
  many.forEach((body, seq) => equal(body, { seq }, `pipelined answer ${seq}`));
  equal(await client.request(route('bind'), { uid: 'u1' }), { uid: 'u1' }, 'bind');
  const pushes = [];
  client.on('onEcho', (body) => pushes.push(body));
  client.notify(route('pushMe'), { a: '😀' });
  await until(() => pushes.length === 1, 'a push, by its code');
  equal(pushes, [{ a: '😀' }], 'the push');
  const numbered = [];
  client.on('onPush', ({ i }) => numbered.push(i));
  await client.request(route('pushN'), { n: 20 });
  await until(() => numbered.length === 20, 'twenty pushes');
  let beats = 0;
  client.on('frame', (frame) => (beats += frame.package === 'heartbeat' && frame.direction === 'in' ? 1 : 0));
  await sleep(4500);
  check(beats >= 3 && client.state === 'open', `alive after 4.5 intervals: ${beats} heartbeats, ${client.state}`);
  let kick;
  client.on('kick', (said) => (kick = said.reason));
  client.notify(route('kick'), {});
  await until(() => client.state === 'closed', 'the end after a kick');
  equal(kick, 'asked for', 'the reason');
});
