/**
 * Slows down clients that guess passwords, and no others.
 *
 * @module
 */

import { ErrorCode } from "../../protocol/error_code.ts";
import { RpcServerError } from "../../protocol/errors.ts";

/** The bounds of a {@linkcode Throttle}. */
export interface ThrottleOptions {
  /** Wrong passwords until a login has to wait, for one account from one address. */
  readonly attempts: number;
  /** Milliseconds to wait after that many wrong passwords. Each further one doubles the wait. */
  readonly firstWaitMs: number;
  /** The longest wait, in milliseconds. Each time it has passed, one wrong password is forgotten. */
  readonly maxWaitMs: number;
}

/**
 * Counts wrong passwords three times: for one account at one address, for one address, and for one
 * account. The last count is ignored at addresses from which the user has logged in before, so that
 * many clients who guess at an account together cannot lock its user out.
 */
export class Throttle {
  readonly #pairs: Failures;
  readonly #addresses: Failures;
  readonly #accounts: Failures;
  // Apart, since anybody can make up names: those must not push out the counts of real accounts.
  readonly #unknownAccounts: Failures;
  readonly #known = new Recent<true>();

  /**
   * @param options The bounds.
   * @param now The clock, in milliseconds. @default {performance.now}
   */
  constructor(options: ThrottleOptions, now: () => number = () => performance.now()) {
    const { attempts } = options;
    const perAccount = { ...options, attempts: attempts * PER_ACCOUNT };
    this.#pairs = new Failures(options, now);
    this.#addresses = new Failures({ ...options, attempts: attempts * PER_ADDRESS }, now);
    this.#accounts = new Failures(perAccount, now);
    this.#unknownAccounts = new Failures(perAccount, now);
  }

  /**
   * Refuses an attempt that comes too early.
   *
   * @param account The name of the account, whether or not it exists.
   * @param address The address of the client, as `networkOf` gives it.
   * @throws {RpcServerError} If the client has to wait: -32005, with `retryAfterMs` in its data.
   */
  check(account: string, address: string): void {
    const pair = pairOf(account, address);
    const waitMs = Math.max(
      this.#pairs.waitMs(pair),
      this.#addresses.waitMs(address),
      this.#known.get(pair) ? 0 : this.#accountWaitMs(account),
    );
    if (waitMs <= 0) return;
    const data = { retryAfterMs: Math.ceil(waitMs) };
    throw new RpcServerError(ErrorCode.limitExceeded, "Too many wrong passwords", { data });
  }

  /**
   * Counts a wrong password.
   *
   * @param account The name of the account.
   * @param address The address of the client.
   * @param exists Whether there is such an account. @default {true}
   */
  failed(account: string, address: string, exists = true): void {
    const pair = pairOf(account, address);
    this.#pairs.add(pair);
    this.#addresses.add(address);
    if (this.#known.get(pair)) return;
    (exists ? this.#accounts : this.#unknownAccounts).add(account);
  }

  /**
   * Remembers that the user of the account is at this address. The count of the address stays: with
   * an account of one's own, guessing at others' would be free.
   */
  succeeded(account: string, address: string): void {
    const pair = pairOf(account, address);
    this.#pairs.delete(pair);
    this.#known.set(pair, true);
  }

  /** Both counts, since an account may have been made or deleted since. */
  #accountWaitMs(account: string): number {
    return Math.max(this.#accounts.waitMs(account), this.#unknownAccounts.waitMs(account));
  }
}

const PER_ADDRESS = 5;
const PER_ACCOUNT = 10;
const MAX_KEYS = 10_000;

function pairOf(account: string, address: string): string {
  return JSON.stringify([account, address]);
}

interface Failure {
  readonly count: number;
  readonly at: number;
}

/** Wrong passwords by key. One of them is forgotten in each `maxWaitMs`. */
class Failures {
  readonly #options: ThrottleOptions;
  readonly #now: () => number;
  readonly #failures = new Map<string, Failure>();

  constructor(options: ThrottleOptions, now: () => number) {
    this.#options = options;
    this.#now = now;
  }

  waitMs(key: string): number {
    const { attempts, firstWaitMs, maxWaitMs } = this.#options;
    const { count, at } = this.#failures.get(key) ?? { count: 0, at: 0 };
    const steps = Math.ceil(count) - attempts;
    if (steps < 0) return 0;
    return at + Math.min(firstWaitMs * 2 ** steps, maxWaitMs) - this.#now();
  }

  add(key: string): void {
    const failure = this.#failures.get(key);
    const count = failure === undefined ? 0 : this.#remaining(failure);
    this.#failures.delete(key); // to the end: the map is in the order of the last failure
    if (this.#failures.size >= MAX_KEYS) this.#evict();
    this.#failures.set(key, { count: count + 1, at: this.#now() });
  }

  delete(key: string): void {
    this.#failures.delete(key);
  }

  #remaining({ count, at }: Failure): number {
    return Math.max(0, count - (this.#now() - at) / this.#options.maxWaitMs);
  }

  /** Forgets all expired entries, or else the one that counts least, of those the oldest. */
  #evict(): void {
    let least: string | undefined;
    let leastCount = Infinity;
    for (const [key, failure] of this.#failures) {
      const count = this.#remaining(failure);
      if (count === 0) this.#failures.delete(key);
      else if (count < leastCount) [least, leastCount] = [key, count];
    }
    if (this.#failures.size >= MAX_KEYS && least !== undefined) this.#failures.delete(least);
  }
}

/** A map of bounded size, since strangers choose its keys: it forgets the entry that was set first. */
class Recent<T> {
  readonly #values = new Map<string, T>();

  get(key: string): T | undefined {
    return this.#values.get(key);
  }

  set(key: string, value: T): void {
    this.#values.delete(key);
    this.#values.set(key, value);
    if (this.#values.size <= MAX_KEYS) return;
    for (const oldest of this.#values.keys()) {
      this.#values.delete(oldest);
      return;
    }
  }
}
