import type { GatewayClient } from "./gateway.js";

export interface UploadedFile {
  /** For `media: [{ path, filename }]` of a chat.send. */
  path: string;
  mime_type: string;
  filename: string;
}

export interface UploadOptions {
  /** How many bytes have gone out, of how many. */
  onProgress?: (progress: { loaded: number; total: number }) => void;
  signal?: AbortSignal;
  /** Another origin than the page's own: credentials go there. */
  base?: string;
}

/** Rejects with a GatewayError: the server's refusal, UNAVAILABLE, or ABORTED by the signal. */
export function upload(client: GatewayClient, file: File, options?: UploadOptions): Promise<UploadedFile>;

/** An address of the same origin that shows this file for some minutes. Rejects with a GatewayError. */
export function mediaUrl(client: GatewayClient, id: string, options?: { base?: string }): Promise<string>;
