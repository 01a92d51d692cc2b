/**
 * What `tryCall` answers: a result, or an error that has a name.
 *
 * @module
 */

import { RpcError, RpcFailure } from "../protocol/errors.ts";

/**
 * What {@linkcode JsonRpcClient.tryCall} answers. The `name` of an error tells the errors that the method declares
 * apart, and gives their `code` and `data` a type.
 *
 * @typeParam Result The result.
 * @typeParam Errors The errors that the method declares.
 *
 * @example
 * ```ts
 * import { connect, JsonRpc, type } from "@x/jsonrpc";
 * import { linkedSockets } from "@x/jsonrpc/testing";
 *
 * const errors = { outOfStock: { code: 409, data: type<{ left: number }>() } };
 * const rpc = new JsonRpc().method("buy", { errors }, (_params, request) => {
 *   throw request.error("outOfStock", { left: 0 });
 * });
 * const [near, far] = linkedSockets();
 * rpc.attach(far);
 *
 * const client = await connect<typeof rpc>(near);
 * const { error } = await client.tryCall("buy");
 * console.assert(error?.name === "outOfStock" && error.data.left === 0);
 * await client.close();
 * ```
 */
export type Outcome<Result, Errors> =
  | { readonly ok: true; readonly result: Result; readonly error?: undefined }
  | { readonly ok: false; readonly result?: undefined; readonly error: Errors | OtherFailure };

/** A failure that the method does not declare. */
export type OtherFailure = RpcFailure & {
  readonly name:
    | "RpcError"
    | "RpcParseError"
    | "RpcInvalidRequestError"
    | "RpcMethodNotFoundError"
    | "RpcInvalidParamsError"
    | "RpcInternalError"
    | "RpcServerError"
    | "RpcConnectionError"
    | "RpcTimeoutError";
};

/**
 * Turns a call into an {@linkcode Outcome}.
 *
 * @param call The call.
 * @returns Its result or its error. Rejects with an error that is no {@linkcode RpcFailure}.
 */
export function toOutcome<Result, Errors>(
  call: Promise<Result>,
): Promise<Outcome<Result, Errors>> {
  return call.then(
    (result) => ({ ok: true, result }),
    (error) => {
      if (!(error instanceof RpcFailure)) throw error;
      // A server sends the name of a declared error as its message.
      if (error instanceof RpcError && /^\w+$/.test(error.message)) {
        (error as { name: string }).name = error.message;
      }
      return { ok: false, error: error as Errors | OtherFailure };
    },
  );
}
