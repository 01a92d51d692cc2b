/**
 * Tokens with which a client logs in again after a reconnect, without keeping the password.
 *
 * @module
 */

import { Buffer } from "node:buffer";
import { createHmac, timingSafeEqual } from "node:crypto";
import type { Connection } from "../../core/connection.ts";
import { ConnectionTimers } from "../connection_timers.ts";
import type { PasswdRecord } from "./table.ts";

/** How tokens are made. */
export interface LoginTokenOptions {
  /** A secret of at least 32 bytes. Servers that share it accept each other's tokens. */
  readonly secret: string | Uint8Array;
  /** Milliseconds for which a token counts. @default {86400000, a day} */
  readonly maxAgeMs?: number;
}

/** Makes and checks tokens. */
export class LoginTokens {
  readonly #secret: string | Uint8Array;
  readonly #maxAgeMs: number;
  // The login that each connection belongs to: a logout ends all tokens of it.
  readonly #logins = new WeakMap<Connection, string>();
  readonly #revoked = new Map<string, number>();
  // The connections whose clients keep a token, with the timer for the next one.
  readonly #kept = new WeakSet<Connection>();
  readonly #timers = new ConnectionTimers();

  /** @param options The secret and the age, checked. */
  constructor({ secret, maxAgeMs }: Required<LoginTokenOptions>) {
    this.#secret = secret;
    this.#maxAgeMs = maxAgeMs;
  }

  /**
   * Makes a token for the user of a connection.
   *
   * @param connection The connection.
   * @param record Its user.
   * @returns The token; `undefined` if another connection with the same login has logged out.
   */
  make(connection: Connection, record: PasswdRecord): string | undefined {
    const login = this.#logins.get(connection) ?? crypto.randomUUID();
    this.#logins.set(connection, login);
    const expiresAt = Date.now() + this.#maxAgeMs;
    if (this.#revoked.has(login)) {
      // Remembered for longer: this connection may ask again when all tokens of before have expired.
      this.#revoked.set(login, expiresAt);
      return undefined;
    }
    const claims = [record.name, expiresAt, login];
    const payload = Buffer.from(JSON.stringify(claims)).toString("base64url");
    return `${payload}.${this.#sign(payload, record).toString("base64url")}`;
  }

  /**
   * Gives the client of a connection a token to log in with on its next connection, and another one each
   * time that half of its life is over.
   *
   * @param connection The connection.
   * @param current Gives its user as of now.
   */
  keep(connection: Connection, current: () => PasswdRecord | undefined): void {
    const record = current();
    const token = record && this.make(connection, record);
    if (token === undefined) return this.drop(connection);
    this.#kept.add(connection);
    connection.notify("rpc.login", { method: "login_with_token", params: { token } });
    const at = Date.now() + this.#maxAgeMs / 2;
    this.#timers.set(connection, at, () => this.keep(connection, current));
  }

  /** Makes the client of a connection forget its token: the user has logged out, or the connection ended. */
  drop(connection: Connection): void {
    this.#timers.clear(connection);
    if (this.#kept.delete(connection)) connection.notify("rpc.login", {});
  }

  /**
   * Checks a token.
   *
   * @param token The token.
   * @param find Finds a user by name.
   * @returns The user and the login that it belongs to; `undefined` if the token was changed, has
   * expired or was revoked, or if the user is gone or has another password.
   */
  read(
    token: string,
    find: (name: string) => PasswdRecord | undefined,
  ): { record: PasswdRecord; login: string } | undefined {
    const [payload = "", signature = ""] = token.length > MAX_LENGTH ? [] : token.split(".");
    const [name, expiresAt, login] = claimsOf(payload);
    const record = name === undefined ? undefined : find(name);
    if (record === undefined || expiresAt === undefined || login === undefined) return undefined;
    const [given, right] = [Buffer.from(signature, "base64url"), this.#sign(payload, record)];
    if (given.length !== right.length || !timingSafeEqual(given, right)) return undefined;
    if (!(Date.now() < expiresAt) || this.#revoked.has(login)) return undefined;
    return { record, login };
  }

  /** Notes that a connection goes on with a login. */
  resume(connection: Connection, login: string): void {
    this.#logins.set(connection, login);
  }

  /** Notes that a connection has logged in anew: the tokens of the login before are not its own. */
  forget(connection: Connection): void {
    this.#logins.delete(connection);
  }

  /** Ends all tokens of the login that a connection belongs to. */
  revoke(connection: Connection): void {
    const login = this.#logins.get(connection);
    if (login === undefined) return;
    const now = Date.now();
    for (const [each, until] of this.#revoked) if (until <= now) this.#revoked.delete(each);
    this.#revoked.set(login, now + this.#maxAgeMs);
    this.#logins.delete(connection);
  }

  /** The salt is signed along: a new password has a new one, and so ends all tokens. */
  #sign(payload: string, { salt }: PasswdRecord): Buffer {
    return createHmac("sha256", this.#secret).update(`${payload}.`).update(salt).digest();
  }
}

const MAX_LENGTH = 4096;

function claimsOf(payload: string): [name: string, expiresAt: number, login: string] | [] {
  try {
    const claims = JSON.parse(Buffer.from(payload, "base64url").toString());
    const [name, expiresAt, login] = Array.isArray(claims) ? claims : [];
    const fits = typeof name === "string" && typeof expiresAt === "number" &&
      typeof login === "string";
    return fits ? [name, expiresAt, login] : [];
  } catch {
    return [];
  }
}
