/**
 * Users from sessions that something else keeps: a web framework, a store, a cookie.
 *
 * @module
 */

import { describeError } from "../protocol/errors.ts";
import type { Plugin } from "../core/plugin.ts";
import type { Connection, Handshake } from "../core/connection.ts";
import { ConnectionTimers } from "./connection_timers.ts";
import { checkMs } from "../util/check_option.ts";

export { cookie } from "./cookie.ts";

/** How {@linkcode session} behaves. */
export interface SessionAuthOptions {
  /**
   * Milliseconds after which `load` is asked again for each open WebSocket. Where it then gives
   * `null` the connection is closed with 4401; where it throws, with 1011; else the connection
   * belongs from then on to the user that it gives. OWASP recommends at most 30 minutes.
   *
   * @default {Infinity, not asked again}
   */
  readonly recheckMs?: number;
}

/**
 * Looks up whom a peer's session belongs to.
 *
 * @typeParam User What users are.
 * @param handshake What is known of the peer; see {@linkcode cookie}.
 * @returns The user, or `null` where the peer has no session. Throwing refuses the peer: with a
 * `Response` of yours, else with 500, and it is logged.
 */
export type LoadSession<User extends object> = (
  handshake: Handshake,
) => User | null | undefined | Promise<User | null | undefined>;

/**
 * A backend for sessions: asks before each WebSocket and each POST whom the peer belongs to. Whom
 * an earlier backend has let in stays who it is.
 *
 * It only reads: what it does not know is nobody, and no session is ever made of an id that a peer
 * brings. Make ids of at least 128 random bits, a new one with each login, and forget the old one.
 *
 * A logout has to end what is open, too: with `rpc.revoke`, all connections of the session at once.
 *
 * @param load Looks the session up.
 * @param options Whether to look again.
 * @throws {TypeError} Where `load` is no function.
 * @throws {RangeError} Where `recheckMs` makes no sense.
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
 *   .method("whoami", { use: [loginRequired] }, (_params: unknown, { user }) => user.name);
 *
 * function logout(id: string): void {
 *   sessions.delete(id);
 *   rpc.revoke(({ handshake }) => cookie(handshake, "__Host-sid") === id);
 * }
 *
 * const init = {
 *   method: "POST",
 *   headers: { "content-type": "application/json", cookie: "__Host-sid=c0ffee" },
 *   body: '{"jsonrpc":"2.0","method":"whoami","id":1}',
 * };
 * const answer = await rpc.fetch(new Request("https://example.com/rpc", init));
 * console.assert((await answer.json()).result === "ada");
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
  const alarms = new ConnectionTimers();
  // Whom this backend has let in: others' users are not its to check.
  const admitted = new WeakMap<Handshake, User>();

  async function find(handshake: Handshake): Promise<User | null> {
    const user = await load(handshake) ?? null;
    if (typeof user === "object") return user;
    throw new TypeError(`Expected \`load\` to give an object or null, got a ${typeof user}`);
  }

  async function handshake(handshake: Handshake): Promise<void> {
    if (handshake.user !== null) return;
    const user = await find(handshake);
    handshake.user = user;
    if (user !== null) admitted.set(handshake, user);
  }

  function onOpen(connection: Connection): void {
    const user = admitted.get(connection.handshake);
    if (user !== undefined && user === connection.user) watch(connection);
  }

  function watch(connection: Connection): void {
    alarms.set(connection, Date.now() + recheckMs, () => void recheck(connection));
  }

  async function recheck(connection: Connection): Promise<void> {
    const before = connection.user;
    try {
      const user = await find(connection.handshake);
      if (!connection.isOpen || connection.user === null) return; // gone, or logged out
      if (user === null) return end(connection, 4401, "Session expired");
      // Not what was loaded for a user who was changed meanwhile: that may be older.
      if (connection.user === before) connection.login(user);
      watch(connection);
    } catch (error) {
      connection.logger.error(`A session could not be checked: ${describeError(error)}`);
      end(connection, 1011, "The session could not be checked");
    }
  }

  return {
    name: "session",
    handshake,
    onOpen,
    onClose: (connection) => alarms.clear(connection),
    onUserChange(connection) {
      if (connection.user === null) alarms.clear(connection);
    },
  };
}

function end(connection: Connection, code: number, reason: string): void {
  connection.close(code, reason);
  connection.logout(); // for handlers that still run
}
