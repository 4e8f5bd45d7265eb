// Pomelo over WebSocket, for browsers and Node. No dependencies.
//
//   import { connect } from './linkspan.js';
//   const client = await connect('ws://127.0.0.1:3250/', { user: { token: 't' } });
//   client.on('onMessage', (body) => console.log(body));
//   const answer = await client.request('Echo.JSON', { text: 'x' });
//
// Licence: MIT OR Apache-2.0

import { decodeBody, encodeBody, LinkspanError, MESSAGE_NAMES, Message } from './codec.js';
import { Connection } from './connection.js';

export { LinkspanError };

const MAX_ID = 0x7fff_ffff;
/** A connection that held this long proves that the server is well again. */
const STABLE = 5000;
/** Never push routes, so that no server can forge an event of the connection. */
const EVENTS = new Set(['push', 'kick', 'disconnect', 'reconnecting', 'reconnect', 'close', 'frame']);

const INSIDE = Symbol('made by connect()');
const OPEN = Symbol('open');

/** Connects, shakes hands and resolves to a working client. */
export async function connect(url, options = {}) {
  const client = new Client(INSIDE, url, options);
  await client[OPEN]();
  return client;
}

/** One session with a server, over as many connections as it takes. Made by `connect()`. */
export class Client {
  #url;
  #options;
  #reconnect;
  #connection = null;
  #state = 'connecting';
  #listeners = new Map();
  #pending = new Map();
  #lastId = 0;
  #answer = {};
  #attempt = 0;
  #openedAt = 0;
  #retry = 0;
  #end = null;
  #closing = [];

  constructor(key, url, options) {
    if (key !== INSIDE) throw new TypeError('use connect(url, options)');
    this.#url = String(url);
    this.#options = { timeout: 10_000, connectTimeout: 10_000, ...options };
    this.#options.WebSocket ??= globalThis.WebSocket;
    const retry = options.reconnect ?? true;
    this.#reconnect = retry && { first: 500, max: 30_000, jitter: 0.5, attempts: Infinity, ...retry };
    if (typeof this.#options.WebSocket !== 'function') {
      throw new LinkspanError('no-websocket', 'no global WebSocket: pass { WebSocket } (Node 20: the one of "ws")');
    }
    for (const [event, listener] of Object.entries(options.on ?? {})) this.on(event, listener);
  }

  /** `connecting`, `open`, `reconnecting`, `closing` or `closed`. */
  get state() {
    return this.#state;
  }

  /** What the server said of itself in the handshake (`heartbeat`, `dict`, `serializer`, …). */
  get sys() {
    return this.#answer.sys ?? {};
  }

  /** The application's part of the handshake answer. */
  get user() {
    return this.#answer.user;
  }

  /** Bytes given to the socket that have not left yet. */
  get bufferedAmount() {
    return this.#connection?.bufferedAmount ?? 0;
  }

  /** Sends a request; resolves to the decoded answer. */
  request(route, body, options = {}) {
    return new Promise((resolve, reject) => {
      const as = options.as ?? (body instanceof Uint8Array || body instanceof ArrayBuffer ? 'bytes' : 'json');
      const timeout = options.timeout ?? this.#options.timeout;
      const id = this.#nextId();
      this.#send(Message.REQUEST, id, route, body);
      const pending = { resolve, reject, as, route, timer: 0 };
      if (timeout > 0 && timeout !== Infinity) {
        pending.timer = setTimeout(() => {
          this.#pending.delete(id);
          reject(new LinkspanError('timeout', `no answer to ${route} within ${timeout} ms`, { route }));
        }, timeout);
      }
      this.#pending.set(id, pending);
    });
  }

  /** Sends a message that has no answer. */
  notify(route, body) {
    this.#send(Message.NOTIFY, 0, route, body);
  }

  /** Calls `listener` for an event or a push route; returns the function that undoes it. */
  on(event, listener) {
    const listeners = this.#listeners.get(event) ?? new Set();
    this.#listeners.set(event, listeners.add(listener));
    return () => this.off(event, listener);
  }

  /** As `on`, for the first time only. */
  once(event, listener) {
    const undo = this.on(event, (...args) => {
      undo();
      listener(...args);
    });
    return undo;
  }

  /** Undoes `on`. */
  off(event, listener) {
    this.#listeners.get(event)?.delete(listener);
  }

