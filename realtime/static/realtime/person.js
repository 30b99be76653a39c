/** A client for one person, and what this browser knows of its own pairing. */

import { GatewayClient } from "../client/gateway.js";
import { ENDED, PAIRED, keep, kept } from "./keep.js";

// A connect without any token asks for a new pairing. A browser that has been paired shows this
// instead: it is let in as itself, or refused and told so, and never asks again by itself.
const ONLY_AS_PAIRED = "only-as-paired";

export const PAIRING_OVER =
  "This browser is not paired any more: its pairing was revoked or has run out. You can ask for a new one.";
export const NO_ROOM =
  "The server takes no new pairing request now: too many browsers wait for approval. " +
  "Ask an administrator to decide the open ones, or try again later.";

export const isPaired = () => kept("local", PAIRED) !== "";

/** The token lives in this closure and nowhere else. */
export function clientFor(userId, token = "") {
  const asPaired = () => (isPaired() && client.state !== "ready" ? ONLY_AS_PAIRED : "");
  const client = new GatewayClient({ userId, token: () => token || asPaired() });
  client.on("ready", () => {
    if (!token) keep("local", PAIRED, "yes");
    keep("local", ENDED, "");
  });
  client.on("state", ({ state, error }) => {
    if (state !== "stopped" || error?.code !== "UNAUTHORIZED" || token || !isPaired()) return;
    client.forgetDevice();
    keep("local", PAIRED, "");
    keep("local", ENDED, PAIRING_OVER);
  });
  return client;
}

/** Why a client stopped, for people. `token`: whether one was shown. */
export function inWords(error, token) {
  if (!error) return "";
  if (kept("local", ENDED)) return kept("local", ENDED);
  const refused = error.code === "UNAUTHORIZED" && /pairing required/.test(error.message);
  if (refused && !token) return NO_ROOM;
  if (refused) return "The token is not valid: valid token or active pairing required.";
  return error.message;
}
