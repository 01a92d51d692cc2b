/**
 * Where Redis is, and how the broker uses it.
 *
 * @module
 */

import { checkMs } from "../../util/check_option.ts";
import { MAX_TIMER_MS } from "../../util/timer.ts";
import type { Logger } from "../../util/logger.ts";
import type { RedisTarget } from "./connection.ts";

/** Where Redis is, and how the broker uses it. */
export interface RedisBrokerOptions extends RedisTarget {
  /**
   * What the names of all keys and channels begin with. Servers with the same prefix share their
   * topics; other applications on the same Redis use another prefix.
   *
   * @default {"jsonrpc:"}
   */
  readonly prefix?: string;
  /**
   * How long publishing, subscribing and reading may wait for Redis, in milliseconds.
   *
   * @default {5000}
   */
  readonly publishTimeoutMs?: number;
  /**
   * How many replicas must have an event before `publish` resolves (Redis's `WAIT`). Events published
   * at the same time share one `WAIT`. If too few replicas confirm within 2 seconds (or half of
   * `publishTimeoutMs`, if that is less), `publish` rejects and says that the event may have been
   * published.
   *
   * Without it a failover may lose the newest events that Redis has acknowledged. With it that is
   * rare; it cannot happen if the number is that of all replicas. Subscribers may get an event before
   * the replicas have it.
   *
   * @default {0}
   */
  readonly waitReplicas?: number;
  /**
   * How many topics without events, and without subscribers in this process, keep a position in Redis
   * for the clients that may come back. Each does so for some 10 minutes; past this number the broker
   * forgets the one that has been left longest. A client that comes back to a forgotten one gets
   * `recovered: false`. Topics with events, and those whose names come from code, do not count.
   *
   * @default {10000}
   */
  readonly maxIdleTopics?: number;
  /**
   * Gets a line when Redis goes out of reach, and when it is back.
   *
   * @default {console}
   */
  readonly logger?: Logger;
}

/**
 * Checks options.
 *
 * @returns The same options.
 * @throws {TypeError} If `prefix` or `url` is malformed, or more than one target is given.
 * @throws {RangeError} If a number is out of bounds.
 */
export function checkOptions(options: RedisBrokerOptions): RedisBrokerOptions {
  const { cluster, maxIdleTopics = 0, prefix, publishTimeoutMs, sentinel, url, waitReplicas } =
    options;
  if (prefix !== undefined && (typeof prefix !== "string" || /[{}]/.test(prefix))) {
    throw new TypeError(`Expected \`prefix\` to be a text without braces, got \`${prefix}\``);
  }
  if (publishTimeoutMs !== undefined) {
    checkMs("publishTimeoutMs", publishTimeoutMs, 1, MAX_TIMER_MS);
  }
  if (waitReplicas !== undefined && !(Number.isSafeInteger(waitReplicas) && waitReplicas >= 0)) {
    throw new RangeError(
      `Expected \`waitReplicas\` to be a whole number from 0, got \`${waitReplicas}\``,
    );
  }
  if (maxIdleTopics !== Infinity && !(Number.isSafeInteger(maxIdleTopics) && maxIdleTopics >= 0)) {
    throw new RangeError(
      `Expected \`maxIdleTopics\` to be a whole number from 0, or Infinity, got \`${maxIdleTopics}\``,
    );
  }
  // The message must not repeat the URL: it may hold a password.
  if (url !== undefined && !/^(?:rediss?|unix):\/\/./.test(url)) {
    throw new TypeError("Expected `url` to begin with redis:, rediss: or unix:");
  }
  const targets = Object.entries({ url, cluster, sentinel }).filter(([, target]) =>
    target !== undefined
  );
  if (targets.length > 1) {
    const names = targets.map(([name]) => `\`${name}\``).join(" and ");
    throw new TypeError(`Expected one of \`url\`, \`cluster\` and \`sentinel\`, got ${names}`);
  }
  return options;
}
