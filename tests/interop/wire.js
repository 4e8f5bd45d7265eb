'use strict';
// An independent, minimal pomelo codec for the raw scripts and the stand-in server.

const HANDSHAKE = 1;
const ACK = 2;
const HEARTBEAT = 3;
const DATA = 4;
const KICK = 5;

function pack(type, body = Buffer.alloc(0)) {
  const bytes = Buffer.isBuffer(body) ? body : Buffer.from(body);
  const head = Buffer.alloc(4);
  head.writeUInt32BE(bytes.length);
  head[0] = type;
  return Buffer.concat([head, bytes]);
}

/** Packages at the start of `bytes`, and what is left. */
function unpack(bytes) {
  const packages = [];
  let rest = bytes;
  while (rest.length >= 4) {
    const length = rest.readUIntBE(1, 3);
    if (rest.length < 4 + length) break;
    packages.push({ type: rest[0], body: rest.subarray(4, 4 + length) });
    rest = rest.subarray(4 + length);
  }
  return { packages, rest };
}

function varint(id) {
  const bytes = [];
  let rest = BigInt(id);
  for (; rest >= 128n; rest >>= 7n) bytes.push(Number(rest & 127n) | 128);
  bytes.push(Number(rest));
  return Buffer.from(bytes);
}

const types = { request: 0, notify: 1, response: 2, push: 3 };
const names = Object.keys(types);

/** `id`: a number or, for odd forms, the bytes themselves; `code` instead of `route`: a dictionary code. */
function message({ type, id, route, code, data = '', failed = false }) {
  const kind = types[type];
  const parts = [Buffer.from([(kind << 1) | (code === undefined ? 0 : 1) | (failed ? 0x20 : 0)])];
  if (type === 'request' || type === 'response') parts.push(Buffer.isBuffer(id) ? id : varint(id));
  if (code !== undefined) parts.push(Buffer.from([code >> 8, code & 255]));
  else if (type !== 'response') parts.push(Buffer.from([Buffer.byteLength(route)]), Buffer.from(route));
  parts.push(Buffer.isBuffer(data) ? data : Buffer.from(typeof data === 'string' ? data : JSON.stringify(data)));
  return Buffer.concat(parts);
}

function parse(bytes) {
  const flag = bytes[0];
  const type = names[(flag >> 1) & 7];
  if (bytes.length < 2 || type === undefined) throw new Error('invalid message');
  const result = { type, coded: (flag & 1) !== 0, compressed: (flag & 16) !== 0, failed: (flag & 32) !== 0 };
  let at = 1;
  if (type === 'request' || type === 'response') {
    const start = at;
    let id = 0n;
    for (let shift = 0n; ; shift += 7n) {
      if (at >= bytes.length) throw new Error('unterminated id');
      id |= BigInt(bytes[at] & 127) << shift;
      if (bytes[at++] < 128) break;
    }
    result.id = Number(id);
    result.idBytes = bytes.subarray(start, at);
  }
  if (type !== 'response') {
    if (result.coded) {
      result.code = bytes.readUInt16BE(at);
      at += 2;
    } else {
      const end = at + 1 + bytes[at];
      if (end > bytes.length) throw new Error('truncated route');
      result.route = bytes.subarray(at + 1, end).toString();
      at = end;
    }
  }
  result.data = bytes.subarray(at);
  return result;
}

/** JSON, also where characters beyond the BMP are written as two 3-byte surrogates (CESU-8). */
function json(data) {
  const pairs = /\xed([\xa0-\xaf])([\x80-\xbf])\xed([\xb0-\xbf])([\x80-\xbf])/g;
  const utf8 = data.toString('latin1').replace(pairs, (_, ...units) => {
    const [a, b, c, d] = units.slice(0, 4).map((unit) => unit.charCodeAt(0) & 0x3f);
    const character = String.fromCharCode(0xd000 | (a << 6) | b, 0xd000 | (c << 6) | d);
    return Buffer.from(character).toString('latin1');
  });
  return JSON.parse(Buffer.from(utf8, 'latin1').toString());
}

module.exports = { ACK, DATA, HANDSHAKE, HEARTBEAT, KICK, json, message, pack, parse, unpack, varint };
