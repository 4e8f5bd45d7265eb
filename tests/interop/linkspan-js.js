'use strict';
// The gateway's own module (gateway/web/linkspan.js) under Node. Usage: node linkspan-js.js ADDRESS

const { WebSocket } = require('ws');
const { address, check, equal, fails, linkspan, run, until } = require('./lib.js');

const options = { WebSocket, user: { token: 't' }, reconnect: { first: 50, max: 200 } };

async function messages(client) {
  equal(client.state, 'open', 'state');
  check(Number.isInteger(client.sys.heartbeat), 'heartbeat is an integer');
  const body = { seq: 1, text: 'é 漢字 😀 \u0000 "quoted"' };
  equal(await client.request('Echo.JSON', body), body, 'JSON there and back');
  const bytes = Uint8Array.from({ length: 1024 }, (_, i) => i & 255);
  equal(Buffer.from(await client.request('Echo.Raw', bytes)), Buffer.from(bytes), 'bytes there and back');
  equal(await client.request('Echo.Empty'), undefined, 'an empty answer');
  equal((await client.request('Echo.Big', { size: 60_000 }, { as: 'bytes' })).length, 60_000, 'a big answer');

  const many = await Promise.all(Array.from({ length: 1024 }, (_, seq) => client.request('Echo.JSON', { seq, text: 'x' })));
  many.forEach((answer, seq) => equal(answer, { seq, text: 'x' }, `pipelined answer ${seq}`));

  const order = [];
  const undo = client.on('onPush', ({ i }) => order.push(i));
  equal(await client.request('Echo.PushN', { n: 100, size: 10, route: 'onPush' }), { accepted: 100, asked: 100 }, 'Echo.PushN');
  equal(order, Array.from({ length: 100 }, (_, i) => i), 'pushes before the answer, in order');
  undo();

  const all = [];
  client.on('push', (route, pushed, raw) => all.push([route, pushed, Buffer.from(raw).toString()]));
  client.notify('Echo.PushMe', { a: '😀' });
  await until(() => all.length === 1, 'onEcho');
  equal(all[0], ['onEcho', { a: '😀' }, '{"a":"😀"}'], 'the event for every push');
  equal(order.length, 100, 'a listener that was removed stays silent');
}

async function errors(client) {
  const unknown = await fails(client.request('No.Such', {}), 'PIT-404', 'unknown route');
  equal(unknown.route, 'No.Such', 'the error names the route');
  check(unknown.message.length > 0, 'the error has a message');
  await fails(client.request('Echo.JSON', new TextEncoder().encode('not json')), 'PIT-400', 'an argument that does not parse');
  for (const route of ['Echo.Fail', 'Echo.Panic']) {
    const error = await client.request(route, {}).then(() => null, (failure) => failure);
    check(error?.name === 'LinkspanError' && typeof error.code === 'string', `${route} rejects with a code`);
  }
  await fails(client.request('Echo.Slow', { ms: 400 }, { timeout: 50 }), 'timeout', 'timeout');
  equal(await client.request('Echo.JSON', { seq: 2, text: 'y' }), { seq: 2, text: 'y' }, 'alive after errors; the late answer is ignored');
  await fails(client.request('x'.repeat(256), {}), 'route', 'a route that is too long');
  await fails(client.request('', {}), 'route', 'an empty route');
}

/** Echo.Bye: pushes, answer, close by the server; then the module connects again. */
async function reconnect(connect, url) {
  const client = await connect(url, options);
  const events = [];
  for (const name of ['disconnect', 'reconnecting', 'reconnect', 'close', 'kick']) client.on(name, (detail) => events.push([name, detail]));
  let pushes = 0;
  client.on('push', () => (pushes += 1));
  await client.request('Echo.Bye', {});
  equal(pushes, 5, 'five pushes before the answer');
  await until(() => events.some(([name]) => name === 'reconnect'), 'reconnect');
  equal(events.map(([name]) => name), ['disconnect', 'reconnecting', 'reconnect'], 'events of a reconnect');
  equal(events[0][1].willReconnect, true, 'willReconnect');
  equal(events[0][1].code, 1000, 'the close code is surfaced');
  equal(await client.request('Echo.JSON', { seq: 3, text: 'z' }), { seq: 3, text: 'z' }, 'works again');

  const under = fails(client.request('Echo.Slow', { ms: 2000 }), 'closed', 'a request under way when the client is closed');
  const end = await client.close(3001, 'done');
  await under;
  equal([end.code, client.state], [3001, 'closed'], 'close(code, reason)');
  await fails(client.request('Echo.Empty'), 'disconnected', 'a request after close()');
}

async function kick(connect, url) {
  const client = await connect(url, options);
  const events = [];
  for (const name of ['disconnect', 'reconnecting', 'reconnect', 'close', 'kick']) client.on(name, (detail) => events.push([name, detail]));
  client.notify('Echo.Kick', {});
  await until(() => client.state === 'closed', 'the end after a kick');
  equal(events.map(([name]) => name), ['kick', 'disconnect', 'close'], 'events of a kick: no reconnect');
  check(events[0][1].reason.length > 0, 'the kick has a reason');
  equal(events[1][1].willReconnect, false, 'willReconnect after a kick');
  equal(events[2][1].error.code, 'kicked', 'error of the end');
}

async function room(connect, url) {
  const names = ['onMembers', 'onNewUser', 'onMessage', 'onLeave'];
  const join = async (uid) => {
    const client = await connect(url, { ...options, reconnect: false });
    const seen = [];
    for (const name of names) client.on(name, (body) => seen.push([name, body]));
    const answer = await client.request('room.join', { uid });
    equal(answer, { code: 0, result: 'success' }, 'answer to room.join');
    return { client, seen };
  };
  const [one, two] = [await join(910001), await join(910002)];
  check(two.seen.some(([name, body]) => name === 'onMembers' && body.members.includes(910001)), 'the second is told of the first');
  await until(() => one.seen.some(([name, body]) => name === 'onNewUser' && body.content.includes('910002')), 'the first is told of the second');
  one.client.notify('room.message', { name: 'one', content: 'hi 😀' });
  for (const { seen } of [one, two]) {
    await until(() => seen.some(([name, body]) => name === 'onMessage' && body.name === 'one' && body.content === 'hi 😀'), 'onMessage');
  }
  await two.client.close();
  await until(() => one.seen.some(([name, body]) => name === 'onLeave' && body.uid === 910002), 'onLeave');
  await one.client.close();
}

run(60, async () => {
  const { ws } = address();
  const { connect } = await linkspan();
  const client = await connect(ws, options);
  await messages(client);
  await errors(client);
  await client.close();
  await reconnect(connect, ws);
  await kick(connect, ws);
  await room(connect, ws);
  await fails(connect('ws://127.0.0.1:9/', options), 'disconnected', 'a first connection that fails');
});
