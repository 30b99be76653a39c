/** Times are milliseconds. */
export interface Timers {
  setTimeout(run: () => void, delayMs: number): unknown;
  clearTimeout(timer: unknown): void;
  /** Default: Date.now(), which goes on while the machine sleeps. */
  now?(): number;
}

/** The part of a WebSocket that is used. */
export interface SocketLike {
  readonly readyState: number;
  onopen: ((event: any) => void) | null;
  onmessage: ((event: any) => void) | null;
  onclose: ((event: any) => void) | null;
  onerror: ((event: any) => void) | null;
  send(text: string): void;
  close(code?: number, reason?: string): void;
  /** Of programs, not of browsers; where it is, the socket tells `pong`. */
  ping?(): void;
  /** End it without a closing handshake. */
  terminate?(): void;
  on?(name: "pong", listener: () => void): unknown;
  addEventListener?(name: any, listener: () => void): unknown;
}

export interface Listenable {
  addEventListener(name: string, listener: (event: any) => void): void;
  removeEventListener(name: string, listener: (event: any) => void): void;
}

/** The part of a window that is used. */
export interface PageLike extends Listenable {
  readonly document?: Listenable & { readonly hidden: boolean };
}

export interface RetryOptions {
  WebSocket?: new (url: string, ...more: any[]) => SocketLike;
  timers?: Timers;
  random?: () => number;
  /** Whose `online`, `visibilitychange`, `freeze` and `resume` are heard; default: the page, null: none. */
  page?: PageLike | null;
  /** Ceiling of the first delay; default 1000. */
  minDelayMs?: number;
  /** Ceiling of every delay; default 30000. */
  maxDelayMs?: number;
  /** Default 15000. */
  openTimeoutMs?: number;
  /** How long a settled conversation must last before delays start small again; default 5000. */
  steadyMs?: number;
  /** After being hidden or frozen this long, an open socket is doubted; default 30000. */
  doubtMs?: number;
}

/** An address alone, or all that a WebSocket is made with. */
export type Address = string | [url: string, ...more: any[]];

export interface TransportOptions extends RetryOptions {
  /** A function is asked at each attempt; `wanted` tells whether its answer still is. */
  url: Address | ((wanted: () => boolean) => Address | Promise<Address>);
  /** Close codes after which no attempt follows; default none. */
  permanent?: number[];
  /** Close codes answered with the smallest delay; default [1012]. */
  soon?: number[];
  /** Until the next attempt; null: none follows, undefined: as usual. Asked once a failure. */
  delay?: (code: number) => number | null | undefined;
}

export interface Loss {
  /** 0 when there was no socket to be closed. */
  code: number;
  reason: string;
  /** Until the next attempt; null: none follows. */
  delayMs: number | null;
}

export interface TransportHandlers {
  opened(): void;
  received(text: string): void;
  lost(loss: Loss): void;
  /** The network or the page was away while the socket stayed open: ask the peer for a sign of
   *  life, and `fail()` if none comes. */
  doubted?(): void;
  /** The answer to `ping()`. */
  ponged?(): void;
}

/** One WebSocket after another, until told to stop; knows no protocol. */
export class ResilientSocket {
  constructor(handlers: TransportHandlers, options: TransportOptions);
  readonly running: boolean;
  /** Dial now, whatever was waiting or open before. */
  start(): void;
  stop(): void;
  /** Dial now if waiting; an open socket is doubted. */
  nudge(): void;
  /** False when there is no open socket. */
  send(text: string): boolean;
  /** The conversation works: once it has lasted, delays start small again. */
  settled(): void;
  /** Give this socket up and try again after a delay. */
  fail(reason: string, code?: number): void;
  /** The same without a closing handshake, which a dead line would not answer. */
  terminate(reason: string): void;
  /** A ping frame; false where sockets have none, as in browsers. */
  ping(): boolean;
}

export const clock: Required<Timers>;
