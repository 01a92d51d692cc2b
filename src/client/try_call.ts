/**
 * Calls a method and gives its error back instead of throwing it, with the types of the errors that the method
 * declares. It is a module of its own, so that a page loads it only if it uses it.
 *
 * @module
 */

import type { Api, ArgumentsOf, ErrorsOf, ResultOf } from "../core/api.ts";
import type { CallOptions } from "../core/pending_calls.ts";
import { RpcError, RpcFailure } from "../protocol/errors.ts";
import type { JsonRpcClient } from "./json_rpc_client.ts";

/**
 * What {@linkcode tryCall} gives. The `name` of an error tells the errors that the method declares
 * apart, and gives their `code` and `data` a type.
 *
 * @typeParam Result The result.
 * @typeParam Errors The errors that the method declares.
 *
 * @example
 * ```ts
 * import { connect, JsonRpc, type } from "@x/jsonrpc";
 * import { linkedSockets } from "@x/jsonrpc/testing";
 * import { tryCall } from "@x/jsonrpc/try_call";
 *
 * const errors = { outOfStock: { code: 409, data: type<{ left: number }>() } };
 * const rpc = new JsonRpc().method("buy", { errors }, ([count]: [number], request) => {
 *   if (count > 3) throw request.error("outOfStock", { left: 3 });
 * });
 * const [near, far] = linkedSockets();
 * rpc.attach(far);
 *
 * const client = await connect<typeof rpc>(near);
 * const { error } = await tryCall(client, "buy", [4]);
 * console.assert(error?.name === "outOfStock" && error.data.left === 3);
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
 * Calls a method of the server, and returns an error instead of throwing it.
 *
 * @param client The client.
 * @param method The method's name.
 * @param rest As for {@linkcode JsonRpcClient.call}: params, then options of the call.
 * @returns The result or the error. Rejects only with what is no {@linkcode RpcFailure}, such as the
 * reason of the signal.
 */
export async function tryCall<A extends Api, Name extends keyof A["methods"] & string>(
  client: JsonRpcClient<unknown, A>,
  method: Name,
  ...rest: ArgumentsOf<A["methods"], Name, CallOptions>
): Promise<Outcome<ResultOf<A["methods"][Name]>, ErrorsOf<A["methods"][Name]>>> {
  try {
    return { ok: true, result: await client.call(method, ...rest) };
  } catch (error) {
    if (!(error instanceof RpcFailure)) throw error;
    // A server sends the name of a declared error as its message.
    if (error instanceof RpcError && /^\w+$/.test(error.message)) {
      (error as { name: string }).name = error.message;
    }
    return { ok: false, error: error as ErrorsOf<A["methods"][Name]> | OtherFailure };
  }
}
