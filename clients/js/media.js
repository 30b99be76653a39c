/** Files to and from the gateway, by the identity of a GatewayClient. Types: media.d.ts. */

/** @import { UploadedFile, UploadOptions } from "./media.d.ts" */
/** @import { GatewayClient } from "./gateway.d.ts" */

import { below } from "./device.js";
import { GatewayError } from "./requests.js";

const UPLOAD = "/v1/media/upload";
const SIGN = "/v1/files/sign";
const CODES = new Map([
  [401, "UNAUTHORIZED"],
  [403, "FORBIDDEN"],
  [404, "NOT_FOUND"],
  [429, "RESOURCE_EXHAUSTED"],
]);

/**
 * Send one file; its `path` goes into the `media` of a chat.send. An XMLHttpRequest, because
 * fetch does not tell how far an upload is.
 * @param {GatewayClient} client
 * @param {File} file
 * @param {UploadOptions} [options]
 * @returns {Promise<UploadedFile>}
 */
export async function upload(client, file, { onProgress, signal, base } = {}) {
  const address = below(home(base), UPLOAD).href;
  const headers = await client.credentials();
  const body = new FormData();
  body.append("file", file, file.name);
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    const abort = () => request.abort();
    const settle = (/** @type {() => void} */ verdict) => {
      signal?.removeEventListener("abort", abort);
      verdict();
    };
    request.open("POST", address);
    for (const [name, value] of Object.entries(headers)) request.setRequestHeader(name, value);
    request.upload.onprogress = ({ loaded, total }) => onProgress?.({ loaded, total });
    request.onload = () => {
      const { status } = request;
      const answer = parsed(request.responseText);
      settle(() => (status === 200 ? resolve(answer) : reject(refusal(status, answer))));
    };
    request.onerror = () => settle(() => reject(unreachable()));
    request.onabort = () => settle(() => reject(aborted()));
    if (signal?.aborted) return reject(aborted());
    signal?.addEventListener("abort", abort);
    request.send(body);
  });
}

/**
 * An address that shows this file for some minutes, for an `<img>` or a link.
 * @param {GatewayClient} client
 * @param {string} id
 * @param {{ base?: string }} [options]
 */
export async function mediaUrl(client, id, { base } = {}) {
  const ours = home(base);
  const headers = { ...(await client.credentials()), "Content-Type": "application/json" };
  const asking = fetch(below(ours, SIGN), {
    method: "POST",
    headers,
    body: JSON.stringify({ path: id }),
    credentials: "omit", // the headers say who asks, never a cookie
    redirect: "error",
  });
  const response = await asking.catch(() => {
    throw unreachable();
  });
  const answer = parsed(await response.text());
  if (!response.ok) throw refusal(response.status, answer);
  const { origin, pathname, search } = new URL(String(answer?.url), ours);
  if (origin !== new URL(ours).origin) throw new GatewayError({ message: "the signed address leads elsewhere" });
  return below(ours, pathname).href + search;
}

/**
 * Where the credentials go: the page's own origin, unless the code names another.
 * @param {string} [base]
 */
function home(base) {
  if (!base && !globalThis.location) throw new TypeError("outside a page the base must be given");
  return base ?? globalThis.location.origin;
}

/** @param {string} text */
function parsed(text) {
  try {
    return JSON.parse(text);
  } catch {
    return null; // a proxy's page, not the gateway's words
  }
}

/**
 * @param {number} status
 * @param {any} answer  `{error: {code, message, details?}}`, or the message alone.
 */
function refusal(status, answer) {
  const error = answer?.error ?? answer?.detail;
  const code = CODES.get(status) ?? (status < 500 ? "INVALID_REQUEST" : "UNAVAILABLE");
  const message = typeof error === "string" ? error : `the server answered ${status}`;
  return new GatewayError({ code, message, retryable: status === 429 || status >= 500, ...words(error) });
}

/** @param {any} error */
function words(error) {
  return error && typeof error === "object" ? error : {};
}

function unreachable() {
  return new GatewayError({ code: "UNAVAILABLE", message: "the server could not be reached", retryable: true });
}

function aborted() {
  return new GatewayError({ code: "ABORTED", message: "the upload was cancelled" });
}
