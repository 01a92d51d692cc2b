/**
 * A stream that somebody else edits or has made, and servers whose options differ.
 */
import { assertEquals, assertRejects } from "@std/assert";
import { test } from "node:test";
import { jetstreamManager } from "@nats-io/jetstream";
import type { JetStreamManager } from "@nats-io/jetstream";
import { headers } from "@nats-io/transport-node";
import type { NatsConnection } from "@nats-io/transport-node";
import { natsBroker } from "@x/jsonrpc/nats";
import type { NatsBrokerOptions } from "@x/jsonrpc/nats";
import type { Broker } from "../../src/brokers/broker.ts";
import { until } from "../helpers/deferred.ts";
import { silentLog } from "../helpers/log.ts";
import { needs } from "../helpers/needs.ts";
import { withNats } from "../helpers/brokers/with_engine.ts";
import { dataOf, publishAll, Recorder } from "./broker_cases.ts";

const nats = await needs("nats-server");

const KEEP = { size: 100, ageMs: Infinity };

/** One more broker on the same NATS. */
function brokerOn({ info }: NatsConnection, options: NatsBrokerOptions): Broker {
  return natsBroker({ servers: `127.0.0.1:${info?.port}`, logger: silentLog(), ...options });
}

/** Changes the stream as an operator does, past the broker. */
async function edit({ streams }: JetStreamManager, change: object): Promise<void> {
  const { config } = await streams.info("jsonrpc");
  await streams.update("jsonrpc", { ...config, ...change });
}

test(
  "natsBroker() is told of what a stream has dropped that keeps less for a while",
  nats,
  async () => {
    await withNats(async ({ broker, raw, another }) => {
      const manager = await jetstreamManager(raw);
      const { position: since, unsubscribe } = await broker.subscribe("news", KEEP, new Recorder());
      await unsubscribe();
      await edit(manager, { max_msgs_per_subject: 2 });
      await publishAll(broker, "news", [1, 2, 3, 4, 5], KEEP);
      assertEquals((await broker.history("news", KEEP, { since })).complete, false);
      // Another process lets the stream keep as much as before.
      const other = another();
      await other.publish("other", "1", KEEP);
      assertEquals((await manager.streams.info("jsonrpc")).config.max_msgs_per_subject, 101);
      for (const each of [broker, other]) {
        assertEquals((await each.history("news", KEEP, { since })).complete, false);
      }
      const { position: again } = await other.subscribe("quiet", KEEP, new Recorder());
      await publishAll(broker, "quiet", [1, 2, 3], KEEP);
      const { complete, events } = await broker.history("quiet", KEEP, { since: again });
      assertEquals([dataOf(events), complete], [[1, 2, 3], true]);
    });
  },
);

test("natsBroker() lets an edited stream keep again what its topics need", nats, async () => {
  await withNats(async ({ broker, raw }) => {
    const manager = await jetstreamManager(raw);
    await broker.subscribe("news", KEEP, new Recorder());
    await edit(manager, { max_msgs_per_subject: 2, duplicate_window: 1e9 });
    await until(async () => {
      await broker.history("news", KEEP, { limit: 1 });
      const { config } = await manager.streams.info("jsonrpc");
      return config.max_msgs_per_subject === 101 && config.duplicate_window === 40e9;
    });
  });
});

test("natsBroker() brings no events without their data from a stream of others", nats, async () => {
  await withNats(async ({ broker, raw }) => {
    const { streams } = await jetstreamManager(raw);
    const republish = { src: "jsonrpc.keep.>", dest: "jsonrpc.live.>", headers_only: true };
    await streams.add({ name: "jsonrpc", subjects: ["jsonrpc.keep.>"], republish });
    const recorder = new Recorder();
    const subscribing = async () => await broker.subscribe("news", KEEP, recorder);
    // Servers before 2.10 do not let anybody change that.
    if (/^2\.9\./.test(raw.info?.version ?? "")) {
      await assertRejects(subscribing, Error, "can not change RePublish");
      return;
    }
    await subscribing();
    await publishAll(broker, "news", [1, 2], KEEP);
    await recorder.some(2);
    assertEquals(recorder.data, [1, 2]);
  });
});

test(
  "natsBroker() lets a stream know again for long enough what a patient server sends again",
  nats,
  async () => {
    await withNats(async ({ raw, broker }) => {
      const { streams } = await jetstreamManager(raw);
      const windowSeconds = async () =>
        (await streams.info("jsonrpc")).config.duplicate_window / 1e9;
      const hasty = brokerOn(raw, { publishTimeoutMs: 1_000 });
      const patient = brokerOn(raw, { publishTimeoutMs: 120_000 });
      const veryPatient = brokerOn(raw, { publishTimeoutMs: 7 * 24 * 3_600_000 });
      try {
        await hasty.publish("a", "1", KEEP);
        assertEquals(await windowSeconds(), 30);
        await patient.publish("a", "2", KEEP);
        assertEquals(await windowSeconds(), 240);
        await broker.publish("a", "3", KEEP);
        assertEquals(await windowSeconds(), 240);
        await veryPatient.publish("a", "4", { size: 1, ageMs: 1_000 });
        assertEquals(await windowSeconds(), 24 * 3_600);
      } finally {
        for (const each of [hasty, patient, veryPatient]) await each.close();
      }
    });
  },
);

test("natsBroker() keeps events of a publisher whose clock is behind", nats, async () => {
  await withNats(async ({ broker, raw }) => {
    const keep = { size: 100, ageMs: 3_600_000 };
    const recorder = new Recorder();
    const { position: since } = await broker.subscribe("news", keep, recorder);
    await publishAll(broker, "news", [1], keep);
    const late = headers();
    late.set("Rpc-At", String(Date.now() - 2 * keep.ageMs));
    raw.publish("jsonrpc.keep.news", "2", { headers: late });
    await recorder.some(2);
    await publishAll(broker, "news", [3], keep);
    for (const query of [{ since }, { since, first: 10 }, { limit: 10 }]) {
      const { complete, events } = await broker.history("news", keep, query);
      assertEquals([dataOf(events), complete], [[1, 2, 3], true]);
    }
  });
});

test(
  "natsBroker() logs once that a stream is full, and once that it takes events again",
  nats,
  async () => {
    await withNats(async ({ broker, raw }) => {
      const manager = await jetstreamManager(raw);
      await broker.publish("news", "1", KEEP);
      await edit(manager, { discard: "new", max_msgs: 1 });
      const log = silentLog();
      const other = brokerOn(raw, { publishTimeoutMs: 20_000, logger: log });
      let asked = 0;
      raw.subscribe("jsonrpc.keep.news", { callback: () => void asked++ });
      await raw.flush();
      const publishing = publishAll(other, "news", [2, 3], KEEP);
      await until(() => asked > 4);
      await edit(manager, { max_msgs: -1 });
      const [second] = await publishing;
      assertEquals(second?.offset, 2);
      assertEquals(log.lines, [
        "warn: NATS is out of reach: maximum messages exceeded",
        "info: NATS is back",
      ]);
      await other.close();
    });
  },
);
