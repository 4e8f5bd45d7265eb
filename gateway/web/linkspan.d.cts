import type * as esm from './linkspan.js' with { 'resolution-mode': 'import' };

export declare const connect: typeof esm.connect;
export type Client = esm.Client;
export type LinkspanError = esm.LinkspanError;
export type ConnectOptions = esm.ConnectOptions;
