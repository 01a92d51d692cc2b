/**
 * JSON-RPC 2.0 as text: what a message looks like, reading one, building one. No input or output.
 *
 * @see {@link https://www.jsonrpc.org/specification}
 *
 * @module
 */

import { mustScan, textExceedsDepth, valueExceedsDepth } from "./depth.ts";
import { RpcInvalidRequestError, RpcParseError } from "./errors.ts";
import type { RpcError } from "./errors.ts";
import { checkLength } from "./limits.ts";

/** What ties an answer to its call. `null`, `0`, `""` and fractions are ids as any other. */
export type Id = string | number | null;

/** Anything that JSON.parse may give for an object, before it was looked at. */
export interface Message {
  readonly jsonrpc?: unknown;
  readonly method?: unknown;
  readonly params?: unknown;
  readonly id?: unknown;
  readonly result?: unknown;
  readonly error?: unknown;
}

/** A message that passed {@linkcode checkRequest}. Without an `id` it is a notification. */
export interface RequestMessage extends Message {
  readonly jsonrpc: "2.0";
  readonly method: string;
  readonly id?: Id;
}

/** JSON text that goes out as it is. Made with {@linkcode rawJson}. */
export class RawJson {
  /** The text. */
  readonly text: string;

  /** @param text One complete JSON value. */
  constructor(text: string) {
    this.text = text;
  }

  /** The value of the text, for `JSON.stringify` of something that contains it. */
  toJSON(): unknown {
    return JSON.parse(this.text);
  }
}

/**
 * Marks a text as JSON already, so that it is not encoded again. As a whole result or event the text
 * goes out as it is; inside another value it is parsed and encoded with that value.
 *
 * @param text One complete JSON value. As a whole result or event it is not checked.
 * @returns A value to return from a handler, or to publish.
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
 * Text to value: the one place where a message is parsed.
 *
 * @throws {RpcParseError} Where the text is not JSON, or nested deeper than `maxDepth`.
 */
export function parseMessage(text: string, maxDepth: number): unknown {
  // Each level needs an opening and a closing character.
  const mayBeDeep = text.length > 2 * maxDepth;
  const scan = mayBeDeep && mustScan(text, maxDepth);
  if (scan && textExceedsDepth(text, maxDepth)) throw tooDeep(maxDepth);
  const value = parse(text);
  if (mayBeDeep && !scan && valueExceedsDepth(value, maxDepth)) throw tooDeep(maxDepth);
  return value;
}

/** Whether a name is the protocol's own: of methods, and so of topics, whose events are called by it. */
export function isReserved(name: string): boolean {
  return /^(?:rpc\.|\$\/)/.test(name);
}

/** Whether a parsed value is an answer (to be matched with a call, and never to be answered). */
export function isResponse(value: unknown): value is Message {
  if (typeof value !== "object" || value === null) return false;
  const message = value as Message;
  return message.method === undefined &&
    (message.result !== undefined || message.error !== undefined);
}

/**
 * Tells what keeps a value from being a request or notification, or `undefined` if nothing does. Params
 * may be anything: see {@linkcode checkShape}.
 */
export function checkRequest(value: unknown): RpcInvalidRequestError | undefined {
  // The first two say no more than the specification's own examples do.
  if (typeof value !== "object" || value === null || Array.isArray(value)) return invalid();
  const { jsonrpc, method, id } = value as Message;
  if (typeof method !== "string") return invalid();
  if (jsonrpc !== "2.0") return invalid('Expected `jsonrpc` to be "2.0"');
  if (id === undefined || isId(id)) return undefined;
  return invalid("Expected `id` to be a string, null, or a number within ±(2^53-1)");
}

/** Tells why params of a request may not be passed on, where a method takes no scalars. */
export function checkShape(params: unknown): RpcInvalidRequestError | undefined {
  if (params === undefined || typeof params === "object") return undefined;
  return invalid("Expected `params` to be an array or an object");
}

/** The id to answer an invalid message with: its own where that can be read, else null. */
export function idOf(value: unknown): Id {
  if (typeof value !== "object" || value === null) return null;
  const { id } = value as Message;
  return isId(id) ? id : null;
}

/** Whether a value may be an id. A number that lost digits in JSON.parse could not be answered. */
export function isId(id: unknown): id is Id {
  if (typeof id === "number") return id >= -MAX_ID && id <= MAX_ID;
  return typeof id === "string" || id === null;
}

/**
 * The text of a call or, without an id, of a notification that somebody makes.
 *
 * @throws {TypeError} Where params have no JSON, or are neither array nor object.
 * @throws {RangeError} Where it is longer than the other side would take.
 */
export function outgoingText(
  { id, method, params }: { readonly id?: Id; readonly method: string; readonly params?: unknown },
  maxMessageBytes: number,
): string {
  const text = requestText(id, method, checkParams(params));
  return checkLength(text, maxMessageBytes, `send "${method}"`);
}

/** The text of a call. What is `undefined` is left out. Throws what JSON.stringify throws. */
export function requestText(id: Id | undefined, method: string, params: unknown): string {
  return JSON.stringify({ jsonrpc: "2.0", method, params, id });
}

/**
 * The text of an answer. `undefined` is answered as `null`.
 *
 * @throws {TypeError} Where the result has no JSON: a BigInt, a cycle, a function, a symbol.
 */
export function resultText(id: Id, result: unknown): string {
  const scalar = scalarText(result);
  if (scalar !== undefined) {
    return `{"jsonrpc":"2.0","result":${scalar},"id":${scalarText(id)}}`;
  }
  const text = JSON.stringify({ jsonrpc: "2.0", result, id });
  // JSON.stringify leaves a member without JSON out; then another letter stands where `r` should.
  if (text.charCodeAt(RESULT_AT) !== LETTER_R) {
    throw new TypeError(`Cannot encode the result: a ${typeof result} has no JSON`);
  }
  return text;
}

/** The text of an error answer. Throws what JSON.stringify throws, for the error's data. */
export function errorText(id: Id, error: RpcError): string {
  const { code, message, data } = error;
  return JSON.stringify({ jsonrpc: "2.0", error: { code, message, data }, id });
}

/**
 * Params as the specification wants them: an array, an object, or none; `null` is none.
 *
 * @throws {TypeError} Where they are something else.
 */
export function checkParams(params: unknown): unknown {
  if (params === undefined || params === null) return undefined;
  if (typeof params === "object") return params;
  throw new TypeError(`Expected params to be an array or an object, got a ${typeof params}`);
}

const MAX_ID = Number.MAX_SAFE_INTEGER;
const RESULT_AT = '{"jsonrpc":"2.0","'.length;
const LETTER_R = 0x72;

/** What has its JSON at hand: put together by hand that is faster than JSON.stringify of the whole. */
function scalarText(value: unknown): string | undefined {
  if (typeof value === "boolean" || Number.isFinite(value)) return `${value}`;
  if (typeof value === "string") return JSON.stringify(value);
  if (value === undefined || value === null) return "null";
  return value instanceof RawJson ? value.text : undefined;
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw new RpcParseError({ cause });
  }
}

function tooDeep(maxDepth: number): RpcParseError {
  return new RpcParseError({ data: `Nested deeper than ${maxDepth} levels (maxDepth)` });
}

function invalid(data?: string): RpcInvalidRequestError {
  return new RpcInvalidRequestError({ data });
}
