import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import { test } from "node:test";
import { jetstreamManager } from "@nats-io/jetstream";
import type { NatsConnection } from "@nats-io/transport-node";
import { natsBroker } from "@x/jsonrpc/nats";
import type { Position } from "../../src/brokers/broker.ts";
import { startEngine } from "../helpers/brokers/engine.ts";
import { engineProxy } from "../helpers/brokers/engine_proxy.ts";
import { withNats } from "../helpers/brokers/with_engine.ts";
import type { BrokerMaker } from "./fault_cases.ts";
import { dataOf, publishAll, Recorder } from "./broker_cases.ts";
import { assertRefused, assertWorks, testRemoteBroker } from "./remote_cases.ts";
import { selfSigned } from "../helpers/certificate.ts";
import { until } from "../helpers/deferred.ts";
import { silentLog } from "../helpers/log.ts";
import { needs } from "../helpers/needs.ts";

const nats = await needs("nats-server");
const natsAndOpenssl = await needs("nats-server", "openssl");

const maker: BrokerMaker = {
  name: "nats",
  make: (port, logger, publishTimeoutMs) =>
    natsBroker({ servers: `127.0.0.1:${port}`, logger, publishTimeoutMs }),
};

testRemoteBroker(maker, nats);

const KEEP = { size: 100, ageMs: Infinity };

test(
  "natsBroker() sends an event again that the server does not answer, and it comes once",
  nats,
  async () => {
    await using engine = await startEngine("nats");
    await using wire = await engineProxy(engine.port);
    // Much longer than this test may take.
    const broker = maker.make(wire.port, silentLog(), 600_000);
    const recorder = new Recorder();
    await broker.subscribe("news", KEEP, recorder);
    await publishAll(broker, "news", [1], KEEP);
    wire.drop(" jsonrpc.keep.news ");
    let isAcked = false;
    const publishing = publishAll(broker, "news", [2], KEEP).then(() => isAcked = true);
    publishing.catch(() => {}); // if the test fails before
    await until(() => isAcked);
    await publishAll(broker, "news", [3], KEEP);
    await recorder.some(3);
    assertEquals([recorder.data, recorder.gaps], [[1, 2, 3], []]);
    await broker.close();
  },
);

test(
  "natsBroker() has one connection, however many topics are subscribed to, and listens to no others",
  nats,
  async () => {
    await withNats(async ({ broker, raw, monitor }) => {
      const names = Array.from({ length: 10_000 }, (_, n) => `room.${n}`);
      const recorder = new Recorder();
      const subscriptions = await Promise.all(
        names.map((name) => broker.subscribe(name, KEEP, recorder)),
      );
      const others = async () => {
        const { connections } = await (await fetch(`${monitor}/connz?subs=1`)).json();
        return (connections as { name?: string; subscriptions_list?: string[] }[])
          .filter(({ name }) => name !== "the test");
      };
      const live = async () => {
        const [only] = await others();
        return only?.subscriptions_list?.filter((subject) => /\.live\./.test(subject)).length ?? 0;
      };
      assertEquals([(await others()).length, await live()], [1, names.length]);
      const { streams, consumers } = await (await fetch(`${monitor}/jsz`)).json();
      assertEquals([streams, consumers], [1, 0]);
      const some = names.filter((_, n) => n % 100 === 0);
      await Promise.all(some.map((name) => broker.publish(name, "0", KEEP)));
      await recorder.some(some.length);
      await Promise.all(subscriptions.map((subscription) => subscription.unsubscribe()));
      await until(async () => await live() === 0);
      await raw.flush();
    });
  },
);

test(
  "natsBroker() makes its stream again where it was deleted, and tells of a gap",
  nats,
  async () => {
    await withNats(async ({ broker, raw }) => {
      const recorder = new Recorder();
      const { position } = await broker.subscribe("news", KEEP, recorder);
      await publishAll(broker, "news", [1, 2, 3], KEEP);
      await recorder.some(3);
      await (await jetstreamManager(raw)).streams.delete("jsonrpc");
      await publishAll(broker, "news", [4, 5], KEEP);
      await until(() => recorder.gaps.length === 1);
      assertEquals((await broker.history("news", KEEP, { since: position })).complete, false);
      await publishAll(broker, "news", [6], KEEP);
      await until(() => recorder.data.at(-1) === 6);
    });
  },
);

