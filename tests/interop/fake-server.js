#!/usr/bin/env node
'use strict';
// A stand-in for the gateway, so that the scripts here can be tested without it:
//   node fake-server.js serve --pomelo-ws 127.0.0.1:0 --pomelo-tcp 127.0.0.1:0 --http 127.0.0.1:0 [--dictionary route,…]
// It takes the gateway's flags and prints the gateway's lines; it checks nothing and limits nothing.

const fs = require('node:fs');
const http = require('node:http');
const net = require('node:net');
const path = require('node:path');
const { WebSocketServer } = require('ws');
const { ACK, DATA, HANDSHAKE, HEARTBEAT, KICK, json, message, pack, parse, unpack } = require('./wire.js');

const room = new Map();

class Session {
  constructor(server, send, end) {
    Object.assign(this, { server, send, end, rest: Buffer.alloc(0), working: false, chain: Promise.resolve() });
  }

  receive(bytes) {
    const { packages, rest } = unpack(Buffer.concat([this.rest, bytes]));
    this.rest = rest;
    for (const { type, body } of packages) {
      if (type === HANDSHAKE) this.handshake(body);
      else if (type === ACK) this.work();
      else if (type === DATA && this.working) this.data(parse(body));
      else if (type !== HEARTBEAT) this.end(1002, 'package not allowed now');
    }
  }

  handshake(body) {
    const hello = body.length ? json(body) : {};
    const sys = { heartbeat: this.server.heartbeat, servertime: Math.floor(Date.now() / 1000), serializer: 'json' };
    this.coded = hello.sys?.type === 'js-websocket' && this.server.codes.size > 0;
    if (this.coded) sys.dict = Object.fromEntries(this.server.codes);
    this.send(pack(HANDSHAKE, JSON.stringify({ code: 200, sys })));
  }

  work() {
    this.working = true;
    this.timer ??= setInterval(() => this.send(pack(HEARTBEAT)), this.server.heartbeat * 1000);
  }

  /** Handlers of one session run in order. */
  data(received) {
    const route = received.coded ? this.server.routes.get(received.code) : received.route;
    this.chain = this.chain.then(async () => {
      const answer = (data, failed = false) =>
        received.type === 'request' && this.send(pack(DATA, message({ type: 'response', id: received.idBytes, data, failed })));
      try {
        if (!routes.has(route)) throw Object.assign(new Error(`no handler for ${route}`), { code: 'PIT-404' });
        answer((await routes.get(route)(this, received.data)) ?? '');
      } catch (error) {
        answer({ code: error.code ?? 'PIT-000', msg: error.message, ...(error.metadata && { metadata: error.metadata }) }, true);
      }
      this.afterAnswer?.();
    });
  }

  push(route, data) {
    const code = this.coded ? this.server.codes.get(route) : undefined;
    this.send(pack(DATA, message({ type: 'push', route, code, data })));
  }

  kick(reason) {
    this.send(pack(KICK, JSON.stringify({ reason })));
    this.end(4000, 'kicked');
  }

  closed() {
    clearInterval(this.timer);
    leave(this);
  }
}

function leave(session) {
  const uid = room.get(session);
  if (!room.delete(session)) return;
  for (const other of room.keys()) other.push('onLeave', { uid });
}

const object = (data) => {
  try {
    return json(data);
  } catch (error) {
    throw Object.assign(error, { code: 'PIT-400' });
  }
};

const routes = new Map(
  Object.entries({
    'Echo.Raw': (_, data) => data,
    'Echo.JSON': (_, data) => object(data),
    'Echo.PushMe': (session, data) => session.push('onEcho', data),
    'Echo.PushN': (session, data) => {
      const { n, size, route } = object(data);
      for (let i = 0; i < n; i += 1) session.push(route, { i, pad: 'x'.repeat(size) });
      return { accepted: n, asked: n };
    },
    'Echo.Big': (_, data) => 'x'.repeat(object(data).size),
    'Echo.Empty': () => '',
    'Echo.Slow': (_, data) => new Promise((resolve) => setTimeout(() => resolve({ ms: object(data).ms }), object(data).ms)),
    'Echo.Fail': () => {
      throw Object.assign(new Error('failed on purpose'), { code: 'ECHO-1' });
    },
    'Echo.Panic': () => {
      throw Object.assign(new Error('handler panicked'), { code: 'PIT-500' });
    },
    'Echo.Bind': (session, data) => ({ uid: (session.uid = object(data).uid) }),
    'Echo.Info': (session) => ({ uid: session.uid }),
    'Echo.Bye': (session) => {
      for (let i = 0; i < 5; i += 1) session.push('onBye', { i });
      session.afterAnswer = () => session.end(1000, '');
      return { bye: true };
    },
    'Echo.Kick': (session) => {
      session.afterAnswer = () => session.kick('asked for');
      return {};
    },
    'room.join': (session, data) => {
      const { uid } = object(data);
      session.push('onMembers', { members: [...room.values()] });
      for (const other of room.keys()) other.push('onNewUser', { content: `New user: ${uid}` });
      room.set(session, uid);
      return { code: 0, result: 'success' };
    },
    'room.message': (_, data) => {
      for (const member of room.keys()) member.push('onMessage', object(data));
    },
    'room.leave': (session) => leave(session),
  }),
);

