'use strict';
// The gateway's module against a server of our own that misbehaves on command, and its codec against pinus-protocol's bytes.
// Usage: node linkspan-unit.js

const path = require('node:path');
const zlib = require('node:zlib');
const { spawnSync } = require('node:child_process');
const { WebSocket, WebSocketServer } = require('ws');
const { check, equal, fails, linkspan, run, sleep, until } = require('./lib.js');
const { ACK, DATA, HANDSHAKE, HEARTBEAT, KICK, message, pack, parse, unpack } = require('./wire.js');

/** Runs `body` with a server that hands every package to `script(peer, package)`. */
async function withServer(script, body) {
  const server = new WebSocketServer({ host: '127.0.0.1', port: 0 });
  await new Promise((resolve) => server.on('listening', resolve));
  const peers = [];
  server.on('connection', (socket) => {
    const peer = { socket, packages: [], number: peers.push(null), closed: null };
    peers[peer.number - 1] = peer;
    peer.accept = (sys = {}) => socket.send(pack(HANDSHAKE, JSON.stringify({ code: 200, sys: { heartbeat: 30, ...sys }, user: { n: peer.number } })));
    socket.on('message', (data) => {
      for (const one of unpack(Buffer.from(data)).packages) {
        peer.packages.push(one);
        if (one.type === DATA) one.message = parse(one.body);
        script(peer, one);
      }
    });
    socket.on('close', (code, reason) => (peer.closed = { code, reason: reason.toString() }));
  });
  try {
    await body(`ws://127.0.0.1:${server.address().port}/`, peers);
  } finally {
    server.clients.forEach((socket) => socket.terminate());
    server.close();
  }
}

const response = (id, data, failed) => pack(DATA, message({ type: 'response', id, data, failed }));
const push = (route, data) => pack(DATA, message({ type: 'push', route, data }));
const base = { WebSocket, reconnect: false };

async function oracle(codec) {
  const { stdout } = spawnSync(process.execPath, [path.join(__dirname, 'pinus-oracle.js')], { maxBuffer: 64 << 20 });
  const hex = (bytes) => Buffer.from(bytes).toString('hex');
  for (const line of stdout.toString().trim().split('\n')) {
    const { what, input, hex: expected } = JSON.parse(line);
    const { type, id, route, body, size } = input;
    const code = typeof route === 'number' ? route : undefined;
    if (what === 'package') {
      equal(hex(codec.encodePackage(type, new Uint8Array(size).fill(0x78))), expected, line.slice(0, 80));
    } else if (type === 'request' || type === 'notify') {
      const kind = type === 'request' ? codec.Message.REQUEST : codec.Message.NOTIFY;
      const codes = new Map(code ? [['r', code]] : []);
      equal(hex(codec.encodeMessage(kind, id, code ? 'r' : route, Buffer.from(body), codes)), expected, line.slice(0, 80));
    } else {
      const decoded = codec.decodeMessage(Buffer.from(expected, 'hex'), new Map(code ? [[code, 'r']] : []));
      const got = [decoded.id, decoded.route, Buffer.from(decoded.body).toString()];
      equal(got, [id, code ? 'r' : (route ?? ''), body], line.slice(0, 80));
    }
  }
}

/** Answers may come in any split, many at once, compressed, as errors, or twice. */
async function framing(connect) {
  const script = (peer, { type, message: asked }) => {
    if (type === HANDSHAKE) return peer.accept();
    if (type !== DATA) return undefined;
    if (asked.route === 'split') {
      for (const byte of Buffer.concat([push('a', '1'), response(asked.id, '{"x":1}')])) peer.socket.send(Buffer.from([byte]));
    } else if (asked.route === 'many') {
      peer.socket.send(Buffer.concat([push('a', '2'), pack(HEARTBEAT), push('a', '3'), response(asked.id, '[]'), push('a', '4').subarray(0, 6)]));
      peer.socket.send(push('a', '4').subarray(6));
    } else if (asked.route === 'zlib') {
      const squeezed = response(asked.id, zlib.deflateSync('{"long":"' + 'z'.repeat(1000) + '"}'));
      squeezed[4] |= 0x10;
      peer.socket.send(Buffer.concat([squeezed, push('a', '5'), push('a', '6')]));
    } else if (asked.route === 'error') {
      peer.socket.send(response(asked.id, '{"code":"X-1","msg":"no","metadata":{"k":"v"}}', true));
    } else if (asked.route === 'twice') {
      peer.socket.send(Buffer.concat([response(asked.id, '1'), response(asked.id, '2'), response(asked.id + 100, '3')]));
    } else if (asked.route === 'forge') {
      peer.socket.send(Buffer.concat([push('disconnect', '{}'), push('close', '{}'), push('raw', Buffer.from([255, 254])), response(asked.id, '')]));
    }
    return undefined;
  };
  await withServer(script, async (url) => {
    const first = [];
    const client = await connect(url, { ...base, on: { frame: (frame) => first.push(`${frame.direction} ${frame.package}`) } });
    equal(first, ['out handshake', 'in handshake', 'out ack'], 'listeners from the first byte on');
    equal([client.user, client.sys.heartbeat], [{ n: 1 }, 30], 'the handshake answer');
    const seen = [];
    client.on('a', (body) => seen.push(body));
    equal(await client.request('split', {}), { x: 1 }, 'an answer in single bytes');
    equal(await client.request('many'), [], 'many packages in one message');
    await until(() => seen.length === 4, 'pushes around it');
    equal((await client.request('zlib', {})).long.length, 1000, 'a compressed answer');
    await until(() => seen.length === 6, 'what waited behind it');
    equal(seen, [1, 2, 3, 4, 5, 6], 'order');
    const error = await fails(client.request('error', {}), 'X-1', 'an error answer');
    equal([error.message, error.metadata], ['no', { k: 'v' }], 'its message and metadata');
    equal(await client.request('twice', {}), 1, 'a second answer is ignored');
    const forged = [];
    for (const name of ['disconnect', 'close']) client.on(name, () => forged.push(name));
    let raw;
    client.on('raw', (body) => (raw = body));
    await client.request('forge', {});
    equal([forged, Buffer.from(raw).toString('hex')], [[], 'fffe'], 'a push cannot pose as an event; bytes that are not JSON stay bytes');
    await client.close();
  });
}

