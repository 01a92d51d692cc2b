/**
 * Names of topics in Redis and NATS.
 *
 * @module
 */

import { createHash } from "node:crypto";

// NATS takes lines of up to 4,096 bytes, with the subject and all that it writes beside it.
const MAX_LENGTH = 1_000;
// What stays as it is.
const PLAIN = /^[\w-]+(?:\.[\w-]+)*$/;

/**
 * Makes a name of a topic that has no character with a meaning of its own in Redis or NATS, such as a
 * wildcard or a space. Two topics never get the same name.
 *
 * @param topic The topic.
 * @returns The name. Letters, digits, `_`, `-` and dots between them stay as they are; a name that
 * would be too long is a hash.
 */
export function escapeTopic(topic: string): string {
  if (topic.length <= MAX_LENGTH && PLAIN.test(topic)) return topic;
  const name = topic.split(".").map(escapeSegment).join(".");
  if (name.length <= MAX_LENGTH) return name;
  return `%sha256-${createHash("sha256").update(name).digest("hex")}`;
}

function escapeSegment(segment: string): string {
  // NATS refuses two dots in a row, and a dot at either end.
  if (segment === "") return "%";
  return segment.replace(/[^\w-]/gu, (character) => {
    const code = character.codePointAt(0) as number;
    // Half a surrogate pair cannot be written as UTF-8.
    if (code >= 0xd800 && code <= 0xdfff) return `%u${code.toString(16)}`;
    return encodeURIComponent(character).replace(/^[!'()*~]$/, `%${code.toString(16)}`);
  });
}
