import type { Given, LiveClient, LiveEvents, LiveOptions } from "./shared.js";

export type { Given, LiveEvents, LiveOptions, LiveState } from "./shared.js";

export interface GroupOptions extends LiveOptions {
  /** The server; default: the page's own origin. */
  url?: string;
  group: string;
  /** Our own id: whoever holds it hears what is said to it. */
  client: string;
  /** A key, or a token, or both. */
  apiKey?: Given;
  jwt?: Given;
  /** A choice among the accounts that these may use. */
  account?: string;
}

/** What may be said; the server adds the rest. */
export interface Draft {
  msg_type?: "msg" | "cmd" | "heartbeat" | "presence";
  target: "direct" | "group" | "broadcast" | "echo";
  to_id?: string | null;
  cmd?: string | null;
  msg?: string | null;
  payload?: object;
}

export interface GroupMessage extends Required<Draft> {
  version: "3";
  from_id: string;
  group_id: string | null;
  payload: any;
  sent_at: string;
  /** Where the group has a history. */
  epoch?: string;
  offset?: number;
}

export interface GroupEvents extends LiveEvents {
  /** One's own to the group and to everyone come back, too. */
  message: GroupMessage;
  /** Of `msg_type` presence: where it is announced, `payload.status` is `online` or `offline`. */
  presence: GroupMessage;
  /** A message was not routed, or the connection is about to be closed. */
  error: { message: string; errors: { code: string; message: string; field?: string; retry_after_ms?: number }[] };
  /** Some of what was said to the group may be missing before the next message. */
  gap: { reason: string };
}

/** All that send answer false when it is never sent: that is told as `dropped`. */
export interface GroupClient extends LiveClient<GroupEvents> {}
export class GroupClient {
  constructor(options: GroupOptions);
  /** To the group, oneself included. */
  sendGroup(msg: string, payload?: object): boolean;
  sendDirect(to: string, msg: string, payload?: object): boolean;
  /** To all of the account; it takes role operator. */
  broadcast(msg: string, payload?: object): boolean;
  echo(msg: string, payload?: object): boolean;
  /** To the group, or to one client. */
  cmd(cmd: string, payload?: object, to?: string): boolean;
  send(message: Draft): boolean;
}
