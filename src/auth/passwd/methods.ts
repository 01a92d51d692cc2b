/**
 * The methods that passwd adds, and the connections on which users of the file are logged in.
 *
 * @module
 */

import { ErrorCode } from "../../protocol/error_code.ts";
import { describeError, RpcInvalidParamsError, RpcServerError } from "../../protocol/errors.ts";
import type { PluginMethod } from "../../core/plugin.ts";
import type { RpcRequest } from "../../core/request.ts";
import type { Guard } from "../../core/guard.ts";
import type { Connection, Handshake } from "../../core/connection.ts";
import { loginRequired, permissionRequired } from "../guards.ts";
import type { PermittedUser } from "../guards.ts";
import { sameRights } from "./accounts.ts";
import type { Accounts } from "./accounts.ts";
import type { LoginTokens } from "./login_tokens.ts";
import { MAX_LENGTH, normalName } from "./table.ts";
import type { PasswdRecord } from "./table.ts";
import { samePassword } from "./hash.ts";
import { networkOf } from "../../util/network.ts";
import type { Throttle } from "./throttle.ts";
import { BasicCache, basicChallenge, basicCredentials, basicRefusal } from "./basic.ts";
import type { BasicOptions } from "./basic.ts";
import type { Logger } from "../../util/logger.ts";

/** A user who has logged in with a password. */
export interface PasswdUser {
  /** The user's name. */
  readonly name: string;
  /** The names of the user's permissions. */
  readonly permissions: ReadonlySet<string>;
  /** Whether the user has every permission. */
  readonly superuser: boolean;
}

/** What {@linkcode PasswdLogins} works with. */
export interface PasswdLoginsOptions {
  /** The users. */
  readonly accounts: Accounts;
  /** Slows down clients that guess passwords. */
  readonly throttle: Throttle;
  /** Makes tokens for clients that reconnect; `undefined` for none. */
  readonly tokens?: LoginTokens | undefined;
  /** How HTTP Basic is used; `undefined` if it is not. */
  readonly basic?: Required<BasicOptions> | undefined;
  /** Gives the address of a peer. */
  readonly addressOf: (handshake: Handshake) => string | undefined;
}

/** Logs users in and out, and keeps the users of open connections up to date. */
export class PasswdLogins {
  readonly #accounts: Accounts;
  readonly #throttle: Throttle;
  readonly #tokens: LoginTokens | undefined;
  readonly #addressOf: PasswdLoginsOptions["addressOf"];
  // The user of the file who has logged in on each connection, as of then. By connection and not by
  // user object: a program may put its own object with more members in place of ours.
  readonly #logins = new Map<Connection, PasswdRecord>();
  readonly #basic: Required<BasicOptions> | undefined;
  readonly #basicCache: BasicCache;
  // The users that requests have named by HTTP Basic.
  readonly #handshakes = new WeakMap<Handshake, PasswdRecord>();

  /** @param options The users, the throttle, and how addresses are found. */
  constructor({ accounts, throttle, tokens, basic, addressOf }: PasswdLoginsOptions) {
    this.#basic = basic;
    this.#basicCache = new BasicCache(basic?.cacheMs ?? 0);
    this.#accounts = accounts;
    this.#throttle = throttle;
    this.#tokens = tokens;
    this.#addressOf = addressOf;
  }

  /** Sets the user of a request that names one by HTTP Basic. */
  async authenticate(handshake: Handshake, logger: Logger): Promise<Response | undefined> {
    const { realm = "" } = this.#basic ?? {};
    const given = basicCredentials(handshake);
    // The backend that is mounted first decides.
    if (given === undefined || handshake.user !== null) return undefined;
    if (given === "malformed") return basicChallenge(realm);
    const name = normalName(given.name);
    let record: PasswdRecord | undefined;
    try {
      record = await this.#verifyBasic(name, given.password, { handshake, logger });
    } catch (error) {
      return basicRefusal(error);
    }
    if (record === undefined) return basicChallenge(realm);
    this.#handshakes.set(handshake, record);
    handshake.user = toUser(record);
    return undefined;
  }

