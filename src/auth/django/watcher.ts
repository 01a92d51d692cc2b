/**
 * Keeps the users of open connections up to date: loads them again after a while, and at once when
 * Django says that something has changed.
 *
 * @module
 */

import type { Connection } from "../../core/connection.ts";
import { describeError } from "../../protocol/errors.ts";
import { Semaphore } from "../../util/semaphore.ts";
import { ConnectionTimers } from "../connection_timers.ts";
import type { DjangoUser } from "./users.ts";

/** The user of a connection, and how to find out whether that still holds. */
export interface Login {
  /** The user. */
  readonly user: DjangoUser;
  /** The cookie of the Django session; `undefined` if the user has logged in over this connection. */
  readonly cookie: string | undefined;
  /** When the session expires, in milliseconds of the epoch. */
  readonly expiresAt: number;
  /** Loads the user again. Gives `undefined` if the login no longer counts. */
  readonly reload: () => Promise<Login | undefined>;
}

/** The connections whose users come from Django. */
export class LoginWatcher {
  readonly #recheckMs: number;
  readonly #logins = new Map<Connection, Login>();
  readonly #timers = new ConnectionTimers();
  // Counts the checks of each connection: the result of an older check must not replace a newer one.
  readonly #checks = new WeakMap<Connection, number>();
  #changes = 0;
  // A change of a group concerns everybody. The database must not get all queries at once.
  readonly #queue = new Semaphore({ concurrency: 4, maxWaiting: Infinity });

  /** @param recheckMs Milliseconds until a user is loaded again. */
  constructor(recheckMs: number) {
    this.#recheckMs = recheckMs;
  }

  /** How many changes Django has announced. Read it before loading a user, for {@linkcode opened}. */
  get changes(): number {
    return this.#changes;
  }

  /**
   * Starts to watch a connection that has just opened.
   *
   * @param connection The connection.
   * @param login Its user.
   * @param changes The number of changes before the user was loaded. If there was one since, it may
   * concern this connection, and the user is loaded again.
   */
  opened(connection: Connection, login: Login, changes: number): void {
    this.watch(connection, login);
    if (changes !== this.#changes) void this.#recheck(connection);
  }

  /** Starts to watch a connection that has this login as its user. */
  watch(connection: Connection, login: Login): void {
    this.#logins.set(connection, login);
    const at = Math.min(Date.now() + this.#recheckMs, login.expiresAt);
    this.#timers.set(connection, at, () => void this.#recheck(connection));
  }

  /** Stops watching a connection that has ended. */
  forget(connection: Connection): void {
    this.#logins.delete(connection);
    this.#timers.clear(connection);
  }

  /** Stops watching a connection whose user is no longer the one that was watched. */
  userChanged(connection: Connection): void {
    if (connection.user !== this.#logins.get(connection)?.user) this.forget(connection);
  }

  /**
   * Loads the users of some connections again, now.
   *
   * @param concerns Whether a login may have changed.
   * @returns Resolves to the number of connections when all of them are up to date.
   */
  async recheck(concerns: (login: Login) => boolean): Promise<number> {
    this.#changes++;
    const concerned = this.#concerned(concerns);
    await Promise.all(concerned.map((connection) => this.#recheck(connection)));
    return concerned.length;
  }

  /**
   * Ends some connections, now.
   *
   * @param concerns Whether a login has ended.
   * @returns The number of connections.
   */
  end(concerns: (login: Login) => boolean): number {
    const concerned = this.#concerned(concerns);
    for (const connection of concerned) end(connection, 4401, "Session expired");
    return concerned.length;
  }

  #concerned(concerns: (login: Login) => boolean): Connection[] {
    return [...this.#logins].filter(([, login]) => concerns(login)).map(([connection]) =>
      connection
    );
  }

  async #recheck(connection: Connection): Promise<void> {
    const before = this.#logins.get(connection);
    if (before === undefined) return;
    const check = (this.#checks.get(connection) ?? 0) + 1;
    this.#checks.set(connection, check);
    // Whether another login, a logout, a later check or the end of the connection came first.
    const isOver = () =>
      this.#logins.get(connection)?.user !== before.user || this.#checks.get(connection) !== check;
    try {
      const login = await this.#queue.run(before.reload);
      if (isOver()) return;
      if (login === undefined) return end(connection, 4401, "Session expired");
      this.#update(connection, before, login);
    } catch (error) {
      connection.logger.error(`Cannot check a Django session again: ${describeError(error)}`);
      if (!isOver()) end(connection, 1011, "The session could not be checked");
    }
  }

  #update(connection: Connection, before: Login, now: Login): void {
    // The same object if nothing has changed: handlers and other plugins are not disturbed.
    const login = isSame(before.user, now.user) ? { ...now, user: before.user } : now;
    this.watch(connection, login);
    if (login.user !== connection.user) connection.login(login.user);
  }
}

function isSame(a: DjangoUser, b: DjangoUser): boolean {
  return a.id === b.id && a.name === b.name && a.email === b.email && a.isStaff === b.isStaff &&
    a.superuser === b.superuser && a.permissions.size === b.permissions.size &&
    [...a.permissions].every((permission) => b.permissions.has(permission));
}

function end(connection: Connection, code: number, reason: string): void {
  connection.close(code, reason);
  connection.logout(); // handlers that still run must not act for the user
}
