/**
 * How a server is ended.
 *
 * @module
 */

/** How {@linkcode JsonRpc.close} ends a server. */
export interface CloseOptions {
  /**
   * Milliseconds that calls under way have to finish. 0 ends everything at once.
   *
   * @default {0}
   */
  readonly drainMs?: number;
  /**
   * Milliseconds after which clients may come back: each is told a time of its own, between this and
   * twice this, so that they do not come all at once.
   *
   * @default {1000}
   */
  readonly retryAfterMs?: number;
}
