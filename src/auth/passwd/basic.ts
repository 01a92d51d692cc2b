/**
 * HTTP Basic: a name and a password in the header of each request.
 *
 * @see {@link https://www.rfc-editor.org/rfc/rfc7617 | RFC 7617}
 *
 * @module
 */

import { Buffer } from "node:buffer";
import { createHmac, randomBytes, timingSafeEqual } from "node:crypto";
import type { Handshake } from "../../core/connection.ts";
import { ErrorCode } from "../../protocol/error_code.ts";
import { RpcError } from "../../protocol/errors.ts";
import type { PasswdRecord } from "./table.ts";

/** How HTTP Basic is used. */
export interface BasicOptions {
  /** What browsers show beside the question for the password. @default {"JSON-RPC"} */
  readonly realm?: string;
  /**
   * Milliseconds for which a right password need not be hashed again, for the same account from the same
   * address. The server keeps an HMAC of it in memory, under a key that no one else has. 0: every
   * request hashes the password, which takes a tenth of a second and more.
   *
   * @default {60000}
   */
  readonly cacheMs?: number;
}

/** A name and a password, as a request sends them. */
export interface BasicCredentials {
  readonly name: string;
  readonly password: string;
}

/**
 * Reads the credentials of a request.
 *
 * @param handshake How the peer connected.
 * @returns The credentials; `undefined` if it sends none; "malformed" if they cannot be read.
 */
export function basicCredentials(
  { headers }: Handshake,
): BasicCredentials | "malformed" | undefined {
  const header = headers.get("authorization") ?? "";
  if (!/^basic(?:\s|$)/i.test(header)) return undefined;
  const [, base64] = /^basic +([A-Za-z0-9+/]+={0,2})$/i.exec(header.trim()) ?? [];
  if (base64 === undefined) return "malformed";
  try {
    const text = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true })
      .decode(Buffer.from(base64, "base64"));
    const colon = text.indexOf(":");
    return colon === -1
      ? "malformed"
      : { name: text.slice(0, colon), password: text.slice(colon + 1) };
  } catch {
    return "malformed";
  }
}

/**
 * Makes the response that refuses a peer because of its credentials.
 *
 * @param realm What browsers show beside the question for the password.
 * @returns 401, with the challenge of RFC 7617, section 2.
 */
export function basicChallenge(realm: string): Response {
  const challenge = `Basic realm="${realm}", charset="UTF-8"`;
  return new Response("Wrong user or password", {
    status: 401,
    headers: { "www-authenticate": challenge },
  });
}

/**
 * Makes the response for a password that could not be checked.
 *
 * @param error What the check threw.
 * @returns 429 after too many wrong passwords, 503 if too many wait, each with `Retry-After`.
 * @throws The error, if it is another one.
 */
export function basicRefusal(error: unknown): Response {
  const { code, message, data } = error instanceof RpcError
    ? error
    : { code: 0, message: "", data: 0 };
  if (code === ErrorCode.serverBusy) return refuse(503, message, 1);
  if (code !== ErrorCode.limitExceeded) throw error;
  const { retryAfterMs = 1000 } = (data ?? {}) as { retryAfterMs?: number };
  return refuse(429, message, Math.ceil(retryAfterMs / 1000));
}

function refuse(status: number, text: string, seconds: number): Response {
  return new Response(text, { status, headers: { "retry-after": `${seconds}` } });
}

/** One password that a request sends. */
export interface BasicAttempt {
  /** The name of the account. */
  readonly account: string;
  /** The address of the client, as the throttle counts it. */
  readonly address: string;
  /** The password. */
  readonly password: string;
  /** Whether a user is still there, with the same password. */
  readonly isCurrent: (record: PasswdRecord) => boolean;
  /** Checks the password. */
  readonly check: () => Promise<PasswdRecord | undefined>;
}

interface Entry {
  /** The HMAC of the password. */
  readonly mac: Uint8Array;
  /** The user, if the password is right; pending while it is being checked. */
  readonly result: Promise<PasswdRecord | undefined>;
  /** When it ends; `Infinity` while the password is being checked. */
  until: number;
}

/**
 * Remembers right passwords for a short time, since each of the many requests of one client would
 * otherwise cost a hash.
 *
 * It cannot be used to guess: an entry counts for one account at one address alone, and a wrong password
 * there ends it. So the throttle counts every guess, save one for each password that its user has sent.
 */
export class BasicCache {
  readonly #ms: number;
  readonly #entries = new Map<string, Entry>();
  readonly #key = randomBytes(32);

  /** @param ms How long an entry counts. 0: requests share only checks that are under way. */
  constructor(ms: number) {
    this.#ms = ms;
  }

  /**
   * Gives the user of a password, from memory or by checking it.
   *
   * @param attempt Who tries which password, and how it is checked. Rejections and wrong passwords are
   * not remembered.
   * @returns The user, as of the check; `undefined` if the password is wrong.
   */
  async get(attempt: BasicAttempt): Promise<PasswdRecord | undefined> {
    const { account, address, password, isCurrent, check } = attempt;
    const key = JSON.stringify([account, address]);
    const mac = createHmac("sha256", this.#key).update(password).digest();
    const known = this.#entries.get(key);
    if (known !== undefined && known.until > Date.now() && timingSafeEqual(known.mac, mac)) {
      const record = await known.result;
      if (record === undefined || isCurrent(record)) return record;
    }
    return await this.#add(key, mac, check());
  }

  #add(key: string, mac: Uint8Array, result: Entry["result"]): Entry["result"] {
    const entry: Entry = { mac, result, until: Infinity };
    const forget = (): void => {
      if (this.#entries.get(key) === entry) this.#entries.delete(key);
    };
    this.#entries.delete(key); // to the end: the map is in the order of the checks
    const [oldest] = this.#entries.keys();
    // Strangers choose the names.
    if (this.#entries.size >= MAX_ENTRIES) this.#entries.delete(oldest as string);
    this.#entries.set(key, entry);
    result.then((record) => {
      if (record === undefined) forget();
      else entry.until = Date.now() + this.#ms;
    }, forget);
    return result;
  }
}

const MAX_ENTRIES = 1000;
