/**
 * How deep a message is nested. Some engines need seconds to encode a deep value that they parsed in
 * milliseconds, so a message that is too deep is refused before any handler gets it.
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

/** Tells whether a parsed value is nested deeper than `maxDepth`. */
export function valueExceedsDepth(value: unknown, maxDepth: number): boolean {
  return isNode(value) && nodeExceedsDepth(value, maxDepth);
}

type Node = Readonly<Record<string, unknown>> | readonly unknown[];

function isNode(value: unknown): value is Node {
  return typeof value === "object" && value !== null;
}

// The caller checks for leaves: most values are leaves, and a function call for each would double the
// time.
function nodeExceedsDepth(node: Node, maxDepth: number): boolean {
  if (maxDepth === 0) return true;
  if (Array.isArray(node)) {
    for (let index = 0; index < node.length; index++) {
      const each: unknown = node[index];
      if (isNode(each) && nodeExceedsDepth(each, maxDepth - 1)) return true;
    }
    return false;
  }
  // A value of JSON.parse inherits no enumerable names, so `in` sees its own alone.
  for (const name in node) {
    const each = (node as Readonly<Record<string, unknown>>)[name];
    if (isNode(each) && nodeExceedsDepth(each, maxDepth - 1)) return true;
  }
  return false;
}

/** Tells whether a text is nested deeper than `maxDepth`. The text need not be JSON. */
export function textExceedsDepth(text: string, maxDepth: number): boolean {
  let depth = 0;
  for (let index = 0; index < text.length; index++) {
    switch (text.charCodeAt(index)) {
      case QUOTE:
        index = endOfString(text, index);
        break;
      case 0x5b: // [
      case 0x7b: // {
        if (++depth > maxDepth) return true;
        break;
      case 0x5d: // ]
      case 0x7d: // }
        depth--;
    }
  }
  return false;
}

// Recursion this deep fits the stack of every engine.
const MAX_WALK = 1000;
// A text this short parses within a millisecond, however deep it is.
const SHORT = 16 * 1024;
// With fewer brackets than one in 16 characters, parsing them takes less time than the rest.
const CHARACTERS_PER_LEVEL = 16;
const QUOTE = 0x22;
const BACKSLASH = 0x5c;

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