  async #verifyBasic(
    name: string,
    password: string,
    peer: PasswdPeer,
  ): Promise<PasswdRecord | undefined> {
    const [account, address] = this.#keysOf(name, peer.handshake);
    // Also for a password that is known: else the right one among many guesses would be told.
    this.#throttle.check(account, address);
    // Another program may have changed the file.
    await this.#accounts.reload();
    const verified = await this.#basicCache.get({
      account,
      address,
      password,
      isCurrent: (record) => this.#current(record) !== undefined,
      check: async () => {
        const record = await this.#verifyPassword(name, password, peer);
        if (record !== undefined) await this.#renew(record, password, peer.logger);
        return record;
      },
    });
    return verified && this.#current(verified);
  }

  /** Keeps the user of a connection up to date that was opened with HTTP Basic. */
  opened(connection: Connection): void {
    const record = this.#handshakes.get(connection.handshake);
    if (record === undefined || this.#recordOf(connection) === undefined) return;
    // From here on the connection has a login of its own, and may have another one later.
    this.#handshakes.delete(connection.handshake);
    this.#logins.set(connection, record);
    this.#refresh(connection);
  }

  /** The methods that clients may call. */
  methods(): Readonly<Record<string, PluginMethod>> {
    const socketOnly = true;
    // With HTTP Basic a single request has a user, too.
    const needsLogin = this.#basic === undefined;
    return {
      login: {
        handler: (params: unknown, request: RpcRequest) => this.#login(params, request),
        names: ["username", "password"],
        socketOnly,
      },
      logout: {
        handler: (_: unknown, { connection }: RpcRequest) => this.#logout(connection),
        use: [loginRequired],
        socketOnly,
      },
      create_user: {
        handler: (params: unknown, request: RpcRequest) => this.#create(params, request),
        names: ["username", "password"],
        use: [canCreate],
        socketOnly: needsLogin,
      },
      delete_user: {
        handler: (params: unknown, request: RpcRequest) => this.#delete(params, request),
        names: ["username"],
        use: [canDelete],
        socketOnly: needsLogin,
      },
      set_password: {
        handler: (params: unknown, request: RpcRequest) => this.#setPassword(params, request),
        names: ["username", "password", "old_password"],
        use: [loginRequired],
        socketOnly: needsLogin,
      },
      ...(this.#tokens === undefined ? {} : this.#tokenMethods(this.#tokens)),
    };
  }

  #tokenMethods(tokens: LoginTokens): Readonly<Record<string, PluginMethod>> {
    return {
      login_token: {
        handler: (_: unknown, { connection }: RpcRequest) => {
          const record = this.#recordOf(connection);
          // The user of another backend has no password here that could end the token.
          return record === undefined ? null : tokens.make(connection, record) ?? null;
        },
        use: [loginRequired],
        socketOnly: true,
      },
      login_with_token: {
        handler: async (params: unknown, { connection, signal }: RpcRequest) => {
          const token = textOf(params, "token");
          await this.#accounts.reload();
          const found = tokens.read(token, (name) => this.#accounts.get(name));
          if (found === undefined || signal.aborted) return false;
          this.#setUser(connection, found.record);
          tokens.resume(connection, found.login);
          this.#keep(connection);
          return true;
        },
        names: ["token"],
        socketOnly: true,
      },
    };
  }

  #logout(connection: Connection): true {
    this.#tokens?.revoke(connection);
    connection.logout();
    return true;
  }

  /** Keeps the connection up to date for as long as its user is one of the file. */
  userChanged(connection: Connection): void {
    if (!connection.isOpen || this.#recordOf(connection) === undefined) this.closed(connection);
  }

  /** Forgets a connection that has ended. */
  closed(connection: Connection): void {
    this.#logins.delete(connection);
    this.#tokens?.drop(connection);
  }

  /** Gives each connection the current rights of its user; logs it out if the user has gone. */
  refresh(): void {
    for (const connection of [...this.#logins.keys()]) {
      try {
        this.#refresh(connection);
      } catch (error) {
        // Another plugin threw. Go on: the other connections must not keep rights that they have lost.
        connection.logger.error(`Cannot change the user of a connection: ${describeError(error)}`);
      }
    }
  }

  #refresh(connection: Connection): void {
    const before = this.#recordOf(connection);
    const now = before && this.#current(before);
    if (before === undefined || now === undefined) connection.logout();
    else if (!sameRights(before, now)) this.#setUser(connection, now);
  }

  async #login(params: unknown, request: RpcRequest): Promise<boolean> {
    const { connection } = request;
    const name = nameIn(params);
    const password = textOf(params, "password");
    const verified = await this.#verifyPassword(name, password, connection);
    // There is no await from here to the login, so that no change of the user can be missed.
    const record = verified && this.#current(verified);
    if (record === undefined || request.signal.aborted) return false;
    this.#tokens?.forget(connection);
    this.#setUser(connection, record);
    await this.#renew(record, password, connection.logger);
    this.#keep(connection);
    return true;
  }

  /** Gives the client a token for its next connection. A new password ends the token of before. */
  #keep(connection: Connection): void {
    this.#tokens?.keep(connection, () => {
      const record = this.#recordOf(connection);
      return record && this.#current(record);
    });
  }

  async #renew(record: PasswdRecord, password: string, logger: Logger): Promise<void> {
    await this.#accounts.renew(record, password).catch((error) => {
      logger.warn(`Cannot renew the hash of a password: ${describeError(error)}`);
    });
  }

  #create(params: unknown, { connection }: RpcRequest): Promise<boolean> {
    const name = nameIn(params);
    const password = textOf(params, "password");
    return this.#accounts.create(
      name,
      password,
      {},
      () => requirePermission(canCreate, connection),
    );
  }

  #delete(params: unknown, { connection }: RpcRequest): Promise<boolean> {
    const permits = (record: PasswdRecord) => requirePermission(canDelete, connection, record);
    return this.#accounts.delete(nameIn(params), { permits });
  }

  async #setPassword(params: unknown, { connection }: RpcRequest): Promise<boolean> {
    const own = this.#recordOf(connection)?.name;
    const given = optionalText(params, "username");
    const name = given === undefined && own !== undefined ? own : nameIn(params);
    const password = textOf(params, "password");
    if (name === own) return await this.#setOwn(name, password, params, connection);
    const permits = (record?: PasswdRecord) => requirePermission(canReset, connection, record);
    permits();
    const old = optionalText(params, "old_password") ?? "";
    // The permission is enough, but a caller who sends the old password expects that it is checked.
    if (old !== "" && await this.#verifyPassword(name, old, connection) === undefined) return false;
    return await this.#accounts.setPassword(name, password, { permits });
  }

  async #setOwn(
    name: string,
    password: string,
    params: unknown,
    connection: Connection,
  ): Promise<boolean> {
    const old = textOf(params, "old_password");
    if (await this.#verifyPassword(name, old, connection) === undefined) return false;
    const isStillLoggedIn = () => this.#recordOf(connection)?.name === name;
    return await this.#accounts.setPassword(name, password, {
      permits: isStillLoggedIn,
      written: () => {
        const record = this.#accounts.get(name);
        // A request with HTTP Basic has no next connection, and ends with its answer.
        if (record === undefined || !isStillLoggedIn() || !this.#logins.has(connection)) return;
        this.#setUser(connection, record);
        this.#keep(connection);
      },
    });
  }

  async #verifyPassword(
    name: string,
    password: string,
    { handshake, logger }: PasswdPeer,
  ): Promise<PasswdRecord | undefined> {
    const [account, address] = this.#keysOf(name, handshake);
    const check = () => {
      this.#throttle.check(account, address);
      return () => this.#throttle.failed(account, address, this.#accounts.get(name) !== undefined);
    };
    check();
    const record = await this.#accounts.verifyPassword(name, password, check);
    if (record !== undefined) {
      this.#throttle.succeeded(account, address);
    } else {
      const from = address === "" ? "an unknown address" : address;
      logger.info(`Login failed: wrong password or user ${JSON.stringify(account)}, from ${from}`);
    }
    return record;
  }

  /** What the throttle counts by. */
  #keysOf(name: string, handshake: Handshake): [account: string, address: string] {
    // Cut off: no account has a longer name, and strangers must not fill the memory with names.
    return [name.slice(0, MAX_LENGTH), networkOf(this.#addressOf(handshake))];
  }

  /** The user as of now; `undefined` if the user was deleted, or the password has changed. */
  #current(record: PasswdRecord): PasswdRecord | undefined {
    const now = this.#accounts.get(record.name);
    return now && samePassword(now, record) ? now : undefined;
  }

  #setUser(connection: Connection, record: PasswdRecord): void {
    if (connection.isOpen) this.#logins.set(connection, record);
    connection.login(toUser(record));
  }

  /** The user of the file who has logged in, unless the connection has somebody else as its user. */
  #recordOf(connection: Connection): PasswdRecord | undefined {
    const record = this.#logins.get(connection) ?? this.#handshakes.get(connection.handshake);
    const user = connection.user as { name?: unknown } | null;
    return record !== undefined && user?.name === record.name ? record : undefined;
  }
}

