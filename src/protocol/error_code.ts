/**
 * The codes of errors, by name: for programs that branch on the code of an error.
 *
 * @example
 * ```ts
 * import { ErrorCode } from "@x/jsonrpc/error_code";
 *
 * console.assert(ErrorCode.methodNotFound === -32601);
 * ```
 *
 * @module
 */

/**
 * The codes that this module itself answers with; the specification's five come first. `-32006` to
 * `-32011` have the meaning that jsonrpsee (Rust) gives them, `-32002` that of geth.
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
} = /* @__PURE__ */ Object.freeze({
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
