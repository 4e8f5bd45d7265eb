'use strict';
// pomelo-client-websocket 1.0.13, many instances per process, unmodified. It writes message ids most significant group first, so an
// answer reaches it only if the server echoes the id bytes as they came. Usage: node pomelo-client.js ADDRESS

const { address, equal, run, until, within } = require('./lib.js');
const Pomelo = require('pomelo-client-websocket');

const open = (host, port) =>
  new Promise((resolve) => {
    const client = new Pomelo();
    client.init({ host, port, user: {} }, () => resolve(client));
  });

const request = (client, route, body) =>
  within(new Promise((resolve) => client.request(route, body, resolve)), 5000, `answer to ${route} ${JSON.stringify(body)}`);

run(60, async () => {
  const { host, port } = address();
  const clients = await within(Promise.all([1, 2, 3].map(() => open(host, port))), 10_000, 'three handshakes');

  const [first, ...others] = clients;
  for (let seq = 0; seq < 300; seq += 1) equal(await request(first, 'Echo.JSON', { seq, text: '漢字 😀' }), { seq, text: '漢字 😀' }, `answer ${seq}`);
  await Promise.all(
    others.map(async (client, which) => {
      const many = await Promise.all(Array.from({ length: 200 }, (_, seq) => request(client, 'Echo.Raw', { seq, which })));
      many.forEach((body, seq) => equal(body, { seq, which }, `pipelined answer ${seq}`));
    }),
  );

  for (const client of clients) {
    const pushes = [];
    client.on('onEcho', (body) => pushes.push(body));
    client.notify('Echo.PushMe', { a: 1 });
    await until(() => pushes.length === 1, 'onEcho');
    equal(pushes[0], { a: 1 }, 'onEcho');
  }
  clients.forEach((client) => client.disconnect());
  return '700 requests over 3 connections';
});