  /** Ends the session for good; resolves to how it ended. Codes: 1000 or 3000 to 4999. */
  async close(code = 1000, reason = '') {
    if (code !== 1000 && !(code >= 3000 && code <= 4999)) {
      throw new LinkspanError('close-code', 'close codes are 1000 or 3000 to 4999');
    }
    if (this.#end !== null) return this.#end;
    const ended = new Promise((resolve) => this.#closing.push(resolve));
    const error = new LinkspanError('closed', 'the client was closed');
    this.#rejectPending(error);
    if (this.#state === 'reconnecting') {
      clearTimeout(this.#retry);
      this.#connection?.close(code, reason);
      this.#finish({ code, reason, error });
    } else if (this.#state === 'open') {
      this.#state = 'closing';
      this.#connection.close(code, reason);
    }
    return ended;
  }

  // ---- connecting

  async [OPEN]() {
    const { user } = this.#options;
    const presented = typeof user === 'function' ? await user() : user;
    // close() may have been called while user() was asked.
    if (this.#end !== null) throw this.#end.error;
    await new Promise((resolve, reject) => {
      let opened = false;
      this.#connection = new Connection(this.#url, presented, this.#options, {
        open: (answer) => {
          opened = true;
          this.#opened(answer);
          resolve();
        },
        message: (message) => this.#message(message),
        kick: (reason, body) => this.#emit('kick', { reason, body }),
        frame: (frame) => this.#emit('frame', frame),
        end: (end) => {
          this.#connection = null;
          if (opened) this.#ended(end);
          else reject(end.error);
        },
      });
    });
  }

  #opened(answer) {
    if (this.#end !== null) return;
    this.#answer = answer;
    this.#state = 'open';
    this.#openedAt = Date.now();
    if (this.#attempt > 0) this.#emit('reconnect', { attempt: this.#attempt });
  }

  #ended(end) {
    if (this.#end !== null) return;
    this.#rejectPending(end.error);
    if (Date.now() - this.#openedAt >= STABLE) this.#attempt = 0;
    const willReconnect = !end.final && this.#mayRetry();
    this.#state = willReconnect ? 'reconnecting' : 'closing';
    this.#emit('disconnect', { code: end.code, reason: end.reason, willReconnect });
    if (willReconnect) this.#scheduleRetry();
    else this.#finish(end);
  }

  #mayRetry() {
    return Boolean(this.#reconnect) && this.#attempt < this.#reconnect.attempts;
  }

  #scheduleRetry() {
    if (this.#state !== 'reconnecting') return; // A listener closed the client.
    const { first, max, jitter } = this.#reconnect;
    const delay = Math.min(max, first * 2 ** this.#attempt) * (1 - jitter * Math.random());
    this.#attempt += 1;
    this.#retry = setTimeout(() => this[OPEN]().catch((error) => this.#notOpened(error)), delay);
    this.#emit('reconnecting', { attempt: this.#attempt, delay });
  }

  #notOpened(error) {
    if (this.#state !== 'reconnecting') return;
    if (!error.final && this.#mayRetry()) this.#scheduleRetry();
    else this.#finish({ code: error.closeCode ?? 1006, reason: error.closeReason ?? error.message, error });
  }

  #finish({ code, reason, error }) {
    if (this.#end !== null) return;
    this.#end = { code, reason, error };
    this.#state = 'closed';
    this.#emit('close', this.#end);
    for (const resolve of this.#closing) resolve(this.#end);
  }

  // ---- messages

  #send(type, id, route, body) {
    if (this.#state !== 'open') throw new LinkspanError('disconnected', `the client is ${this.#state}`);
    this.#connection.sendMessage(type, id, route, encodeBody(body));
  }

  #nextId() {
    do {
      this.#lastId = this.#lastId === MAX_ID ? 1 : this.#lastId + 1;
    } while (this.#pending.has(this.#lastId));
    return this.#lastId;
  }

  #message({ type, id, route, failed, body }) {
    const pending = this.#pending.get(id);
    const name = MESSAGE_NAMES[type];
    this.#emit('frame', { direction: 'in', package: 'data', message: name, id, route: route || (pending?.route ?? ''), failed, body });
    if (type === Message.PUSH) {
      const decoded = decodeBody(body);
      this.#emit('push', route, decoded, body);
      if (!EVENTS.has(route)) this.#emit(route, decoded, body);
      return;
    }
    if (pending === undefined) return; // It timed out before.
    this.#pending.delete(id);
    clearTimeout(pending.timer);
    if (failed) {
      const { code = 'failed', msg = 'the request failed', metadata } = decodeBody(body) ?? {};
      pending.reject(new LinkspanError(code, msg, { route: pending.route, metadata }));
    } else {
      pending.resolve(pending.as === 'bytes' ? body : decodeBody(body));
    }
  }

  #rejectPending(error) {
    for (const { reject, timer } of this.#pending.values()) {
      clearTimeout(timer);
      reject(error);
    }
    this.#pending.clear();
  }

  /** A listener that throws must not stop the others, nor the decoding of what follows. */
  #emit(event, ...args) {
    for (const listener of [...(this.#listeners.get(event) ?? [])]) {
      try {
        listener(...args);
      } catch (error) {
        queueMicrotask(() => {
          throw error;
        });
      }
    }
  }
}
