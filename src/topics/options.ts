/**
 * The options of topics, and what they ask of a broker.
 *
 * @module
 */

import type { Guard } from "../core/guard.ts";
import type { Schema } from "../core/schema.ts";
import type { Retention } from "../brokers/broker.ts";

/** What to do with the events of a topic if a subscriber reads too slowly. */
export type SlowConsumer = "close" | "drop-oldest" | "drop-newest" | "latest";

/** How many events of a topic are kept for clients that reconnect or join late. */
export interface HistoryOptions {
  /** The number of newest events to keep. */
  readonly size: number;
  /** Milliseconds for which each event is kept. @default {Infinity} */
  readonly ageMs?: number;
}

/** The options of a topic, or of all topics that match a pattern. */
export interface TopicOptions<Payload = unknown> {
  /**
   * Guards of the topic. A peer that they do not admit cannot subscribe, and does not see the topic. If
   * several patterns match a name, the guards of all of them are asked.
   */
  readonly guards?: readonly Guard[];
  /**
   * Whether to keep the last event and send it to each new subscriber, unless it is older than
   * `maxAgeMs` milliseconds.
   *
   * @default {false}
   */
  readonly retain?: boolean | { readonly maxAgeMs: number };
  /**
   * Events to keep, for two kinds of clients. A client that has subscribed with `recover` and reconnects
   * gets the events that it missed, each once and in order, or is told that some are lost. A client that
   * subscribes with `last: n` gets the newest `n` first.
   *
   * @default {no events are kept}
   */
  readonly history?: HistoryOptions;
  /**
   * What to do when a subscriber has half of `maxBufferedBytes` unread. `"close"` goes on sending, and
   * closes the connection with 1013 if the whole of it is unread. `"drop-oldest"` and `"drop-newest"`
   * hold a few events back and drop others; `"latest"` holds only the newest back. A client that has
   * subscribed with `recover` gets the dropped events later, as long as `history` has them; if not, it
   * is told.
   *
   * @default {"close"}
   */
  readonly slowConsumer?: SlowConsumer;
  /**
   * Whether events of this topic that are neither an array nor an object are sent in a one-element
   * array.
   *
   * @default {the server's wrapScalars}
   */
  readonly wrapScalars?: boolean;
  /** Checks each event before it is sent, and gives the payload its type. */
  readonly schema?: Schema<Payload>;
}

/**
 * Checks the options of a topic.
 *
 * @param options The options.
 * @param fixed Whether the topic's name comes from code, not from a client.
 * @returns What a broker has to keep.
 * @throws {TypeError} If `slowConsumer` is not one of its four values.
 * @throws {RangeError} If a number is out of range.
 */
export function retentionOf(options: TopicOptions, fixed: boolean): Retention {
  const { retain, history, slowConsumer = "close" } = options;
  if (!POLICIES.includes(slowConsumer)) {
    throw new TypeError(
      `Expected \`slowConsumer\` to be one of ${POLICIES.join(", ")}, got \`${slowConsumer}\``,
    );
  }
  const ages: number[] = [];
  if (history !== undefined) {
    const { size, ageMs = Infinity } = history;
    if (!Number.isSafeInteger(size) || size < 1) {
      throw expected("history.size", "a whole number from 1", size);
    }
    if (!(ageMs > 0)) throw expected("history.ageMs", "a number over 0", ageMs);
    ages.push(ageMs);
  }
  if (retain) {
    const maxAgeMs = retain === true ? Infinity : retain.maxAgeMs;
    if (!(maxAgeMs >= 0)) throw expected("retain.maxAgeMs", "a number from 0", maxAgeMs);
    ages.push(maxAgeMs);
  }
  const size = history?.size ?? (retain ? 1 : 0);
  return { size, ageMs: size === 0 ? 0 : Math.max(...ages), fixed };
}

/** Tells whether the last event of a topic is still recent enough for new subscribers. */
export function isFresh(at: number, retain: TopicOptions["retain"]): boolean {
  return typeof retain !== "object" || Date.now() - at <= retain.maxAgeMs;
}

const POLICIES: readonly SlowConsumer[] = ["close", "drop-oldest", "drop-newest", "latest"];

function expected(name: string, what: string, got: unknown): RangeError {
  return new RangeError(`Expected \`${name}\` to be ${what}, got \`${got}\` (${typeof got})`);
}
