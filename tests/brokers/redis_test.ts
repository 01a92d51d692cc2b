import { assertEquals, assertRejects, assertThrows } from "@std/assert";
import { test } from "node:test";
import { redisBroker } from "@x/jsonrpc/redis";
import type { BrokerSubscription, Position } from "../../src/brokers/broker.ts";
import { startEngine } from "../helpers/brokers/engine.ts";
import { withRedis } from "../helpers/brokers/with_engine.ts";
import type { BrokerMaker } from "./fault_cases.ts";
import { dataOf, publishAll, Recorder } from "./broker_cases.ts";
import { assertRefused, assertWorks, testRemoteBroker } from "./remote_cases.ts";
import { selfSigned } from "../helpers/certificate.ts";
import { until } from "../helpers/deferred.ts";
import { silentLog } from "../helpers/log.ts";
import { freePort } from "../helpers/ports.ts";
import { needs } from "../helpers/needs.ts";

const redis = await needs("redis-server");
const redisAndOpenssl = await needs("redis-server", "openssl");

const maker: BrokerMaker = {
  name: "redis",
  make: (port, logger, publishTimeoutMs) =>
    redisBroker({ url: `redis://127.0.0.1:${port}`, logger, publishTimeoutMs }),
};

testRemoteBroker(maker, redis);

const KEEP = { size: 100, ageMs: Infinity };

test(
  "redisBroker() has two connections, however many topics are subscribed to, and listens to no others",
  redis,
  async () => {
    await withRedis(async ({ broker, raw }) => {
      const names = Array.from({ length: 10_000 }, (_, n) => `room.${n}`);
      const recorder = new Recorder();
      const subscriptions = await Promise.all(
        names.map((name) => broker.subscribe(name, KEEP, recorder)),
      );
      const channels = async () => (await raw("PUBSUB", "CHANNELS") as string[]).length;
      assertEquals(await channels(), names.length);
      const clients = String(await raw("CLIENT", "LIST")).trim().split("\n");
      assertEquals(clients.length, 3, "one of them is the test's");
      const some = names.filter((_, n) => n % 100 === 0);
      await Promise.all(some.map((name) => broker.publish(name, "0", KEEP)));
      await recorder.some(some.length);
      // All of them catch up after an outage, what was not received meanwhile included.
      await raw("CLIENT", "KILL", "TYPE", "pubsub");
      await publishAll(broker, "room.77", [1, 2, 3], KEEP);
      await recorder.some(some.length + 3);
      assertEquals([recorder.data.slice(-3), recorder.gaps], [[1, 2, 3], []]);
      await Promise.all(
        subscriptions.map((subscription: BrokerSubscription) => subscription.unsubscribe()),
      );
      await until(async () => await channels() === 0);
    });
  },
);

test(
  "redisBroker() takes what Redis has lost of its newest events for a gap, never for a whole",
  redis,
  async () => {
    await withRedis(async ({ broker, raw }) => {
      const recorder = new Recorder();
      await broker.subscribe("news", KEEP, recorder);
      const positions = await publishAll(broker, "news", [1, 2, 3, 4], KEEP);
      await recorder.some(4);
      // As after a crash, or where a replica takes over that was behind.
      const [, kept, ...lost] = positions as [Position, Position, ...Position[]];
      const { id, offset } = kept as Required<Position>;
      await raw("HSET", "jsonrpc:{news}:place", "offset", `${offset}`, "id", id);
      for (const { offset } of lost) await raw("XDEL", "jsonrpc:{news}:events", `${offset}-0`);
      await publishAll(broker, "news", [5, 6], KEEP);
      await until(() => recorder.gaps.length === 1);
      for (const [n, since] of positions.entries()) {
        const { complete, events } = await broker.history("news", KEEP, { since });
        assertEquals(complete, n < 2);
        if (complete) assertEquals(dataOf(events), [2, 5, 6].slice(n));
      }
      await publishAll(broker, "news", [7], KEEP);
      await until(() => recorder.data.at(-1) === 7);
      assertEquals(recorder.gaps.length, 1);
    });
  },
);

