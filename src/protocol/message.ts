/**
 * JSON-RPC 2.0 as text: parses, checks and builds messages. Does no input or output.
 *
 * @see {@link https://www.jsonrpc.org/specification}
 *
 * @module
 */

import { depthText, isDeeper } from "./depth.ts";
import { RpcInvalidParamsError, RpcInvalidRequestError, RpcParseError } from "./errors.ts";
import type { RpcError } from "./errors.ts";
import { checkLength } from "./limits.ts";

const LETTER_R = 0x72;

/**
 * The id of a call and of its answer. `null`, `0`, `""` and fractions are ids too.
 *
 * @see {@link https://www.jsonrpc.org/specification#request_object | JSON-RPC 2.0, section 4}
 */
export type Id = string | number | null;

/** A parsed object of which nothing has been checked. */
export interface Message {
  readonly jsonrpc?: unknown;
  readonly method?: unknown;
  readonly params?: unknown;
  readonly id?: unknown;
  readonly result?: unknown;
  readonly error?: unknown;
}

/** A message that {@linkcode checkRequest} accepts. Without an `id` it is a notification. */
export interface RequestMessage extends Message {
  readonly jsonrpc: "2.0";
  readonly method: string;
  readonly id?: Id;
}

/** A JSON text that is sent as it is. Made with {@linkcode rawJson}. */
export class RawJson {
  /** The text. */
  declare readonly text: string;

  /** @param text One complete JSON value. */
  constructor(text: string) {
    this.text = text;
  }

  /**
   * Parses the text. `JSON.stringify` calls this if the text stands inside another value.
   *
   * @throws {SyntaxError} If the text is not JSON.
   */
  toJSON(): unknown {
    return JSON.parse(this.text);
  }
}

/**
 * Marks a text as JSON, so that it is not encoded again. As a whole result, event or item the text is
 * sent as it is; inside another value it is parsed, and encoded together with that value.
 *
 * @param text One complete JSON value. As a whole result, event or item it is **not checked**: pass only
 * a text that you trust to be JSON.
 * @returns A value to return from a handler, to publish, or to put into params, results and error data.
 *
 * @example A result from a cache of JSON texts
 * ```ts
 * import { JsonRpc, rawJson } from "@x/jsonrpc";
 *
 * const cache = new Map([["ann", '{"name":"ann"}']]);
 * const rpc = new JsonRpc()
 *   .method("user", ([name]: [string]) => rawJson(cache.get(name) ?? "null"));
 * ```
 */
export function rawJson(text: string): RawJson {
  return new RawJson(text);
}

/**
 * The second argument of `JSON.parse`: gets each value with its key, and gives what stands in its place.
 * `source` is the text of a number; engines of before 2025 may not give it.
 */
export type Reviver = (
  key: string,
  value: unknown,
  context?: { readonly source?: string },
) => unknown;

/**
 * Parses a message. A server parses those of strangers with `parseUntrusted`, which knows one limit more.
 *
 * @param text What the other side sent.
 * @param maxDepth How deep arrays and objects may be nested.
 * @param reviver Changes values, as `JSON.parse` takes it. @default {none}
 * @returns The value, of which nothing has been checked.
 * @throws {RpcParseError} If the text is not JSON, or nested deeper than `maxDepth`.
 */
export function parseMessage(text: string, maxDepth: number, reviver?: Reviver): unknown {
  try {
    const value = JSON.parse(text, reviver);
    // Each level needs an opening and a closing character.
    if (text.length <= 2 * maxDepth || !isDeeper(value, maxDepth)) return value;
  } catch (cause) {
    // It is not JSON, or nested so deep that the engine gave up.
    throw new RpcParseError({ cause });
  }
  throw new RpcParseError({ data: depthText(maxDepth) });
}

/**
 * Tells whether the protocol reserves a name. It does so for methods, and therefore for topics: the
 * method of an event's notification is its topic.
 */
export function isReserved(name: string): boolean {
  return /^(?:rpc\.|\$\/)/.test(name);
}

/**
 * Checks that params hold no number beyond ±(2^53-1), which may have been rounded.
 *
 * @throws {RpcInvalidParamsError} If they do.
 */
export function checkExact(params: unknown): void {
  // What can be an id is exact.
  if (isId(params)) return;
  if (typeof params === "number") {
    throw new RpcInvalidParamsError({ data: `${params} may be rounded (reviver)` });
  }
  Object.values(params ?? {}).forEach(checkExact);
}

/** Tells whether a parsed value is an answer. An answer is matched with its call, and never answered. */
export function isResponse(value: unknown): value is Message {
  const { method, result, error } = (value ?? {}) as Message;
  return method === undefined && (result !== undefined || error !== undefined);
}

