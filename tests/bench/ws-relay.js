#!/usr/bin/env node
'use strict';
// The chat protocol on npm's ws, as one would write it: what `cargo xtask bench chat` compares with.
//   node ws-relay.js        listens on a free port of loopback and says so: `listening http 127.0.0.1:PORT`

const http = require('node:http');
const path = require('node:path');
const { createRequire } = require('node:module');
const { WebSocketServer } = createRequire(path.join(__dirname, '../interop/package.json'))('ws');

const SEND = 1;
const users = new Map();
const sockets = new WebSocketServer({ noServer: true, perMessageDeflate: false, maxPayload: 64 * 1024 });

function serve(socket, user) {
  users.set(user, socket);
  socket.on('message', (data) => {
    let message;
    try {
      message = JSON.parse(data);
    } catch {
      socket.close(1007, 'invalid message');
      return;
    }
    if (message?.type === SEND) users.get(message.receiver)?.send(data, { binary: false });
  });
  socket.on('close', () => {
    if (users.get(user) === socket) users.delete(user);
  });
  socket.on('error', () => socket.terminate());
}

const server = http.createServer((request, response) => response.writeHead(404).end());
server.on('upgrade', (request, stream, head) => {
  const user = /^\/ws\/(\d+)$/.exec(request.url);
  if (user === null) {
    stream.end('HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n');
    return;
  }
  sockets.handleUpgrade(request, stream, head, (socket) => serve(socket, Number(user[1])));
});
server.listen(0, '127.0.0.1', () => console.log(`listening http 127.0.0.1:${server.address().port}`));
