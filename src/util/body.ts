/**
 * Reading the body of a request or response, up to a limit.
 *
 * @module
 */

import { readChunks } from "./chunks.ts";
import { exceedsBytes } from "../protocol/limits.ts";

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