async function refusals(connect) {
  const answers = [
    ['{"code":400,"sys":{}}', 400],
    ['{"code":500,"user":{"why":"full"}}', 500],
    ['{"code":501}', 501],
    ['not json', 'protocol'],
  ];
  for (const [body, code] of answers) {
    await withServer((peer) => peer.socket.send(pack(HANDSHAKE, body)), async (url, peers) => {
      const error = await fails(connect(url, { WebSocket }), code, `handshake answer ${body}`);
      if (code === 500) equal(error.user, { why: 'full' }, 'the application said why');
      await sleep(50);
      equal(peers.length, 1, 'a refusal is not tried again');
    });
  }
  await withServer(() => {}, (url) => fails(connect(url, { ...base, connectTimeout: 100 }), 'timeout', 'no handshake answer'));
  await withServer((peer) => peer.socket.close(1013, 'full'), async (url) => {
    equal((await fails(connect(url, base), 'disconnected', 'closed instead of answered')).closeCode, 1013, 'the close code is told');
  });
  const broken = ['09000000', '04000000', '0400000104', '040000030600', '04000004070000ff', '0400000100', '02000000'];
  for (const hex of broken) {
    const script = (peer, { type }) => {
      if (type === HANDSHAKE) peer.accept();
      if (type === ACK) {
        peer.socket.send(Buffer.from(hex.padEnd(8 + 2 * parseInt(hex.slice(2, 8), 16), '0'), 'hex'));
      }
    };
    await withServer(script, async (url, peers) => {
      const client = await connect(url, { WebSocket });
      const ended = new Promise((resolve) => client.on('close', resolve));
      // `0600…` is a push with an empty route: legal.
      if (hex === '040000030600') return client.close();
      const end = await ended;
      equal([end.error.code, peers.length], ['protocol', 1], `broken input ${hex} ends it`);
      return undefined;
    });
  }
}

