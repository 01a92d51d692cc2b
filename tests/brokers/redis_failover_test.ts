/**
 * Redis of several servers: one takes over from another, and topics move between them.
 */
import { assertEquals, assertRejects } from "@std/assert";
import { test } from "node:test";
import type { RedisSentinelOptions } from "redis";
import { redisBroker } from "@x/jsonrpc/redis";
import type { Broker } from "../../src/brokers/broker.ts";
import type { RunningEngine } from "../helpers/brokers/engine.ts";
import { sendCommand, startRedisCluster, startSentinels } from "../helpers/brokers/groups.ts";
import type { RedisCluster, SentinelGroup } from "../helpers/brokers/groups.ts";
import { brokerCases, dataOf, publishAll, Recorder } from "./broker_cases.ts";
import { engineProxy } from "../helpers/brokers/engine_proxy.ts";
import { until } from "../helpers/deferred.ts";
import { silentLog } from "../helpers/log.ts";
import type { Log } from "../helpers/log.ts";
import { needs } from "../helpers/needs.ts";

const redis = await needs("redis-server");

const KEEP = { size: 10_000, ageMs: Infinity };

/** A group of servers, and brokers of it that end with the test. */
interface Scene<Servers> {
  readonly group: Servers;
  readonly log: Log;
  broker(more?: Partial<RedisSentinelOptions>, publishTimeoutMs?: number): Broker;
}

async function withSentinels(use: (scene: Scene<SentinelGroup>) => Promise<void>): Promise<void> {
  await using group = await startSentinels();
  const { name, sentinels } = group;
  const sentinelRootNodes = sentinels.map(({ port }) => ({ host: "127.0.0.1", port }));
  const place = (more: Partial<RedisSentinelOptions>) => ({
    sentinel: { name, sentinelRootNodes, ...more },
  });
  await withBrokers(group, place, use);
}

async function withCluster(use: (scene: Scene<RedisCluster>) => Promise<void>): Promise<void> {
  await using group = await startRedisCluster();
  const cluster = { rootNodes: group.nodes.slice(0, 3).map(({ url }) => ({ url })) };
  await withBrokers(group, () => ({ cluster }), use);
}

async function withBrokers<Servers>(
  group: Servers,
  place: (more: Partial<RedisSentinelOptions>) => Parameters<typeof redisBroker>[0],
  use: (scene: Scene<Servers>) => Promise<void>,
): Promise<void> {
  const [log, brokers] = [silentLog(), [] as Broker[]];
  const broker = (more = {}, publishTimeoutMs = 20_000) => {
    const made = redisBroker({ ...place(more), logger: log, publishTimeoutMs });
    brokers.push(made);
    return made;
  };
  try {
    await use({ group, log, broker });
  } finally {
    for (const each of brokers) await each.close();
  }
}

function range(from: number, to: number): number[] {
  return Array.from({ length: to - from }, (_, index) => from + index);
}

/** Waits until the replicas of a master have all that it has. */
async function replicated(master: RunningEngine): Promise<void> {
  await until(async () => {
    const info = String(await sendCommand(master, "INFO", "replication"));
    const [, at] = /master_repl_offset:(\d+)/.exec(info) ?? [];
    return Array.from(info.matchAll(/,offset=(\d+)/g)).every(([, offset]) => offset === at);
  });
}

/** Makes sure that who hears a topic hears all of it, where a master is killed meanwhile. */
async function assertSurvives(
  { broker, log }: Scene<unknown>,
  victim: () => Promise<RunningEngine>,
): Promise<void> {
  const [publisher, other, recorder] = [
    broker(),
    broker(),
    [new Recorder(), new Recorder()] as const,
  ];
  const { position } = await publisher.subscribe("news", KEEP, recorder[0]);
  await other.subscribe("news", KEEP, recorder[1]);
  await publishAll(publisher, "news", range(0, 50), KEEP);
  const master = await victim();
  await replicated(master);
  await master.kill();
  await until(() => log.lines.filter((line) => line.startsWith("warn")).length >= 2);
  // Some of them wait for the new master, others come when it is there.
  const publishing: Promise<unknown>[] = [];
  for (let [n, rest] = [50, 50]; rest > 0; n++) {
    publishing.push(Promise.resolve(publisher.publish("news", `${n}`, KEEP)));
    if (recorder[0].events.length > 50) rest--;
    await new Promise((resolve) => setTimeout(resolve, 1));
  }
  await Promise.all(publishing);
  const all = range(0, 50 + publishing.length);
  for (const each of recorder) {
    await each.some(all.length);
    assertEquals([each.data, each.gaps], [all, []]);
  }
  const { complete, events } = await other.history("news", KEEP, { since: position });
  assertEquals([dataOf(events), complete], [all, true]);
}

/** Makes sure that all is received where the servers cut the connections that listen, and nothing else. */
async function assertHears(
  { broker }: Scene<unknown>,
  servers: readonly RunningEngine[],
): Promise<void> {
  const [listener, publisher, recorder] = [broker(), broker(), new Recorder()];
  const topics = range(0, 600).map((n) => `room.${n}`);
  await Promise.all(topics.map((topic) => listener.subscribe(topic, KEEP, recorder)));
  for (const round of [1, 2, 3]) {
    for (const server of servers) await sendCommand(server, "CLIENT", "KILL", "TYPE", "pubsub");
    await Promise.all(topics.map((topic) => publisher.publish(topic, `${round}`, KEEP)));
    await recorder.some(round * topics.length);
  }
  assertEquals([recorder.events.length, recorder.gaps], [3 * topics.length, []]);
}

