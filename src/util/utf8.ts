/**
 * Lengths of text in bytes of UTF-8.
 *
 * @module
 */

/** Counts the bytes of UTF-8 that a text has. */
export function byteLength(text: string): number {
  return encoder.encode(text).length;
}

/**
 * Tells whether a text has more than `maxBytes` bytes of UTF-8. Encodes the text only if its number of
 * characters does not decide it already.
 */
export function exceedsBytes(text: string, maxBytes: number): boolean {
  if (text.length > maxBytes) return true;
  // One UTF-16 code unit takes at most three bytes.
  if (text.length * 3 <= maxBytes) return false;
  return byteLength(text) > maxBytes;
}

/** Encodes texts. */
export const encoder: TextEncoder = new TextEncoder();
