import type { RetryOptions } from "./transport.js";

/** idle → connecting → ready ⇄ reconnecting; stopped is left only by `start()`. */
export type LiveState = "idle" | "connecting" | "ready" | "reconnecting" | "stopped";

/** A function is asked at each attempt, and may have another answer after a revocation. */
export type Given = string | (() => string | Promise<string>);

/** Of a numbered history (docs/decisions/0010-recovery.md). */
export interface Position {
  epoch: string;
  offset: number;
}

export interface LiveOptions extends RetryOptions {
  /** How often the connection has to prove that it lives; default 30000. */
  pingMs?: number;
  /** How long it has for that; default 5000. */
  proofTimeoutMs?: number;
  /** How many messages may wait for a connection; default 1000. */
  queueMax?: number;
}

export interface LiveEvents {
  state: { state: LiveState; previous: LiveState; code?: number; reason?: string; error?: Error | null };
  /** An attempt failed; the next follows after `delayMs`. */
  retry: { delayMs: number; code: number; reason: string };
  /** The round-trip time of each proof of life. */
  rtt: { ms: number };
  /** A frame that is never sent. */
  dropped: { frame: any; reason: string };
}

/** What a TopicClient, a GroupClient and a SessionClient have in common. */
export interface LiveClient<Events extends LiveEvents> {
  readonly state: LiveState;
  /** How many messages wait for a connection. */
  readonly queued: number;
  /** Connect; while reconnecting: without waiting for the next attempt. */
  start(): void;
  stop(): void;
  /** The answer takes the listener off again. */
  on<Name extends keyof Events>(name: Name, listener: (detail: Events[Name]) => void): () => void;
  off(name: keyof Events, listener: (detail: any) => void): void;
  /** The round-trip time in milliseconds; null: there is no connection, or it was lost meanwhile. */
  ping(): Promise<number | null>;
}
