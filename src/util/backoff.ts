/**
 * How long to wait before the next attempt.
 *
 * @module
 */

/** How attempts that fail are repeated. */
export interface BackoffOptions {
  /** The longest first wait, in milliseconds; it doubles with each attempt that fails. @default {250} */
  readonly minMs: number;
  /** The longest wait of all, in milliseconds. @default {30000} */
  readonly maxMs: number;
  /** How many attempts in a row may fail before no more are made. @default {Infinity} */
  readonly maxAttempts: number;
}

/** What holds unless an option says otherwise. */
export const DEFAULT_BACKOFF: BackoffOptions = { minMs: 250, maxMs: 30_000, maxAttempts: Infinity };

/**
 * Waits that double, each a random part of its longest ("full jitter"): clients that were cut off at
 * the same moment do not all come back at the same moment.
 */
export class Backoff {
  readonly #options: BackoffOptions;
  #attempts = 0;

  /** @param options How long to wait, and how often. */
  constructor(options: BackoffOptions) {
    this.#options = options;
  }

  /** How many waits there were since the last success. */
  get attempts(): number {
    return this.#attempts;
  }

  /** @returns Whole milliseconds to wait, or `undefined` if no more attempts may be made. */
  next(): number | undefined {
    const { minMs, maxMs, maxAttempts } = this.#options;
    if (this.#attempts >= maxAttempts) return undefined;
    return Math.floor(Math.random() * Math.min(maxMs, minMs * 2 ** this.#attempts++));
  }

  /** Starts again with the shortest wait, after a success. */
  reset(): void {
    this.#attempts = 0;
  }
}
