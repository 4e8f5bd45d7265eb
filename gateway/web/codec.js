// The bytes of the pomelo protocol: packages, messages, bodies.
// Licence: MIT OR Apache-2.0

export const Package = { HANDSHAKE: 1, ACK: 2, HEARTBEAT: 3, DATA: 4, KICK: 5 };
export const PACKAGE_NAMES = ['', 'handshake', 'ack', 'heartbeat', 'data', 'kick'];
export const Message = { REQUEST: 0, NOTIFY: 1, RESPONSE: 2, PUSH: 3 };
export const MESSAGE_NAMES = ['request', 'notify', 'response', 'push'];

/** The largest body a package can announce. */
export const MAX_BODY = 0xff_ffff;
export const EMPTY = new Uint8Array(0);

const HEADER = 4;
const CODED = 0x01;
const COMPRESSED = 0x10;
const FAILED = 0x20;

const encoder = new TextEncoder();
const decoder = new TextDecoder();

/** Every failure this module reports. `code` is stable; `message` is for people. */
export class LinkspanError extends Error {
  constructor(code, message, extra = {}) {
    super(message);
    this.name = 'LinkspanError';
    this.code = code;
    Object.assign(this, extra);
  }
}

export function encodePackage(type, body = EMPTY) {
  const bytes = new Uint8Array(HEADER + body.length);
  bytes.set([type, body.length >>> 16, (body.length >>> 8) & 0xff, body.length & 0xff]);
  bytes.set(body, HEADER);
  return bytes;
}

/** Cuts a stream of bytes, however it was split into WebSocket messages, into packages. */
export class PackageReader {
  #buffer = EMPTY;
  #used = 0;

  /** Calls `handle(type, body)` for every package that `bytes` completes. */
  read(bytes, handle) {
    const input = this.#used === 0 ? bytes : this.#append(bytes);
    let at = 0;
    while (input.length - at >= HEADER) {
      const type = input[at];
      if (type < Package.HANDSHAKE || type > Package.KICK) {
        throw new LinkspanError('protocol', `unknown package type ${type}`);
      }
      const end = at + HEADER + ((input[at + 1] << 16) | (input[at + 2] << 8) | input[at + 3]);
      if (end > input.length) break;
      // A copy: callers may keep a body, and the buffer it came from is used again.
      handle(type, input.slice(at + HEADER, end));
      at = end;
    }
    this.#keep(input.subarray(at));
  }

  #append(bytes) {
    const needed = this.#used + bytes.length;
    if (needed > this.#buffer.length) {
      const larger = new Uint8Array(Math.max(needed, 2 * this.#buffer.length));
      larger.set(this.#buffer.subarray(0, this.#used));
      this.#buffer = larger;
    }
    this.#buffer.set(bytes, this.#used);
    this.#used = needed;
    return this.#buffer.subarray(0, needed);
  }

  #keep(rest) {
    this.#used = rest.length;
    if (rest.length === 0) this.#buffer = EMPTY;
    else if (rest.buffer !== this.#buffer.buffer) this.#buffer = rest.slice();
    else if (rest.byteOffset > 0) this.#buffer.copyWithin(0, rest.byteOffset, rest.byteOffset + rest.length);
  }
}

/** `codes` maps routes to their dictionary codes. */
export function encodeMessage(type, id, route, body, codes) {
  const head = [type << 1];
  if (type === Message.REQUEST) pushId(head, id);
  const code = codes.get(route);
  if (code !== undefined) {
    head[0] |= CODED;
    head.push(code >>> 8, code & 0xff);
  } else {
    const name = encoder.encode(route);
    if (name.length === 0 || name.length > 255) {
      throw new LinkspanError('route', `a route has 1 to 255 bytes, not ${name.length}`);
    }
    head.push(name.length, ...name);
  }
  const bytes = new Uint8Array(head.length + body.length);
  if (bytes.length > MAX_BODY) throw new LinkspanError('too-large', `a message has at most ${MAX_BODY} bytes`);
  bytes.set(head);
  bytes.set(body, head.length);
  return bytes;
}

function pushId(head, id) {
  let rest = id;
  for (; rest >= 0x80; rest >>>= 7) head.push((rest & 0x7f) | 0x80);
  head.push(rest);
}

/** Decodes what a server may send: responses and pushes. `routes` maps codes to routes. */
export function decodeMessage(bytes, routes) {
  if (bytes.length === 0) throw invalid('empty');
  const flag = bytes[0];
  const type = (flag >> 1) & 7;
  const message = { type, id: 0, route: '', failed: (flag & FAILED) !== 0, compressed: (flag & COMPRESSED) !== 0 };
  let at = 1;
  if (type === Message.RESPONSE) {
    for (let scale = 1; ; scale *= 128) {
      if (at > 10 || at >= bytes.length) throw invalid('unterminated id');
      const group = bytes[at++];
      message.id += (group & 0x7f) * scale;
      if (group < 0x80) break;
    }
  } else if (type !== Message.PUSH) {
    throw invalid(`type ${type} from a server`);
  } else if (flag & CODED) {
    if (bytes.length < 3) throw invalid('truncated route code');
    const code = (bytes[1] << 8) | bytes[2];
    if (!routes.has(code)) throw invalid(`unknown route code ${code}`);
    message.route = routes.get(code);
    at = 3;
  } else {
    if (bytes.length < 2 || bytes.length < 2 + bytes[1]) throw invalid('truncated route');
    at = 2 + bytes[1];
    message.route = decoder.decode(bytes.subarray(2, at));
  }
  message.body = bytes.subarray(at);
  return message;
}

function invalid(why) {
  return new LinkspanError('protocol', `invalid message: ${why}`);
}

/** Objects become JSON; bytes stay as they are. */
export function encodeBody(body) {
  if (body === undefined) return EMPTY;
  if (body instanceof Uint8Array) return body;
  if (body instanceof ArrayBuffer) return new Uint8Array(body);
  return encoder.encode(JSON.stringify(body));
}

/** JSON where it is JSON, `undefined` where it is empty, bytes where it is neither. */
export function decodeBody(bytes) {
  if (bytes.length === 0) return undefined;
  try {
    return JSON.parse(decoder.decode(bytes));
  } catch {
    return bytes;
  }
}

/** Undoes zlib (pitaya compresses bodies), refusing to grow past a package's own limit. */
export async function inflate(bytes) {
  const reader = new Blob([bytes]).stream().pipeThrough(new DecompressionStream('deflate')).getReader();
  const chunks = [];
  let size = 0;
  for (;;) {
    const { done, value } = await reader.read();
    if (done) break;
    chunks.push(value);
    size += value.length;
    if (size > MAX_BODY) {
      await reader.cancel();
      throw new LinkspanError('too-large', 'compressed data inflates to too much');
    }
  }
  const whole = new Uint8Array(size);
  let at = 0;
  for (const chunk of chunks) {
    whole.set(chunk, at);
    at += chunk.length;
  }
  return whole;
}
