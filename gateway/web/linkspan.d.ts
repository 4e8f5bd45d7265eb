/** Anything `JSON.stringify` takes; bytes are sent as they are. */
export type Body = Uint8Array | ArrayBuffer | object | string | number | boolean | null | undefined;

/** The part of the WebSocket constructor this module uses; the one of the `ws` package fits. */
export type WebSocketConstructor = new (url: string) => any;

export interface ReconnectOptions {
  /** First delay in ms (500); it doubles with each attempt. */
  first?: number;
  /** Largest delay in ms (30 000). */
  max?: number;
  /** Share of the delay that is random, 0 to 1 (0.5). */
  jitter?: number;
  /** How many attempts before the client gives up (unlimited). */
  attempts?: number;
}

export interface HeartbeatOptions {
  /**
   * `active` (default): one heartbeat every interval. `passive`: one interval after each of the server's, as pomelo's own clients do. `off`:
   * none, and no silence limit.
   */
  mode?: 'active' | 'passive' | 'off';
  /** Intervals without a sign of life after which the connection counts as lost, 2 to 3 (2.5). */
  silence?: number;
}

export interface ConnectOptions {
  /** Presented to the server in every handshake; a function is asked anew for each connection. */
  user?: unknown | (() => unknown | Promise<unknown>);
  /** Extra fields of `sys` in the handshake. */
  sys?: Record<string, unknown>;
  /** Limit for the answer to a request in ms (10 000); 0 = none. */
  timeout?: number;
  /** Limit for connecting and shaking hands in ms (10 000). */
  connectTimeout?: number;
  heartbeat?: HeartbeatOptions;
  /** On by default; never after a kick, a refused handshake, or a close code that would come again. */
  reconnect?: boolean | ReconnectOptions;
  /** Listeners from the first byte on, by event or push route; `client.on` adds more later. */
  on?: Partial<Events> & { [route: string]: ((...args: any[]) => void) | undefined };
  /** For Node 20, which has no global one. */
  WebSocket?: WebSocketConstructor;
}

export interface RequestOptions {
  /** Limit for the answer in ms; 0 = none. */
  timeout?: number;
  /** How to read the answer: `bytes` after a body of bytes, else `json`. */
  as?: 'json' | 'bytes';
}

export interface Frame {
  direction: 'in' | 'out';
  package: 'handshake' | 'ack' | 'heartbeat' | 'data' | 'kick';
  message?: 'request' | 'notify' | 'response' | 'push';
  id?: number;
  route?: string;
  failed?: boolean;
  body: Uint8Array;
}

export interface End {
  code: number;
  reason: string;
  error: LinkspanError;
}

export interface Events {
  /** Every push. `body` is decoded JSON, `undefined` if empty, else bytes. */
  push: (route: string, body: any, bytes: Uint8Array) => void;
  /** The server removed this session; there is no reconnect. */
  kick: (kick: { reason: string; body: any }) => void;
  /** A working connection ended. Requests under way were rejected. */
  disconnect: (end: { code: number; reason: string; willReconnect: boolean }) => void;
  /** The next attempt starts in `delay` ms. */
  reconnecting: (next: { attempt: number; delay: number }) => void;
  /** Connected again. What the server knew of the old connection is gone: log in and join again. */
  reconnect: (done: { attempt: number }) => void;
  /** The end for good; called once. */
  close: (end: End) => void;
  /** Every package sent and received, for logs. */
  frame: (frame: Frame) => void;
}

/**
 * Every failure. `code` is one of `timeout`, `disconnected`, `closed`, `kicked`, `silent`, `protocol`, `route`, `too-large`, `close-code`,
 * `no-websocket`; or the server's own: a number for a refused handshake (400, 500, 501), a string such as `PIT-404` for a failed request.
 */
export class LinkspanError extends Error {
  readonly name: 'LinkspanError';
  readonly code: string | number;
  /** The route of the failed request. */
  readonly route?: string;
  /** What the server added to a failed request. */
  readonly metadata?: Record<string, string>;
  /** The application's part of a refused handshake. */
  readonly user?: unknown;
  /** How the connection ended, if that was the cause. */
  readonly closeCode?: number;
  readonly closeReason?: string;
}

/** One session with a server, over as many connections as it takes. */
export class Client {
  private constructor();
  readonly state: 'connecting' | 'open' | 'reconnecting' | 'closing' | 'closed';
  /** What the server said of itself in the handshake. */
  readonly sys: { heartbeat?: number; dict?: Record<string, number>; serializer?: string; [key: string]: unknown };
  /** The application's part of the handshake answer. */
  readonly user: any;
  /** Bytes given to the socket that have not left yet. */
  readonly bufferedAmount: number;

  request(route: string, body: Uint8Array | ArrayBuffer, options?: RequestOptions & { as?: 'bytes' }): Promise<Uint8Array>;
  request(route: string, body: Body, options: RequestOptions & { as: 'bytes' }): Promise<Uint8Array>;
  request<Answer = any>(route: string, body?: Body, options?: RequestOptions): Promise<Answer>;

  /** Throws a `LinkspanError` while the client is not open. */
  notify(route: string, body?: Body): void;

  /** Returns the function that undoes it. */
  on<Name extends keyof Events>(event: Name, listener: Events[Name]): () => void;
  on<Pushed = any>(route: string, listener: (body: Pushed, bytes: Uint8Array) => void): () => void;
  once<Name extends keyof Events>(event: Name, listener: Events[Name]): () => void;
  once<Pushed = any>(route: string, listener: (body: Pushed, bytes: Uint8Array) => void): () => void;
  off(event: string, listener: (...args: any[]) => void): void;

  /** Ends the session for good. Codes: 1000 or 3000 to 4999. */
  close(code?: number, reason?: string): Promise<End>;
}

/**
 * Connects, shakes hands and resolves to a working client. A first connection that fails rejects; it is not tried again.
 */
export function connect(url: string | URL, options?: ConnectOptions): Promise<Client>;
