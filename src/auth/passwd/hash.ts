/**
 * Passwords and what is kept of them: PBKDF2-HMAC-SHA256 by WebCrypto, which works on a thread of
 * its own.
 *
 * @module
 */

import { ErrorCode, RpcServerError } from "../../protocol/errors.ts";
import { Semaphore } from "../../util/semaphore.ts";
import type { SemaphoreOptions } from "../../util/semaphore.ts";

/** What is kept of a password. */
export interface PasswordHash {
  /** Iterations of PBKDF2: what one guess costs. */
  readonly rounds: number;
  /** What makes equal passwords differ. */
  readonly salt: Uint8Array<ArrayBuffer>;
  /** The 32 bytes that the password and the salt give. */
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
  /** What derives. @default {PBKDF2-HMAC-SHA256} */
  readonly derive?: Derive;
}

/** Hashes passwords and checks them, few at once. */
export class PasswordHasher {
  readonly #rounds: number;
  readonly #derive: Derive;
  readonly #semaphore: Semaphore;

  /** @param options Cost and bounds. */
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
   * @param salt Random where none is given.
   * @returns Rejects with `-32009` where too many wait already.
   */
  hash(password: string, salt: PasswordHash["salt"] = randomSalt()): Promise<PasswordHash> {
    const rounds = this.#rounds;
    return this.#semaphore.run(async () => {
      return { rounds, salt, hash: await this.#derive(password, salt, rounds) };
    });
  }

  /**
   * Checks a password. A refusal costs the same rounds whatever was kept, nothing at all included:
   * its time does not tell whether there is such a user, or how old the hash is.
   *
   * @param kept What is kept of the right password; `undefined` where there is no such user.
   * @param mostRounds The highest cost among all that is kept.
   * @param beginning Called when the turn has come; what it throws rejects, and nothing is hashed.
   * @returns Rejects with `-32009` where too many wait already.
   */
  verify(
    password: string,
    kept: PasswordHash | undefined,
    mostRounds: number,
    beginning: () => void,
  ): Promise<boolean> {
    const cost = Math.max(this.#rounds, mostRounds);
    const { rounds, salt, hash } = kept ?? { ...NOBODY, rounds: cost };
    return this.#semaphore.run(async () => {
      beginning();
      const derived = await this.#derive(password, salt, rounds);
      if (equalBytes(derived, hash) && kept !== undefined) return true;
      if (rounds < cost) await this.#derive(password, NOBODY.salt, cost - rounds);
      return false;
    });
  }

  /** Whether a hash is cheaper to guess at than a new one would be. */
  isOutdated(kept: PasswordHash): boolean {
    return kept.rounds < this.#rounds;
  }
}

/** Bytes of a hash: those of SHA-256. */
export const HASH_BYTES = 32;

/** Compares in a time that depends on the lengths alone. */
export function equalBytes(a: Uint8Array, b: Uint8Array): boolean {
  let difference = a.length ^ b.length;
  for (let index = 0; index < a.length; index++) {
    difference |= (a[index] as number) ^ (b[index] ?? 0);
  }
  return difference === 0;
}

/** Whether two hashes are of one password: hashed anew at another cost, it keeps its salt. */
export function samePassword(a: PasswordHash, b: PasswordHash): boolean {
  return equalBytes(a.salt, b.salt) && (a.rounds !== b.rounds || equalBytes(a.hash, b.hash));
}

// What is checked where there is no such user.
const NOBODY = { salt: new Uint8Array(16), hash: new Uint8Array(HASH_BYTES) };

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
