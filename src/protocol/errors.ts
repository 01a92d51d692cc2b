/**
 * The errors that cross the wire, and those of a connection.
 *
 * A method that throws an {@linkcode RpcError} answers with its code, message and data. Everything
 * else that is thrown becomes a bland `-32603`; its text and stack stay on this side, in the log.
 *
 * @module
 */

/** What an error can carry beside its code and message. */
export interface RpcErrorOptions {
  /** Any JSON value that tells the caller more. Left out of the answer when `undefined`. */
  readonly data?: unknown;
  /** What led to this error. Stays on this side: it is logged and never sent. */
  readonly cause?: unknown;
}

/** {@linkcode RpcErrorOptions} of the classes that bring a message of their own. */
export interface RpcStandardErrorOptions extends RpcErrorOptions {
  /** Replaces the standard text of the specification. */
  readonly message?: string;
}

/** What kind of failure an {@linkcode RpcFailure} is. */
export type RpcFailureKind = "error" | "connection" | "timeout";

/**
 * The base of everything that this module rejects a call with: catch this one, and branch on `kind`.
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
   * `"error"`: the other side answered with an error. `"connection"`: no answer, because of the
   * connection. `"timeout"`: no answer in time. These texts do not change between versions.
   */
  abstract readonly kind: RpcFailureKind;
}

/**
 * An error that is answered to the caller as it is, and what a refused call rejects with.
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
  /** The error's number: yours, one of the specification's, or one of this module's. */
  readonly code: number;
  /** What more the error tells, or `undefined`. */
  readonly data: unknown;

  /**
   * @param code Any integer. `-32768` to `-32000` belong to the specification and to libraries.
   * @param message One short sentence.
   * @param options Data for the caller, and a cause for the log.
   * @throws {RangeError} Where the code is no integer.
   */
  constructor(code: number, message: string, options: RpcErrorOptions = {}) {
    super(message, options);
    if (!Number.isSafeInteger(code)) {
      throw new RangeError(`Expected the error code to be an integer, got ${code}`);
    }
    this.code = code;
    this.data = options.data;
  }
}

/** One of the five that the specification numbers and words. */
abstract class RpcStandardError extends RpcError {
  constructor(code: number, message: string, options: RpcStandardErrorOptions = {}) {
    super(code, options.message ?? message, options);
  }
}

/** `-32700`: what came is not JSON. */
export class RpcParseError extends RpcStandardError {
  override readonly name = "RpcParseError";
  /** @param options Another message, data, cause. */
  constructor(options?: RpcStandardErrorOptions) {
    super(-32700, "Parse error", options);
  }
}

/** `-32600`: what came is JSON, but no JSON-RPC 2.0 request. */
export class RpcInvalidRequestError extends RpcStandardError {
  override readonly name = "RpcInvalidRequestError";
  /** @param options Another message, data, cause. */
  constructor(options?: RpcStandardErrorOptions) {
    super(-32600, "Invalid Request", options);
  }
}

/** `-32601`: there is no such method, or none that this caller may know of. */
export class RpcMethodNotFoundError extends RpcStandardError {
  override readonly name = "RpcMethodNotFoundError";
  /** @param options Another message, data, cause. */
  constructor(options?: RpcStandardErrorOptions) {
    super(-32601, "Method not found", options);
  }
}

/** `-32602`: the method does not take these params. */
export class RpcInvalidParamsError extends RpcStandardError {
  override readonly name = "RpcInvalidParamsError";
  /** @param options Another message, data, cause. */
  constructor(options?: RpcStandardErrorOptions) {
    super(-32602, "Invalid params", options);
  }
}

/** `-32603`: the method failed for a reason that is not the caller's to know. */
export class RpcInternalError extends RpcStandardError {
  override readonly name = "RpcInternalError";
  /** @param options Another message, data, cause. */
  constructor(options?: RpcStandardErrorOptions) {
    super(-32603, "Internal error", options);
  }
}

/**
 * `-32000` to `-32099`: errors that the specification leaves to servers. This module's own are
 * listed in {@linkcode ErrorCode}.
 */
