/** Where the client goes, and where a token can go: RELIABILITY.md S-01 to S-03. */

import assert from "node:assert/strict";
import { afterEach, beforeEach, test } from "node:test";

import { GatewayClient } from "../gateway.js";
import { FakeStorage, settle } from "./fakes.js";
import { ADMIN, Harness, PENDING } from "./harness.js";

const EVIL = "?url=ws://evil/ws&gatewayUrl=ws://evil/ws&token=theirs&base=https://evil";

let it;

function standOn(protocol, host = "here:8443") {
  globalThis.location = { protocol, host, origin: `${protocol}//${host}`, search: EVIL, hash: `#${EVIL}` };
}

beforeEach(() => {
  it = new Harness();
});

afterEach(() => {
  delete globalThis.location;
  delete globalThis.localStorage;
  delete globalThis.sessionStorage;
});

for (const [protocol, expected] of [["https:", "wss://here:8443/ws"], ["http:", "ws://here:8443/ws"]]) {
  test(`S-01 on ${protocol} it dials the page's own origin, whatever the page's query and hash say`, async () => {
    standOn(protocol);
    await it.ready({ url: undefined });
    assert.equal(it.socket.url, expected);
    assert.equal(it.socket.sent[0].params.token, "secret");
  });
}

test("S-02 another origin is dialled only when the code names it", async () => {
  standOn("https:");
  await it.ready({ url: "wss://gateway.example/ws" });
  assert.equal(it.socket.url, "wss://gateway.example/ws");
});

test("S-02 outside a page the address must be given", () => {
  assert.throws(() => new GatewayClient({ storage: null }), TypeError);
});

test("S-02 no frame can move it elsewhere", async () => {
  standOn("https:");
  await it.ready({ url: undefined });
  const elsewhere = { url: "wss://evil/ws", gatewayUrl: "wss://evil/ws", location: "wss://evil/ws" };
  await it.socket.deliver({ type: "event", event: "shutdown", payload: elsewhere });
  await it.socket.deliver({ type: "event", event: "resync", payload: elsewhere });
  await it.socket.drop(1012, "wss://evil/ws");
  await it.clock.advance(1000);
  await it.socket.open();
  await it.socket.answer({ ...ADMIN, ...elsewhere });
  await it.away();
  assert.deepEqual(new Set(it.Socket.sockets.map(({ url }) => url)), new Set(["wss://here:8443/ws"]));
});

test("S-03 the token is in the connect frame, and in no address, no other frame and no storage", async () => {
  standOn("https:");
  globalThis.localStorage = new FakeStorage();
  globalThis.sessionStorage = new FakeStorage();
  await it.ready({ url: undefined, storage: undefined });
  it.client.request("chat.send", { message: "hi", messageId: "1" });
  await it.away();
  await it.client.credentials();
  for (const { url, sent } of it.Socket.sockets) {
    assert.doesNotMatch(url, /secret/);
    const [connect, ...others] = sent;
    assert.equal(connect.params.token, "secret");
    assert.doesNotMatch(JSON.stringify(others), /secret/);
  }
  assert.equal(globalThis.localStorage.entries.size, 0);
  assert.equal(globalThis.sessionStorage.entries.size, 0);
  assert.doesNotMatch(JSON.stringify(it.seen), /secret/);
});

test("S-03 only the device's id is kept, in the storage that was given", async () => {
  await it.dialled();
  await it.socket.answer(PENDING);
  assert.deepEqual([...it.storage.entries], [["trunkline.device", "device-1"]]);
});

// --------------------------------------------------------------------------- credentials

test("the headers show the token, asked for anew, and the person", async () => {
  let asked = 0;
  await it.ready({ token: () => `token ${(asked += 1)}` });
  assert.deepEqual(await it.client.credentials(), { Authorization: "Bearer token 2", "X-GoClaw-User-Id": "alice" });
});

test("without a token they show the paired device", async () => {
  it.storage.setItem("trunkline.device", "device-1");
  it.make();
  const headers = { "X-GoClaw-Sender-Id": "device-1", "X-GoClaw-User-Id": "alice" };
  assert.deepEqual(await it.client.credentials(), headers);
});

test("the person is the one whom the server took the connection for", async () => {
  await it.dialled({ token: () => "secret" });
  await it.socket.answer({ ...ADMIN, user_id: "boss" });
  assert.equal((await it.client.credentials())["X-GoClaw-User-Id"], "boss");
});

test("a name of any script fits into a header, as its UTF-8", async () => {
  it.make({ userId: "Zoë 李" });
  const { "X-GoClaw-User-Id": name } = await it.client.credentials();
  assert.equal(Buffer.from(name, "latin1").toString(), "Zoë 李");
  await settle();
});
