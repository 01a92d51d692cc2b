/**
 * Servers whose topics declare different options, and a Redis that is set so that it refuses or drops things.
 */
import { assert, assertEquals, assertRejects } from "@std/assert";
import { test } from "node:test";
import { redisBroker } from "@x/jsonrpc/redis";
import type { BrokerEvent, Position } from "../../src/brokers/broker.ts";
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

test(
  "redisBroker() tells of a gap, or rejects, where Redis evicts keys or has no memory left",
  redis,
  async () => {
    await withRedis(async ({ broker, another, raw }) => {
      const other = another();
      const topics = range(0, 20).map((n) => `topic.${n}`);
      const heard = new Map(topics.map((topic) => [topic, new Recorder()]));
      const sent = new Map(topics.map((topic) => [topic, [] as Sent[]]));
      for (const topic of topics) await other.subscribe(topic, KEEP, heard.get(topic) as Recorder);
      const used = Number(/used_memory:(\d+)/.exec(String(await raw("INFO", "memory")))?.[1]);
      await raw("CONFIG", "SET", "maxmemory", `${used + 400_000}`);
      await raw("CONFIG", "SET", "maxmemory-policy", "allkeys-lru");
      const text = "x".repeat(1_000);
      for (const n of range(0, 1_500)) {
        const topic = topics[n * 7 % topics.length] as string;
        const all = sent.get(topic) as Sent[];
        all.push({ n, position: await broker.publish(topic, JSON.stringify([n, text]), KEEP) });
        const from = n * 13 % all.length;
        const since = (all[from] as Sent).position;
        for (const more of [{}, { first: 3 }] as { first?: number }[]) {
          const { complete, events } = await other.history(topic, KEEP, { since, ...more });
          if (!complete) continue;
          const wanted = all.slice(from + 1, from + 1 + (more.first ?? Infinity)).map(({ n }) => n);
          assertEquals(numbersOf(events), wanted);
        }
      }
      const stats = String(await raw("INFO", "stats"));
      assert(Number(/evicted_keys:(\d+)/.exec(stats)?.[1]) > 10, stats);
      for (const [topic, { events, gaps }] of heard) {
        const all = (sent.get(topic) as Sent[]).map(({ n }) => n);
        await until(() =>
          events.at(-1)?.position.offset === sent.get(topic)?.at(-1)?.position.offset ||
          gaps.length > 0
        );
        const got = numbersOf(events);
        if (gaps.length === 0) assertEquals(got, all);
        assertEquals(got, all.filter((n) => got.includes(n)), "in order, and once");
      }
      await raw("CONFIG", "SET", "maxmemory-policy", "noeviction");
      await raw("CONFIG", "SET", "maxmemory", "1");
      await assertRejects(() => publishAll(broker, "topic.0", [0], KEEP), Error, "OOM");
    });
  },
);

interface Sent {
  readonly n: number;
  readonly position: Position;
}

function numbersOf(events: readonly BrokerEvent[]): number[] {
  return dataOf(events).map((data) => (data as [number])[0]);
}

function range(from: number, to: number): number[] {
  return Array.from({ length: to - from }, (_, n) => from + n);
}
