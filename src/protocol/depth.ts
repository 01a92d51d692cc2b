/**
 * How deep a message is nested. Some engines need seconds to encode what they parsed in milliseconds,
 * so nobody gets to see what is too deep.
 *
 * Looking at the parsed value costs a tenth of parsing, at the text as much as half of it; but
 * parsing what is nothing but nesting takes so long by itself that it must not begin.
 *
 * @module
 */

/**
 * Whether to look at the text, before it is parsed: where deep nesting could make parsing take much
 * longer than its length tells, and where so much is allowed that the value cannot be walked.
 */
export function mustScan(text: string, maxDepth: number): boolean {
  if (maxDepth > MAX_WALK) return true;
  if (text.length <= SHORT) return false;
  const most = text.length / CHARACTERS_PER_LEVEL;
  const left = most - count(text, "[", most);
  return left < 0 || count(text, "{", left) > left;
}

/** Whether a parsed value is nested deeper than this. */
export function valueExceedsDepth(value: unknown, maxDepth: number): boolean {
  return isNode(value) && nodeExceedsDepth(value, maxDepth);
}

type Node = Readonly<Record<string, unknown>> | readonly unknown[];

function isNode(value: unknown): value is Node {
  return typeof value === "object" && value !== null;
}

// Leaves are told apart before the call: most values are some, and a call for each would take as
// long again.
function nodeExceedsDepth(node: Node, maxDepth: number): boolean {
  if (maxDepth === 0) return true;
  if (Array.isArray(node)) {
    for (let index = 0; index < node.length; index++) {
      const each: unknown = node[index];
      if (isNode(each) && nodeExceedsDepth(each, maxDepth - 1)) return true;
    }
    return false;
  }
  // What JSON.parse gives has no enumerable names but its own.
  for (const name in node) {
    const each = (node as Readonly<Record<string, unknown>>)[name];
    if (isNode(each) && nodeExceedsDepth(each, maxDepth - 1)) return true;
  }
  return false;
}

/** The same of the text, which need not be JSON. */
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

// Levels that every engine's stack has room for.
const MAX_WALK = 1000;
// What parses within a millisecond however deep it is.
const SHORT = 16 * 1024;
// With fewer levels than that, the rest of the text takes longer than they do.
const CHARACTERS_PER_LEVEL = 16;
const QUOTE = 0x22;
const BACKSLASH = 0x5c;

/** How often a character is there; counts no further than one past `most`. */
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