test(
  "redisBroker() tells of a gap if a replica whose clock is behind gives lost offsets again",
  redis,
  async () => {
    await withRedis(async ({ broker, raw }) => {
      const [place, events] = ["jsonrpc:{news}:place", "jsonrpc:{news}:events"];
      const recorder = new Recorder();
      await publishAll(broker, "news", [0], KEEP);
      // The master's clock is an hour ahead: its offsets grow by one.
      await raw("HSET", place, "offset", `${(Date.now() + 3_600_000) * 1000}`);
      await raw("DEL", events);
      await broker.subscribe("news", KEEP, recorder);
      const positions = await publishAll(broker, "news", [1, 2, 3, 4], KEEP);
      await recorder.some(4);
      const [kept, ...lost] = positions as [Required<Position>, ...Position[]];
      // The replica has the first of them only.
      const [[, fields]] = await raw("XRANGE", events, "-", "+") as [[string, string[]]];
      await raw("DEL", events);
      await raw("XADD", events, `${kept.offset}-0`, ...fields);
      await raw("HSET", place, "offset", `${kept.offset}`, "id", kept.id);
      const again = await publishAll(broker, "news", [5, 6, 7], KEEP);
      assertEquals(again.map(({ offset }) => offset), lost.map(({ offset }) => offset));
      await until(() => recorder.gaps.length === 1);
      const told = again.findIndex(({ offset }) => offset === recorder.gaps[0]?.offset);
      assertEquals(recorder.gaps, [again[told]]);
      for (const since of lost) {
        assertEquals((await broker.history("news", KEEP, { since })).complete, false);
      }
      const { complete, events: rest } = await broker.history("news", KEEP, { since: kept });
      assertEquals([dataOf(rest), complete], [[5, 6, 7], true]);
      await publishAll(broker, "news", [8], KEEP);
      await until(() => recorder.data.at(-1) === 8);
      assertEquals(recorder.data, [1, 2, 3, 4, ...[5, 6, 7].slice(told + 1), 8]);
      assertEquals(recorder.gaps.length, 1);
    });
  },
);

test("redisBroker() begins anew with what an older version has kept", redis, async () => {
  await withRedis(async ({ broker, raw }) => {
    await raw("HSET", "jsonrpc:{news}:place", "epoch", "old", "offset", "5");
    await raw("XADD", "jsonrpc:{news}:events", "5-0", "p", "4", "d", "1");
    await publishAll(broker, "news", [2], KEEP);
    const since = { epoch: "old", offset: 5 };
    const { complete, events } = await broker.history("news", KEEP, { since });
    assertEquals([dataOf(events), complete], [[2], false]);
  });
});

test("redisBroker() tells of a gap when Redis is emptied under it", redis, async () => {
  await withRedis(async ({ broker, raw }) => {
    const recorder = new Recorder();
    await broker.subscribe("news", KEEP, recorder);
    await publishAll(broker, "news", [1, 2], KEEP);
    await recorder.some(2);
    await raw("FLUSHALL");
    await raw("SCRIPT", "FLUSH");
    await publishAll(broker, "news", [3, 4], KEEP);
    await until(() => recorder.gaps.length === 1);
    await publishAll(broker, "news", [5], KEEP);
    await until(() => recorder.data.at(-1) === 5);
  });
});

test(
  "redisBroker() leaves nothing in Redis for ever that a topic does not keep for ever",
  redis,
  async () => {
    await withRedis(async ({ broker, raw }) => {
      const day = 24 * 60 * 60 * 1000;
      await broker.publish("none", "1", { size: 0, ageMs: Infinity });
      await broker.publish("hour", "1", { size: 5, ageMs: 3_600_000 });
      await broker.publish("week", "1", { size: 5, ageMs: 7 * day });
      await broker.publish("ever", "1", KEEP);
      const days: Record<string, number> = {};
      for (const key of (await raw("KEYS", "*") as string[]).toSorted()) {
        const restMs = Number(await raw("PTTL", key));
        days[key.slice("jsonrpc:".length)] = restMs < 0 ? restMs : Math.ceil(restMs / day);
      }
      assertEquals(days, {
        "{ever}:events": -1,
        "{ever}:place": -1,
        "{hour}:events": 1,
        "{hour}:place": 1,
        "{none}:place": 1,
        "{week}:events": 7,
        "{week}:place": 14,
      });
    });
  },
);

