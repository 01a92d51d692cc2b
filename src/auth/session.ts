/**
 * Users from sessions that your own code keeps: a web framework, a store, a cookie.
 *
 * `session(load)` asks your function before each WebSocket and each POST which user the peer is.
 * `rpc.revoke(…)` ends what is open when somebody logs out.
 *
 * ```ts ignore
 * import { JsonRpc } from "@x/jsonrpc";
 * import { cookie, session } from "@x/jsonrpc/session";
 *
 * const rpc = new JsonRpc()
 *   .use(session((handshake) => sessions.get(cookie(handshake, "__Host-sid") ?? "")));
 * ```
 *
 * @module
 */

import { describeError } from "../protocol/errors.ts";
import type { Plugin } from "../core/plugin.ts";
import type { Connection, Handshake } from "../core/connection.ts";
import { ConnectionTimers } from "./connection_timers.ts";
import { checkMs } from "../util/check_option.ts";

export { cookie } from "./cookie.ts";

/** Options of {@linkcode session}. */
export interface SessionAuthOptions {
  /**
   * Milliseconds after which the server calls `load` again for each open connection. If `load` then
   * gives `null`, the server closes the connection with 4401; if it throws, with 1011. Otherwise the
   * connection gets the user that `load` gives. OWASP recommends at most 30 minutes.
   *
   * @default {Infinity, never again}
   */
  readonly recheckMs?: number;
}

/**
 * Looks up the user of a peer's session.
 *
 * @typeParam User The type of users.
 * @param handshake How the peer connected; see {@linkcode cookie}.
 * @returns The user, or `null` if the peer has no session. If it throws a `Response`, the server
 * refuses the peer with that; if it throws anything else, with 500, and logs the error.
 */
export type LoadSession<User extends object> = (
  handshake: Handshake,
) => User | null | undefined | Promise<User | null | undefined>;

/**
 * A backend for sessions. It asks `load` for the user before each WebSocket, event stream and POST.
 *
 * It reads sessions and never makes one: a peer with an unknown id has no user. Make ids of at least
 * 128 random bits, make a new one with each login, and forget the old one.
 *
 * When a user logs out, end the open connections of the session as well, with `rpc.revoke`.
 *
 * **Beside other backends**: the one that is mounted first decides. `session` does not call `load`
 * for a peer that has a user already. As soon as another backend or your own code sets the user of an
 * open connection, the connection no longer belongs to the session: the server does not call `load`
 * for it again, neither to change its user nor to close it.
 *
 * @param load Looks the session up.
 * @param options Whether and when to look it up again.
 * @returns The backend, to be passed to `rpc.use()`: from then on `request.user` is what `load` gave.
 * @throws {TypeError} If `load` is not a function.
 * @throws {RangeError} If `recheckMs` is not a number from 1.
 *
 * @example A session by cookie, and its end
 * ```ts
 * import { JsonRpc, loginRequired } from "@x/jsonrpc";
 * import { cookie, session } from "@x/jsonrpc/session";
 *
 * const sessions = new Map([["c0ffee", { name: "ada" }]]); // a Map: "constructor" is no session
 *
 * const rpc = new JsonRpc()
 *   .use(session((handshake) => sessions.get(cookie(handshake, "__Host-sid") ?? "")))
 *   .method("greet", { use: [loginRequired] }, ([word]: [string], { user }) => `${word} ${user.name}`);
 *
 * function logout(id: string): void {
 *   sessions.delete(id);
 *   rpc.revoke(({ handshake }) => cookie(handshake, "__Host-sid") === id);
 * }
 *
 * const init = {
 *   method: "POST",
 *   headers: { "content-type": "application/json", cookie: "__Host-sid=c0ffee" },
 *   body: '{"jsonrpc":"2.0","method":"greet","params":["Hello"],"id":1}',
 * };
 * const answer = await rpc.fetch(new Request("https://example.com/rpc", init));
 * console.assert((await answer.json()).result === "Hello ada");
 *
 * logout("c0ffee");
 * const refusal = await rpc.fetch(new Request("https://example.com/rpc", init));
 * console.assert((await refusal.json()).error.code === -32601);
 * ```
 */
export function session<User extends object>(
  load: LoadSession<User>,
  options: SessionAuthOptions = {},
): Plugin<User | null> {
  const recheckMs = checkMs("recheckMs", options.recheckMs ?? Infinity, 1);
  if (typeof load !== "function") {
    throw new TypeError(`Expected \`load\` to be a function, got a ${typeof load}`);
  }
  const timers = new ConnectionTimers();
  const loaded = new WeakMap<Handshake, User>();
  // The user that this backend has given each connection. A connection with another user is not its
  // to check: a backend that logged in a user with fewer rights must not lose to an older session.
  const current = new WeakMap<Connection, User>();

  async function find(handshake: Handshake): Promise<User | null> {
    const user = await load(handshake) ?? null;
    if (typeof user === "object") return user;
    throw new TypeError(`Expected \`load\` to give an object or null, got a ${typeof user}`);
  }

  async function handshake(handshake: Handshake): Promise<void> {
    if (handshake.user !== null) return;
    const user = await find(handshake);
    handshake.user = user;
    if (user !== null) loaded.set(handshake, user);
  }

  function onOpen(connection: Connection): void {
    const user = loaded.get(connection.handshake);
    if (user !== undefined && user === connection.user) watch(connection, user);
  }

  function watch(connection: Connection, user: User): void {
    current.set(connection, user);
    timers.set(connection, Date.now() + recheckMs, () => void recheck(connection, user));
  }

  async function recheck(connection: Connection, before: User): Promise<void> {
    // Whether the connection ended, or got another user, while `load` was running.
    const isOver = () => !connection.isOpen || connection.user !== before;
    try {
      const user = await find(connection.handshake);
      if (isOver()) return;
      if (user === null) return end(connection, 4401, "Session expired");
      watch(connection, user);
      connection.login(user);
    } catch (error) {
      connection.logger.error(`Cannot check a session again: ${describeError(error)}`);
      if (!isOver()) end(connection, 1011, "The session could not be checked");
    }
  }

  return {
    name: "session",
    handshake,
    onOpen,
    onClose: (connection) => timers.clear(connection),
    onUserChange(connection) {
      if (connection.user !== current.get(connection)) timers.clear(connection);
    },
  };
}

function end(connection: Connection, code: number, reason: string): void {
  connection.close(code, reason);
  connection.logout(); // handlers that still run must not act for the user
}
