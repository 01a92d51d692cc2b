/**
 * How long to wait before the next attempt at something that has failed.
 *
 * @module
 */

/** How a failed attempt is repeated. */
export interface BackoffBounds {
  /** The longest that the first wait may be, in milliseconds. It doubles each time. @default {250} */
  readonly minMs: number;
  /** The longest that any wait may be, in milliseconds. @default {30000} */
  readonly maxMs: number;
  /** Attempts in a row that may fail before the client gives up. @default {Infinity} */
  readonly maxAttempts: number;
}

/** The bounds for which no option says otherwise. */
export const DEFAULT_BACKOFF: BackoffBounds = { minMs: 250, maxMs: 30_000, maxAttempts: Infinity };

/**
 * Waits whose upper bound doubles. Each wait is a random part of its bound ("full jitter"), so that
 * clients that were cut off at the same moment do not come back at the same moment.
 */
export class Backoff {
  readonly #bounds: BackoffBounds;
  #attempts = 0;

  /** @param bounds How long the waits may be, and how many there may be. */
  constructor(bounds: BackoffBounds) {
    this.#bounds = bounds;
  }

  /** How many waits there were since the last success. */
  get attempts(): number {
    return this.#attempts;
  }

  /**
   * Chooses the next wait.
   *
   * @returns Milliseconds, or `undefined` if no further attempt is allowed.
   */
  next(): number | undefined {
    const { minMs, maxMs, maxAttempts } = this.#bounds;
    if (this.#attempts >= maxAttempts) return undefined;
    return Math.random() * Math.min(maxMs, minMs * 2 ** this.#attempts++);
  }

  /** Starts again with the shortest wait, after a success. */
  reset(): void {
    this.#attempts = 0;
  }
}
