import type { Given, LiveClient, LiveEvents, LiveOptions } from "./shared.js";

export type { Given, LiveEvents, LiveOptions, LiveState } from "./shared.js";

/** Each key has the same value in the data, at the top. */
export type Filters = Record<string, unknown>;

export interface TopicOptions extends LiveOptions {
  /** Default: `/nexus/ws` of the page's own origin. */
  url?: string;
  token?: Given;
}

export interface TopicMessage {
  /** `broadcast`: said by the server, and from nobody. */
  type: "message" | "broadcast";
  channel: string;
  from?: string;
  data?: any;
  timestamp: string;
  /** Where the topic has a history. */
  epoch?: string;
  offset?: number;
}

export type TopicHandler = (data: any, message: TopicMessage) => void;

export interface TopicEvents extends LiveEvents {
  /** Something of this channel may be missing before the next message. */
  gap: { channel: string; reason: string };
  /** The server's word; it does not say to which frame. */
  error: { type: "error"; message: string };
}

export interface TopicClient extends LiveClient<TopicEvents> {}
export class TopicClient {
  constructor(options?: TopicOptions);
  /** Who the server says we are; "" before. */
  readonly userId: string;
  /** Hear what fits the filters, on this connection and all that follow; the answer ends it. */
  subscribe(channel: string, options: { filters?: Filters | null }, handler: TopicHandler): () => void;
  /** Now, or when ready and subscribed. False: it is never sent, and told as `dropped`. */
  publish(channel: string, payload?: unknown): boolean;
}
