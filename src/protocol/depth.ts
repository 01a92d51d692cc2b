/**
 * How deep a message is nested, and how many values it has. Some engines need seconds to encode a deep
 * value that they parsed in milliseconds, and libraries of schemas need seconds, and a gigabyte, to list
 * what is wrong with each of many small values. So such messages are refused before any handler gets
 * them.
 *
 * Checking the parsed value costs a tenth of the time of parsing; checking the text costs half of it.
 * But a text that consists of brackets alone takes too long to parse, so such a text is checked first.
 *
 * @module
 */

/**
 * Tells whether to check the text before it is parsed. That is so if its brackets could make parsing
 * much slower than its length suggests, or if `maxDepth` is too high to walk the parsed value.
 */
export function mustScan(text: string, maxDepth: number): boolean {
  if (maxDepth > MAX_WALK) return true;
  if (text.length <= SHORT) return false;
  const most = text.length / CHARACTERS_PER_LEVEL;
  const left = most - count(text, "[", most);
  return left < 0 || count(text, "{", left) > left;
}

/** Which limit a message exceeds. */
export type Excess = "maxDepth" | "maxValues";

/**
 * Walks a parsed value, up to the first limit that it exceeds.
 *
 * @param value The value, as `JSON.parse` gave it.
 * @param maxDepth How deep arrays and objects may be nested.
 * @param maxValues How many values it may consist of, itself and all that it contains.
 * @returns The limit that it exceeds, or `undefined`.
 */
export function excessOfValue(
  value: unknown,
  maxDepth: number,
  maxValues: number,
): Excess | undefined {
  valuesLeft = maxValues - 1;
  return isNode(value) ? excessOfNode(value, maxDepth) : undefined;
}

type Node = Readonly<Record<string, unknown>> | readonly unknown[];

function isNode(value: unknown): value is Node {
  return typeof value === "object" && value !== null;
}

// How many more values the message may have. Not an argument: the walk is synchronous, and its
// functions are called once for each array and object of every long message.
let valuesLeft = 0;

// The caller checks for leaves: most values are leaves, and a function call for each would double the
// time.
function excessOfNode(node: Node, depthLeft: number): Excess | undefined {
  if (depthLeft === 0) return "maxDepth";
  if (Array.isArray(node)) {
    valuesLeft -= node.length;
    if (valuesLeft < 0) return "maxValues";
    for (let index = 0; index < node.length; index++) {
      const each: unknown = node[index];
      const excess = isNode(each) ? excessOfNode(each, depthLeft - 1) : undefined;
      if (excess !== undefined) return excess;
    }
    return undefined;
  }
  // A value of JSON.parse inherits no enumerable names, so `in` sees its own alone.
  for (const name in node) {
    if (--valuesLeft < 0) return "maxValues";
    const each = (node as Readonly<Record<string, unknown>>)[name];
    const excess = isNode(each) ? excessOfNode(each, depthLeft - 1) : undefined;
    if (excess !== undefined) return excess;
  }
  return undefined;
}

/**
 * As {@linkcode excessOfValue}, of a text that was not parsed. The text need not be JSON.
 *
 * @param text The text.
 * @param maxDepth How deep arrays and objects may be nested.
 * @param maxValues How many values it may consist of.
 * @returns The limit that it exceeds, or `undefined`.
 */
export function excessOfText(
  text: string,
  maxDepth: number,
  maxValues: number,
): Excess | undefined {
  let depth = 0;
  // Each comma adds a value, and so does each array or object that is not empty: its first one.
  let left = maxValues - 1;
  for (let index = 0; index < text.length; index++) {
    switch (text.charCodeAt(index)) {
      case QUOTE:
        index = endOfString(text, index);
        break;
      case COMMA:
        if (--left < 0) return "maxValues";
        break;
      case 0x5b: // [
      case 0x7b: // {
        if (++depth > maxDepth) return "maxDepth";
        if (!isEmpty(text, index) && --left < 0) return "maxValues";
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
