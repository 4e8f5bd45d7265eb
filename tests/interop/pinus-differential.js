'use strict';
// Our codec beside pinus-protocol 1.7.4, an independent one: both must make the same of every package and message.
// Usage: node pinus-differential.js LINES, where LINES is what `pomelo-lines [SEED [COUNT]]` printed.
// Where pinus-protocol reads bytes that are not there, or counts with 32 bits, ours refuses or goes on; each such
// difference has a name and a reason here, must be one, and must occur.

const fs = require('node:fs');
const { Message, Package } = require('pinus-protocol');

const bytesOf = (hex) => Buffer.from(hex, 'hex');
const attempt = (decode) => {
  try {
    return decode();
  } catch {
    return null;
  }
};

const differences = {
  'a type that is none': 'pinus gives the type alone and forgets the packages before it; ours hands those over, then refuses',
  'an unfinished package': 'pinus fills it with zeros, or gives up if it is longer than all there is; ours waits for the rest',
  'a message type that is none': 'pinus gives types 4 to 7 to its caller; ours refuses them',
  'an id of more than ten groups': 'pinus takes any number of them; ours refuses what no number of 64 bits needs',
  'a code of nothing': 'pinus leaves codes to its caller; ours refuses what is not in the dictionary',
  'an id of more than 31 bits': 'pinus counts with 32 bits; ours has 64, and echoes the bytes',
  'an id with padding': 'pinus writes the shortest form; ours echoes the bytes as they came',
  'a route that is no text': 'pinus decodes and encodes UTF-8; ours passes the bytes on',
  'an error': 'only pitaya says in bit 0x20 that a response is an error: pinus drops the bit',
};
const seen = Object.fromEntries(Object.keys(differences).map((name) => [name, 0]));
const wrong = [];
let codes = {};

/** Counts a difference that is known. */
function differs(name) {
  seen[name] += 1;
}

function expect(condition, line, what) {
  if (!condition) wrong.push(`${what}: ${JSON.stringify(line)}`);
}

function packages(line) {
  const input = bytesOf(line.hex);
  const theirs = Package.decode(input);
  const list = Array.isArray(theirs) ? theirs : [theirs];
  const isRefused = list.length === 1 && list[0].body === undefined;
  if (line.refused !== null) {
    // Theirs may have stumbled over a length before, which is the next difference.
    expect(isRefused && !(list[0].type >= 1 && list[0].type <= 5), line, 'refused by ours, not by theirs');
    return differs('a type that is none');
  }
  const read = line.read;
  if (!line.whole) {
    const filled = list.length === read.length + 1 && same(list.slice(0, -1), read);
    expect(isRefused || filled, line, `theirs are ${JSON.stringify(theirs)}`);
    return differs('an unfinished package');
  }
  expect(same(list, read), line, `theirs are ${JSON.stringify(theirs)}`);
  const again = Buffer.concat(read.map(({ type, body }) => Package.encode(type, bytesOf(body))));
  expect(again.equals(input), line, 'theirs are written in another way');
}

function same(theirs, ours) {
  const text = ({ type, body }) => `${type} ${body === null ? '' : body.toString('hex')}`;
  return theirs.length === ours.length && theirs.every((one, at) => text(one) === `${ours[at].type} ${ours[at].body}`);
}

function message(line) {
  const input = bytesOf(line.hex);
  const theirs = attempt(() => Message.decode(input));
  const ours = line.read;
  if (ours.refused !== undefined) {
    if (theirs === null) return;
    if (theirs.type > 3) return differs('a message type that is none');
    const groups = input.subarray(1, 11);
    if (theirs.type % 2 === 0 && groups.length === 10 && groups.every((byte) => byte >= 0x80)) return differs('an id of more than ten groups');
    if (theirs.type !== 2 && theirs.compressRoute && codes[theirs.route] === undefined) return differs('a code of nothing');
    return expect(false, line, 'refused by ours, not by theirs');
  }
  if (theirs === null) return expect(false, line, 'refused by theirs, not by ours');
  const named = theirs.type !== 2;
  const isCoded = named && theirs.compressRoute === 1;
  const isText = Buffer.from(bytesOf(ours.route).toString()).equals(bytesOf(ours.route));
  const route = isCoded ? bytesOf(codes[theirs.route] ?? '').toString() : (theirs.route ?? '');
  const isWide = BigInt(ours.id) >= 2n ** 31n || ours.groups > 5;
  const isPadded = ours.groups > 1 && input[ours.groups] === 0;
  expect(theirs.type === ours.type && (theirs.compressGzip === 1) === ours.deflated, line, 'type or flags');
  expect(theirs.body.toString('hex') === ours.body, line, `the body is ${theirs.body.toString('hex')}`);
  expect(route === bytesOf(ours.route).toString(), line, `the route is ${theirs.route}`);
  if (isWide) differs('an id of more than 31 bits');
  else expect(String(theirs.id) === ours.id, line, `the id is ${theirs.id}`);
  // And back.
  if (isWide) return undefined;
  if (isPadded) return differs('an id with padding');
  if (!isText) return differs('a route that is no text');
  if (theirs.type === 2 && (input[0] & 0x20) !== 0) return differs('an error');
  const again = Message.encode(theirs.id, theirs.type, isCoded, theirs.route, theirs.body, theirs.compressGzip);
  return expect(again.toString('hex') === ours.again, line, `written as ${again.toString('hex')}`);
}

const lines = fs.readFileSync(process.argv[2], 'utf8').split('\n').filter(Boolean);
for (const text of lines) {
  const line = JSON.parse(text);
  if (line.what === 'dictionary') codes = line.codes;
  else if (line.what === 'packages') packages(line);
  else message(line);
}
for (const [name, count] of Object.entries(seen)) {
  console.log(`${String(count).padStart(6)} ${name}: ${differences[name]}`);
  if (count === 0) wrong.push(`never seen: ${name}`);
}
wrong.slice(0, 20).forEach((one) => console.log(one));
const compared = lines.length - 1;
console.log(`${wrong.length || compared < 1000 ? 'FAIL' : 'PASS'} pinus-differential: ${compared} compared, ${wrong.length} differ in a way that is not listed`);
process.exit(wrong.length || compared < 1000 ? 1 : 0);
