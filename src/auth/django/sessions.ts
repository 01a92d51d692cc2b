/**
 * Django's sessions: from the cookie of a peer to the user whom the session names.
 *
 * @module
 */

import { identifier } from "./database.ts";
import type { Database } from "./database.ts";
import { readSigned } from "./signing.ts";
import type { SecretKey } from "./signing.ts";

/**
 * Where Django keeps sessions: the last part of its setting `SESSION_ENGINE`. Of `cached_db` the
 * database is read, and not the cache.
 */
export type SessionEngine = "db" | "cached_db" | "signed_cookies";

/** What is known of a logged-in session. */
export interface DjangoSession {
  /** The primary key of the user, as Django writes it. */
  readonly userId: string;
  /** The session auth hash. */
  readonly hash: string;
  /** The authentication backend that logged the user in. */
  readonly backend: string;
  /** When the session expires, in milliseconds of the epoch. */
  readonly expiresAt: number;
}

/** How sessions are found. */
export interface SessionsOptions {
  /** The site's database. */
  readonly database: Database;
  /** `SECRET_KEY` and its fallbacks. */
  readonly keys: readonly SecretKey[];
  /** Where Django keeps sessions. */
  readonly engine: SessionEngine;
  /** The table of sessions. */
  readonly table: string;
  /** `SESSION_COOKIE_AGE`, in milliseconds. */
  readonly cookieAgeMs: number;
  /** The time zone of the dates in the table. */
  readonly timeZone: string;
}

/** Reads sessions. It never changes one. */
export class DjangoSessions {
  readonly #options: SessionsOptions;
  readonly #sql: string;
  #hasUnreadable = false;

  /** @param options How sessions are found. */
  constructor(options: SessionsOptions) {
    this.#options = options;
    const table = identifier(options.table);
    this.#sql = `SELECT "session_data", "expire_date" FROM ${table} WHERE "session_key" = ?`;
  }

  /** Whether the database held a session with a bad signature. */
  get hasUnreadable(): boolean {
    return this.#hasUnreadable;
  }

  /**
   * Finds the session of a cookie.
   *
   * @param cookie The value of the session cookie.
   * @returns The session, or `undefined` if there is none, it has expired, was tampered with, or nobody
   * is logged in. Rejects if the database fails.
   */
  async find(cookie: string): Promise<DjangoSession | undefined> {
    return this.#options.engine === "signed_cookies"
      ? this.#findInCookie(cookie)
      : await this.#findInDatabase(cookie);
  }

  #findInCookie(cookie: string): DjangoSession | undefined {
    const { keys, cookieAgeMs: maxAgeMs } = this.#options;
    const salt = "django.contrib.sessions.backends.signed_cookies";
    const data = readSigned(cookie, { keys, salt, maxAgeMs });
    return toSession(data, Date.now() + maxAgeMs);
  }

  async #findInDatabase(key: string): Promise<DjangoSession | undefined> {
    // Django's keys have 32 of these characters. Other texts cost no query.
    if (!/^[A-Za-z0-9_-]{8,40}$/.test(key)) return undefined;
    const { database, keys, timeZone } = this.#options;
    const [row] = await database.run(this.#sql, [key]);
    if (row === undefined) return undefined;
    const expiresAt = toMilliseconds(row["expire_date"], timeZone);
    if (!(expiresAt > Date.now())) return undefined;
    const salt = "django.contrib.sessions.SessionStore";
    const data = readSigned(String(row["session_data"]), { keys, salt });
    if (data === undefined) this.#hasUnreadable = true;
    return toSession(data, expiresAt);
  }
}

/**
 * Reads a date of the database.
 *
 * @param value What the driver gives: a `Date`, or text as in `2026-11-28 15:40:00.123`.
 * @param timeZone The time zone of a text that names none, as in `Europe/Berlin`.
 * @returns Milliseconds of the epoch; `NaN` if it is not a date.
 */
export function toMilliseconds(value: unknown, timeZone: string): number {
  if (value instanceof Date) return value.getTime();
  const text = String(value).trim().replace(" ", "T");
  if (/(?:Z|[+-]\d\d(?::?\d\d)?)$/i.test(text.slice(10))) {
    return Date.parse(text.replace(/([+-]\d\d)$/, "$1:00"));
  }
  const asUtc = Date.parse(`${text.replace(/(\.\d{3})\d+$/, "$1")}Z`);
  return asUtc - offsetMs(asUtc, timeZone);
}

/** How far a time zone is ahead of UTC, at a time that is given as local time there. */
function offsetMs(local: number, timeZone: string): number {
  if (timeZone === "UTC" || Number.isNaN(local)) return 0;
  const at = (time: number) =>
    Date.parse(`${new Date(time).toLocaleString("sv-SE", { timeZone }).replace(" ", "T")}Z`) -
    Math.floor(time / 1000) * 1000;
  // Twice: the first guess may stand on the other side of a change of clocks.
  return at(local - at(local));
}

function toSession(data: unknown, expiresAt: number): DjangoSession | undefined {
  if (typeof data !== "object" || data === null) return undefined;
  const { _auth_user_id: userId, _auth_user_hash: hash, _auth_user_backend: backend } =
    data as Record<string, unknown>;
  if (typeof userId !== "string" || typeof hash !== "string" || typeof backend !== "string") {
    return undefined;
  }
  return { userId, hash, backend, expiresAt };
}
