/** Files: to the page's own origin, with the client's identity, and failures in words. */

import assert from "node:assert/strict";
import { afterEach, beforeEach, test } from "node:test";

import { mediaUrl, upload } from "../media.js";
import { settle } from "./fakes.js";

const STORED = { path: "abc", mime_type: "image/png", filename: "dot.png" };
const FILE = Object.assign(new Blob(["12345"]), { name: "dot.png" });
const client = { credentials: async () => ({ Authorization: "Bearer secret", "X-GoClaw-User-Id": "alice" }) };

let requests;

class FakeRequest {
  upload = {};
  headers = {};
  status = 0;
  responseText = "";

  constructor() {
    requests.push(this);
  }

  open(method, url) {
    Object.assign(this, { method, url });
  }

  setRequestHeader(name, value) {
    this.headers[name] = value;
  }

  send(body) {
    this.body = body;
  }

  abort() {
    this.aborted = true;
    this.onabort();
  }

  answer(status, text) {
    Object.assign(this, { status, responseText: typeof text === "string" ? text : JSON.stringify(text) });
    this.onload();
  }
}

async function sending(options) {
  const promise = upload(client, FILE, options);
  promise.catch(() => {});
  await settle();
  return [promise, requests[0]];
}

beforeEach(() => {
  requests = [];
  globalThis.XMLHttpRequest = FakeRequest;
  globalThis.location = { origin: "https://here:8443", search: "?base=https://evil" };
});

afterEach(() => {
  delete globalThis.XMLHttpRequest;
  delete globalThis.location;
});

test("a file goes to the page's own origin, as the field `file`, with the client's headers", async () => {
  const [promise, request] = await sending();
  assert.deepEqual([request.method, request.url], ["POST", "https://here:8443/v1/media/upload"]);
  assert.deepEqual(request.headers, await client.credentials());
  assert.equal(request.body.get("file").name, "dot.png");
  request.answer(200, STORED);
  assert.deepEqual(await promise, STORED);
});

test("another server, also one below a path, is used only when the code names it", async () => {
  await sending({ base: "https://gateway.example" });
  await sending({ base: "https://gateway.example/gate/" });
  assert.deepEqual(requests.map(({ url }) => url), [
    "https://gateway.example/v1/media/upload",
    "https://gateway.example/gate/v1/media/upload",
  ]);
});

test("outside a page the base must be given", async () => {
  delete globalThis.location;
  await assert.rejects(upload(client, FILE), TypeError);
});

test("progress is told as it goes out", async () => {
  const seen = [];
  const [, request] = await sending({ onProgress: (progress) => seen.push(progress) });
  request.upload.onprogress({ loaded: 2, total: 5, lengthComputable: true });
  request.upload.onprogress({ loaded: 5, total: 5, lengthComputable: true });
  assert.deepEqual(seen, [{ loaded: 2, total: 5 }, { loaded: 5, total: 5 }]);
});

for (const [name, status, answer, expected] of [
  ["the gateway's words", 415, { error: { code: "INVALID_REQUEST", message: "not allowed", details: 1 } }, { code: "INVALID_REQUEST", message: "not allowed", details: 1 }],
  ["a message alone", 400, { error: "missing 'file' field" }, { code: "INVALID_REQUEST", message: "missing 'file' field" }],
  ["no right", 403, { error: "no" }, { code: "FORBIDDEN", message: "no", retryable: false }],
  ["a full quota", 429, { error: "quota" }, { code: "RESOURCE_EXHAUSTED", retryable: true }],
  ["a proxy's page", 502, "<html>", { code: "UNAVAILABLE", message: "the server answered 502", retryable: true }],
]) {
  test(`a refusal is an error: ${name}`, async () => {
    const [promise, request] = await sending();
    request.answer(status, answer);
    await assert.rejects(promise, { name: "GatewayError", ...expected });
  });
}

test("without a network it is UNAVAILABLE", async () => {
  const [promise, request] = await sending();
  request.onerror();
  await assert.rejects(promise, { code: "UNAVAILABLE", retryable: true });
});

test("it can be cancelled, before and meanwhile", async () => {
  const control = new AbortController();
  const [promise, request] = await sending({ signal: control.signal });
  control.abort();
  assert.equal(request.aborted, true);
  await assert.rejects(promise, { code: "ABORTED" });
  await assert.rejects(upload(client, FILE, { signal: control.signal }), { code: "ABORTED" });
  assert.equal(requests[1].body, undefined);
});

// --------------------------------------------------------------------------------- signed

function signing(context, status, answer) {
  const calls = [];
  context.mock.method(globalThis, "fetch", async (url, options) => {
    calls.push([String(url), options]);
    return new Response(JSON.stringify(answer), { status });
  });
  return calls;
}

test("a signed address is asked of the page's own origin, without cookies", async (context) => {
  const calls = signing(context, 200, { url: "/v1/media/abc?ft=1.2" });
  assert.equal(await mediaUrl(client, "abc"), "https://here:8443/v1/media/abc?ft=1.2");
  const [[url, { method, headers, body, credentials, redirect }]] = calls;
  assert.deepEqual([url, method, body], ["https://here:8443/v1/files/sign", "POST", '{"path":"abc"}']);
  assert.equal(headers.Authorization, "Bearer secret");
  assert.deepEqual([credentials, redirect], ["omit", "error"]);
});

test("a server below a path signs there, and what it signs lies there", async (context) => {
  const calls = signing(context, 200, { url: "/v1/media/abc?ft=1.2" });
  const base = "https://gateway.example/gate";
  assert.equal(await mediaUrl(client, "abc", { base }), `${base}/v1/media/abc?ft=1.2`);
  assert.equal(calls[0][0], `${base}/v1/files/sign`);
});

test("a signed address that leads elsewhere is not passed on", async (context) => {
  signing(context, 200, { url: "https://evil/v1/media/abc" });
  await assert.rejects(mediaUrl(client, "abc"), { message: "the signed address leads elsewhere" });
});

test("a refused signature is an error", async (context) => {
  signing(context, 404, { error: { code: "NOT_FOUND", message: "media not found: abc" } });
  await assert.rejects(mediaUrl(client, "abc"), { code: "NOT_FOUND", message: "media not found: abc" });
});

test("a signature that nobody answers is UNAVAILABLE", async (context) => {
  context.mock.method(globalThis, "fetch", () => Promise.reject(new TypeError("fetch failed")));
  await assert.rejects(mediaUrl(client, "abc"), { code: "UNAVAILABLE" });
});
