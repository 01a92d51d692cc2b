/**
 * Users of a file on open connections: the methods that they call, and what a change does to them.
 *
 * @module
 */

import {
  describeError,
  ErrorCode,
  RpcInvalidParamsError,
  RpcServerError,
} from "../../protocol/errors.ts";
import type { PluginMethod } from "../../core/plugin.ts";
import type { RpcRequest } from "../../core/request.ts";
import type { Guard } from "../../core/guard.ts";
import type { Connection, Handshake } from "../../core/connection.ts";
import { loginRequired, permissionRequired } from "../guards.ts";
import type { PermittedUser } from "../guards.ts";
import { sameRights } from "./accounts.ts";
import type { Accounts } from "./accounts.ts";
import { MAX_LENGTH } from "./table.ts";
import type { PasswdRecord } from "./table.ts";
import { samePassword } from "./hash.ts";
import { networkOf } from "./throttle.ts";
import type { Throttle } from "./throttle.ts";

/** Somebody who has logged in with a password. */
export interface PasswdUser {
  /** What they are called. */
  readonly name: string;
  /** What they may do. */
  readonly permissions: ReadonlySet<string>;
  /** Whether they may do everything. */
  readonly superuser: boolean;
}

/** What {@linkcode PasswdMethodSet} is made of. */
export interface PasswdMethodsOptions {
  /** The users. */
  readonly accounts: Accounts;
  /** What slows guessing down. */
  readonly throttle: Throttle;
  /** Tells the address of a peer. */
  readonly addressOf: (handshake: Handshake) => string | undefined;
}

/** Who is logged in where. */
export class PasswdMethodSet {
  readonly #accounts: Accounts;
  readonly #throttle: Throttle;
  readonly #addressOf: PasswdMethodsOptions["addressOf"];
  // What each user on a connection was made of.
  readonly #records = new WeakMap<object, PasswdRecord>();
  readonly #live = new Set<Connection>();

  /** @param parts What it is made of. */
  constructor({ accounts, throttle, addressOf }: PasswdMethodsOptions) {
    this.#accounts = accounts;
    this.#throttle = throttle;
    this.#addressOf = addressOf;
  }

  /** What can be called. */
  methods(): Readonly<Record<string, PluginMethod>> {
    const socketOnly = true;
    return {
      login: {
        handler: (params: unknown, request: RpcRequest) => this.#login(params, request),
        names: ["username", "password"],
        socketOnly,
      },
      logout: {
        handler: (_: unknown, { connection }: RpcRequest) => (connection.logout(), true),
        use: [loginRequired],
        socketOnly,
      },
      create_user: {
        handler: (params: unknown, request: RpcRequest) => this.#create(params, request),
        names: ["username", "password"],
        use: [mayCreate],
        socketOnly,
      },
      delete_user: {
        handler: (params: unknown, request: RpcRequest) => this.#delete(params, request),
        names: ["username"],
        use: [mayDelete],
        socketOnly,
      },
      set_password: {
        handler: (params: unknown, request: RpcRequest) => this.#setPassword(params, request),
        names: ["username", "password", "old_password"],
        use: [loginRequired],
        socketOnly,
      },
    };
  }

