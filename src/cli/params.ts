/**
 * The params of a call, as they are written on the command line.
 *
 * @module
 */

import { readFileSync } from "node:fs";
import { UsageError } from "./errors.ts";

/**
 * Parses params: one JSON array or object, `@FILE` or `-` (standard input) with JSON, `name=value` pairs, or
 * values by position. A value is JSON; if it is not, it is a string.
 *
 * @param words The arguments behind the method.
 * @returns The params; `undefined` if there are none.
 * @throws {UsageError} If the JSON is invalid, or the file cannot be read.
 */
export function parseParams(words: readonly string[]): unknown {
  const [first] = words;
  if (first === undefined) return undefined;
  if (words.length === 1) {
    if (first === "-") return parseJson(read(0, "standard input"), "standard input");
    if (first.startsWith("@")) {
      const file = first.slice(1);
      return parseJson(read(file, file || "@"), file);
    }
    if (/^\s*[[{]/.test(first)) return parseJson(first, "the params");
  }
  const named = words.map((word) => /^([\p{ID_Start}_$][\p{ID_Continue}$.-]*)=([^]*)$/u.exec(word));
  if (named.every((match) => match !== null)) {
    return Object.fromEntries(named.map(([, name = "", value = ""]) => [name, toValue(value)]));
  }
  return words.map(toValue);
}

/**
 * Splits a line into words as a shell does: at white space, except in quotes, and except in JSON that begins
 * with a bracket.
 *
 * @param line The line.
 * @returns The words.
 */
export function splitWords(line: string): string[] {
  const [, head = "", rest = ""] = /^\s*(\S*)\s*([^]*)$/.exec(line) ?? [];
  if (head === "") return [];
  const text = rest.trim();
  if (/^[[{]/.test(text)) return [head, text];
  const words = text.match(/(?:[^\s"']|"(?:\\.|[^"\\])*"|'[^']*')+/g) ?? [];
  return [head, ...words.map((word) => word.replace(/^'([^']*)'$/, "$1"))];
}

function toValue(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}

function parseJson(text: string, what: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new UsageError(`Expected JSON in ${what}: ${(error as Error).message}`);
  }
}

function read(file: string | number, what: string): string {
  try {
    return readFileSync(file, "utf8");
  } catch (error) {
    throw new UsageError(`Cannot read ${what}: ${(error as Error).message}`);
  }
}
