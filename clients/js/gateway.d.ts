/** idle → connecting → (pairing →) ready ⇄ reconnecting; stopped is left only by `start()`. */
export type State = "idle" | "connecting" | "pairing" | "ready" | "reconnecting" | "stopped";

export interface GatewayErrorFields {
  code?: string;
  message?: string;
  retryable?: boolean;
  retryAfterMs?: number;
  details?: unknown;
}

/** A refusal or a failure. Codes of its own: UNAVAILABLE (no connection), TIMEOUT, NOT_PAIRED. */
export class GatewayError extends Error {
  constructor(fields?: GatewayErrorFields);
  readonly code: string;
  readonly retryable: boolean;
  readonly retryAfterMs?: number;
  readonly details?: unknown;
}

export interface Timers {
  setTimeout(run: () => void, delayMs: number): unknown;
  clearTimeout(timer: unknown): void;
}

/** The part of a WebSocket that is used. */
export interface SocketLike {
  readonly readyState: number;
  onopen: ((event: any) => void) | null;
  onmessage: ((event: any) => void) | null;
  onclose: ((event: any) => void) | null;
  send(text: string): void;
  close(code?: number, reason?: string): void;
}

export interface DeviceStorage {
  getItem(key: string): string | null;
  setItem(key: string, value: string): void;
  removeItem(key: string): void;
}

export interface RetryOptions {
  WebSocket?: new (url: string) => SocketLike;
  timers?: Timers;
  random?: () => number;
  /** Ceiling of the first delay; default 1000. */
  minDelayMs?: number;
  /** Ceiling of every delay; default 30000. */
  maxDelayMs?: number;
  /** Default 15000. */
  openTimeoutMs?: number;
  /** How long a settled conversation must last before delays start small again; default 5000. */
  steadyMs?: number;
}

export interface TransportOptions extends RetryOptions {
  /** A function is asked at each attempt. */
  url: string | (() => string | Promise<string>);
  /** Close codes after which no attempt follows. */
  permanent?: number[];
  /** Close codes answered with the smallest delay; default [1012]. */
  soon?: number[];
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
}

/** One WebSocket after another, until told to stop; knows no protocol. */
export class ResilientSocket {
  constructor(handlers: TransportHandlers, options: TransportOptions);
  readonly running: boolean;
  start(): void;
  stop(): void;
  send(text: string): boolean;
  settled(): void;
  fail(reason: string, code?: number): void;
}

export interface GatewayOptions extends RetryOptions {
  /** Default: `/ws` of the page's own origin. Nothing in the page's address can change it. */
  url?: string;
  userId?: string;
  /** Asked at each attempt; an empty answer means: as a paired device, else ask for pairing. */
  token?: () => string | Promise<string>;
  locale?: string;
  tenantHint?: string;
  /** Where the device's identity is kept; default localStorage, null: in memory. */
  storage?: DeviceStorage | null;
  /** Default `trunkline.device`. */
  storageKey?: string;
  /** Default 3000. */
  pollMs?: number;
  /** Default 30000. */
  requestTimeoutMs?: number;
  /** For chat.send; default 600000. */
  sendTimeoutMs?: number;
}

export interface Identity {
  protocol: number;
  role: "viewer" | "operator" | "admin" | "owner";
  user_id: string;
  tenant_id?: string;
  is_owner?: boolean;
  [key: string]: unknown;
}

export interface EventFrame {
  type: "event";
  event: string;
  payload?: any;
  seq?: number;
}

export interface OwnEvents {
  state: { state: State; previous: State; code?: number; reason?: string; error?: GatewayError | null };
  /** An attempt failed; the next follows after `delayMs`. */
  retry: { delayMs: number; code: number; reason: string };
  pairing: { status: "pending" | "approved" | "expired"; code?: string };
  ready: Identity;
  /** Events may have been missed: read what is on the screen again. */
  resumed: { reason: string };
  /** Every event frame, before it is told under its own name. */
  event: EventFrame;
}

export class GatewayClient {
  constructor(options?: GatewayOptions);
  readonly state: State;
  readonly identity: Identity | null;
  readonly hasDevice: boolean;
  start(): void;
  stop(): void;
  forgetDevice(): void;
  on<Name extends keyof OwnEvents>(name: Name, listener: (detail: OwnEvents[Name]) => void): () => void;
  /** A server's event by its name: `agent`, `session.updated`, … */
  on(name: string, listener: (payload: any) => void): () => void;
  off(name: string, listener: (detail: any) => void): void;
  /** Rejects with a GatewayError. */
  request<Payload = any>(method: string, params?: object, options?: { timeoutMs?: number }): Promise<Payload>;
}

export function newSessionKey(agent?: string): string;
export function newId(): string;
