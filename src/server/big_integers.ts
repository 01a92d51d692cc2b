/**
 * Integers in params that a JavaScript number cannot hold. `JSON.parse` rounds them without a word: an
 * amount of money or an id of 19 digits becomes another one.
 *
 * Only a number beyond ±(2^53-1) can have been rounded. Looking for one takes some nanoseconds; the text
 * is parsed again, with its digits, only if there is one.
 *
 * @see {@link https://www.rfc-editor.org/rfc/rfc8259#section-6 | RFC 8259, section 6}
 *
 * @module
 */

import type { BigIntegers } from "../core/method.ts";
import { RpcInvalidParamsError } from "../protocol/errors.ts";

/** Whether any params of a parsed message have a number that may have been rounded. */
export function mayBeRounded(message: unknown): boolean {
  if (Array.isArray(message)) return message.some((entry) => isUnsafe(paramsOf(entry), MAX_WALK));
  return isUnsafe(paramsOf(message), MAX_WALK);
}

/**
 * Puts the digits back into the params of a message.
 *
 * @param message The parsed message, or batch.
 * @param text Its text.
 * @returns The message, with a {@linkcode Digits} in place of each number that may have been rounded.
 */
export function withDigits(message: unknown, text: string): unknown {
  const exact: unknown = JSON.parse(text, revive);
  // Ids and answers keep their numbers.
  const merge = (entry: unknown, source: unknown): unknown =>
    isUnsafe(paramsOf(entry), MAX_WALK) ? { ...entry as object, params: paramsOf(source) } : entry;
  return Array.isArray(message)
    ? message.map((entry, index) => merge(entry, (exact as unknown[])[index]))
    : merge(message, exact);
}

/**
 * Gives a method the integers of its params as it declares.
 *
 * @param params The params, with digits. They are changed.
 * @param mode What the method declares.
 * @returns The params with numbers, strings or bigints in place of digits, and an error if the method
 * must not get them.
 */
export function resolveDigits(
  params: unknown,
  mode: BigIntegers,
): { params: unknown; error: RpcInvalidParamsError | undefined } {
  let error: RpcInvalidParamsError | undefined;
  function resolve(value: unknown): unknown {
    if (value instanceof Digits) {
      error ??= value.refusal(mode);
      return error === undefined ? value.as(mode) : value.rounded;
    }
    if (typeof value !== "object" || value === null) return value;
    const node = value as Record<string, unknown>;
    for (const key of Object.keys(node)) {
      const each = node[key];
      // Only what changes: assigning to a name such as `__proto__` would do something else.
      const resolved = resolve(each);
      if (resolved !== each) Object.defineProperty(node, key, { ...PLAIN, value: resolved });
    }
    return node;
  }
  return { params: resolve(params), error };
}

const PLAIN = { configurable: true, enumerable: true, writable: true };

// Requests whose params were rounded. Only the method itself refuses them, inside its guards: else the
// error would tell strangers that the method exists.
const refused = new WeakMap<object, RpcInvalidParamsError>();
let anyRefused = false;

/** Notes that a method must not get a request. */
export function refuseLater(request: object, error: RpcInvalidParamsError): void {
  anyRefused = true;
  refused.set(request, error);
}

/** Throws if the params of a request were rounded. */
export function checkDigits(request: object): void {
  if (!anyRefused) return;
  const error = refused.get(request);
  if (error !== undefined) throw error;
}

/** A number that may have been rounded, and its text. */
class Digits {
  readonly rounded: number;
  readonly #text: string;

  constructor(rounded: number, text: string) {
    this.rounded = rounded;
    this.#text = text;
  }

  /** Why a method must not get the number. */
  refusal(mode: BigIntegers): RpcInvalidParamsError | undefined {
    const text = this.#text;
    if (mode === "refuse" ? this.#isExact() : isShortInteger(text)) return undefined;
    const shown = text.length > 40 ? `${text.slice(0, 40)}…` : text;
    return new RpcInvalidParamsError({
      data: mode === "refuse"
        ? `The number ${shown} would be rounded: send integers beyond ±(2^53-1) as strings`
        : `Expected an integer of at most 1000 digits, got ${shown}`,
    });
  }

  /** The number as a method declares it. */
  as(mode: BigIntegers): unknown {
    if (mode === "refuse") return this.rounded;
    return mode === "string" ? this.#text : BigInt(this.#text);
  }

  /** Whether the sender meant this very number: it wrote all its digits, or wrote it as JavaScript does. */
  #isExact(): boolean {
    const text = this.#text;
    if (!isShortInteger(text) || !Number.isFinite(this.rounded)) return false;
    return String(this.rounded) === text || BigInt(text) === BigInt(this.rounded);
  }
}

/** Some engines need seconds to make a bigint of a million digits. */
function isShortInteger(text: string): boolean {
  return /^-?\d{1,1000}$/.test(text);
}

function revive(_key: string, value: unknown, context?: { readonly source?: string }): unknown {
  if (typeof value !== "number" || isSafe(value)) return value;
  // Node before 21 does not tell the source.
  const source = context?.source ?? "";
  // A number with a point or an exponent is meant to be rounded, but not to infinity.
  if (source !== "" && !/^-?\d+$/.test(source) && Number.isFinite(value)) return value;
  return new Digits(value, source);
}

function paramsOf(entry: unknown): unknown {
  return typeof entry === "object" && entry !== null
    ? (entry as { readonly params?: unknown }).params
    : undefined;
}

function isSafe(value: number): boolean {
  return value <= MAX && value >= -MAX;
}

// As in depth.ts, the caller checks leaves: a function call for each would double the time.
function isUnsafe(value: unknown, depthLeft: number): boolean {
  if (typeof value === "number") return !isSafe(value);
  if (typeof value !== "object" || value === null || depthLeft === 0) return false;
  if (Array.isArray(value)) {
    for (let index = 0; index < value.length; index++) {
      const each: unknown = value[index];
      if (typeof each === "number" ? each > MAX || each < -MAX : isUnsafeNode(each, depthLeft)) {
        return true;
      }
    }
    return false;
  }
  for (const name in value) {
    const each = (value as Readonly<Record<string, unknown>>)[name];
    if (typeof each === "number" ? each > MAX || each < -MAX : isUnsafeNode(each, depthLeft)) {
      return true;
    }
  }
  return false;
}

function isUnsafeNode(value: unknown, depthLeft: number): boolean {
  return typeof value === "object" && value !== null && isUnsafe(value, depthLeft - 1);
}

const MAX = Number.MAX_SAFE_INTEGER;
// Recursion this deep fits the stack of every engine. Below it nothing is looked for: a server takes
// params that deep only if its `maxDepth` says so.
const MAX_WALK = 1000;