test("redisBroker() gets in with a password, and never says it", redis, async () => {
  await using engine = await startEngine("redis", ["--requirepass", "s3cret-word"]);
  const log = silentLog();
  const place = engine.url.replace("//", "//default:s3cret-word@");
  const broker = redisBroker({ url: place, logger: log });
  assertEquals((await broker.publish("a", "1", KEEP)).offset > 0, true);
  await broker.close();
  const socket = { host: "127.0.0.1", port: engine.port };
  const other = redisBroker({ client: { password: "s3cret-word", socket }, logger: log });
  assertEquals(dataOf((await other.history("a", KEEP, {})).events), [1]);
  await other.close();
  const stranger = redisBroker({
    url: place.replace("word", "sword"),
    logger: log,
    publishTimeoutMs: 500,
  });
  await assertRefused(
    stranger,
    log,
    /^Cannot publish to "a": Redis is out of reach \(.*WRONGPASS/,
  );
});

test("redisBroker() gets in as a user that may do no more than it has to", redis, async () => {
  const may = ["+@scripting", "+@hash", "+@stream", "+@pubsub", "+@connection", "+time"];
  may.push("+pexpire", "+pttl", "+persist");
  await using engine = await startEngine("redis", [
    ...["--user", "ada", "on", ">s3cret-word", "~jsonrpc:*", "&jsonrpc:*", ...may],
    ...["--user", "default", "off"],
  ]);
  const url = engine.url.replace("//", "//ada:s3cret-word@");
  await assertWorks(redisBroker({ url, logger: silentLog() }));
  const other = redisBroker({ url, prefix: "other:", logger: silentLog() });
  await assertRejects(async () => await other.publish("a", "1", KEEP), Error, "NOPERM");
  await other.close();
});

test(
  "redisBroker() reaches Redis through TLS, and no other than it trusts",
  redisAndOpenssl,
  async () => {
    await using certificate = await selfSigned();
    const port = await freePort();
    const { cert, certFile, keyFile } = certificate;
    await using _engine = await startEngine("redis", [
      ...["--tls-port", String(port), "--tls-cert-file", certFile, "--tls-key-file", keyFile],
      ...["--tls-auth-clients", "no"],
    ]);
    const url = `rediss://127.0.0.1:${port}`;
    await assertWorks(
      redisBroker({ url, client: { socket: { tls: true, ca: cert } }, logger: silentLog() }),
    );
    const wary = redisBroker({ url, logger: silentLog(), publishTimeoutMs: 500 });
    await assertRejects(async () => await wary.publish("a", "1", KEEP), Error, "out of reach");
    await wary.close();
  },
);

test("redisBroker() works with a cluster of Redis", redis, async () => {
  await withRedis(async ({ url, raw, another }) => {
    await assertWorks(another());
    const cluster = { rootNodes: [{ url }] };
    const broker = redisBroker({ cluster, logger: silentLog(), publishTimeoutMs: 20_000 });
    const recorder = new Recorder();
    const topics = Array.from({ length: 20 }, (_, n) => `room.${n}`);
    await Promise.all(topics.map((topic) => broker.subscribe(topic, KEEP, recorder)));
    for (const topic of topics) await broker.publish(topic, "1", KEEP);
    await recorder.some(topics.length);
    // What was not received meanwhile is caught up with.
    await raw("CLIENT", "KILL", "TYPE", "pubsub");
    for (const topic of topics) await broker.publish(topic, "2", KEEP);
    await recorder.some(2 * topics.length);
    await broker.close();
    assertEquals([recorder.events.length, recorder.gaps], [2 * topics.length, []]);
  }, "cluster");
});

test(
  "redisBroker() keeps what has another prefix apart, and does not write to its options",
  redis,
  async () => {
    await using engine = await startEngine("redis");
    const logger = silentLog();
    const brokers = ["one:", "two:"].map((prefix) =>
      redisBroker(Object.freeze({ prefix, url: engine.url, client: Object.freeze({}), logger }))
    );
    for (const [n, broker] of brokers.entries()) await broker.publish("a", `${n}`, KEEP);
    for (const [n, broker] of brokers.entries()) {
      assertEquals(dataOf((await broker.history("a", KEEP, {})).events), [n]);
      await broker.close();
    }
  },
);

test("redisBroker() throws where an option is none", () => {
  assertThrows(() => redisBroker({ url: "http://x:s3cret@y" }), TypeError, "redis:, rediss:");
  assertThrows(() => redisBroker({ prefix: "{a}" }), TypeError, "Expected `prefix`");
  assertThrows(() => redisBroker({ publishTimeoutMs: 0 }), RangeError, "`publishTimeoutMs`");
  const both = { url: "redis://127.0.0.1", cluster: { rootNodes: [] } };
  assertThrows(() => redisBroker(both), TypeError, "got `url` and `cluster`");
});
