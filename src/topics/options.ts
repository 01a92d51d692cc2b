/**
 * How topics behave, and what that means for who keeps their events.
 *
 * @module
 */

import type { Guard } from "../core/guard.ts";
import type { Schema } from "../core/schema.ts";
import type { Retention } from "../brokers/broker.ts";

/** What happens to the events of a topic for a connection that does not read them fast enough. */
export type SlowConsumer = "close" | "drop-oldest" | "drop-newest" | "latest";

/** How many of a topic's events are kept for those who were away. */
export interface HistoryOptions {
  /** How many, the newest. */
  readonly size: number;
  /** For how many milliseconds. @default {Infinity} */
  readonly ageMs?: number;
}

/** How one topic, or all that fit a pattern, behave. */
export interface TopicOptions<Payload = unknown> {
  /** Guards: whoever they do not admit cannot subscribe, and does not see the topic. */
  readonly guards?: readonly Guard[];
  /**
   * Keeps the last event and sends it to each new subscriber, unless it is older than `maxAgeMs`
   * milliseconds.
   *
   * @default {false}
   */
  readonly retain?: boolean | { readonly maxAgeMs: number };
  /**
   * Keeps events for clients that were away for a while: whoever subscribes with `recover` and comes
   * back gets what was missed, each event once and in order, or is told that there is a gap.
   *
   * @default {none are kept}
   */
  readonly history?: HistoryOptions;
  /**
   * What happens to events for a connection that has half of `maxBufferedBytes` unread: `"close"`
   * sends on, and closes it with 1013 past the whole; `"drop-oldest"` and `"drop-newest"` hold back
   * a few events and drop others; `"latest"` holds back the newest alone. Whoever subscribed with
   * `recover` loses nothing by the last three as long as history reaches, and is told if it does not.
   *
   * @default {"close"}
   */
  readonly slowConsumer?: SlowConsumer;
  /** What events are; each is checked before it goes out. Gives the payload its type. */
  readonly schema?: Schema<Payload>;
}

/**
 * What a broker has to keep of a topic.
 *
 * @param fixed Whether the topic's name comes from code.
 * @throws {TypeError | RangeError} Where an option makes no sense.
 */
export function retentionOf(options: TopicOptions, fixed: boolean): Retention {
  const { retain, history, slowConsumer = "close" } = options;
  if (!POLICIES.includes(slowConsumer)) {
    throw new TypeError(
      `Expected \`slow\` to be one of ${POLICIES.join(", ")}, got \`${slowConsumer}\``,
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

/** Whether the last event of a topic is still worth sending to a newcomer. */
export function isFresh(at: number, retain: TopicOptions["retain"]): boolean {
  return typeof retain !== "object" || Date.now() - at <= retain.maxAgeMs;
}

const POLICIES: readonly SlowConsumer[] = ["close", "drop-oldest", "drop-newest", "latest"];

function expected(name: string, what: string, got: unknown): RangeError {
  return new RangeError(`Expected \`${name}\` to be ${what}, got \`${got}\` (${typeof got})`);
}
