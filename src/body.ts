/**
 * Reading the body of a request or response, up to a limit.
 *
 * @module
 */

import { exceedsBytes } from "./limits.ts";

/**
 * Reads a body as text.
 *
 * @returns The text, or `undefined` where it is longer than allowed: known ahead by
 * `content-length`, or found on the way. What was not read is left to the caller.
 */
export function readText(
  message: Request | Response,
  maxBytes: number,
): Promise<string | undefined> {
  const declared = message.headers.get("content-length");
  if (declared === null) return readChunks(message.body, maxBytes);
  if (Number(declared) > maxBytes) return Promise.resolve(undefined);
  return message.text().then((text) => exceedsBytes(text, maxBytes) ? undefined : text);
}

async function readChunks(
  body: ReadableStream<Uint8Array> | null,
  maxBytes: number,
): Promise<string | undefined> {
  if (body === null) return "";
  const reader = body.getReader();
  const decoder = new TextDecoder();
  let text = "";
  for (let left = maxBytes;;) {
    const { done, value } = await reader.read();
    if (done) return text + decoder.decode();
    left -= value.byteLength;
    if (left < 0) {
      reader.releaseLock();
      return undefined;
    }
    text += decoder.decode(value, { stream: true });
  }
}
