/**
 * Logging in with the password of a Django account, over an open connection.
 *
 * @module
 */

import type { Connection, Handshake } from "../../core/connection.ts";
import type { PluginMethod } from "../../core/plugin.ts";
import type { RpcRequest } from "../../core/request.ts";
import { ErrorCode } from "../../protocol/error_code.ts";
import { describeError, RpcInvalidParamsError, RpcServerError } from "../../protocol/errors.ts";
import { Semaphore } from "../../util/semaphore.ts";
import { loginRequired } from "../guards.ts";
import { networkOf } from "../../util/network.ts";
import type { Throttle } from "../passwd/throttle.ts";
import { DEFAULT_SAMPLE, HasherError, spendTime, verifyPassword } from "./hashers.ts";
import type { DjangoHashers } from "./hashers.ts";
import type { DjangoAccount, DjangoUsers } from "./users.ts";
import type { Login, LoginWatcher } from "./watcher.ts";

/** What logging in needs. */
export interface DjangoLoginsOptions {
  /** The users. */
  readonly users: DjangoUsers;
  /** Watches the connections that have logged in. */
  readonly watcher: LoginWatcher;
  /** Slows down clients that guess passwords. */
  readonly throttle: Throttle;
  /** Gives the address of a peer. */
  readonly addressOf: (handshake: Handshake) => string | undefined;
  /** Hashers beside Django's own. */
  readonly hashers: DjangoHashers;
  /** How many passwords are hashed at the same time. */
  readonly maxHashes: number;
  /** How many passwords may wait to be hashed. */
  readonly maxWaiting: number;
}

/** The methods `login` and `logout`. */
export class DjangoLogins {
  readonly #options: DjangoLoginsOptions;
  readonly #semaphore: Semaphore;
  #sample: Promise<string> | undefined;

  /** @param options The users, the throttle and the hashers. */
  constructor(options: DjangoLoginsOptions) {
    const { maxHashes: concurrency, maxWaiting } = options;
    this.#options = options;
    const message = `Server busy: ${maxWaiting} passwords wait to be checked`;
    const full = () => new RpcServerError(ErrorCode.serverBusy, message);
    this.#semaphore = new Semaphore({ concurrency, maxWaiting, full });
  }

  /** The methods that clients may call. */
  methods(): Readonly<Record<string, PluginMethod>> {
    return {
      login: {
        handler: (params: unknown, request: RpcRequest) => this.#login(params, request),
        names: ["username", "password"],
        socketOnly: true,
      },
      logout: {
        handler: (_params: unknown, { connection }: RpcRequest) => (connection.logout(), true),
        use: [loginRequired],
        socketOnly: true,
      },
    };
  }

  async #login(params: unknown, { connection, signal }: RpcRequest): Promise<boolean> {
    // As Django's login form does: names that look alike are one name.
    const name = textOf(params, "username").normalize("NFKC");
    const password = textOf(params, "password");
    const account = await this.#authenticate(name, password, connection);
    if (account === undefined || signal.aborted || !connection.isOpen) return false;
    const login = this.#toLogin(account);
    this.#options.watcher.watch(connection, login);
    connection.login(login.user);
    return true;
  }

  /** The user of a connection without a Django session: it lasts as long as the password does. */
  #toLogin({ user, password }: DjangoAccount): Login {
    const reload = async (): Promise<Login | undefined> => {
      const account = await this.#options.users.find(user.id);
      return account?.password === password ? this.#toLogin(account) : undefined;
    };
    return { user, cookie: undefined, expiresAt: Infinity, reload };
  }

  async #authenticate(
    name: string,
    password: string,
    { handshake, logger }: Connection,
  ): Promise<DjangoAccount | undefined> {
    const { throttle, users, addressOf } = this.#options;
    // Cut off: strangers must not fill the memory with long names.
    const shown = name.slice(0, 255);
    // MySQL takes "Ada" and "ada" for one account: each spelling must not have attempts of its own.
    const key = shown.toLowerCase();
    const address = networkOf(addressOf(handshake));
    throttle.check(key, address);
    const account = await this.#semaphore.run(async () => {
      throttle.check(key, address); // others may have failed while this one waited
      const found = await users.findByName(name);
      if (await this.#verify(password, found, logger)) return found;
      // Before the next attempt gets this place, so that it is refused if this was one too many.
      throttle.failed(key, address, found !== undefined);
      return undefined;
    });
    if (account !== undefined) {
      throttle.succeeded(key, address);
    } else {
      const from = address === "" ? "an unknown address" : address;
      logger.info(`Login failed: wrong password or user ${JSON.stringify(shown)}, from ${from}`);
    }
    return account;
  }

  async #verify(
    password: string,
    account: DjangoAccount | undefined,
    logger: Connection["logger"],
  ): Promise<boolean> {
    const { hashers } = this.#options;
    const sample = await this.#sampleOf(logger);
    let encoded = account?.password;
    try {
      if (encoded !== undefined && await verifyPassword(password, encoded, hashers)) return true;
      if (encoded?.startsWith("!")) encoded = undefined; // nothing was hashed
    } catch (error) {
      if (!(error instanceof HasherError)) throw error;
      logger.error(`Cannot check a password of user ${account?.user.id}: ${error.message}`);
      encoded = undefined;
    }
    await spendTime(password, encoded, sample, hashers);
    return false;
  }

  /** A typical password of the site, read once: what checking the password of no user must cost. */
  #sampleOf(logger: Connection["logger"]): Promise<string> {
    return this.#sample ??= this.#readSample(logger).catch((error) => {
      this.#sample = undefined;
      throw error;
    });
  }

  async #readSample(logger: Connection["logger"]): Promise<string> {
    const sample = await this.#options.users.samplePassword() ?? DEFAULT_SAMPLE;
    try {
      await verifyPassword("", sample, this.#options.hashers);
      return sample;
    } catch (error) {
      logger.warn(`Password timing is not evened out: ${describeError(error)}`);
      return DEFAULT_SAMPLE;
    }
  }
}

function textOf(params: unknown, name: string): string {
  const given = params !== undefined && Object.hasOwn(params as object, name);
  const value = given ? (params as Record<string, unknown>)[name] : undefined;
  if (typeof value === "string") return value;
  throw new RpcInvalidParamsError({ data: `Expected \`${name}\` to be a string` });
}
