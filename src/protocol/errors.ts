/**
 * The errors that cross the wire, and those that a connection itself has.
 *
 * If a method throws an {@linkcode RpcError}, the caller gets its code, message and data. If it throws
 * anything else, the caller gets `-32603` "Internal error"; the text and stack go to the log alone.
 *
 * @module
 */

import type { Logger } from "../util/logger.ts";

/** What an error carries beside its code and message. */
export interface RpcErrorOptions {
  /** Any JSON value that tells the caller more. If it is `undefined`, the answer has no `data`. */
  readonly data?: unknown;
  /** What led to this error. It is logged and never sent. */
  readonly cause?: unknown;
}

/** {@linkcode RpcErrorOptions} of the classes that have a standard message. */
export interface RpcStandardErrorOptions extends RpcErrorOptions {
  /** Replaces the specification's message. */
  readonly message?: string;
}

/** What kind of failure an {@linkcode RpcFailure} is. */
export type RpcFailureKind = "error" | "connection" | "timeout";

// The same symbol in all copies of this package.
const BRAND: unique symbol = Symbol.for("@x/jsonrpc");

/**
 * The base class of all errors that a call of this module rejects with. Catch this class, and branch
 * on `kind`.
 *
 * @example Telling failures apart
 * ```ts
 * import { connect, RpcFailure } from "@x/jsonrpc";
 *
 * const failure = await connect("ws://127.0.0.1:9").catch((error) => error);
 * console.assert(failure instanceof RpcFailure && failure.kind === "connection");
 * ```
 */
export abstract class RpcFailure extends Error {
  /**
   * `"error"`: the other side answered with an error. `"connection"`: the connection could not be made
   * or has ended. `"timeout"`: no answer came in time. Versions of one major number keep these texts.
   */
  abstract readonly kind: RpcFailureKind;
  /** The method whose call has failed; missing if the failure belongs to no single call. */
  declare method?: string;

  /** Recognizes errors of a second copy of this package too, which has classes of its own. */
  static override [Symbol.hasInstance](value: unknown): boolean {
    return super[Symbol.hasInstance](value) || isForeign(this, value);
  }

  /** Marks errors of all copies of this package. */
  get [BRAND](): boolean {
    return true;
  }
}

/**
 * An error that the caller gets as it is: a handler throws it, and the caller's promise rejects with
 * it.
 *
 * @see {@link https://www.jsonrpc.org/specification#error_object | JSON-RPC 2.0, section 5.1}
 *
 * @example Thrown on one side, caught on the other
 * ```ts
 * import { connect, JsonRpc, RpcError } from "@x/jsonrpc";
 * import { linkedSockets } from "@x/jsonrpc/testing";
 *
 * const rpc = new JsonRpc().method("pay", () => {
 *   throw new RpcError(402, "Not enough money", { data: { missing: 3 } });
 * });
 * const [near, far] = linkedSockets();
 * rpc.attach(far);
 *
 * const client = await connect(near);
 * const error = await client.call("pay").catch((error) => error);
 * console.assert(error instanceof RpcError && error.code === 402);
 * await client.close();
 * ```
 */
export class RpcError extends RpcFailure {
  override readonly name: string = "RpcError";
  override readonly kind = "error";
  /** The error's number: one of your own, of the specification, or of {@linkcode ErrorCode}. */
  declare readonly code: number;
  /** More about the error, or `undefined`. */
  declare readonly data: unknown;

  /**
   * @param code Any integer. The specification reserves `-32768` to `-32000`.
   * @param message One short sentence.
   * @param options Data for the caller, and a cause for the log.
   * @throws {RangeError} If the code is not an integer.
   */
  constructor(code: number, message: string, options?: RpcErrorOptions) {
    super(message, options);
    if (!Number.isSafeInteger(code)) {
      throw new RangeError(`Expected the code to be an integer, got ${code}`);
    }
    this.code = code;
    this.data = options?.data;
  }
}

/** One of the five errors that the specification defines. */
abstract class RpcStandardError extends RpcError {
  constructor(code: number, message: string, options?: RpcStandardErrorOptions) {
    super(code, options?.message ?? message, options);
  }
}

/** `-32700`: the message is not JSON, or is nested too deeply. */
export class RpcParseError extends RpcStandardError {
  override readonly name = "RpcParseError";
  /** @param options Message, data and cause. */
  constructor(options?: RpcStandardErrorOptions) {
    super(-32700, "Parse error", options);
  }
}

/** `-32600`: the message is JSON, but not a JSON-RPC 2.0 request. */
export class RpcInvalidRequestError extends RpcStandardError {
  override readonly name = "RpcInvalidRequestError";
  /** @param options Message, data and cause. */
  constructor(options?: RpcStandardErrorOptions) {
    super(-32600, "Invalid Request", options);
  }
}

/** `-32601`: the method does not exist, or this caller may not use it. */
export class RpcMethodNotFoundError extends RpcStandardError {
  override readonly name = "RpcMethodNotFoundError";
  /** @param options Message, data and cause. */
  constructor(options?: RpcStandardErrorOptions) {
    super(-32601, "Method not found", options);
  }
}

/** `-32602`: the method does not accept these params. */
export class RpcInvalidParamsError extends RpcStandardError {
  override readonly name = "RpcInvalidParamsError";
  /** @param options Message, data and cause. */
  constructor(options?: RpcStandardErrorOptions) {
    super(-32602, "Invalid params", options);
  }
}

