/**
 * Servers whose topics declare different options, and a Redis that is set so that it refuses or drops things.
 */
import { assertEquals } from "@std/assert";
import { test } from "node:test";
import { redisBroker } from "@x/jsonrpc/redis";
import type { Position } from "../../src/brokers/broker.ts";
import { until } from "../helpers/deferred.ts";
import { silentLog } from "../helpers/log.ts";
import { needs } from "../helpers/needs.ts";
import { withRedis } from "../helpers/brokers/with_engine.ts";
import { dataOf, publishAll, Recorder } from "./broker_cases.ts";

const redis = await needs("redis-server");

const KEEP = { size: 100, ageMs: Infinity };
const NOTHING = { size: 0, ageMs: 0 };

test(
  "redisBroker() takes events of a publisher that keeps none for a hole in history",
  redis,
  async () => {
    await withRedis(async ({ broker, another }) => {
      const recorder = new Recorder();
      await broker.subscribe("news", KEEP, recorder);
      const [since] = await publishAll(broker, "news", [0, 1], KEEP) as [Position];
      const [unkept] = await publishAll(another(), "news", [2], NOTHING) as [Position];
      // Nothing may look whole that ends before the event that is missing.
      assertEquals((await broker.history("news", KEEP, { limit: 5 })).events, []);
      const early = await broker.history("news", KEEP, { since, first: 10 });
      assertEquals([dataOf(early.events), early.complete], [[1], true]);
      const { complete } = await broker.history("news", KEEP, { since: early.reached, first: 10 });
      assertEquals(complete, false);
      await publishAll(broker, "news", [3, 4], KEEP);
      assertEquals(dataOf((await broker.history("news", KEEP, { limit: 5 })).events), [3, 4]);
      assertEquals((await broker.history("news", KEEP, { since })).complete, false);
      const page = await broker.history("news", KEEP, { since, first: 10 });
      assertEquals([dataOf(page.events), page.complete, page.reached], [[1], true, early.reached]);
      const rest = await broker.history("news", KEEP, { since: unkept });
      assertEquals([dataOf(rest.events), rest.complete], [[3, 4], true]);
      await recorder.some(5);
      assertEquals([recorder.data, recorder.gaps], [[0, 1, 2, 3, 4], []]);
    });
  },
);

for (
  const [name, refuse, allow] of [
    [
      "NOREPLICAS",
      ["CONFIG", "SET", "min-replicas-to-write", "1"],
      ["CONFIG", "SET", "min-replicas-to-write", "0"],
    ],
    ["READONLY", ["REPLICAOF", "127.0.0.1", "1"], ["REPLICAOF", "NO", "ONE"]],
  ] as const
) {
  test(
    `redisBroker() logs once that Redis refuses events with ${name}, and once that it is back`,
    redis,
    async () => {
      await withRedis(async ({ raw, url }) => {
        const log = silentLog();
        const broker = redisBroker({ url, logger: log, publishTimeoutMs: 20_000 });
        const recorder = new Recorder();
        await broker.subscribe("news", KEEP, recorder);
        await publishAll(broker, "news", [1], KEEP);
        await raw(...refuse);
        const publishing = publishAll(broker, "news", [2, 3], KEEP);
        await until(async () => {
          const errors = String(await raw("INFO", "errorstats"));
          return Number(new RegExp(`${name}:count=(\\d+)`).exec(errors)?.[1]) > 4;
        });
        await raw(...allow);
        await publishing;
        await recorder.some(3);
        assertEquals([recorder.data, recorder.gaps], [[1, 2, 3], []]);
        assertEquals(log.lines.map((line) => line.slice(0, 30)), [
          "warn: Redis is out of reach: " + name[0],
          "info: Redis is back",
        ]);
        await broker.close();
      });
    },
  );
}
