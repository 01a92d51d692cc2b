/**
 * Topics that have no event yet. Anybody may subscribe to any number of names: they must not fill the
 * store, and their positions must still lead to a right recovery or to `recovered: false`.
 */
import { assert, assertEquals, assertNotEquals, assertThrows } from "@std/assert";
import { test } from "node:test";
import { jetstreamManager } from "@nats-io/jetstream";
import type { NatsConnection } from "@nats-io/transport-node";
import { connect, JsonRpc } from "@x/jsonrpc";
import { redisBroker } from "@x/jsonrpc/redis";
import { memoryBroker } from "../../src/brokers/memory.ts";
import type { Broker, Retention } from "../../src/brokers/broker.ts";
import { withNats, withRedis } from "../helpers/brokers/with_engine.ts";
import { until } from "../helpers/deferred.ts";
import { silentLog } from "../helpers/log.ts";
import { needs } from "../helpers/needs.ts";
import { serveHere } from "../helpers/server.ts";
import { dataOf, publishAll, Recorder } from "./broker_cases.ts";

const redis = await needs("redis-server");
const nats = await needs("nats-server");

const KEEP: Retention = { size: 100, ageMs: Infinity };
const NAMES = 2_000;
const BATCH = 500;

/**
 * One stranger's socket subscribes to many names and leaves them, as fast as it can.
 *
 * @param look Looks at the store after that.
 */
async function stranger(broker: Broker, look: () => Promise<void>): Promise<void> {
  const rpc = new JsonRpc({ broker, logger: silentLog() });
  rpc.topic("kept.*", { history: { size: 100 }, retain: true });
  rpc.topic("plain.*", {});
  await using server = await serveHere(rpc);
  const client = await connect(server.ws);
  for (let from = 0; from < NAMES; from += BATCH) {
    const names = Array.from({ length: BATCH }, (_, n) => {
      return `${n % 2 ? "kept" : "plain"}.${from + n}`;
    });
    await client.call("subscribe", names);
    await client.call("unsubscribe", names);
  }
  await look();
  await client.close();
}

/** Waits until Redis holds no more than so many keys, and gives the longest expiry of one. */
async function longestExpiry(
  raw: (...command: string[]) => Promise<unknown>,
  most: number,
): Promise<number> {
  await until(async () => Number(await raw("DBSIZE")) <= most);
  const keys = await raw("KEYS", "*") as string[];
  assert(keys.length > 0, "those that were left last stay for a while");
  const expiries = await Promise.all(keys.map((key) => raw("PTTL", key)));
  assert(expiries.every((ms) => Number(ms) >= 0), `${expiries}`);
  return Math.max(...expiries.map(Number));
}

for (const kind of ["server", "cluster"] as const) {
  test(`redisBroker() keeps few of the names that strangers ask for (${kind})`, redis, async () => {
    await withRedis(async ({ raw, another }) => {
      await stranger(another({ maxIdleTopics: 50 }), async () => {
        assert(await longestExpiry(raw, 50) <= 10 * 60_000);
      });
    }, kind);
  });
}

test("redisBroker() lets the names of strangers expire within minutes", redis, async () => {
  await withRedis(async ({ broker, raw }) => {
    await stranger(broker, async () => {
      assert(await longestExpiry(raw, NAMES) <= 10 * 60_000);
      // What has an event is kept for as long as its topic says.
      await broker.publish("kept.1", "1", KEEP);
      assertEquals(await raw("PTTL", "jsonrpc:{kept.1}:place"), -1);
    });
  });
});

test("redisBroker() keeps the position of a topic whose name comes from code", redis, async () => {
  await withRedis(async ({ raw, another }) => {
    const broker = another({ maxIdleTopics: 0 });
    const { unsubscribe } = await broker.subscribe(
      "news",
      { ...KEEP, fixed: true },
      new Recorder(),
    );
    await unsubscribe();
    await broker.history("elsewhere", KEEP, {});
    await until(async () => `${await raw("KEYS", "*")}` === "jsonrpc:{news}:place");
    assertEquals(await raw("PTTL", "jsonrpc:{news}:place"), -1);
  });
});

