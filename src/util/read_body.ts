/**
 * Reading the body of a request or response as text, up to a limit.
 *
 * @module
 */

import { exceedsBytes } from "./utf8.ts";

/**
 * Reads a body as text.
 *
 * @param message The request or response.
 * @param maxBytes Bytes that the body may have.
 * @returns The text, or `undefined` if its `content-length`, or what has arrived, is over `maxBytes`.
 * Discarding the rest of the body is up to the caller.
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

/**
 * Reads a stream of bytes as text.
 *
 * @param body The stream; `null` is an empty one.
 * @param maxBytes Bytes that the stream may have.
 * @returns The text, or `undefined` if it is longer than `maxBytes`. Discarding the rest is up to the
 * caller.
 */
export async function readChunks(
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
