/**
 * Hashing passwords with PBKDF2-HMAC-SHA256. WebCrypto does the work on another thread.
 *
 * @module
 */

import { ErrorCode } from "../../protocol/error_code.ts";
import { RpcServerError } from "../../protocol/errors.ts";
import { Semaphore } from "../../util/semaphore.ts";
import type { SemaphoreOptions } from "../../util/semaphore.ts";

/** The hash of a password, as it is stored. */
export interface PasswordHash {
  /** Iterations of PBKDF2: the cost of one guess. */
  readonly rounds: number;
  /** Random bytes, so that equal passwords have different hashes. */
  readonly salt: Uint8Array<ArrayBuffer>;
  /** The 32 bytes derived from the password and the salt. */
  readonly hash: Uint8Array<ArrayBuffer>;
}

/** Derives 32 bytes from a password. */
export type Derive = (
  password: string,
  salt: Uint8Array<ArrayBuffer>,
  rounds: number,
) => Promise<Uint8Array<ArrayBuffer>>;

/** How passwords are hashed. */
export interface PasswordHasherOptions extends Omit<SemaphoreOptions, "full"> {
  /** Iterations for new hashes. */
  readonly rounds: number;
  /** Derives the bytes of a hash. @default {PBKDF2-HMAC-SHA256} */
  readonly derive?: Derive;
}

/** Hashes and checks passwords, only a few at the same time. */
export class PasswordHasher {
  readonly #rounds: number;
  readonly #derive: Derive;
  readonly #semaphore: Semaphore;

  /** @param options The cost of a hash, and how many run and wait. */
  constructor(options: PasswordHasherOptions) {
    this.#rounds = options.rounds;
    this.#derive = options.derive ?? pbkdf2;
    const { concurrency, maxWaiting } = options;
    const full = (): Error =>
      new RpcServerError(
        ErrorCode.serverBusy,
        `Server busy: ${maxWaiting} passwords wait to be checked`,
      );
    this.#semaphore = new Semaphore({ concurrency, maxWaiting, full });
  }

  /**
   * Hashes a password.
   *
   * @param salt The salt. @default {16 random bytes}
   * @returns The hash. Rejects with -32009 if too many wait already.
   */
  hash(password: string, salt: PasswordHash["salt"] = randomSalt()): Promise<PasswordHash> {
    const rounds = this.#rounds;
    return this.#semaphore.run(async () => {
      return { rounds, salt, hash: await this.#derive(password, salt, rounds) };
    });
  }

  /**
   * Checks a password. Every refusal costs the same number of rounds, whether or not the user exists
   * and however cheap the stored hash is, so that the time it takes reveals neither.
   *
   * @param stored The hash of the right password; `undefined` if there is no such user.
   * @param maxRounds The highest cost among all stored hashes.
   * @param beforeHash Called when the password is about to be hashed. If it throws, nothing is hashed.
   * It may return a function, which is called if the password is wrong, before the next one is hashed.
   * @returns Whether the password is right. Rejects with what `beforeHash` throws, and with
   * -32009 if too many wait already.
   */
  verify(
    password: string,
    stored: PasswordHash | undefined,
    maxRounds: number,
    beforeHash: () => void | (() => void),
  ): Promise<boolean> {
    const cost = Math.max(this.#rounds, maxRounds);
    const { rounds, salt, hash } = stored ?? { ...NO_USER, rounds: cost };
    return this.#semaphore.run(async () => {
      const failed = beforeHash();
      const derived = await this.#derive(password, salt, rounds);
      if (equalBytes(derived, hash) && stored !== undefined) return true;
      if (rounds < cost) await this.#derive(password, NO_USER.salt, cost - rounds);
      // Before the next attempt gets this place, so that it is refused if this was one too many.
      if (typeof failed === "function") failed();
      return false;
    });
  }

  /** Whether a hash has fewer rounds than a new one would get. */
  isOutdated(stored: PasswordHash): boolean {
    return stored.rounds < this.#rounds;
  }
}

/** The length of a hash in bytes: that of SHA-256. */
export const HASH_BYTES = 32;

/** Compares two byte strings in a time that depends on their lengths alone. */
export function equalBytes(a: Uint8Array, b: Uint8Array): boolean {
  let difference = a.length ^ b.length;
  for (let index = 0; index < a.length; index++) {
    difference |= (a[index] as number) ^ (b[index] ?? 0);
  }
  return difference === 0;
}

/** Whether two hashes belong to one password. It keeps its salt if it is hashed again at another cost. */
export function samePassword(a: PasswordHash, b: PasswordHash): boolean {
  return equalBytes(a.salt, b.salt) && (a.rounds !== b.rounds || equalBytes(a.hash, b.hash));
}

// Checked in place of a hash if there is no such user.
const NO_USER = { salt: new Uint8Array(16), hash: new Uint8Array(HASH_BYTES) };

function randomSalt(): PasswordHash["salt"] {
  return crypto.getRandomValues(new Uint8Array(16));
}

async function pbkdf2(
  password: string,
  salt: Uint8Array<ArrayBuffer>,
  iterations: number,
): Promise<Uint8Array<ArrayBuffer>> {
  const bytes = new TextEncoder().encode(password);
  const key = await crypto.subtle.importKey("raw", bytes, "PBKDF2", false, ["deriveBits"]);
  const algorithm = { name: "PBKDF2", hash: "SHA-256", salt, iterations };
  return new Uint8Array(await crypto.subtle.deriveBits(algorithm, key, 8 * HASH_BYTES));
}
