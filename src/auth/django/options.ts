/**
 * The options of the backend for Django, checked once.
 *
 * @module
 */

import { checkMs, checkWhole } from "../../util/check_option.ts";
import type { PasswdOptions } from "../passwd/passwd.ts";
import { Database } from "./database.ts";
import type { Dialect, DjangoTables, Query } from "./database.ts";
import type { DjangoHashers } from "./hashers.ts";
import type { DjangoModel } from "./models.ts";
import type { SessionEngine } from "./sessions.ts";
import type { SecretKey } from "./signing.ts";

/** Options of {@linkcode django}. Most of them repeat a setting of the site. */
export interface DjangoOptions {
  /** The site's `SECRET_KEY`. */
  readonly secretKey: SecretKey;
  /** The site's `SECRET_KEY_FALLBACKS`. @default {none} */
  readonly secretKeyFallbacks?: readonly SecretKey[];
  /**
   * Runs one SQL statement on the site's database. It may be a connection that can only read, unless
   * `models` has actions that write.
   */
  readonly query: Query;
  /** Which SQL the database understands: how placeholders and names are written. @default {"sqlite"} */
  readonly dialect?: Dialect;
  /** The site's `SESSION_COOKIE_NAME`. @default {"sessionid"} */
  readonly sessionCookieName?: string;
  /** Where the site keeps sessions: the last part of `SESSION_ENGINE`. @default {"db"} */
  readonly sessionEngine?: SessionEngine;
  /**
   * The site's `SESSION_COOKIE_AGE`, in milliseconds. Counts for `signed_cookies` alone; the other
   * engines keep the date of expiry in the database.
   *
   * @default {1209600000, two weeks}
   */
  readonly sessionCookieAgeMs?: number;
  /** The site's `TIME_ZONE` if its `USE_TZ` is `False`. @default {"UTC"} */
  readonly timeZone?: string;
  /** The site's `AUTH_USER_MODEL`. @default {"auth.User"} */
  readonly userModel?: string;
  /** The user model's `USERNAME_FIELD`. @default {"username"} */
  readonly usernameField?: string;
  /** Names of tables, if they are not those that Django makes by itself. */
  readonly tables?: DjangoTables;
  /**
   * The site's `AUTHENTICATION_BACKENDS`. A session that another backend has logged in does not count.
   *
   * @default {any backend}
   */
  readonly authenticationBackends?: readonly string[];
  /**
   * Milliseconds until the server loads the user of an open connection again.
   *
   * @default {300000}
   */
  readonly recheckMs?: number;
  /**
   * Whether there are the methods `login` and `logout`, for clients that are no browsers. A login with
   * a password goes around whatever the site asks for beside it, such as a second factor.
   *
   * @default {false}
   */
  readonly login?: boolean | DjangoLoginOptions;
  /** Models whose rows clients may read or write, each with the permission for it. @default {none} */
  readonly models?: readonly DjangoModel[];
  /** How many rows one call of a model's `view` may give. @default {1000} */
  readonly maxRows?: number;
}

/** How passwords are checked, and how guessing is slowed down: as by `passwd`. */
export interface DjangoLoginOptions extends
  Pick<
    PasswdOptions,
    "maxHashes" | "maxWaiting" | "attempts" | "firstWaitMs" | "maxWaitMs" | "addressOf"
  > {
  /** Hashers beside Django's own, by the name of their algorithm. @default {none} */
  readonly hashers?: DjangoHashers;
}

/** The options with their defaults. */
export interface ResolvedOptions {
  readonly keys: readonly SecretKey[];
  readonly database: Database;
  readonly cookieName: string;
  readonly engine: SessionEngine;
  readonly cookieAgeMs: number;
  readonly timeZone: string;
  readonly userModel: string;
  readonly usernameField: string;
  readonly tables: DjangoTables;
  readonly backends: readonly string[] | undefined;
  readonly recheckMs: number;
  readonly login: Required<DjangoLoginOptions> | undefined;
  readonly models: readonly DjangoModel[];
  readonly maxRows: number;
}

/**
 * Checks the options and fills in the defaults.
 *
 * @param options The options.
 * @returns The options, complete.
 * @throws {TypeError} If an option has the wrong type, or the key is empty.
 * @throws {RangeError} If a number is out of bounds, or the time zone is unknown.
 */
export function resolveDjangoOptions(options: DjangoOptions): ResolvedOptions {
  const { query, dialect = "sqlite", sessionEngine = "db", timeZone = "UTC" } = options;
  if (typeof query !== "function") {
    throw new TypeError(`Expected \`query\` to be a function, got a ${typeof query}`);
  }
  checkOneOf("dialect", dialect, ["sqlite", "postgres", "mysql"]);
  checkOneOf("sessionEngine", sessionEngine, ["db", "cached_db", "signed_cookies"]);
  new Intl.DateTimeFormat("en", { timeZone }); // throws a RangeError that names it
  return {
    keys: keysOf(options),
    database: new Database(query, dialect),
    cookieName: options.sessionCookieName ?? "sessionid",
    engine: sessionEngine,
    cookieAgeMs: checkMs("sessionCookieAgeMs", options.sessionCookieAgeMs ?? TWO_WEEKS_MS, 1),
    timeZone,
    userModel: options.userModel ?? "auth.User",
    usernameField: options.usernameField ?? "username",
    tables: { ...options.tables },
    backends: options.authenticationBackends && [...options.authenticationBackends],
    recheckMs: checkMs("recheckMs", options.recheckMs ?? 300_000, 1),
    login: resolveLogin(options.login ?? false),
    models: options.models ?? [],
    maxRows: checkWhole("maxRows", options.maxRows ?? 1000, 1, 1_000_000),
  };
}

const TWO_WEEKS_MS = 14 * 24 * 60 * 60_000;
const MAX = 2 ** 31 - 1;

function keysOf({ secretKey, secretKeyFallbacks = [] }: DjangoOptions): readonly SecretKey[] {
  const keys = [secretKey, ...secretKeyFallbacks];
  for (const key of keys) {
    const isText = typeof key === "string" || key instanceof Uint8Array;
    // An empty key is a missing setting, and everybody could sign with it.
    if (!isText || key.length === 0) {
      throw new TypeError("Expected `secretKey` to be the SECRET_KEY of the site, got nothing");
    }
  }
  return keys;
}

function resolveLogin(
  login: boolean | DjangoLoginOptions,
): Required<DjangoLoginOptions> | undefined {
  if (login === false) return undefined;
  const given = login === true ? {} : login;
  const whole = (name: keyof DjangoLoginOptions, fallback: number) =>
    checkWhole(name, given[name] as number | undefined ?? fallback, 1, MAX);
  return {
    hashers: { ...given.hashers },
    maxHashes: whole("maxHashes", 2),
    maxWaiting: whole("maxWaiting", 64),
    attempts: whole("attempts", 10),
    firstWaitMs: whole("firstWaitMs", 1000),
    maxWaitMs: whole("maxWaitMs", 15 * 60_000),
    addressOf: given.addressOf ?? (({ remoteAddress }) => remoteAddress),
  };
}

function checkOneOf(name: string, value: unknown, allowed: readonly unknown[]): void {
  if (allowed.includes(value)) return;
  throw new TypeError(`Expected \`${name}\` to be one of ${allowed.join(", ")}, got \`${value}\``);
}