/** Starts listeners for the addresses given (`{ ws, tcp, http }`); resolves to their ports. */
async function start({ ws, tcp, page, dictionary = {}, heartbeat = 30 }) {
  const codes = new Map(Object.entries(dictionary));
  const server = { codes, routes: new Map([...codes].map(([route, code]) => [code, route])), heartbeat };
  const ports = {};
  const listen = async (listener, address, name) => {
    const [host, port] = address.split(':');
    await new Promise((resolve) => listener.listen(Number(port), host, resolve));
    ports[name] = listener.address().port;
  };
  if (ws) {
    const listener = http.createServer((_, response) => response.writeHead(426).end('WebSocket only\n'));
    new WebSocketServer({ server: listener }).on('connection', (socket) => serveWs(server, socket));
    await listen(listener, ws, 'ws');
  }
  if (tcp) await listen(net.createServer((socket) => serveTcp(server, socket)), tcp, 'tcp');
  if (page) await listen(http.createServer((request, response) => servePage(ports, request, response)), page, 'http');
  return ports;
}

function serveWs(server, socket) {
  const send = (bytes) => socket.readyState === socket.OPEN && socket.send(bytes);
  const session = new Session(server, send, (code, reason) => socket.close(code, reason));
  socket.on('message', (data) => session.receive(Buffer.from(data)));
  socket.on('close', () => session.closed());
}

function serveTcp(server, socket) {
  const session = new Session(server, (bytes) => socket.writable && socket.write(bytes), () => socket.end());
  socket.on('data', (data) => session.receive(data));
  socket.on('error', () => {});
  socket.on('close', () => session.closed());
}

const files = {
  '/': ['index.html', 'text/html'],
  '/linkspan.js': ['linkspan.js', 'text/javascript'],
  '/connection.js': ['connection.js', 'text/javascript'],
  '/codec.js': ['codec.js', 'text/javascript'],
  '/demo.js': ['demo.js', 'text/javascript'],
  '/tabs.js': ['tabs.js', 'text/javascript'],
  '/direct.js': ['direct.js', 'text/javascript'],
  '/demo.css': ['demo.css', 'text/css'],
};

function servePage(ports, request, response) {
  const { pathname } = new URL(request.url, 'http://host');
  if (pathname === '/healthz') return response.end('ok');
  if (pathname === '/config.json') {
    response.setHeader('Content-Type', 'application/json');
    const host = request.headers.host.split(':')[0];
    return response.end(JSON.stringify({ pomelo_ws: `ws://${host}:${ports.ws}/` }));
  }
  if (!files[pathname]) return response.writeHead(404).end('not found\n');
  const [file, type] = files[pathname];
  response.setHeader('Content-Type', `${type}; charset=utf-8`);
  return response.end(fs.readFileSync(path.join(__dirname, '../../gateway/web', file)));
}

async function main() {
  const flag = (name) => {
    const at = process.argv.indexOf(name);
    return at < 0 ? undefined : process.argv[at + 1];
  };
  const dictionary = (flag('--dictionary') ?? '').split(',').filter(Boolean);
  const ports = await start({
    ws: flag('--pomelo-ws'),
    tcp: flag('--pomelo-tcp'),
    page: flag('--http'),
    dictionary: Object.fromEntries(dictionary.map((route, i) => [route, i + 1])),
  });
  for (const [name, line] of [['tcp', 'pomelo-tcp'], ['ws', 'pomelo-ws'], ['http', 'http']]) {
    if (ports[name]) console.log(`listening ${line} 127.0.0.1:${ports[name]}`);
  }
  process.on('SIGTERM', () => process.exit(0));
}

module.exports = { start };
if (require.main === module) main();
