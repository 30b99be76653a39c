import type { Given, LiveClient, LiveEvents, LiveOptions } from "./shared.js";

export type { Given, LiveEvents, LiveOptions, LiveState } from "./shared.js";

export interface SessionOptions extends LiveOptions {
  /** The server; default: the page's own origin. A page reaches sessions of its own host only. */
  url?: string;
  /** The session's public id, or its key. */
  session: string;
  /** The account, by slug or id; default: the credential's own. */
  organization?: string;
  /** In programs a header; in a page a cookie of this host that ends with the handshake. */
  token?: Given;
  /** Begin with the newest stored events; default: from now on. */
  replay?: boolean;
  /** Begin after this event: its uuid. */
  afterId?: string;
  /** How often in a row; default 5. Infinity: with delays that grow from `minDelayMs` to `maxDelayMs`, with jitter. */
  maxRetries?: number;
  /** Default 2000; after 4001, three times, so much more each time. */
  retryMs?: number;
  /** Between `reconnect()` and the attempt; default 500. */
  reconnectMs?: number;
}

/** As docs/protocols/remote.md has them. */
export interface Frame {
  type: string;
  uuid?: string;
  session_id?: string;
  created_at?: string;
  [key: string]: any;
}

export type Content = string | { type: string; [key: string]: unknown }[];

export interface SessionEvents extends LiveEvents {
  /** All but `keep_alive`: a stored event and a question once, however often the connection is lost. */
  message: Frame;
  /**
   * After every reconnect, when all has been told that was stored meanwhile: how many events that
   * were. Not `recovered`: something may be missing before the first of them.
   */
  resumed: { recovered: boolean; missed: number };
}

export interface SessionClient extends LiveClient<SessionEvents> {}
export class SessionClient {
  constructor(options: SessionOptions);
  /** How much was said and is not answered yet; it is said again after a reconnect. */
  readonly queued: number;
  isConnected(): boolean;
  /** Anew after half a second, with all tries before it; after the end at once, as `start()`. */
  reconnect(): void;
  /** Say something; resolves when it is stored. */
  sendMessage(content: Content, uuid?: string): Promise<unknown>;
  /** Resolves with the answer; rejects with its error, or when the client stops before. */
  sendControlRequest(request: { subtype: string; [key: string]: unknown }): Promise<any>;
  /** Answer a question: `{ behavior: "allow", updatedInput }` or `{ behavior: "deny", message }`. */
  answer(requestId: string, response: object): void;
}

export interface Callbacks {
  /** Each time, when all that was missed has been told. */
  onConnected?(): void;
  onMessage?(frame: Frame): void;
  /** It is over: closed by the page, or nothing more is tried. */
  onClose?(why: { code: number; reason: string }): void;
  /** A connection was lost or an attempt failed. */
  onError?(error: Error): void;
}

export class SessionsWebSocket extends SessionClient {
  constructor(
    sessionId: string,
    orgId: string,
    getToken: Given,
    callbacks?: Callbacks,
    options?: Omit<SessionOptions, "session" | "organization" | "token">,
  );
  connect(): void;
  close(): void;
}
