/**
 * How long connections go on with their tokens.
 *
 * @module
 */

import type { Connection, Handshake } from "../../core/connection.ts";
import { TokenError } from "../bearer.ts";
import { ConnectionTimers } from "../connection_timers.ts";
import type { Identity } from "./verify.ts";

/** The method with which a client brings a new token before the old one expires. */
export const RENEW = "renew_token";

// How long before its expiry a token is asked for at the earliest; half of its life if that is less.
const MARGIN_MS = 60_000;
// A client that has not answered is asked again when half of the rest is over, while that is so long.
// No client is asked sooner than this after it has brought a token.
const LEAST_WAIT_MS = 100;

/**
 * Closes connections when their token expires, or when they have not logged in in time; asks their
 * clients for a new token before. All times are of the server's clock: that of a client may be wrong.
 */
export class TokenExpiry {
  readonly #loginDeadlineMs: number;
  readonly #handshakes = new WeakMap<Handshake, Identity<object>>();
  readonly #connections = new WeakMap<Connection, Identity<object>>();
  readonly #timers = new ConnectionTimers();
  readonly #renewals = new ConnectionTimers();

  /** @param loginDeadlineMs Milliseconds that a connection without a user has to log in. */
  constructor(loginDeadlineMs: number) {
    this.#loginDeadlineMs = loginDeadlineMs;
  }

  /** Sets the user of a handshake, and notes when the token expires. */
  authenticate(handshake: Handshake, identity: Identity<object>): void {
    handshake.user = identity.user;
    this.#handshakes.set(handshake, identity);
  }

  /** Starts the timers of a connection that has opened. */
  opened(connection: Connection): void {
    const { handshake } = connection;
    const identity = this.#handshakes.get(handshake);
    if (identity === undefined) {
      if (connection.user === null) this.awaitLogin(connection);
      return;
    }
    this.#begin(connection, identity);
    // An event stream could not answer.
    if (handshake.isUpgrade !== true) this.#renewals.clear(connection);
  }

  /** Sets the user of an open connection; the new token's expiry replaces that of the old one. */
  login(connection: Connection, identity: Identity<object>): void {
    if (!connection.isOpen) return;
    this.#begin(connection, identity);
    connection.login(identity.user);
  }

  /**
   * Replaces the token of an open connection by a newer one.
   *
   * @throws {TokenError} If the connection has no token, or one of another subject.
   */
  renew(connection: Connection, identity: Identity<object>): void {
    if (!connection.isOpen) return;
    const before = this.#connections.get(connection);
    if (before === undefined) throw new TokenError("no token to renew, expected a call of login");
    if (before.subject === undefined || before.subject !== identity.subject) {
      throw new TokenError("it has another subject than the token before");
    }
    // The program may have put its own user in place of the token's: that one stays.
    const { user } = connection.user === before.user ? identity : before;
    // Asking anew after each answer would ask a client that keeps its token more and more often.
    const isNewer = identity.renewBy > before.renewBy;
    this.#begin(connection, { ...identity, user }, isNewer);
    if (connection.user === before.user) connection.login(user as object);
  }

  /** Starts the time that a connection without a user has to log in. */
  awaitLogin(connection: Connection): void {
    if (!connection.isOpen) return;
    this.#connections.delete(connection);
    this.#renewals.clear(connection);
    this.#timers.set(connection, Date.now() + this.#loginDeadlineMs, () => {
      if (connection.user === null) connection.close(1008, "Login required");
    });
  }

  /** Whether the token has expired. Asked before each call, since a timer may fire late. */
  isExpired(connection: Connection): boolean {
    const expired = Date.now() >= (this.#connections.get(connection)?.expiresAt ?? Infinity);
    if (expired) this.#expire(connection);
    return expired;
  }

  /** Removes the timers of a connection that has ended. */
  closed(connection: Connection): void {
    this.#timers.clear(connection);
    this.#renewals.clear(connection);
  }

  #begin(connection: Connection, identity: Identity<object>, isNewer = true): void {
    this.#connections.set(connection, identity);
    this.#timers.set(connection, identity.expiresAt, () => this.#expire(connection));
    if (!isNewer) return;
    this.#renewals.clear(connection);
    if (identity.subject === undefined) return;
    const now = Date.now();
    const lifeMs = Math.max(0, identity.renewBy - now);
    // Not all at the same moment: many clients may have connected at the same moment.
    const marginMs = Math.min(lifeMs / 2, MARGIN_MS) * (1 - Math.random() / 4);
    // A token that counts only by the leeway has no life left: the next one may be of that kind, too.
    const leastMs = Math.max(LEAST_WAIT_MS, (identity.expiresAt - now) / 10);
    this.#renewals.set(connection, Math.max(identity.renewBy - marginMs, now + leastMs), () => {
      this.#ask(connection, identity);
    });
  }

  #ask(connection: Connection, identity: Identity<object>): void {
    connection.notify("rpc.login", { method: RENEW });
    const waitMs = (identity.expiresAt - Date.now()) / 2;
    if (waitMs < LEAST_WAIT_MS) return;
    this.#renewals.set(connection, Date.now() + waitMs, () => this.#ask(connection, identity));
  }

  #expire(connection: Connection): void {
    if (!connection.isOpen) return;
    connection.close(4401, "Token expired");
    connection.logout(); // handlers that still run must not act for the user
  }
}