function toUser({ name, permissions, superuser }: PasswdRecord): PasswdUser {
  return Object.freeze({ name, permissions, superuser });
}

/** Who sends a password: a connection, or a request that is about to open one. */
type PasswdPeer = Pick<Connection, "handshake" | "logger">;

const canCreate = permissionRequired("create_user");
const canDelete = permissionRequired("delete_user");
const canReset = permissionRequired("set_password");

/**
 * Checks that the user of a connection has a permission at this moment.
 *
 * @param guard The guard of the permission.
 * @param connection The connection.
 * @param record The user who is to be changed, if there is one: only superusers change superusers.
 * @returns `true`.
 * @throws {RpcServerError} If the user lacks the permission: -32003.
 */
function requirePermission(guard: Guard, connection: Connection, record?: PasswdRecord): true {
  const user = connection.user as PermittedUser | null;
  const isPermitted = guard.admits({ user, connection, name: "", kind: "method" }) === true;
  if (isPermitted && (record?.superuser !== true || user?.superuser === true)) return true;
  throw new RpcServerError(ErrorCode.forbidden, "Permission denied");
}

/** The name of a user, as the file has it. */
function nameIn(params: unknown): string {
  return normalName(textOf(params, "username"));
}

function textOf(params: unknown, name: string): string {
  const text = optionalText(params, name);
  if (text !== undefined) return text;
  throw new RpcInvalidParamsError({ data: `Expected \`${name}\`` });
}

function optionalText(params: unknown, name: string): string | undefined {
  const given = params !== undefined && Object.hasOwn(params as object, name);
  const value = given ? (params as Record<string, unknown>)[name] ?? undefined : undefined;
  if (value === undefined || typeof value === "string") return value as string | undefined;
  throw new RpcInvalidParamsError({ data: `Expected \`${name}\` to be a string` });
}
