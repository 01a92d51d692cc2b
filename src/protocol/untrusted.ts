/**
 * Parses the messages of strangers. A text that consists of brackets alone takes too long to parse, so such
 * a text is checked before. A client trusts its server not to send one, so a page does not load this.
 *
 * @module
 */

import { excessOfValue, excessText, mayExceed } from "./depth.ts";
import { RpcParseError } from "./errors.ts";
import { parseMessage } from "./message.ts";

/**
 * Parses a message of a stranger.
 *
 * @param text What the other side sent.
 * @param maxDepth How deep arrays and objects may be nested.
 * @param maxValues How many values the message may consist of. @default {Infinity}
 * @returns The value, of which nothing has been checked.
 * @throws {RpcParseError} If the text is not JSON, or nested deeper than `maxDepth`, or has more than
 * `maxValues` values.
 */
export function parseUntrusted(text: string, maxDepth: number, maxValues = Infinity): unknown {
  if (!mayExceed(text, maxDepth, maxValues)) return parseMessage(text, Infinity);
  const scans = mustScan(text, maxDepth);
  if (scans) refuse(excessOfText(text, maxDepth, maxValues));
  const value = parseMessage(text, Infinity);
  if (!scans) refuse(excessOfValue(value, maxDepth, maxValues));
  return value;
}

function refuse(excess: string | undefined): void {
  if (excess !== undefined) throw new RpcParseError({ data: excess });
}

/**
 * Tells whether to check the text before it is parsed. That is so if its brackets could make parsing
 * much slower than its length suggests, or if `maxDepth` is too high to walk the parsed value.
 */
function mustScan(text: string, maxDepth: number): boolean {
  if (maxDepth > MAX_WALK) return true;
  if (text.length <= SHORT) return false;
  const most = text.length / CHARACTERS_PER_LEVEL;
  const left = most - count(text, "[", most);
  return left < 0 || count(text, "{", left) > left;
}

/**
 * As `excessOfValue`, of a text that was not parsed. The text need not be JSON.
 *
 * @param text The text.
 * @param maxDepth How deep arrays and objects may be nested.
 * @param maxValues How many values it may consist of.
 * @returns How it exceeds a limit, or `undefined`.
 */
function excessOfText(text: string, maxDepth: number, maxValues: number): string | undefined {
  let depth = 0;
  // Each comma adds a value, and so does each array or object that is not empty: its first one.
  let left = maxValues - 1;
  for (let index = 0; index < text.length; index++) {
    switch (text.charCodeAt(index)) {
      case QUOTE:
        index = endOfString(text, index);
        break;
      case COMMA:
        if (--left < 0) return excessText(maxDepth, maxValues);
        break;
      case 0x5b: // [
      case 0x7b: // {
        if (++depth > maxDepth) return excessText(maxDepth, undefined);
        if (!isEmpty(text, index) && --left < 0) return excessText(maxDepth, maxValues);
        break;
      case 0x5d: // ]
      case 0x7d: // }
        depth--;
    }
  }
  return undefined;
}

/** Whether the array or object that begins at this index ends right there, blanks aside. */
function isEmpty(text: string, start: number): boolean {
  let end = start + 1;
  while (BLANKS.includes(text.charAt(end)) && end < text.length) end++;
  const code = text.charCodeAt(end);
  return code === 0x5d || code === 0x7d;
}

// Recursion this deep fits the stack of every engine.
const MAX_WALK = 1000;
// A text this short parses within a millisecond, however deep it is.
const SHORT = 16 * 1024;
// With fewer brackets than one in 16 characters, parsing them takes less time than the rest.
const CHARACTERS_PER_LEVEL = 16;
const QUOTE = 0x22;
const COMMA = 0x2c;
const BACKSLASH = 0x5c;
const BLANKS = " \n\r\t";

/** Counts a character in a text; stops at `most + 1`. */
function count(text: string, character: string, most: number): number {
  let found = 0;
  for (
    let at = text.indexOf(character);
    at !== -1 && found <= most;
    at = text.indexOf(character, at + 1)
  ) {
    found++;
  }
  return found;
}

function endOfString(text: string, start: number): number {
  for (let end = text.indexOf('"', start + 1); end !== -1; end = text.indexOf('"', end + 1)) {
    let before = end;
    while (text.charCodeAt(before - 1) === BACKSLASH) before--;
    if ((end - before) % 2 === 0) return end;
  }
  return text.length;
}
