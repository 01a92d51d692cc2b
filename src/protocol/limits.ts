/**
 * The limits within which strangers may use a server, and their defaults.
 *
 * @module
 */

import { checkLimits } from "../util/check_option.ts";
import { exceedsBytes } from "../util/utf8.ts";

/**
 * Limits of one session: a server and a client both read them. `Infinity` removes a limit.
 */
export interface SessionLimits {
  /**
   * Bytes of UTF-8 that one message may have, incoming and outgoing, over WebSocket and HTTP. A
   * WebSocket whose peer sends more is closed with 1009.
   *
   * @default {1048576}
   */
  readonly maxMessageBytes: number;
  /**
   * How deep arrays and objects of a message may be nested. A deeper message is answered with
   * -32700.
   *
   * @default {128}
   */
  readonly maxDepth: number;
  /**
   * Values that one message may consist of: each array, object, string, number, boolean and null
   * counts. A message with more is answered with -32700. It bounds how long a schema can take: to list
   * what is wrong with 20,000 values took 25 to 280 ms, with 350,000 up to 5 s. Raise it for methods
   * that take long lists.
   *
   * @default {20000 on a server, Infinity on a client}
   */
  readonly maxValues: number;
  // Checked in core/dispatcher.ts.
  /**
   * Entries that one batch may have. A larger batch is answered with one error, -32010, whose id is
   * null. That holds for a batch of notifications too, since the error is about the batch.
   *
   * The default takes the largest batches that common clients send (viem: 1,000). It is chosen by cost:
   * 1,000 calls in a batch take 1 to 8 ms beside what their handlers do, no more than 1,000 messages
   * would. What a batch costs is bounded by other limits, which count each entry: `maxMessageBytes` for
   * the text and for the whole answer, `maxValues`, `maxInFlight`, `maxTotalBytes`, and rate limits.
   *
   * @default {1000}
   */
  readonly maxBatch: number;
  /**
   * Calls of one connection, or of one POST, that may wait for their handler at the same time. A
   * further call is answered with -32009; a further notification is dropped.
   *
   * @default {1000}
   */
  readonly maxInFlight: number;
  /**
   * Bytes that may wait for a peer that does not read. If more wait, the connection is closed with
   * 1013.
   *
   * @default {4194304}
   */
  readonly maxBufferedBytes: number;
  /**
   * Milliseconds that a call to the other side may take, unless the call has a `timeoutMs` of its
   * own. 0: calls have no deadline.
   *
   * @default {60000}
   */
  readonly timeoutMs: number;
}

/** Limits of one {@linkcode JsonRpc} server. `Infinity` removes a limit. */
export interface Limits extends SessionLimits {
  /**
   * WebSocket connections and event streams that may be open at the same time, and, counted apart, HTTP
   * requests that may be under way. A further one is refused with 503.
   *
   * @default {10000}
   */
  readonly maxConnections: number;
  /**
   * How many of them one client may have: one IPv4 address, or one IPv6 network of 64 bits. A further
   * one is refused with 503. Behind a proxy also set the option `trustedProxies`: else all clients have
   * the address of the proxy.
   *
   * @default {Infinity}
   */
  readonly maxPerAddress: number;
  /**
   * Bytes of memory that all peers may use together: bodies that are being read, params of calls that
   * run, answers that wait for the rest of their batch, subscriptions, and what peers leave unread.
   * Beyond it the server refuses new connections with 503; subscriptions, calls of more than 4 KiB and
   * answers of batches with -32009; and it drops the peers that have left most unread. The estimates
   * bound what strangers can make a server keep; the memory of a process is larger.
   *
   * @default {268435456}
   */
  readonly maxTotalBytes: number;
  /**
   * Milliseconds that the body of a POST may take to arrive. After 10 seconds it must also come at 1 KiB
   * a second or more. Else the request is answered with 408. 0: bodies may take for ever, at that rate.
   *
   * @default {60000}
   */
  readonly bodyTimeoutMs: number;
  /**
   * Topics that one connection may be subscribed to. A call for more is answered with -32006.
   *
   * @default {1024}
   */
  readonly maxSubscriptions: number;
  /**
   * Milliseconds between two pings. The server drops a peer that was silent for twice this time. 0
   * turns pings off. The server cannot ping over a standard `WebSocket`, such as one given to
   * `attach`: there it notices a dead peer only by what that peer leaves unread.
   *
   * @default {30000}
   */
  readonly heartbeatMs: number;
}

/** The limits of a session for which no option says otherwise. */
export const DEFAULT_SESSION_LIMITS: SessionLimits = {
  maxMessageBytes: 2 ** 20,
  maxDepth: 128,
  maxValues: Infinity,
  maxBatch: 1000,
  maxInFlight: 1000,
  maxBufferedBytes: 2 ** 22,
  timeoutMs: 60_000,
};

/** The limits of a server for which no option says otherwise. */
// Called in place, and marked as pure: so a bundle of the client leaves it out.
export const DEFAULT_LIMITS: Limits = /* @__PURE__ */ (() =>
  Object.freeze({
    ...DEFAULT_SESSION_LIMITS,
    maxValues: 20_000,
    maxConnections: 10_000,
    maxPerAddress: Infinity,
    maxTotalBytes: 256 * 1024 * 1024,
    bodyTimeoutMs: 60_000,
    maxSubscriptions: 1024,
    heartbeatMs: 30_000,
  }))();

/**
 * Fills in the defaults of a server and checks each limit.
 *
 * @param options Limits by name; other members are ignored.
 * @returns All limits, frozen.
 * @throws {RangeError} If a limit is not a whole number, or too small.
 */
export function resolveLimits(options: Partial<Limits>): Limits {
  return Object.freeze(checkLimits(options, DEFAULT_LIMITS));
}

/**
 * Refuses to send a text that the other side would not accept.
 *
 * @param text The text to send.
 * @param maxMessageBytes Bytes of UTF-8 that it may have.
 * @param action What is being done, as words after "Cannot".
 * @returns The text, unchanged.
 * @throws {RangeError} If the text is too long.
 */
export function checkLength(text: string, maxMessageBytes: number, action: string): string {
  if (!exceedsBytes(text, maxMessageBytes)) return text;
  throw new RangeError(`Cannot ${action}: over ${maxMessageBytes} bytes (maxMessageBytes)`);
}