/** `-32603`: the method failed; the server's log says why. */
export class RpcInternalError extends RpcStandardError {
  override readonly name = "RpcInternalError";
  /** @param options Message, data and cause. */
  constructor(options?: RpcStandardErrorOptions) {
    super(-32603, "Internal error", options);
  }
}

/**
 * `-32000` to `-32099`: errors that the specification leaves to servers. {@linkcode ErrorCode} lists
 * those that this module uses.
 */
export class RpcServerError extends RpcError {
  override readonly name = "RpcServerError";
  /**
   * @param code From `-32099` to `-32000`.
   * @param message One short sentence.
   * @param options Data for the caller, and a cause for the log.
   * @throws {RangeError} If the code is out of that range.
   */
  constructor(code: number, message: string, options?: RpcErrorOptions) {
    super(code, message, options);
    if (!isServerCode(code)) {
      throw new RangeError(`Expected the code from -32099 to -32000, got ${code}`);
    }
  }
}

/**
 * The connection could not be made, or ended before the answer came.
 *
 * @example
 * ```ts
 * import { connect, RpcConnectionError } from "@x/jsonrpc/client";
 *
 * const error = await connect("ws://127.0.0.1:9").catch((error) => error);
 * console.assert(error instanceof RpcConnectionError && error.outcome === "unsent");
 * ```
 */
export class RpcConnectionError extends RpcFailure {
  override readonly name = "RpcConnectionError";
  override readonly kind = "connection";
  /** `"unsent"`: the call never reached the other side. `"unknown"`: it may have run there. */
  declare readonly outcome: "unsent" | "unknown";
  /**
   * @param message What could not be done, and why.
   * @param outcome Whether the call may have run on the other side.
   * @param options The cause, if another error led to this one.
   */
  constructor(
    message: string,
    outcome: "unsent" | "unknown" = "unsent",
    options?: { readonly cause?: unknown },
  ) {
    super(message, options);
    this.outcome = outcome;
  }
}

/** No answer came within the call's `timeoutMs`. The call may have run on the other side. */
export class RpcTimeoutError extends RpcFailure {
  override readonly name = "RpcTimeoutError";
  override readonly kind = "timeout";
}

/** Whether a value was made by another copy of a class of this file. */
function isForeign(Class: unknown, value: unknown): boolean {
  const { [BRAND]: isOurs, kind, code } = (value ?? {}) as RpcError & {
    readonly [BRAND]?: boolean;
  };
  const ByKind =
    { error: RpcError, connection: RpcConnectionError, timeout: RpcTimeoutError }[kind];
  const Server = isServerCode(code) && RpcServerError;
  return isOurs === true &&
    [RpcFailure, ByKind, STANDARD[code], Server].includes(Class as typeof RpcServerError);
}

const STANDARD: Readonly<Record<number, new (options: RpcStandardErrorOptions) => RpcError>> = {
  [-32700]: RpcParseError,
  [-32600]: RpcInvalidRequestError,
  [-32601]: RpcMethodNotFoundError,
  [-32602]: RpcInvalidParamsError,
  [-32603]: RpcInternalError,
};

/** Classes of errors by code; see {@linkcode ClientOptions.errors}. */
export type ErrorClasses = Readonly<
  Record<number, new (code: number, message: string, options: RpcErrorOptions) => RpcError>
>;

/** Makes an error of the class that belongs to a code, as the other side threw it. */
export function errorFrom(code: number, message: string, data?: unknown): RpcError {
  const Standard = STANDARD[code];
  if (Standard) return new Standard({ message, data });
  return new (isServerCode(code) ? RpcServerError : RpcError)(code, message, { data });
}

/** Describes anything thrown for a log, falsy values too: its stack and its chain of causes. */
export function describeError(error: unknown): string {
  const seen = new Set<unknown>();
  do {
    seen.add(error);
    error = error instanceof Error ? error.cause : undefined;
  } while (error !== undefined && !seen.has(error) && seen.size < 8);
  return escapeControls([...seen].map(printable).join("\nCaused by: "));
}

/** Writes to a log that something has failed, and why. */
export function logFailure(logger: Logger, what: string, error: unknown): void {
  logger.error(`${what} failed: ${describeError(error)}`);
}

/**
 * Escapes characters that could change what an operator sees of a log: control characters of both sets,
 * line and paragraph separators, and marks that reverse the direction of text.
 *
 * @param text The text. Its line breaks and tabs stay.
 * @returns The text with `\\u` escapes.
 */
export function escapeControls(text: string): string {
  return text.replace(
    CONTROLS,
    (character) => `\\u{${character.charCodeAt(0).toString(16)}}`,
  );
}

/** The characters that {@linkcode escapeControls} escapes. */
export const CONTROLS: RegExp = /(?![\t\n])[\p{Cc}\p{Zl}\p{Zp}\p{Bidi_C}]/gu;

/** Quotes a name that the other side chose, for a log: without line breaks, and cut to 200. */
export function quoted(name: string): string {
  return escapeControls(JSON.stringify(name.slice(0, 200)));
}

/** The message of an error that the other side may have sent, for a log: cut to 200 characters. */
export function shortMessage({ message }: Error): string {
  return escapeControls(message.slice(0, 200));
}

function printable(value: unknown): string {
  try {
    if (value instanceof Error) return value.stack ?? String(value);
    return typeof value === "string" ? JSON.stringify(value) : String(value);
  } catch {
    return "unprintable";
  }
}

function isServerCode(code: number): boolean {
  return code >= -32099 && code <= -32000;
}