/** Tells whether a parsed value is a request or notification. Its params may be anything. */
export function isRequest(value: unknown): value is RequestMessage {
  const { jsonrpc, method, id } = (value ?? {}) as Message;
  return typeof method === "string" && jsonrpc === "2.0" && (id === undefined || isId(id));
}

/**
 * Checks that a parsed value is a request or notification, and explains why not. Its params may be anything: see
 * {@linkcode checkShape}.
 *
 * @returns What is wrong, or `undefined` if nothing is.
 */
export function checkRequest(value: unknown): RpcInvalidRequestError | undefined {
  if (isRequest(value)) return undefined;
  const { jsonrpc, method } = (value ?? {}) as Message;
  // No data: the specification's examples show this error without.
  if (typeof method !== "string") return invalid();
  if (jsonrpc !== "2.0") return invalid('Expected `jsonrpc` to be "2.0"');
  return invalid("Expected `id` to be a string, null, or a number within ±(2^53-1)");
}

/**
 * Checks the params of a request for a method that takes no scalars.
 *
 * @returns What is wrong, or `undefined` if nothing is.
 */
export function checkShape(params: unknown): RpcInvalidRequestError | undefined {
  if (params === undefined || typeof params === "object") return undefined;
  return invalid("Expected `params` to be an array or an object");
}

/** Reads the id of a message that may be invalid; returns null if it has no readable one. */
export function idOf(value: unknown): Id {
  const { id } = (value ?? {}) as Message;
  return isId(id) ? id : null;
}

/** Tells whether a value may be an id. A larger number loses digits in JSON.parse: no answer fits it. */
export function isId(id: unknown): id is Id {
  if (typeof id === "number") return Math.abs(id) <= MAX_ID;
  return typeof id === "string" || id === null;
}

/**
 * Builds the text of a call or, without an id, of a notification. Checks it first.
 *
 * @throws {TypeError} If the params have no JSON, or are neither an array nor an object.
 * @throws {RangeError} If the text is longer than `maxMessageBytes`.
 */
export function outgoingText(
  { id, method, params }: { readonly id?: Id; readonly method: string; readonly params?: unknown },
  maxMessageBytes: number,
): string {
  const text = JSON.stringify({ jsonrpc: "2.0", method, params: checkParams(params), id });
  return checkLength(text, maxMessageBytes, `send "${method}"`);
}

/** Builds the text of a call; leaves out members that are `undefined`. Throws what JSON.stringify throws. */
export function requestText(id: Id | undefined, method: string, params: unknown): string {
  return JSON.stringify({ jsonrpc: "2.0", method, params, id });
}

/**
 * Builds the text of an answer. The result `undefined` becomes `null`.
 *
 * @throws {TypeError} If the result has no JSON: a BigInt, a cycle, a function, a symbol.
 */
export function resultText(id: Id, result: unknown): string {
  const scalar = scalarText(result);
  if (scalar !== undefined) {
    return `{"jsonrpc":"2.0","result":${scalar},"id":${scalarText(id)}}`;
  }
  const text = JSON.stringify({ jsonrpc: "2.0", result, id });
  // JSON.stringify leaves out a result that has no JSON; then another letter stands in place of the `r`.
  if (text.charCodeAt(RESULT_AT) !== LETTER_R) {
    throw new TypeError(`Cannot encode the result: a ${typeof result} has no JSON`);
  }
  return text;
}

/** Builds the text of an error answer. Throws what JSON.stringify throws for the error's data. */
export function errorText(id: Id, error: RpcError): string {
  const { code, message, data } = error;
  return JSON.stringify({ jsonrpc: "2.0", error: { code, message, data }, id });
}

/**
 * Checks that params are what the specification allows: an array, an object, or none.
 *
 * @returns The params; `undefined` for `null` too.
 * @throws {TypeError} If they are anything else.
 * @throws {SyntaxError} If they are made with `rawJson` and are not JSON.
 */
export function checkParams(params: unknown): unknown {
  if (params === undefined || params === null) return undefined;
  if (params instanceof RawJson) return checkParams(params.toJSON());
  if (typeof params === "object") return params;
  throw new TypeError(`Expected params to be an array or an object, got a ${typeof params}`);
}

const MAX_ID = Number.MAX_SAFE_INTEGER;
const RESULT_AT = '{"jsonrpc":"2.0","'.length;

/** Encodes a scalar or raw JSON; returns `undefined` for other values. Faster than JSON.stringify. */
function scalarText(value: unknown): string | undefined {
  if (typeof value === "boolean" || Number.isFinite(value)) return `${value}`;
  if (typeof value === "string") return JSON.stringify(value);
  if (value === undefined || value === null) return "null";
  return value instanceof RawJson ? value.text : undefined;
}

function invalid(data?: string): RpcInvalidRequestError {
  return new RpcInvalidRequestError({ data });
}
