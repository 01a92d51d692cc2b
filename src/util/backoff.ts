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
 * How long to wait. The waits double, each a random part of its longest ("full jitter"): clients that were
 * cut off at the same moment do not all come back at the same moment.
 *
 * @param options How long to wait at most.
 * @param attempts How many attempts have failed since the last success.
 * @returns Whole milliseconds.
 */
export function backoffMs({ minMs, maxMs }: BackoffOptions, attempts: number): number {
  return Math.floor(Math.random() * Math.min(maxMs, minMs * 2 ** attempts));
}
