/**
 * The checker itself, and its short form against each store: the long one is `deno task bench:soak`.
 */
import { assert, assertEquals } from "@std/assert";
import { test } from "node:test";
import { checkRun } from "../helpers/brokers/check_run.ts";
import type { RunResult } from "../helpers/brokers/check_run.ts";
import { Log } from "../helpers/brokers/checker.ts";
import { startStore } from "../helpers/brokers/stores.ts";
import type { FaultName, StoreKind, StoreOptions } from "../helpers/brokers/stores.ts";
import { needs } from "../helpers/needs.ts";

test("Log.compare() finds what a listener missed, unless a gap was told there", () => {
  const log = new Log([0, 1, 2, 3, 4, 5]);
  const none = { silent: 0, twice: 0, disorder: 0, gaps: 0 };
  assertEquals(log.compare([0, 1, 2, 3, 4, 5]), none);
  assertEquals(log.compare([0, 1, 4, 5]), { ...none, silent: 2 });
  assertEquals(log.compare([1, 2, 3]), { ...none, silent: 3 });
  assertEquals(log.compare([0, "gap", 3, 4, 5]), { ...none, gaps: 1 });
  assertEquals(log.compare([0, 1, "gap"]), { ...none, gaps: 1 });
  assertEquals(log.compare(["gap", 0, 2, 3, 4, 5]), { ...none, gaps: 1, silent: 1 });
  // 9 is an event that the store has lost since.
  assertEquals(log.compare([0, 1, 9, 2, 3, 4, 5]), none);
});

test("Log.compare() finds what a listener received twice or out of order", () => {
  const log = new Log([0, 1, 2, 3]);
  const none = { silent: 0, twice: 0, disorder: 0, gaps: 0 };
  assertEquals(log.compare([0, 1, 1, 2, 3]), { ...none, twice: 1, disorder: 1 });
  assertEquals(log.compare([0, 2, 1, 3]), { ...none, silent: 1, disorder: 1 });
  // The store begins anew: what it had before may come again.
  assertEquals(log.compare([0, 1, "gap", "reset", 1, 2, 3]), { ...none, gaps: 1 });
});

test("Log.disorder() finds accepted events in another order than they were published", () => {
  const acked = new Map([0, 1, 2, 3].map((n) => [n, "acked"] as const));
  assertEquals(new Log([0, 1, 2, 3]).disorder(acked), 0);
  assertEquals(new Log([0, 2, 1, 3]).disorder(acked), 1);
  assertEquals(new Log([0, 1, 1, 2]).disorder(acked), 1);
  const [first, ...rest] = [...acked];
  assertEquals(new Log([1, 2, 0, 3]).disorder(new Map([...rest, [0, "uncertain"]])), 0);
  assert(first !== undefined);
});

/** Runs the checker, and fails if a listener was deceived. */
async function check(
  kind: StoreKind,
  faults: readonly FaultName[],
  options: StoreOptions = {},
): Promise<RunResult> {
  await using store = await startStore(kind, options);
  const result = await checkRun(store, { events: 2_000, faults });
  const { silent, twice, disorder, falseClaims, undead } = result;
  const found = { silent, twice, disorder, falseClaims, undead };
  assertEquals(found, { silent: 0, twice: 0, disorder: 0, falseClaims: 0, undead: 0 });
  return result;
}

const [redis, nats] = [await needs("redis-server"), await needs("nats-server")];

test("memoryBroker() passes the checker", async () => {
  const { gaps, lostByStore } = await check("memory", []);
  assertEquals([gaps, lostByStore], [0, 0]);
});

for (const [kind, need] of [["redis", redis], ["nats", nats]] as const) {
  test(`${kind} is killed twice: the checker finds nothing lost`, need, async () => {
    const { gaps, lostByStore } = await check(kind, ["kill", "kill"]);
    assertEquals([gaps, lostByStore], [0, 0]);
  });

  test(`${kind} stops for a while, then loses its data: gaps are told`, need, async () => {
    const { gaps } = await check(kind, ["freeze", "lose-data"]);
    assert(gaps > 0);
  });
}

test("a master behind Sentinel is killed: what its replicas lack is a gap", redis, async () => {
  const { gaps, lostByStore } = await check("redis-sentinel", ["kill"], { waitReplicas: 1 });
  assert(gaps > 0 || lostByStore === 0);
});

test("Redis promotes a replica that was cut off: listeners are told of gaps", redis, async () => {
  const { gaps, lostByStore } = await check("redis-sentinel", ["cut-off"]);
  assert(gaps > 0 && lostByStore > 0);
});

test("a master of a Redis Cluster is killed: the checker finds nothing lost", redis, async () => {
  await check("redis-cluster", ["kill"]);
});
