/**
 * Users of a Django site: a server beside the site knows who is logged in there. The successor of
 * aiohttp-json-rpc's `DjangoAuthBackend`.
 *
 * A browser that has logged in at the site sends the site's session cookie with each WebSocket, event
 * stream and POST of the same host. This backend checks the session as Django 3.1 and newer do, and
 * reads the user and the permissions from the site's database. It never writes to the tables of
 * sessions and users, and needs no Python.
 *
 * Changes on the side of Django reach open connections: every `recheckMs`, and at once if Django
 * announces them, see `docs/django.md`. A user who has logged out, was deactivated or has a new
 * password is gone, and the server closes the connection with 4401. A permission that was taken away
 * ends the subscriptions that need it.
 *
 * @module
 */

import type { Connection, Handshake } from "../../core/connection.ts";
import type { Plugin } from "../../core/plugin.ts";
import { cookie } from "../cookie.ts";
import { Throttle } from "../passwd/throttle.ts";
import { documented } from "../method_documents.ts";
import { Changes } from "./changes.ts";
import { DjangoLogins } from "./logins.ts";
import { modelMethods } from "./models.ts";
import { resolveDjangoOptions } from "./options.ts";
import type { DjangoLoginOptions, DjangoOptions, ResolvedOptions } from "./options.ts";
import { isSessionHashValid } from "./session_hash.ts";
import { DjangoSessions } from "./sessions.ts";
import { DjangoUsers } from "./users.ts";
import type { DjangoUser } from "./users.ts";
import { LoginWatcher } from "./watcher.ts";
import type { Login } from "./watcher.ts";

export type { Dialect, DjangoTables, Query } from "./database.ts";
export type { DjangoHasher, DjangoHashers } from "./hashers.ts";
export type { DjangoAction, DjangoModel } from "./models.ts";
export type { DjangoLoginOptions, DjangoOptions } from "./options.ts";
export type { SessionEngine } from "./sessions.ts";
export type { SecretKey } from "./signing.ts";
export type { DjangoUser } from "./users.ts";

/** The methods that clients may call if the option `login` is set. */
export interface DjangoMethods {
  /** Sets the user of the connection. Answers whether the password is right. */
  readonly login: (
    params: { username: string; password: string } | [username: string, password: string],
  ) => boolean;
  /** Removes the user of the connection. The session at the site goes on. Answers `true`. */
  readonly logout: (params?: unknown) => boolean;
}

/**
 * A backend for the users of a Django site.
 *
 * @param options The key of the site, access to its database, and settings that differ.
 * @returns The backend, to be passed to `rpc.use()`: from then on `request.user` is a
 * {@linkcode DjangoUser}, or `null` for visitors who are not logged in.
 * @throws {TypeError} If an option has the wrong type, or a name is not the plain name of a table.
 * @throws {RangeError} If a number is out of bounds.
 *
 * @example The example of aiohttp-json-rpc's documentation
 * ```ts
 * import { JsonRpc, loginRequired, permissionRequired, userPassesTest } from "@x/jsonrpc";
 * import { django } from "@x/jsonrpc/django";
 * import type { DjangoUser } from "@x/jsonrpc/django";
 * import { DatabaseSync } from "node:sqlite";
 *
 * const db = new DatabaseSync(":memory:"); // in a program: the path of the site's database
 * const query = (sql: string, params: readonly (string | number | boolean | null)[]) =>
 *   db.prepare(sql).all(...params as (string | number | null)[]);
 * const superuser = userPassesTest((user: DjangoUser) => user.superuser);
 *
 * const rpc = new JsonRpc()
 *   .use(django({ secretKey: "the SECRET_KEY of the site", query }))
 *   .method("ping", { use: [loginRequired, permissionRequired("app.ping"), superuser] }, () => "pong")
 *   .topic("foo", { guards: [loginRequired, permissionRequired("app.foo")] });
 * ```
 */
export function django(
  options: DjangoOptions & { readonly login: true | DjangoLoginOptions },
): Plugin<DjangoUser | null, DjangoMethods>;
export function django(options: DjangoOptions): Plugin<DjangoUser | null>;
export function django(options: DjangoOptions): Plugin<DjangoUser | null> {
  const resolved = resolveDjangoOptions(options);
  const { keys, database, recheckMs, login, models, maxRows } = resolved;
  const users = new DjangoUsers(resolved);
  const watcher = new LoginWatcher(recheckMs);
  const changes = new Changes(keys, watcher);
  const sessions = new SessionLogins(resolved, users, changes);
  const loaded = new WeakMap<Handshake, { login: Login; changes: number }>();
  const logins = login &&
    new DjangoLogins({ ...login, users, watcher, throttle: new Throttle(login) });

  async function handshake(handshake: Handshake): Promise<void> {
    if (handshake.user !== null) return;
    const before = watcher.changes;
    const login = await sessions.find(handshake);
    if (login === undefined) return;
    handshake.user = login.user;
    loaded.set(handshake, { login, changes: before });
  }

  return {
    name: "django",
    handshake,
    methods: {
      django_changed: changes.method(),
      ...documented(logins?.methods() ?? {}),
      ...modelMethods(models, database, maxRows),
    },
    onOpen(connection: Connection) {
      if (sessions.hasNewProblem()) connection.logger.warn(BAD_SIGNATURE);
      const found = loaded.get(connection.handshake);
      if (found === undefined || found.login.user !== connection.user) return;
      watcher.opened(connection, found.login, found.changes);
    },
    onClose: (connection) => watcher.forget(connection),
    onUserChange: (connection) => watcher.userChanged(connection),
  };
}

const BAD_SIGNATURE =
  "A Django session has a bad signature: is `secretKey` the SECRET_KEY of the site?";

/** From the session cookie of a peer to the user who is logged in at the site. */
class SessionLogins {
  readonly #options: ResolvedOptions;
  readonly #sessions: DjangoSessions;
  readonly #users: DjangoUsers;
  readonly #changes: Changes;
  #warned = false;

  constructor(options: ResolvedOptions, users: DjangoUsers, changes: Changes) {
    const { tables } = options;
    this.#options = options;
    this.#sessions = new DjangoSessions({ ...options, table: tables.session ?? "django_session" });
    this.#users = users;
    this.#changes = changes;
  }

  /** Whether a session was unreadable. `true` once: each further line in the log would say the same. */
  hasNewProblem(): boolean {
    const isNew = this.#sessions.hasUnreadable && !this.#warned;
    this.#warned ||= isNew;
    return isNew;
  }

  async find(handshake: Handshake): Promise<Login | undefined> {
    const value = cookie(handshake, this.#options.cookieName);
    return value === undefined ? undefined : await this.#load(value);
  }

  async #load(cookie: string): Promise<Login | undefined> {
    const { keys, backends } = this.#options;
    const session = await this.#sessions.find(cookie);
    if (session === undefined) return undefined;
    if (backends !== undefined && !backends.includes(session.backend)) return undefined;
    const account = await this.#users.find(session.userId);
    if (account === undefined || !isSessionHashValid(session.hash, account.password, keys)) {
      return undefined;
    }
    // Last: Django may have ended the session while it was loaded.
    if (this.#changes.hasEnded(cookie)) return undefined;
    const { expiresAt } = session;
    return { user: account.user, cookie, expiresAt, reload: () => this.#load(cookie) };
  }
}
