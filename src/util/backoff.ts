/**
 * How long to wait before the next attempt.
 *
 * @module
 */

/** How an attempt that failed is repeated. */
export interface BackoffBounds {
  /** Milliseconds that the first wait takes at most; each further one twice that. @default {250} */
  readonly minMs: number;
  /** Milliseconds that any wait takes at most. @default {30000} */
  readonly maxMs: number;
  /** Attempts in a row that may fail before it is given up. @default {Infinity} */
  readonly maxAttempts: number;
}

/** What holds where no option says otherwise. */
export const DEFAULT_BACKOFF: BackoffBounds = { minMs: 250, maxMs: 30_000, maxAttempts: Infinity };

/**
 * Waits that double, each a random part of its whole ("full jitter"): many who were cut off at the
 * same moment do not come back at the same moment.
 */
export class Backoff {
  readonly #bounds: BackoffBounds;
  #attempts = 0;

  /** @param bounds How long, and how often. */
  constructor(bounds: BackoffBounds) {
    this.#bounds = bounds;
  }

  /** How many waits there were since the last success. */
  get attempts(): number {
    return this.#attempts;
  }

  /** Milliseconds to wait; `undefined` where no more attempts may be made. */
  next(): number | undefined {
    const { minMs, maxMs, maxAttempts } = this.#bounds;
    if (this.#attempts >= maxAttempts) return undefined;
    return Math.random() * Math.min(maxMs, minMs * 2 ** this.#attempts++);
  }

  /** Begins anew, after a success. */
  reset(): void {
    this.#attempts = 0;
  }
}
