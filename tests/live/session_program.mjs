/** A SessionsWebSocket in Node (with `ws`) or in Bun (with its own sockets), told what to do by lines of JSON. */

import { createInterface } from "node:readline";

import { SessionsWebSocket } from "../../clients/js/sessions.js";

const { session, token, options } = JSON.parse(process.argv[2]);
const WebSocket = globalThis.Bun ? globalThis.WebSocket : (await import("ws")).default;

const tell = (name, detail = null) => process.stdout.write(`${JSON.stringify([name, detail])}\n`);

const client = new SessionsWebSocket(
  session,
  "default",
  async () => token,
  {
    onConnected: () => tell("connected"),
    onMessage: (frame) => tell("message", frame),
    onClose: (why) => tell("closed", why),
    onError: ({ message }) => tell("error", message),
  },
  { ...options, maxRetries: options.maxRetries ?? Infinity, WebSocket },
);
client.on("resumed", (detail) => tell("resumed", detail));

const deeds = {
  say: ([text, uuid]) => client.sendMessage(text, uuid).then(() => tell("stored", uuid)),
  ask: ([request]) => client.sendControlRequest(request).then((answer) => tell("answer", answer), ({ message }) => tell("refused", message)),
  answer: ([id, response]) => client.answer(id, response),
  reconnect: () => client.reconnect(),
  close: () => client.close(),
};

client.connect();
for await (const line of createInterface({ input: process.stdin })) {
  const [deed, ...given] = JSON.parse(line);
  deeds[deed](given);
}
client.close();
