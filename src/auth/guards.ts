/**
 * Guards: who may use a method or a topic, and know of it.
 *
 * @module
 */

import { RpcMethodNotFoundError } from "../errors.ts";
import { admitted } from "../request.ts";
import type { Guard, GuardQuestion, RpcRequest } from "../request.ts";

/**
 * Makes a guard for methods and topics. Whoever is not admitted gets the answer that a missing
 * method gives, and does not see the name in any list.
 *
 * @param admits Synchronous; only `true` admits. Throwing refuses, and is logged.
 * @typeParam User What the user is known to be behind the guard.
 *
 * @example
 * ```ts
 * import { guard, JsonRpc } from "@x/jsonrpc";
 *
 * const local = guard(({ connection }) => connection.handshake.remoteAddress === "127.0.0.1");
 * const rpc = new JsonRpc()
 *   .method("shutdown", { use: [local] }, () => "bye")
 *   .topic("load", { use: [local] });
 * ```
 */
export function guard<User = unknown>(
  admits: (question: GuardQuestion) => boolean,
): Guard<User> {
  function layer(request: RpcRequest, next: () => unknown): unknown {
    const { connection, method: name } = request;
    const question = { user: connection.user, connection, name, kind: "method" } as const;
    if (!admitted([self], question)) throw new RpcMethodNotFoundError();
    return next();
  }
  const self: Guard<User> = Object.assign(layer, { admits });
  return self;
}