export class RpcServerError extends RpcError {
  override readonly name = "RpcServerError";
  /**
   * @param code From `-32099` to `-32000`.
   * @param message One short sentence.
   * @param options Data for the caller, and a cause for the log.
   * @throws {RangeError} Where the code lies outside.
   */
  constructor(code: number, message: string, options: RpcErrorOptions = {}) {
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
  /** `"unsent"`: the other side never saw the call. `"unknown"`: it may have run. */
  readonly outcome: "unsent" | "unknown";
  /**
   * @param message What could not be done, and the state that forbids it.
   * @param outcome Whether the call may have run on the other side.
   * @param options A cause.
   */
  constructor(
    message: string,
    outcome: "unsent" | "unknown" = "unsent",
    options: { readonly cause?: unknown } = {},
  ) {
    super(message, options);
    this.outcome = outcome;
  }
}

/** No answer came within the call's `timeoutMs`. It may still have run on the other side. */
export class RpcTimeoutError extends RpcFailure {
  override readonly name = "RpcTimeoutError";
  override readonly kind = "timeout";
}

/**
 * The codes that this module itself answers with: the five of the specification first. Those from
 * `-32006` to `-32011` mean what they mean in Rust's jsonrpsee, `-32002` what it means in geth.
 */
export const ErrorCode: {
  readonly parseError: -32700;
  readonly invalidRequest: -32600;
  readonly methodNotFound: -32601;
  readonly invalidParams: -32602;
  readonly internalError: -32603;
  readonly requestTimeout: -32002;
  readonly forbidden: -32003;
  readonly limitExceeded: -32005;
  readonly tooManySubscriptions: -32006;
  readonly requestTooBig: -32007;
  readonly responseTooBig: -32008;
  readonly serverBusy: -32009;
  readonly batchTooLarge: -32010;
  readonly batchResponseTooLarge: -32011;
  readonly requestCancelled: -32800;
} = Object.freeze({
  parseError: -32700,
  invalidRequest: -32600,
  methodNotFound: -32601,
  invalidParams: -32602,
  internalError: -32603,
  requestTimeout: -32002,
  forbidden: -32003,
  limitExceeded: -32005,
  tooManySubscriptions: -32006,
  requestTooBig: -32007,
  responseTooBig: -32008,
  serverBusy: -32009,
  batchTooLarge: -32010,
  batchResponseTooLarge: -32011,
  requestCancelled: -32800,
});

const STANDARD: Readonly<Record<number, new (options: RpcStandardErrorOptions) => RpcError>> = {
  [-32700]: RpcParseError,
  [-32600]: RpcInvalidRequestError,
  [-32601]: RpcMethodNotFoundError,
  [-32602]: RpcInvalidParamsError,
  [-32603]: RpcInternalError,
};

/** The class that belongs to a code: the one the other side threw. */
export function errorFrom(code: number, message: string, data?: unknown): RpcError {
  const Standard = STANDARD[code];
  if (Standard !== undefined) return new Standard({ message, data });
  return isServerCode(code)
    ? new RpcServerError(code, message, { data })
    : new RpcError(code, message, { data });
}

/** What a log needs of anything thrown, falsy values too: its stack, and the chain of causes. */
export function describeError(error: unknown): string {
  const lines: string[] = [];
  for (const seen = new Set(); !seen.has(error) && seen.size < 8; error = error.cause) {
    seen.add(error);
    if (error instanceof Error) lines.push(error.stack ?? `${error.name}: ${error.message}`);
    else lines.push(printable(error));
    if (!(error instanceof Error) || error.cause === undefined) break;
  }
  return lines.join("\nCaused by: ");
}

/** A name that the other side chose, for a log: in quotes, without line breaks, and not too long. */
export function quoted(name: string): string {
  return JSON.stringify(name.slice(0, 200));
}

function printable(value: unknown): string {
  try {
    return typeof value === "string" ? JSON.stringify(value) : String(value);
  } catch {
    return "a value that cannot be printed";
  }
}

function isServerCode(code: number): boolean {
  return code >= -32099 && code <= -32000;
}