test("redisBroker() does behind sentinels what it does with one server", redis, async () => {
  await withSentinels(async (scene) => {
    for (const { run } of brokerCases) await run(() => scene.broker());
    await assertHears(scene, [await scene.group.master()]);
  });
});

test("redisBroker() loses nothing when sentinels let a replica take over", redis, async () => {
  await withSentinels(async (scene) => {
    await assertSurvives(scene, () => scene.group.master());
  });
});

test(
  "redisBroker() publishes on when sentinels let a replica take over from a master that stays",
  redis,
  async () => {
    await withSentinels(async ({ broker, group }) => {
      const [publisher, recorder] = [broker({}, 8_000), new Recorder()];
      await publisher.subscribe("news", KEEP, recorder);
      const before = await group.master();
      const failures: string[] = [];
      const publish = async (data: string) => {
        try {
          await publisher.publish("news", data, KEEP);
        } catch (error) {
          failures.push((error as Error).message);
        }
      };
      await publish("0");
      await sendCommand(group.sentinels[0] as RunningEngine, "SENTINEL", "FAILOVER", "news");
      await until(async () => {
        await publish("1");
        // Whoever asks may be cut off as the others are.
        const info = await sendCommand(before, "INFO", "replication").catch(() => "");
        return /role:slave/.test(String(info));
      });
      for (let n = 0; n < 20; n++) await publish("2");
      await publish("3");
      await until(() => recorder.data.at(-1) === 3);
      // Only what was under way may have failed.
      assertEquals(failures.filter((why) => !why.includes("may have been published")), []);
    });
  },
);

test(
  "redisBroker() publishes once behind sentinels where the answer gets lost",
  redis,
  async () => {
    await withSentinels(async ({ broker, group }) => {
      const { port } = await group.master();
      await using wire = await engineProxy(port);
      const nodeAddressMap = { [`127.0.0.1:${port}`]: { host: "127.0.0.1", port: wire.port } };
      const [publisher, other, recorder] = [broker({ nodeAddressMap }), broker(), new Recorder()];
      await other.subscribe("news", KEEP, recorder);
      await publishAll(publisher, "news", [1], KEEP);
      wire.mute();
      const failure = assertRejects(
        async () => await publisher.publish("news", "2", KEEP),
        Error,
        "may have been published",
      );
      await recorder.some(2);
      await wire.break();
      await wire.mend();
      await failure;
      await publishAll(publisher, "news", [3], KEEP);
      await recorder.some(3);
      assertEquals(recorder.data, [1, 2, 3]);
    });
  },
);

test(
  "redisBroker() does with a cluster of masters what it does with one server",
  redis,
  async () => {
    await withCluster(async (scene) => {
      for (const { run } of brokerCases) await run(() => scene.broker());
      await assertHears(scene, scene.group.nodes);
    });
  },
);

test("redisBroker() loses nothing when a cluster's replica takes over", redis, async () => {
  await withCluster(async (scene) => {
    const [asked] = scene.group.nodes as [RunningEngine];
    await assertSurvives(scene, () => scene.group.masterOf("jsonrpc:{news}", asked));
  });
});

test(
  "redisBroker() loses nothing when a topic moves to another master of a cluster",
  redis,
  async () => {
    await withCluster(async ({ broker, group }) => {
      const [publisher, other, recorder] = [broker(), broker(), new Recorder()];
      const { position } = await other.subscribe("news", KEEP, recorder);
      let wanted = true;
      const publishing = (async () => {
        for (let n = 0; wanted; n++) await publishAll(publisher, "news", [n], KEEP);
      })();
      await recorder.some(50);
      await moveSlot(group, "jsonrpc:{news}");
      const { length } = recorder.events;
      await recorder.some(length + 50);
      wanted = false;
      await publishing;
      await publishAll(publisher, "news", ["last"], KEEP);
      await until(() => recorder.data.at(-1) === "last");
      const { complete, events } = await publisher.history("news", KEEP, { since: position });
      const whole = [...range(0, recorder.events.length - 1), "last"];
      assertEquals([recorder.data, recorder.gaps, dataOf(events), complete], [
        whole,
        [],
        whole,
        true,
      ]);
    });
  },
);

/** Moves all that has a key's slot from its master to another, in the order in which `redis-cli` does. */
async function moveSlot({ masterOf, nodes }: RedisCluster, key: string): Promise<void> {
  const [one, two, three] = nodes as [RunningEngine, RunningEngine, RunningEngine];
  const from = await masterOf(key, one);
  const to = from === one ? two : one;
  const slot = String(await sendCommand(one, "CLUSTER", "KEYSLOT", key));
  const ids = new Map<RunningEngine, string>();
  for (const node of [from, to]) ids.set(node, String(await sendCommand(node, "CLUSTER", "MYID")));
  await sendCommand(to, "CLUSTER", "SETSLOT", slot, "IMPORTING", ids.get(from) as string);
  await sendCommand(from, "CLUSTER", "SETSLOT", slot, "MIGRATING", ids.get(to) as string);
  const keys = await sendCommand(from, "CLUSTER", "GETKEYSINSLOT", slot, "10") as string[];
  assertEquals(keys.length, 2);
  // One by one: what is published meanwhile finds half of the topic here and half of it there.
  for (const each of keys) {
    await sendCommand(from, "MIGRATE", "127.0.0.1", String(to.port), each, "0", "5000");
  }
  for (const node of new Set([to, from, one, two, three])) {
    await sendCommand(node, "CLUSTER", "SETSLOT", slot, "NODE", ids.get(to) as string);
  }
}
