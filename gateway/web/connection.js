// One WebSocket from handshake to close: framing, heartbeat, silence limit.
// Licence: MIT OR Apache-2.0

import {
  decodeBody,
  decodeMessage,
  EMPTY,
  encodeMessage,
  encodePackage,
  inflate,
  LinkspanError,
  MESSAGE_NAMES,
  Package,
  PACKAGE_NAMES,
  PackageReader,
} from './codec.js';

const CLOSE_GRACE = 5000;
const ZLIB = 0x78;

/** Close codes after which connecting again would end the same way. */
const FINAL_CODES = new Set([1002, 1003, 1007, 1009, 4000, 4001, 4003, 4004]);

const encoder = new TextEncoder();
const decoder = new TextDecoder();

/**
 * `on` has five functions: `open(answer)`, `message(message)`, `kick(reason, body)`, `frame(frame)`, and `end({code, reason, error,
 * final})`, which is called exactly once, last, and not before the constructor has returned.
 */
export class Connection {
  #socket;
  #options;
  #on;
  #reader = new PackageReader();
  #state = 'handshake';
  #codes = new Map();
  #routes = new Map();
  #interval = 0;
  #heardAt = 0;
  #inflating = null;
  #kicked = null;
  #closing = null;
  #timers = { connect: 0, heartbeat: 0, silence: 0, close: 0 };

