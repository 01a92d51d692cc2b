/**
 * How many events the topics of one server have had.
 *
 * @module
 */

import type { EventStats } from "../core/stats.ts";

/** The counters. */
export type EventCounts = { -readonly [Name in keyof EventStats]: number };

/** Gives counters that stand at 0. */
export function newEventCounts(): EventCounts {
  return { published: 0, delivered: 0, dropped: 0, gaps: 0 };
}