test(
  "natsBroker() tells of a gap where others make its stream again, and is right from then on",
  nats,
  async () => {
    await withNats(async ({ broker, raw }) => {
      const recorder = new Recorder();
      await broker.subscribe("news", KEEP, recorder);
      const before = await publishAll(broker, "news", [1, 2, 3, 4, 5], KEEP);
      await recorder.some(5);
      await (await jetstreamManager(raw)).streams.delete("jsonrpc");
      const { port } = raw.info as { port: number };
      const other = natsBroker({ servers: `127.0.0.1:${port}`, logger: silentLog() });
      try {
        const elsewhere = await other.publish("other", "1", KEEP);
        // Its sequences begin anew, below those that were received: none may pass for an old one.
        const [first] = await publishAll(broker, "news", [6], KEEP);
        assertEquals([first?.epoch, first?.offset], [elsewhere.epoch, 2]);
        await until(() => recorder.gaps.length === 1);
        assertEquals(recorder.gaps, [first]);
        await publishAll(broker, "news", [7, 8], KEEP);
        await recorder.some(7);
        assertEquals([recorder.data, recorder.gaps.length], [[1, 2, 3, 4, 5, 7, 8], 1]);
        await publishAll(other, "news", [9, 10, 11, 12], KEEP);
        const since = before[2] as Position;
        assertEquals((await broker.history("news", KEEP, { since })).complete, false);
      } finally {
        await other.close();
      }
    });
  },
);

test(
  "natsBroker() never takes a position for one of a stream that others made again",
  nats,
  async () => {
    await withNats(async ({ broker, raw }) => {
      const [since] = await publishAll(broker, "news", [1, 2, 3], KEEP);
      await (await jetstreamManager(raw)).streams.delete("jsonrpc");
      const { port } = raw.info as { port: number };
      const other = natsBroker({ servers: `127.0.0.1:${port}`, logger: silentLog() });
      await publishAll(other, "news", [4, 5, 6, 7, 8], KEEP);
      const { complete, position } = await broker.history("news", KEEP, {
        since: since as Position,
      });
      const known = await other.history("news", KEEP, { limit: 0 });
      await other.close();
      assertEquals([complete, position], [false, known.position]);
    });
  },
);

test("natsBroker() keeps more where a topic asks for more, never less", nats, async () => {
  await withNats(async ({ broker, raw }) => {
    const { streams } = await jetstreamManager(raw);
    const limits = async () => {
      const { config } = await streams.info("jsonrpc");
      return [config.max_msgs_per_subject, config.max_age / 3_600_000_000_000];
    };
    await broker.publish("a", "1", { size: 3, ageMs: 1000 });
    assertEquals(await limits(), [4, 24]);
    await broker.publish("b", "1", { size: 50, ageMs: 48 * 3_600_000 });
    assertEquals(await limits(), [51, 48]);
    await broker.publish("a", "2", { size: 3, ageMs: 1000 });
    await broker.publish("c", "2", { size: 0, ageMs: Infinity });
    assertEquals(await limits(), [51, 48]);
    await publishAll(broker, "a", [3, 4, 5, 6], { size: 3, ageMs: Infinity });
    const { events } = await broker.history("a", { size: 3, ageMs: Infinity }, {});
    assertEquals([dataOf(events), await limits()], [[4, 5, 6], [51, 0]]);
  });
});

test(
  "natsBroker() reads history through the leader alone, and makes no consumer",
  nats,
  async () => {
    await withNats(async ({ broker, raw }) => {
      assertEquals((await broker.history("news", KEEP, { limit: 1 })).events, []);
      const positions = await publishAll(broker, "news", [1, 2, 3], KEEP);
      const made: string[] = [];
      raw.subscribe("$JS.API.CONSUMER.>", {
        callback: (_, { subject }) => void made.push(subject),
      });
      await raw.flush();
      const { events, complete, position } = await broker.history("news", KEEP, { limit: 1 });
      assertEquals([dataOf(events), complete, position], [[3], true, positions[2]]);
      assertEquals(events[0]?.position, position);
      await raw.flush();
      assertEquals(made, []);
      const short = await broker.history("news", KEEP, { since: positions[0] as Position });
      assertEquals([dataOf(short.events), short.complete], [[2, 3], true]);
      await raw.flush();
      assertEquals(made, []);
      const rest = Array.from({ length: 80 }, (_, n) => n + 4);
      await publishAll(broker, "news", rest, KEEP);
      const long = await broker.history("news", KEEP, { since: positions[2] as Position });
      assertEquals([dataOf(long.events), long.complete], [rest, true]);
      const some = await broker.history("news", KEEP, { limit: 20 });
      assertEquals(dataOf(some.events), rest.slice(-20));
      await raw.flush();
      assertEquals(made, []);
    });
  },
);