  constructor(url, user, options, on) {
    this.#options = options;
    this.#on = on;
    const WebSocket = options.WebSocket;
    const socket = new WebSocket(url);
    this.#socket = socket;
    socket.binaryType = 'arraybuffer';
    const sys = { type: 'js-websocket', version: '0.1.0', ...options.sys };
    socket.onopen = () => this.#send(Package.HANDSHAKE, encoder.encode(JSON.stringify({ sys, user })));
    socket.onmessage = (event) => this.#receive(event.data);
    socket.onerror = () => {}; // A close event, which has the code, always follows.
    socket.onclose = (event) => this.#closed(event.code, event.reason);
    this.#timers.connect = setTimeout(
      () => this.#giveUp(new LinkspanError('timeout', 'no handshake answer in time')),
      options.connectTimeout,
    );
  }

  get bufferedAmount() {
    return this.#socket.bufferedAmount;
  }

  /** Sends a request or a notify. */
  sendMessage(type, id, route, body) {
    const message = encodeMessage(type, id, route, body, this.#codes);
    this.#socket.send(encodePackage(Package.DATA, message));
    this.#on.frame({ direction: 'out', package: 'data', message: MESSAGE_NAMES[type], id, route, failed: false, body });
  }

  /** Ends the connection; `on.end` follows when the server agreed, or after a few seconds. */
  close(code, reason) {
    if (this.#state === 'ended' || this.#closing !== null) return;
    this.#closing = new LinkspanError('closed', 'the client was closed');
    this.#stopTimers();
    this.#timers.close = setTimeout(() => this.#closed(1006, 'no answer to the close'), CLOSE_GRACE);
    this.#socket.close(code, shorten(reason));
  }

  #send(type, body = EMPTY) {
    this.#socket.send(encodePackage(type, body));
    this.#on.frame({ direction: 'out', package: PACKAGE_NAMES[type], body });
  }

  // ---- receiving

  #receive(data) {
    this.#heardAt = Date.now();
    try {
      const bytes = typeof data === 'string' ? encoder.encode(data) : new Uint8Array(data);
      this.#reader.read(bytes, (type, body) => this.#inOrder(type, body));
    } catch (error) {
      this.#giveUp(toError(error), true);
    }
  }

  /** Inflating takes time: what arrives meanwhile waits, so that order is kept. */
  #inOrder(type, body) {
    if (this.#inflating === null) {
      this.#inflating = this.#handle(type, body) ?? null;
    } else {
      this.#inflating = this.#inflating.then(() => this.#handle(type, body));
    }
    const last = this.#inflating;
    last?.then(
      () => this.#inflating === last && (this.#inflating = null),
      (error) => this.#giveUp(toError(error), true),
    );
  }

  /** Returns a promise only where something must be inflated first. */
  #handle(type, body) {
    if (this.#state === 'ended') return undefined;
    if (type !== Package.DATA) this.#on.frame({ direction: 'in', package: PACKAGE_NAMES[type], body });
    switch (type) {
      case Package.HANDSHAKE:
        return body[0] === ZLIB ? inflate(body).then((json) => this.#answered(json)) : this.#answered(body);
      case Package.HEARTBEAT:
        // The passive way of pomelo's own clients: one heartbeat, one interval after the server's.
        if (this.#interval > 0 && this.#timers.heartbeat === 0) this.#scheduleHeartbeat();
        return undefined;
      case Package.KICK:
        return this.#kick(body);
      case Package.DATA:
        return this.#message(body);
      default:
        throw new LinkspanError('protocol', `package type ${type} from a server`);
    }
  }

  #answered(body) {
    if (this.#state !== 'handshake') return; // A repeated answer changes nothing.
    const answer = decodeBody(body);
    if (answer?.code !== 200) {
      const code = answer?.code ?? 'protocol';
      throw new LinkspanError(code, `the server refused the handshake (${code})`, { user: answer?.user });
    }
    const sys = answer.sys ?? {};
    const dictionary = Object.entries(sys.dict ?? sys.routeToCode ?? {});
    const usable = dictionary.filter(([, code]) => Number.isInteger(code) && code > 0 && code <= 0xffff);
    this.#codes = new Map(usable);
    this.#routes = new Map(usable.map(([route, code]) => [code, route]));
    clearTimeout(this.#timers.connect);
    this.#send(Package.ACK);
    this.#state = 'open';
    this.#startHeartbeat(Number(sys.heartbeat) * 1000);
    this.#on.open(answer);
  }

  #message(bytes) {
    if (this.#state === 'handshake') throw new LinkspanError('protocol', 'data before the handshake answer');
    const message = decodeMessage(bytes, this.#routes);
    if (!message.compressed) return this.#on.message(message);
    return inflate(message.body).then((body) => this.#on.message({ ...message, body }));
  }

  #kick(body) {
    const decoded = decodeBody(body);
    const said = decoded instanceof Uint8Array ? decoder.decode(decoded) : (decoded?.reason ?? decoded ?? '');
    const reason = typeof said === 'string' ? said : JSON.stringify(said);
    this.#kicked = new LinkspanError('kicked', `kicked by the server: ${reason || 'no reason given'}`);
    // The server closes next; one that forgets must not hold the session.
    this.#timers.close = setTimeout(() => this.#giveUp(this.#kicked, true), CLOSE_GRACE);
    this.#on.kick(reason, decoded);
  }

  // ---- heartbeat

  #startHeartbeat(interval) {
    const { mode = 'active', silence = 2.5 } = this.#options.heartbeat ?? {};
    if (mode === 'off' || !(interval > 0)) return;
    this.#interval = interval;
    if (mode === 'active') this.#scheduleHeartbeat();
    this.#watchSilence(interval * Math.min(3, Math.max(2, silence)));
  }

  #scheduleHeartbeat() {
    this.#timers.heartbeat = setTimeout(() => {
      this.#timers.heartbeat = 0;
      this.#send(Package.HEARTBEAT);
      if (this.#options.heartbeat?.mode !== 'passive') this.#scheduleHeartbeat();
    }, this.#interval);
  }

  #watchSilence(limit, grace = 0) {
    const due = Math.max(this.#heardAt + limit, Date.now() + grace);
    this.#timers.silence = setTimeout(() => {
      const now = Date.now();
      if (now - this.#heardAt < limit) this.#watchSilence(limit);
      // A page that was asleep has not seen what already arrived: let it read first.
      else if (now - due > 1000 && grace === 0) this.#watchSilence(limit, 1000);
      else this.#giveUp(new LinkspanError('silent', 'heartbeat timeout'));
    }, due - Date.now());
  }

  // ---- ending

  /** This side ends the connection because of `error`, without waiting for the server. */
  #giveUp(error, final = false) {
    if (this.#state === 'ended') return;
    this.#finish({ code: 1006, reason: error.message, error, final });
    this.#socket.close(final ? 4002 : 4003, shorten(error.message));
  }

  #closed(code, reason) {
    const why = reason ? `${code}: ${reason}` : `${code}`;
    const error = this.#kicked ?? this.#closing ?? new LinkspanError('disconnected', `connection closed (${why})`);
    const final = this.#kicked !== null || this.#closing !== null || FINAL_CODES.has(code);
    this.#finish({ code, reason, error, final });
  }

  #finish(end) {
    if (this.#state === 'ended') return;
    this.#state = 'ended';
    this.#stopTimers();
    Object.assign(end.error, { closeCode: end.code, closeReason: end.reason, final: end.final });
    this.#on.end(end);
  }

  #stopTimers() {
    for (const name of Object.keys(this.#timers)) clearTimeout(this.#timers[name]);
  }
}

function toError(error) {
  return error instanceof LinkspanError ? error : new LinkspanError('protocol', String(error));
}

/** A close reason has at most 123 bytes. */
function shorten(reason) {
  const bytes = encoder.encode(reason);
  return bytes.length <= 123 ? reason : decoder.decode(bytes.subarray(0, 123)).replace(/\ufffd$/, '');
}
