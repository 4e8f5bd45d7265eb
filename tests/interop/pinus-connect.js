'use strict';
// The gateway's client role, `BINARY connect`, against the real pinus gateway, over TCP and over WebSocket.
// Usage: pinus-server/with-pinus.sh node pinus-connect.js BINARY

const { spawn } = require('node:child_process');
const { check, equal, run } = require('./lib.js');

const binary = process.argv[2];
const address = process.env.PINUS_ADDRESS;
const route = (name) => `connector.entryHandler.${name}`;

/** Feeds lines to one session; resolves to what it wrote. */
function session(url, lines) {
  return new Promise((resolve, reject) => {
    const child = spawn(binary, ['connect', url, '--linger', '500ms'], { stdio: ['pipe', 'pipe', 'pipe'] });
    const out = { stdout: '', stderr: '' };
    child.stdout.on('data', (data) => (out.stdout += data));
    child.stderr.on('data', (data) => (out.stderr += data));
    child.on('error', reject);
    child.on('close', (code) => resolve({ code, stderr: out.stderr, lines: out.stdout.split('\n').filter(Boolean) }));
    child.stdin.on('error', () => {});
    child.stdin.end(`${lines.join('\n')}\n`);
    process.on('exit', () => child.kill('SIGKILL'));
  });
}

async function talk(url) {
  const bodies = Array.from({ length: 200 }, (_, seq) => JSON.stringify({ seq, text: '漢字 😀' }));
  const { code, lines, stderr } = await session(url, [
    ...bodies.map((body) => `request ${route('echo')} ${body}`),
    `request ${route('bind')} {"uid":"u1"}`,
    `notify ${route('pushMe')} {"a":"😀"}`,
    // Four intervals: both sides' heartbeats must keep it alive.
    'wait 4s',
    `request ${route('echo')} {"last":true}`,
  ]);
  const what = `${url}: ${stderr.trim().split('\n').pop()}`;
  equal(code, 0, `exit code, ${what}`);
  const answers = lines.filter((line) => line.startsWith(`answer ${route('echo')} `)).map((line) => line.split(' ').slice(2).join(' '));
  equal(answers, [...bodies, '{"last":true}'], `answers, ${what}`);
  check(lines.includes(`answer ${route('bind')} {"uid":"u1"}`), `answer to bind, ${what}`);
  equal(lines.filter((line) => line.startsWith('push ')), ['push onEcho {"a":"😀"}'], `push, ${what}`);
}

run(60, async () => {
  await talk(`tcp://${address}`);
  await talk(`ws://${address}/`);
});