  /** Follows a connection while its user is one of these. */
  userChanged(connection: Connection): void {
    if (connection.isOpen && this.#recordOf(connection)) this.#live.add(connection);
    else this.#live.delete(connection);
  }

  /** Forgets a connection. */
  ended(connection: Connection): void {
    this.#live.delete(connection);
  }

  /** Gives each open connection what its user is now. */
  refresh(): void {
    for (const connection of this.#live) {
      try {
        this.#refresh(connection);
      } catch (error) {
        // Another plugin's fault: those that come after must not keep what is taken from them.
        connection.logger.error(`Cannot change the user of a connection: ${describeError(error)}`);
      }
    }
  }

  #refresh(connection: Connection): void {
    const before = this.#recordOf(connection);
    const now = before && this.#current(before);
    if (before === undefined || now === undefined) connection.logout();
    else if (!sameRights(before, now)) connection.login(this.#userOf(now));
  }

  async #login(params: unknown, request: RpcRequest): Promise<boolean> {
    const { connection } = request;
    const name = textOf(params, "username");
    const password = textOf(params, "password");
    const proven = await this.#verifyPassword(name, password, connection);
    // From here to the login nothing is waited for: what was changed meanwhile is seen.
    const record = proven && this.#current(proven);
    if (record === undefined || request.signal.aborted) return false;
    connection.login(this.#userOf(record));
    await this.#accounts.renew(record, password).catch((error) => {
      connection.logger.warn(`Cannot renew the hash of a password: ${describeError(error)}`);
    });
    return true;
  }

  #create(params: unknown, { connection }: RpcRequest): Promise<boolean> {
    const name = textOf(params, "username");
    const password = textOf(params, "password");
    return this.#accounts.create(
      name,
      password,
      {},
      () => requirePermission(mayCreate, connection),
    );
  }

  #delete(params: unknown, { connection }: RpcRequest): Promise<boolean> {
    const permits = (record: PasswdRecord) => requirePermission(mayDelete, connection, record);
    return this.#accounts.delete(textOf(params, "username"), { permits });
  }

  async #setPassword(params: unknown, { connection }: RpcRequest): Promise<boolean> {
    const own = this.#recordOf(connection)?.name;
    const name = optionalText(params, "username") ?? own ?? textOf(params, "username");
    const password = textOf(params, "password");
    if (name === own) return await this.#setOwn(name, password, params, connection);
    const permits = (record?: PasswdRecord) => requirePermission(mayReset, connection, record);
    permits();
    const old = optionalText(params, "old_password") ?? "";
    // Needless here, but whoever says it expects that it is looked at.
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
    const isStill = () => this.#recordOf(connection)?.name === name;
    return await this.#accounts.setPassword(name, password, {
      permits: isStill,
      written: () => {
        const record = this.#accounts.get(name);
        if (record !== undefined && isStill()) connection.login(this.#userOf(record));
      },
    });
  }

  async #verifyPassword(
    name: string,
    password: string,
    { handshake, logger }: Connection,
  ): Promise<PasswdRecord | undefined> {
    // No account has a longer name, and a stranger shall not fill the memory.
    const account = name.slice(0, MAX_LENGTH);
    const address = networkOf(this.#addressOf(handshake));
    const check = () => this.#throttle.check(account, address);
    check();
    const record = await this.#accounts.verifyPassword(name, password, check);
    if (record !== undefined) {
      this.#throttle.succeeded(account, address);
    } else {
      this.#throttle.failed(account, address);
      const whence = address === "" ? "an unknown address" : address;
      logger.info(`Wrong password or user ${JSON.stringify(account)}, from ${whence}`);
    }
    return record;
  }

  /** What a user is now; `undefined` where they are gone, or their password is another. */
  #current(record: PasswdRecord): PasswdRecord | undefined {
    const now = this.#accounts.get(record.name);
    return now && samePassword(now, record) ? now : undefined;
  }

  #userOf(record: PasswdRecord): PasswdUser {
    const { name, permissions, superuser } = record;
    const user = Object.freeze({ name, permissions, superuser });
    this.#records.set(user, record);
    return user;
  }

  #recordOf({ user }: Connection): PasswdRecord | undefined {
    return typeof user === "object" && user !== null ? this.#records.get(user) : undefined;
  }
}

const mayCreate = permissionRequired("create_user");
const mayDelete = permissionRequired("delete_user");
const mayReset = permissionRequired("set_password");

/**
 * Insists that the user of a connection may, now, do something, to a user if one is given.
 *
 * @throws {RpcServerError} `-32003` where not.
 */
function requirePermission(guard: Guard, connection: Connection, record?: PasswdRecord): true {
  const user = connection.user as PermittedUser | null;
  const may = guard.admits({ user, connection, name: "", kind: "method" }) === true;
  if (may && (record?.superuser !== true || user?.superuser === true)) return true;
  throw new RpcServerError(ErrorCode.forbidden, "Permission denied");
}

function textOf(params: unknown, name: string): string {
  const text = optionalText(params, name);
  if (text !== undefined) return text;
  throw new RpcInvalidParamsError({ data: `Expected \`${name}\`` });
}

function optionalText(params: unknown, name: string): string | undefined {
  const given = params !== undefined && Object.hasOwn(params as object, name);
  const value = given ? (params as Record<string, unknown>)[name] ?? undefined : undefined;
  if (value === undefined || typeof value === "string") return value;
  throw new RpcInvalidParamsError({ data: `Expected \`${name}\` to be a text` });
}