async function reconnects(connect) {
  const codes = [
    [1000, true], [1001, true], [1006, true], [1008, true], [1011, true], [1012, true], [1013, true],
    [1002, false], [1003, false], [1007, false], [1009, false], [4000, false], [4001, false],
  ];
  for (const [code, again] of codes) {
    const script = (peer, { type }) => {
      if (type === HANDSHAKE) peer.accept();
      else if (peer.number === 1 && type === DATA) code === 1006 ? peer.socket.terminate() : peer.socket.close(code, 'because');
    };
    await withServer(script, async (url, peers) => {
      const client = await connect(url, { WebSocket, reconnect: { first: 20 }, user: () => ({ token: peers.length }) });
      let down;
      client.on('disconnect', (end) => (down = end));
      await fails(client.request('x', {}), 'disconnected', `a request cut off by ${code}`);
      equal([down.code, down.reason, down.willReconnect], [code, code === 1006 ? '' : 'because', again], 'disconnect');
      if (!again) return equal(client.state, 'closed', `closed for good after ${code}`);
      await until(() => client.state === 'open', `open again after ${code}`);
      const user = (peer) => JSON.parse(peer.packages[0].body).user;
      equal(peers.map(user), [{ token: 0 }, { token: 1 }], 'user() is asked anew');
      equal(client.user, { n: 2 }, 'the new answer counts');
      return client.close();
    });
  }
  // A refusal while reconnecting ends it; so does running out of attempts; so does close() in between.
  const refuse = (peer, { type }) => {
    if (type === HANDSHAKE && peer.number > 1) peer.socket.send(pack(HANDSHAKE, '{"code":400}'));
    else if (type === HANDSHAKE) peer.accept();
    else if (type === DATA) peer.socket.close(1011);
  };
  await withServer(refuse, async (url, peers) => {
    const client = await connect(url, { WebSocket, reconnect: { first: 20 } });
    client.notify('x', {});
    const end = await new Promise((resolve) => client.on('close', resolve));
    equal([end.error.code, peers.length], [400, 2], 'refused while reconnecting');
  });
  const once = (peer, { type }) => (type === HANDSHAKE && peer.number === 1 ? peer.accept() : peer.socket.terminate());
  await withServer(once, async (url, peers) => {
    const client = await connect(url, { WebSocket, reconnect: { first: 10, attempts: 3 } });
    client.notify('x', {});
    const end = await new Promise((resolve) => client.on('close', resolve));
    equal([end.error.code, peers.length], ['disconnected', 4], 'attempts run out');
  });
  await withServer(once, async (url, peers) => {
    const client = await connect(url, { WebSocket, reconnect: { first: 200 } });
    client.notify('x', {});
    await until(() => client.state === 'reconnecting', 'reconnecting');
    await fails(client.request('x'), 'disconnected', 'a request while reconnecting');
    equal((await client.close()).code, 1000, 'close() while reconnecting');
    await sleep(300);
    equal([peers.length, client.state], [1, 'closed'], 'no attempt after close()');
  });
}

async function heartbeats(connect) {
  // Interval 0.5 s; the server says nothing after the handshake. The bounds leave room for a busy machine.
  const mute = (peer, { type }) => type === HANDSHAKE && peer.accept({ heartbeat: 0.5 });
  await withServer(mute, async (url, peers) => {
    const started = Date.now();
    const client = await connect(url, base);
    const end = await new Promise((resolve) => client.on('close', resolve));
    const took = Date.now() - started;
    check(took >= 1000 && took < 2500, `silence limit between 2 and 3 intervals: ${took} ms`);
    equal(end.error.code, 'silent', 'why');
    const beats = peers[0].packages.filter(({ type }) => type === HEARTBEAT).length;
    check(beats >= 1 && beats <= 2, `own heartbeats while waiting: ${beats}`);
  });
  const alive = (peer, { type }) => {
    if (type !== HANDSHAKE) return;
    peer.accept({ heartbeat: 0.2 });
    const timer = setInterval(() => peer.socket.send(pack(HEARTBEAT)), 200);
    peer.socket.on('close', () => clearInterval(timer));
  };
  for (const [mode, least, most] of [['active', 2, 6], ['passive', 1, 4], ['off', 0, 0]]) {
    await withServer(alive, async (url, peers) => {
      const client = await connect(url, { ...base, heartbeat: { mode } });
      await sleep(1100);
      const beats = peers[0].packages.filter(({ type }) => type === HEARTBEAT).length;
      check(beats >= least && beats <= most && client.state === 'open', `${mode}: ${beats} heartbeats in 1.1 s, ${client.state}`);
      await client.close();
    });
  }
}

async function kicks(connect) {
  for (const [body, reason] of [['{"reason":"cheating"}', 'cheating'], ['', ''], ['plain', 'plain'], ['"text"', 'text']]) {
    const script = (peer, { type }) => {
      if (type === HANDSHAKE) return peer.accept();
      if (type !== DATA) return undefined;
      peer.socket.send(pack(KICK, body));
      return peer.socket.close(1008, 'policy');
    };
    await withServer(script, async (url, peers) => {
      const client = await connect(url, { WebSocket, reconnect: { first: 10 } });
      let kick;
      client.on('kick', (said) => (kick = said));
      await fails(client.request('x', {}), 'kicked', 'a request cut off by a kick');
      equal(kick.reason, reason, `reason of ${body || 'an empty kick'}`);
      await sleep(50);
      equal([client.state, peers.length], ['closed', 1], 'no reconnect after a kick, whatever the close code');
    });
  }
}

async function wrapper() {
  const { connect } = require(path.join(__dirname, '../../gateway/web/linkspan.cjs'));
  await withServer((peer, { type }) => type === HANDSHAKE && peer.accept(), async (url) => {
    const client = await connect(url, base);
    await fails(client.close(1001), 'close-code', 'a close code browsers refuse');
    await client.close();
  });
}

run(60, async () => {
  const { connect } = await linkspan();
  await oracle(await import(path.join(__dirname, '../../gateway/web/codec.js')));
  await framing(connect);
  await refusals(connect);
  await reconnects(connect);
  await kicks(connect);
  await heartbeats(connect);
  await wrapper();
});
