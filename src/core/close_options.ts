/**
 * How a server is closed.
 *
 * @module
 */

/** How {@linkcode JsonRpc.close} closes a server. */
export interface CloseOptions {
  /**
   * Milliseconds that running calls have to finish. 0 ends all calls and connections at once.
   *
   * @default {0}
   */
  readonly drainMs?: number;
  /**
   * Milliseconds after which clients may connect again. The server tells each client a random time
   * between this and twice this, so that they do not all connect at the same moment.
   *
   * @default {1000}
   */
  readonly retryAfterMs?: number;
}
