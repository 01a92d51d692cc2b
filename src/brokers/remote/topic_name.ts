/**
 * Topics as names in an engine.
 *
 * @module
 */

import { createHash } from "node:crypto";

// NATS takes a subject of some 4,000 bytes with all that stands beside it.
const MAX_LENGTH = 1_000;

/**
 * A topic as a name without a character that an engine would read as a pattern, a separator or the end
 * of something. Each topic has a name of its own; simple ones stay as they are, dots included.
 */
export function escapeTopic(topic: string): string {
  const name = topic.split(".").map(escapeSegment).join(".");
  if (name.length <= MAX_LENGTH) return name;
  return `%sha256-${createHash("sha256").update(name).digest("hex")}`;
}

function escapeSegment(segment: string): string {
  // No dot may stand beside another, or at an end.
  if (segment === "") return "%";
  return segment.replace(/[^\w-]/gu, (character) => {
    const code = character.codePointAt(0) as number;
    // Half a surrogate pair has no UTF-8.
    if (code >= 0xd800 && code <= 0xdfff) return `%u${code.toString(16)}`;
    return encodeURIComponent(character).replace(/^[!'()*~]$/, `%${code.toString(16)}`);
  });
}
