/**
 * Guards: who may use a method or a topic, and know of it.
 *
 * @module
 */

import { RpcMethodNotFoundError } from "../protocol/errors.ts";
import { admitted } from "../core/guard.ts";
import type { RpcRequest } from "../core/request.ts";
import type { Guard, GuardQuestion } from "../core/guard.ts";

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

/**
 * What {@linkcode permissionRequired} looks at of a user; all of it optional, since backends differ.
 */
export interface PermittedUser {
  /** What the user may do. */
  readonly permissions?: Iterable<string>;
  /** Whether the user may do everything. */
  readonly superuser?: boolean;
}

/** Someone: whatever the backend's user is, it is not `null`. */
// deno-lint-ignore ban-types -- exactly this: everything but null and undefined
export type AnyUser = {};

/** Admits whoever is logged in. */
export const loginRequired: Guard<AnyUser> = guard<AnyUser>(({ user }) => isAnyUser(user));

/**
 * Admits users who have a permission, and superusers.
 *
 * @param permission Its name.
 *
 * @example
 * ```ts
 * import { JsonRpc, permissionRequired } from "@x/jsonrpc";
 *
 * const rpc = new JsonRpc()
 *   .method("restart", { use: [permissionRequired("operate")] }, () => "restarting");
 * ```
 */
export function permissionRequired(permission: string): Guard<AnyUser> {
  return guard<AnyUser>(({ user }) => isAnyUser(user) && isPermitted(user, permission));
}

/**
 * Admits users who pass a test. Nobody, `null`, passes none.
 *
 * @param test Synchronous; only `true` admits. Throwing refuses, and is logged.
 * @typeParam User What the backend's users are.
 *
 * @example
 * ```ts
 * import { JsonRpc, userPassesTest } from "@x/jsonrpc";
 *
 * const adult = userPassesTest((user: { age: number }) => user.age >= 18);
 * const rpc = new JsonRpc().topic("casino", { use: [adult] });
 * ```
 */
export function userPassesTest<User extends AnyUser>(test: (user: User) => boolean): Guard<User> {
  // The test's own answer, whatever it is: what is no boolean refuses, and is logged.
  return guard<User>(({ user }) => isAnyUser(user) && test(user as User));
}

function isAnyUser(user: unknown): user is AnyUser {
  return user !== null && user !== undefined;
}

function isPermitted(user: AnyUser, permission: string): boolean {
  const { permissions = [], superuser } = user as PermittedUser;
  if (superuser === true) return true;
  for (const each of permissions) if (each === permission) return true;
  return false;
}