test("natsBroker() reads little more than the newest events that are asked for", nats, async () => {
  await withNats(async ({ broker, raw }) => {
    const keep = { size: 3_000, ageMs: Infinity };
    // Evenly, far apart, and first crowded and then far apart.
    const topics: Readonly<Record<string, (n: number) => boolean>> = {
      dense: (n) => n % 2 === 1,
      sparse: (n) => n % 100 === 0,
      crowded: (n) => n < 2_000 || n % 500 === 0,
    };
    const wanted = new Map(Object.keys(topics).map((topic) => [topic, [] as number[]]));
    for (let from = 0; from < 4_000; from += 200) {
      const publishing = range(from, from + 200).flatMap((n) =>
        Object.entries(topics).filter(([, has]) => has(n)).map(([topic]) => {
          wanted.get(topic)?.push(n);
          return broker.publish(topic, `${n}`, keep);
        })
      );
      await Promise.all(publishing);
    }
    let asked = 0;
    raw.subscribe("$JS.API.STREAM.MSG.GET.>", { callback: () => void asked++ });
    await raw.flush();
    for (const [topic, all] of wanted) {
      for (const limit of [1, 5, 20]) {
        asked = 0;
        const { complete, events } = await broker.history(topic, keep, { limit });
        await raw.flush();
        assertEquals([dataOf(events), complete], [all.slice(-limit), true]);
        assert(asked <= 40 * limit, `${topic}: ${asked} requests for ${limit}`);
        const since = (await broker.history(topic, keep, { limit: limit + 1 })).events[0]?.position;
        if (since === undefined) throw new Error("no event");
        const after = await broker.history(topic, keep, { since, limit });
        assertEquals([dataOf(after.events), after.complete], [all.slice(-limit), true]);
        const cut = await broker.history(topic, keep, { since, limit: limit - 1 });
        assertEquals(cut.complete, false);
      }
    }
    const { events } = await broker.history("crowded", keep, {});
    assertEquals(dataOf(events), wanted.get("crowded"));
  });
});

test("natsBroker() hears and keeps what others publish to a topic's subject", nats, async () => {
  await withNats(async ({ broker, raw }) => {
    const recorder = new Recorder();
    await broker.subscribe("news", KEEP, recorder);
    raw.publish("jsonrpc.keep.news", '"by hand"');
    await recorder.some(1);
    await publishAll(broker, "news", ["by broker"], KEEP);
    await recorder.some(2);
    assertEquals(recorder.data, ["by hand", "by broker"]);
    const { events } = await broker.history("news", KEEP, {});
    assertEquals(dataOf(events), recorder.data);
    for (const { at } of events) assertEquals(Math.abs(at - Date.now()) < 60_000, true);
  });
});

test("natsBroker() rejects what NATS does not take, and goes on", nats, async () => {
  await withNats(async ({ broker }) => {
    const long = JSON.stringify("x".repeat(2_000_000));
    const publish = async () => await broker.publish("news", long, KEEP);
    await assertRejects(publish, Error, 'Cannot publish to "news": ');
    assertEquals((await broker.publish("news", "1", KEEP)).offset, 1);
  });
});

/** Answers in place of the server what is published, in turn; a stream with `no_ack` answers nothing itself. */
async function answerPublishes(raw: NatsConnection, answers: readonly object[]): Promise<void> {
  const manager = await jetstreamManager(raw);
  await manager.streams.add({
    name: "jsonrpc",
    subjects: ["jsonrpc.keep.>"],
    republish: { src: "jsonrpc.keep.>", dest: "jsonrpc.live.>" },
    no_ack: true,
  });
  const rest = answers.values();
  raw.subscribe("jsonrpc.keep.>", {
    callback: (_error, message) => void message.respond(JSON.stringify(rest.next().value)),
  });
  await raw.flush();
}

