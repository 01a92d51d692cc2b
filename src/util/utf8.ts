/**
 * Lengths of text in bytes of UTF-8.
 *
 * @module
 */

/** How many bytes of UTF-8 a text has. */
export function byteLength(text: string): number {
  return encoder.encode(text).length;
}

/** Whether a text has more than `maxBytes` bytes of UTF-8. Counts only if its length leaves doubt. */
export function exceedsBytes(text: string, maxBytes: number): boolean {
  if (text.length > maxBytes) return true;
  // A character of UTF-16 takes at most three bytes.
  if (text.length * 3 <= maxBytes) return false;
  return byteLength(text) > maxBytes;
}

const encoder = new TextEncoder();
