import type { RetryOptions } from "./transport.js";

export { ResilientSocket } from "./transport.js";
export type {
  Listenable,
  Loss,
  PageLike,
  RetryOptions,
  SocketLike,
  Timers,
  TransportHandlers,
  TransportOptions,
} from "./transport.js";

/** idle → connecting → (pairing →) ready ⇄ reconnecting; stopped is left only by `start()`. */
export type State = "idle" | "connecting" | "pairing" | "ready" | "reconnecting" | "stopped";

export interface GatewayErrorFields {
  code?: string;
  message?: string;
  retryable?: boolean;
  retryAfterMs?: number;
  details?: unknown;
}

/** A refusal or a failure. Codes of its own: UNAVAILABLE (no connection), TIMEOUT, NOT_PAIRED, QUEUE_FULL. */
export class GatewayError extends Error {
  constructor(fields?: GatewayErrorFields);
  readonly code: string;
  readonly retryable: boolean;
  readonly retryAfterMs?: number;
  readonly details?: unknown;
}

export interface DeviceStorage {
  getItem(key: string): string | null;
  setItem(key: string, value: string): void;
  removeItem(key: string): void;
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
  /** How long a doubted connection has to answer; default 5000. */
  proofTimeoutMs?: number;
  /** How many requests may wait for a connection; default 1000. */
  queueMax?: number;
}

export interface RequestOptions {
  /** Counts from the first sending, not while it waits. */
  timeoutMs?: number;
  /** While connecting, pairing or reconnecting: wait, in order, until ready. */
  queue?: boolean;
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

export interface Message {
  id: string;
  role: "user" | "assistant" | "tool" | "system";
  content: string;
  created_at?: string;
  [key: string]: unknown;
}

/** A queued request that was never sent. */
export interface Dropped {
  method: string;
  params: any;
  reason: string;
}

export interface OwnEvents {
  state: { state: State; previous: State; code?: number; reason?: string; error?: GatewayError | null };
  /** An attempt failed; the next follows after `delayMs`. */
  retry: { delayMs: number; code: number; reason: string };
  pairing: { status: "pending" | "approved" | "expired"; code?: string };
  ready: Identity;
  /** A watched session, read again after a gap; `missed` of its messages no reading had shown. */
  history: { sessionKey: string; messages: Message[]; missed: number };
  /**
   * After every reconnect, and when the server may have lost events; of what is watched. Not
   * `recovered`: a reading failed, or the last known message is not in what was read any more.
   */
  resumed: { recovered: boolean; missed: number; reason: string };
  dropped: Dropped;
  /** Every event frame, before it is told under its own name. */
  event: EventFrame;
}

export class GatewayClient {
  constructor(options?: GatewayOptions);
  readonly state: State;
  /** The answer to `connect` while ready. */
  readonly identity: Identity | null;
  /** Whether this browser asked for a pairing before, approved or not. */
  readonly hasDevice: boolean;
  /** How many requests wait for a connection. */
  readonly queued: number;
  /** Connect; while reconnecting: without waiting for the next attempt. */
  start(): void;
  stop(): void;
  /** Drop this browser's identity: the next connect without a token asks for a new pairing. */
  forgetDevice(): void;
  /** The answer takes the listener off again. */
  on<Name extends keyof OwnEvents>(name: Name, listener: (detail: OwnEvents[Name]) => void): () => void;
  /** A server's event by its name: `agent`, `session.updated`, … */
  on(name: string, listener: (payload: any) => void): () => void;
  off(name: string, listener: (detail: any) => void): void;
  /** Rejects with a GatewayError. */
  request<Payload = any>(method: string, params?: object, options?: RequestOptions): Promise<Payload>;
  /** Read this session's history again after every gap, until the answer is called. */
  watch(sessionKey: string): () => void;
  /** Headers that show the same identity to the server's HTTP side. */
  credentials(): Promise<Record<string, string>>;
}

export function newSessionKey(agent?: string): string;
export function newId(): string;
