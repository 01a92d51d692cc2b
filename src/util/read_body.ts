/**
 * Reading the body of a request or response as text, up to a limit.
 *
 * @module
 */

import { readChunks } from "./read_chunks.ts";
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