test("natsBroker() keeps nothing of the names that strangers ask for", nats, async () => {
  await withNats(async ({ broker, raw }) => {
    await stranger(broker, async () => {
      const { messages, subjects } = await stateOf(raw);
      // One for all topics; another once the stream keeps more, or half a day later.
      assert(messages <= 3 && messages === subjects, `${messages} messages`);
    });
  });
});

async function stateOf(raw: NatsConnection): Promise<{ messages: number; subjects: number }> {
  const { state } = await (await jetstreamManager(raw)).streams.info("jsonrpc");
  return { messages: state.messages, subjects: state.num_subjects ?? 0 };
}

/** Subscribes to a name without events, leaves, and gives the position. */
async function visit(broker: Broker, topic: string, keep = KEEP) {
  const { position, unsubscribe } = await broker.subscribe(topic, keep, new Recorder());
  await unsubscribe();
  return position;
}

/** What must hold of the position of an empty topic, with a broker that forgets it and one that does not. */
async function assertRecovers(lasting: Broker, forgetful?: Broker): Promise<void> {
  const since = await visit(lasting, "lasting");
  await publishAll(lasting, "lasting", [1, 2], KEEP);
  const { complete, events } = await lasting.history("lasting", KEEP, { since });
  assertEquals([dataOf(events), complete], [[1, 2], true]);
  if (forgetful === undefined) return;
  const lost = await visit(forgetful, "forgotten");
  await forgetful.history("another", KEEP, {});
  await until(async () => {
    const { position } = await forgetful.history("forgotten", KEEP, { limit: 0 });
    return position.epoch !== lost.epoch;
  });
  const [first] = await publishAll(forgetful, "forgotten", [1], KEEP);
  assertNotEquals(first?.epoch, lost.epoch);
  const later = await forgetful.history("forgotten", KEEP, { since: lost });
  assertEquals(later.complete, false);
}

test("memoryBroker() recovers from the position of an empty topic, or says that it cannot", async () => {
  await assertRecovers(memoryBroker(), memoryBroker({ maxIdleTopics: 0 }));
});

for (const kind of ["server", "cluster"] as const) {
  test(
    `redisBroker() recovers from the position of an empty topic, or says that it cannot (${kind})`,
    redis,
    async () => {
      await withRedis(async ({ broker, another }) => {
        await assertRecovers(broker, another({ maxIdleTopics: 0 }));
      }, kind);
    },
  );
}

test("natsBroker() recovers from the position of an empty topic", nats, async () => {
  await withNats(async ({ broker }) => {
    await assertRecovers(broker);
  });
});

test(
  "redisBroker() recovers from an empty topic only as long as its key is there",
  redis,
  async () => {
    await withRedis(async ({ broker, raw }) => {
      const since = await visit(broker, "news");
      // As if it had expired, or Redis had evicted it.
      await raw("DEL", "jsonrpc:{news}:place");
      await publishAll(broker, "news", [1], KEEP);
      const { complete, position } = await broker.history("news", KEEP, { since });
      assertEquals([complete, position.epoch === since.epoch], [false, false]);
    });
  },
);

test(
  "redisBroker() never forgets an empty topic that another process listens to",
  redis,
  async () => {
    await withRedis(async ({ broker, raw, another }) => {
      const recorder = new Recorder();
      const { position } = await broker.subscribe("news", KEEP, recorder);
      const other = another({ maxIdleTopics: 0 });
      assertEquals(await visit(other, "news"), position);
      await visit(other, "elsewhere");
      await until(async () => `${await raw("KEYS", "*")}` === "jsonrpc:{news}:place");
      const fields = await raw("HKEYS", "jsonrpc:{news}:place") as string[];
      assertEquals(fields.filter((field) => field.startsWith("l:")).length, 1);
      const [first] = await publishAll(other, "news", [1], KEEP);
      await recorder.some(1);
      assertEquals([recorder.data, recorder.gaps, first?.epoch], [[1], [], position.epoch]);
      assertEquals((await raw("HKEYS", "jsonrpc:{news}:place") as string[]).toSorted(), [
        "epoch",
        "id",
        "offset",
      ]);
    });
  },
);

