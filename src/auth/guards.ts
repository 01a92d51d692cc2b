/**
 * Guards decide which connections may use a method or a topic, and may know that it exists.
 *
 * @module
 */

import { admitted, guardText } from "../core/guard.ts";
import { refusal } from "../core/refusal.ts";
import type { RpcRequest } from "../core/request.ts";
import type { Guard, GuardQuestion } from "../core/guard.ts";

/**
 * Makes a guard for methods and topics. A caller whom the guard refuses gets the answer of a missing
 * method (-32601) and does not see the name in any list.
 *
 * @param admits Synchronous. The guard lets the caller through if it returns `true`; any other value
 * refuses. If it throws, the caller is refused and the error is logged.
 * @param label What the guard is called when the server explains a refusal. @default {the name of `admits`}
 * @returns The guard, to be listed in `use` of a method or `guards` of a topic.
 * @typeParam User The type of the user behind the guard.
 *
 * @example
 * ```ts
 * import { guard, JsonRpc } from "@x/jsonrpc";
 *
 * const local = guard(({ connection }) => connection.handshake.remoteAddress === "127.0.0.1");
 * const rpc = new JsonRpc()
 *   .method("shutdown", { use: [local] }, () => "bye")
 *   .topic("load", { guards: [local] });
 * ```
 */
export function guard<User = unknown>(
  admits: (question: GuardQuestion) => boolean,
  label: string = admits.name || "without a name",
): Guard<User> {
  function layer(request: RpcRequest, next: () => unknown): unknown {
    const { connection, method: name } = request;
    const question = { user: connection.user, connection, name, kind: "method" } as const;
    if (!admitted([self], question)) throw refusal(question, guardText(self));
    return next();
  }
  const self: Guard<User> = Object.assign(layer, { admits, label });
  return self;
}

/** What {@linkcode permissionRequired} reads of a user. Both are optional, since backends differ. */
export interface PermittedUser {
  /** The names of the user's permissions. */
  readonly permissions?: Iterable<string>;
  /** Whether the user has every permission. */
  readonly superuser?: boolean;
}

/** Any user at all, whatever the backend makes of it: everything but `null` and `undefined`. */
// deno-lint-ignore ban-types -- exactly this: everything but null and undefined
export type AnyUser = {};

/**
 * Lets every connection through that has a user.
 *
 * @example
 * ```ts
 * import { JsonRpc, loginRequired } from "@x/jsonrpc";
 *
 * const rpc = new JsonRpc().topic("news", { guards: [loginRequired] });
 * ```
 */
export const loginRequired: Guard<AnyUser> = guard<AnyUser>(
  ({ user }) => isAnyUser(user),
  "loginRequired",
);

/**
 * Lets users through who have a permission, and superusers.
 *
 * @param permission The permission's name.
 * @returns The guard.
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
  return guard<AnyUser>(
    ({ user }) => isAnyUser(user) && isPermitted(user, permission),
    `permissionRequired("${permission}")`,
  );
}

/**
 * Lets users through who pass a test of yours. A connection without a user does not pass, and the
 * test is not called for it.
 *
 * @param test Synchronous. The user passes if it returns `true`; any other value refuses. If it
 * throws, the user is refused and the error is logged.
 * @returns The guard.
 * @typeParam User The type of the backend's users.
 *
 * @example
 * ```ts
 * import { JsonRpc, userPassesTest } from "@x/jsonrpc";
 *
 * const adult = userPassesTest((user: { age: number }) => user.age >= 18);
 * const rpc = new JsonRpc().topic("casino", { guards: [adult] });
 * ```
 */
export function userPassesTest<User extends AnyUser>(test: (user: User) => boolean): Guard<User> {
  // The test's answer goes on unchanged: the guard logs an answer that is not a boolean.
  return guard<User>(
    ({ user }) => isAnyUser(user) && test(user as User),
    `userPassesTest(${test.name || "a test without a name"})`,
  );
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
