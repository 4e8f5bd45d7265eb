'use strict';
// Encodings made by pinus-protocol 1.7.4, an independent implementation, one JSON object per line:
//   {"what": "message"|"package", "input": …, "hex": …}
// Without an argument it prints them; with `--check FILE` it checks lines of the same form that another program made.

const fs = require('node:fs');
const { Message, Package } = require('pinus-protocol');

const ids = [1, 2, 127, 128, 129, 255, 256, 16383, 16384, 2097151, 2097152, 2 ** 31 - 1];
const routes = ['a', 'Echo.JSON', 'room.join', 'x'.repeat(255), 1, 255, 256, 65535];
const bodies = ['', '{}', '{"text":"é 漢字 😀"}'];
const types = { request: Message.TYPE_REQUEST, notify: Message.TYPE_NOTIFY, response: Message.TYPE_RESPONSE, push: Message.TYPE_PUSH };

function* inputs() {
  for (const type of Object.keys(types)) {
    const named = type !== 'response';
    const numbered = type === 'request' || type === 'response';
    for (const id of numbered ? ids : [0]) {
      for (const route of named ? routes : [null]) {
        for (const body of bodies) yield { what: 'message', input: { type, id, route, body } };
      }
    }
  }
  for (let type = 1; type <= 5; type += 1) {
    for (const size of [0, 1, 255, 256, 65535, 65536]) yield { what: 'package', input: { type, size } };
  }
}

function encode({ what, input }) {
  if (what === 'package') return Package.encode(input.type, Buffer.alloc(input.size, 0x78));
  const { type, id, route, body } = input;
  return Message.encode(id, types[type], typeof route === 'number', route, Buffer.from(body));
}

if (process.argv[2] === '--check') {
  const lines = fs.readFileSync(process.argv[3], 'utf8').split('\n').filter(Boolean);
  const wrong = lines.map((line) => JSON.parse(line)).filter((line) => encode(line).toString('hex') !== line.hex);
  wrong.forEach((line) => console.log(`differs: ${JSON.stringify(line.input)} is ${encode(line).toString('hex')}, not ${line.hex}`));
  console.log(`${wrong.length ? 'FAIL' : 'PASS'} pinus-oracle: ${lines.length} encodings, ${wrong.length} differ`);
  process.exit(wrong.length || !lines.length ? 1 : 0);
}
for (const line of inputs()) console.log(JSON.stringify({ ...line, hex: encode(line).toString('hex') }));