test("natsBroker() tries again what a server of a cluster cannot take yet", nats, async () => {
  await withNats(async ({ broker, raw }) => {
    await answerPublishes(raw, [
      { error: { code: 503, description: "raft: not leader" } },
      { error: { code: 409, err_code: 10158, description: "duplicate message id is in process" } },
      { stream: "jsonrpc", seq: 7, duplicate: true },
    ]);
    assertEquals((await broker.publish("news", "1", KEEP)).offset, 7);
  });
});

test(
  "natsBroker() says whether the server may have taken what it did not confirm",
  nats,
  async () => {
    await withNats(async ({ broker, raw }) => {
      await answerPublishes(raw, [
        { error: { code: 503, err_code: 10077, description: "store is closed" } },
        { error: { code: 400, err_code: 10054, description: "message size exceeds maximum" } },
        { error: { code: 400, err_code: 10054, description: "message size exceeds maximum" } },
      ]);
      const publish = async () => await broker.publish("news", "1", KEEP);
      const first = await assertRejects(publish, Error);
      const second = await assertRejects(publish, Error);
      assertEquals([first.message, second.message], [
        'Cannot publish to "news": message size exceeds maximum; it may have been published',
        'Cannot publish to "news": message size exceeds maximum',
      ]);
    });
  },
);

test("natsBroker() gets in with a password, and never says it", nats, async () => {
  await using engine = await startEngine("nats", ["--user", "ada", "--pass", "s3cret-word"]);
  const log = silentLog();
  const servers = `127.0.0.1:${engine.port}`;
  const connection = { user: "ada", pass: "s3cret-word" };
  const broker = natsBroker({ servers, connection, logger: log });
  assertEquals((await broker.publish("a", "1", KEEP)).offset, 1);
  await broker.close();
  const wrong = { user: "ada", pass: "s3cret-sword" };
  const stranger = natsBroker({ servers, connection: wrong, logger: log, publishTimeoutMs: 500 });
  await assertRefused(
    stranger,
    log,
    /^Cannot publish to "a": NATS is out of reach \(.*Authorization/i,
  );
});

test(
  "natsBroker() reaches NATS through TLS, and no other than it trusts",
  natsAndOpenssl,
  async () => {
    await using certificate = await selfSigned();
    const { cert, certFile, keyFile } = certificate;
    const token = "s3cret-word";
    await using engine = await startEngine("nats", [
      ...["--tls", "--tlscert", certFile, "--tlskey", keyFile, "--auth", token],
    ]);
    const servers = `127.0.0.1:${engine.port}`;
    const logger = silentLog();
    const connection = { token, tls: { ca: cert } };
    await assertWorks(natsBroker({ servers, connection, logger }));
    const wary = natsBroker({ servers, connection: { token }, logger, publishTimeoutMs: 500 });
    await assertRejects(async () => await wary.publish("a", "1", KEEP), Error, "out of reach");
    await wary.close();
  },
);

test("natsBroker() passes on why NATS refuses", nats, async () => {
  await using engine = await startEngine("nats");
  const servers = `127.0.0.1:${engine.port}`;
  const broker = natsBroker({ servers, logger: silentLog(), replicas: 3, publishTimeoutMs: 2000 });
  // More replicas than servers: what the server answers is passed on.
  await assertRejects(async () => await broker.publish("a", "1", KEEP), Error, "Cannot publish");
  await broker.close();
});

test("natsBroker() throws where an option is none", () => {
  assertThrows(() => natsBroker({ stream: "a.b" }), TypeError, "Expected `stream`");
  assertThrows(() => natsBroker({ storage: "tape" as "file" }), TypeError, "Expected `storage`");
  assertThrows(() => natsBroker({ replicas: 0 }), RangeError, "Expected `replicas`");
  assertThrows(() => natsBroker({ publishTimeoutMs: -1 }), RangeError, "`publishTimeoutMs`");
});

function range(from: number, to: number): number[] {
  return Array.from({ length: to - from }, (_, index) => from + index);
}
