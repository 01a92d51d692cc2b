/**
 * The bounds within which a stranger may use a server, and their defaults.
 *
 * @module
 */

import { checkLimits } from "../util/check_option.ts";
import { exceedsBytes } from "../util/utf8.ts";

/** Bounds of one {@linkcode JsonRpc} or {@linkcode JsonRpcClient}. `Infinity` takes a bound away. */
export interface Limits {
  /**
   * Bytes of UTF-8 that one message may have, incoming and outgoing, over WebSocket and HTTP. A
   * WebSocket whose peer sends more is closed with 1009.
   *
   * @default {1048576}
   */
  readonly maxMessageBytes: number;
  /**
   * How deep arrays and objects of a message may be nested.
   *
   * @default {128}
   */
  readonly maxDepth: number;
  /**
   * Entries that one batch may have. A larger one is answered with one error, -32010, whose id is
   * null: also one of notifications alone, since the error is about the batch, not about any of them.
   *
   * @default {100}
   */
  readonly maxBatch: number;
  /**
   * Calls of one connection, or of one POST, that may wait for their handler at the same time. A
   * further one is answered with -32009; a further notification is dropped.
   *
   * @default {1000}
   */
  readonly maxInFlight: number;
  /**
   * WebSocket connections that may be open at the same time. A further one is refused with 503.
   *
   * @default {10000}
   */
  readonly maxConnections: number;
  /**
   * Topics that one connection may be subscribed to. A further one is answered with -32006.
   *
   * @default {1024}
   */
  readonly maxSubscriptions: number;
  /**
   * Bytes that may wait for a peer that does not read. Past it the connection is closed with 1013.
   *
   * @default {4194304}
   */
  readonly maxBufferedBytes: number;
  /**
   * Milliseconds between two pings. A peer that was silent for two of them is dropped. 0 turns
   * pings off. Standard sockets, such as those given to `attach`, cannot ping: of those only one that
   * leaves things unread is noticed.
   *
   * @default {30000}
   */
  readonly heartbeatMs: number;
  /**
   * Milliseconds that a call to the other side may take, unless the call says otherwise. 0: no end.
   *
   * @default {60000}
   */
  readonly timeoutMs: number;
}

/** What holds where no option says otherwise. */
export const DEFAULT_LIMITS: Limits = Object.freeze({
  maxMessageBytes: 1024 * 1024,
  maxDepth: 128,
  maxBatch: 100,
  maxInFlight: 1000,
  maxConnections: 10_000,
  maxSubscriptions: 1024,
  maxBufferedBytes: 4 * 1024 * 1024,
  heartbeatMs: 30_000,
  timeoutMs: 60_000,
});

/**
 * The bounds of one side.
 *
 * @throws {RangeError} Where a bound is no whole number, or below what makes sense.
 */
export function resolveLimits(options: Partial<Limits>): Limits {
  return checkLimits(options, DEFAULT_LIMITS);
}

/**
 * A text that may go out, as it is.
 *
 * @param action What cannot be done where it is too long, as words after "Cannot".
 * @throws {RangeError} Where it is longer than the other side would take.
 */
export function checkLength(text: string, maxMessageBytes: number, action: string): string {
  if (!exceedsBytes(text, maxMessageBytes)) return text;
  throw new RangeError(`Cannot ${action}: over ${maxMessageBytes} bytes (maxMessageBytes)`);
}
