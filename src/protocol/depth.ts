/**
 * How deep a message is nested, and how many values it has. Some engines need seconds to encode a deep
 * value that they parsed in milliseconds, and libraries of schemas need seconds, and a gigabyte, to list
 * what is wrong with each of many small values. So such messages are refused before any handler gets
 * them.
 *
 * Checking the parsed value costs a tenth of the time of parsing; checking the text costs half of it: see
 * `untrusted.ts`.
 *
 * @module
 */

/** Tells whether a text is long enough to exceed a limit. */
export function mayExceed(text: string, maxDepth: number, maxValues: number): boolean {
  // Each level needs an opening and a closing character, and each value needs one and a comma.
  return text.length > 2 * Math.min(maxDepth, maxValues);
}

/**
 * Walks a parsed value, up to the first limit that it exceeds.
 *
 * @param value The value, as `JSON.parse` gave it.
 * @param maxDepth How deep arrays and objects may be nested.
 * @param maxValues How many values it may consist of, itself and all that it contains.
 * @returns How it exceeds a limit, or `undefined`.
 */
export function excessOfValue(
  value: unknown,
  maxDepth: number,
  maxValues: number,
): string | undefined {
  valuesLeft = maxValues - 1;
  return isNode(value) && exceeds(value, maxDepth)
    ? excessText(maxDepth, valuesLeft < 0 ? maxValues : undefined)
    : undefined;
}

/**
 * Says which limit a message exceeds.
 *
 * @param maxDepth The limit of levels.
 * @param maxValues The limit of values, if the message exceeds that.
 */
export function excessText(maxDepth: number, maxValues: number | undefined): string {
  return maxValues === undefined ? depthText(maxDepth) : `Over ${maxValues} values (maxValues)`;
}

/** Says that a message is nested too deep. */
export function depthText(maxDepth: number): string {
  return `Over ${maxDepth} levels deep (maxDepth)`;
}

type Node = Readonly<Record<string, unknown>> | readonly unknown[];

function isNode(value: unknown): value is Node {
  return typeof value === "object" && value !== null;
}

/**
 * Tells whether a value is nested deeper than allowed. A client, which counts no values, loads this alone.
 *
 * @param value The value, as `JSON.parse` gave it.
 * @param maxDepth How deep arrays and objects may be nested.
 */
export function isDeeper(value: unknown, maxDepth: number): boolean {
  return isNode(value) && isNodeDeeper(value, maxDepth);
}

function isNodeDeeper(node: Node, depthLeft: number): boolean {
  if (depthLeft === 0) return true;
  const isDeep = (each: unknown) => isNode(each) && isNodeDeeper(each, depthLeft - 1);
  if (Array.isArray(node)) return node.some(isDeep);
  for (const name in node) {
    if (isDeep((node as Readonly<Record<string, unknown>>)[name])) return true;
  }
  return false;
}

// How many more values the message may have. Not an argument: the walk is synchronous, and its
// functions are called once for each array and object of every long message.
let valuesLeft = 0;

// The caller checks for leaves: most values are leaves, and a function call for each would double the
// time.
function exceeds(node: Node, depthLeft: number): boolean {
  if (depthLeft === 0) return true;
  if (Array.isArray(node)) {
    valuesLeft -= node.length;
    if (valuesLeft < 0) return true;
    for (let index = 0; index < node.length; index++) {
      const each: unknown = node[index];
      if (isNode(each) && exceeds(each, depthLeft - 1)) return true;
    }
    return false;
  }
  // A value of JSON.parse inherits no enumerable names, so `in` sees its own alone.
  for (const name in node) {
    if (--valuesLeft < 0) return true;
    const each = (node as Readonly<Record<string, unknown>>)[name];
    if (isNode(each) && exceeds(each, depthLeft - 1)) return true;
  }
  return false;
}
