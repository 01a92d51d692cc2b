/**
 * What a server counts, as metrics.
 *
 * @module
 */

import type { BatchObservableResult, Observable } from "@opentelemetry/api";
import type { EventStats, ServerStats } from "../core/stats.ts";
import type { Telemetry } from "./telemetry.ts";

type Gauge = Exclude<keyof ServerStats, "events">;

const GAUGES: readonly (readonly [Gauge, name: string, unit: string, description: string])[] = [
  ["connections", "connections", "{connection}", "Lasting connections that are open."],
  ["requests", "requests", "{request}", "POSTs and GETs that are not answered yet."],
  ["calls", "calls", "{call}", "Calls over lasting connections that are under way."],
  ["pendingCalls", "pending_calls", "{call}", "Calls to clients that are not answered yet."],
  ["subscriptions", "subscriptions", "{subscription}", "Subscriptions to topics."],
  ["topics", "topics", "{topic}", "Topics with subscribers."],
  ["bufferedBytes", "buffered", "By", "What was sent and clients have not taken yet."],
  ["memoryBytes", "memory", "By", "The estimate that maxTotalBytes limits."],
];
const COUNTERS: readonly (readonly [keyof EventStats, unit: string, description: string])[] = [
  ["published", "{event}", "Events that this server has published."],
  ["delivered", "{event}", "Events passed to subscribers, once for each of them."],
  ["dropped", "{event}", "Events that slow subscribers have lost."],
  ["gaps", "{gap}", "How often a subscriber was told that events are lost."],
];

/**
 * Observes the numbers of a server, each time that metrics are collected.
 *
 * @param telemetry Where they go.
 * @param stats Gives the numbers.
 * @returns Stops it.
 */
export function observeStats(telemetry: Telemetry, stats: () => ServerStats): () => void {
  const { attributes } = telemetry;
  return telemetry.observe((meter) => {
    const gauges = GAUGES.map(([key, name, unit, description]) => {
      const options = { unit, description };
      return [key, meter.createObservableUpDownCounter(`jsonrpc.server.${name}`, options)] as const;
    });
    const counters = COUNTERS.map(([key, unit, description]) => {
      const options = { unit, description };
      return [key, meter.createObservableCounter(`jsonrpc.server.events.${key}`, options)] as const;
    });
    const observe = (result: BatchObservableResult): void => {
      const { events, ...now } = stats();
      for (const [key, gauge] of gauges) result.observe(gauge, now[key], attributes);
      for (const [key, counter] of counters) result.observe(counter, events[key], attributes);
    };
    const all: Observable[] = [...gauges, ...counters].map(([, instrument]) => instrument);
    meter.addBatchObservableCallback(observe, all);
    return () => meter.removeBatchObservableCallback(observe, all);
  });
}