test(
  "natsBroker() says so if a topic without events has had more than NATS keeps",
  nats,
  async () => {
    await withNats(async ({ broker }) => {
      const keep = { size: 3, ageMs: Infinity };
      const names = ["just", "more", "many"] as const;
      const positions = await Promise.all(names.map((name) => visit(broker, name, keep)));
      const counts = [3, 4, 30];
      for (const [n, name] of names.entries()) {
        await publishAll(broker, name, Array(counts[n]).keys(), keep);
      }
      // The stream keeps more from now on, and proves nothing of what it has dropped before.
      const wide = { size: 100, ageMs: Infinity };
      await broker.publish("wide", "1", wide);
      for (const declared of [keep, wide]) {
        const found = await Promise.all(names.map(async (name, n) => {
          const since = positions[n] as typeof positions[0];
          const whole = await broker.history(name, declared, { since });
          const page = await broker.history(name, declared, { since, first: 2 });
          return [whole.complete, page.complete];
        }));
        assertEquals(found, [[true, true], [false, false], [false, false]]);
      }
    });
  },
);

test(
  "natsBroker() tells listeners of an empty topic that the stream was emptied",
  nats,
  async () => {
    await withNats(async ({ broker, raw }) => {
      const recorder = new Recorder();
      const { position } = await broker.subscribe("news", KEEP, recorder);
      const since = await visit(broker, "other");
      await (await jetstreamManager(raw)).streams.purge("jsonrpc");
      await publishAll(broker, "other", [1], KEEP);
      assertEquals((await broker.history("other", KEEP, { since })).complete, false);
      const emptied = await broker.history("news", KEEP, { since: position });
      assertEquals(emptied.complete, false);
      // The next position is one to rely on.
      const again = await visit(broker, "news");
      assertNotEquals(again, position);
      await publishAll(broker, "news", [2], KEEP);
      const { complete, events } = await broker.history("news", KEEP, { since: again });
      assertEquals([dataOf(events), complete], [[2], true]);
      await until(() => recorder.gaps.length + recorder.events.length > 0);
    });
  },
);

test(
  "natsBroker() takes the empty positions of a process that keeps more, and of one that keeps less",
  nats,
  async () => {
    await withNats(async ({ broker, another }) => {
      const [less, more] = [{ size: 3, ageMs: Infinity }, { size: 50, ageMs: Infinity }];
      const other = another();
      const early = await visit(broker, "news", less);
      const late = await visit(other, "news", more);
      assert(late.offset > early.offset);
      const quiet = await broker.history("news", less, { since: late });
      assertEquals([quiet.events, quiet.complete, quiet.position], [[], true, late]);
      const next = await other.history("news", more, { since: early });
      assertEquals([next.events, next.complete, next.position], [[], true, late]);
      await publishAll(broker, "news", [1, 2, 3], less);
      for (const [process, keep] of [[broker, less], [other, more]] as const) {
        for (const since of [early, late]) {
          const { complete, events } = await process.history("news", keep, { since });
          assertEquals([dataOf(events), complete], [[1, 2, 3], true]);
        }
      }
    });
  },
);

test("redisBroker() refuses a bound of idle topics that makes no sense", () => {
  for (const maxIdleTopics of [-1, 1.5, NaN, "1"] as number[]) {
    assertThrows(() => redisBroker({ maxIdleTopics }), RangeError, "Expected `maxIdleTopics`");
  }
});
