/**
 * What holds of a broker while its engine is out of reach, as cases for each broker that has an engine.
 */
import { assert, assertEquals, assertMatch, assertNotEquals, assertRejects } from "@std/assert";
import { connect, JsonRpc } from "@x/jsonrpc";
import { linkedSockets } from "@x/jsonrpc/testing";
import type { Broker, Position } from "../../src/brokers/broker.ts";
import { until } from "../helpers/deferred.ts";
import { silentLog } from "../helpers/log.ts";
import type { Log } from "../helpers/log.ts";
import { freePort } from "../helpers/ports.ts";
import { startEngine } from "../helpers/brokers/engine.ts";
import type { EngineName, RunningEngine } from "../helpers/brokers/engine.ts";
import { dataOf, newTopic, publishAll, Recorder } from "./broker_cases.ts";
import { engineProxy } from "../helpers/brokers/engine_proxy.ts";

/** How the cases make a broker. */
export interface BrokerMaker {
  readonly name: EngineName;
  make(port: number, logger: Log, publishTimeoutMs: number): Broker;
}

/** Something that holds. */
export interface FaultCase {
  readonly name: string;
  run(maker: BrokerMaker): Promise<void>;
}

/** All that holds. */
export const faultCases: FaultCase[] = [];

const KEEP = { size: 1000, ageMs: Infinity };
const SHORT = { size: 5, ageMs: Infinity };
const LONG_MS = 20_000;
const SHORT_MS = 300;
// Long enough to publish while other programs are busy.
const HASTY_MS = 1_000;

/** An engine, and brokers of it that end with the case. */
class Scene {
  readonly engine: RunningEngine;
  readonly log = silentLog();
  readonly #maker: BrokerMaker;
  readonly #brokers: Broker[] = [];

  constructor(maker: BrokerMaker, engine: RunningEngine) {
    this.#maker = maker;
    this.engine = engine;
  }

  broker(timeoutMs = LONG_MS, port = this.engine.port, log = this.log): Broker {
    const broker = this.#maker.make(port, log, timeoutMs);
    this.#brokers.push(broker);
    return broker;
  }

  async end(): Promise<void> {
    for (const broker of this.#brokers) await broker.close();
  }
}

function holds(name: string, run: (scene: Scene) => Promise<void>): void {
  faultCases.push({
    name,
    async run(maker) {
      await using engine = await startEngine(maker.name);
      const scene = new Scene(maker, engine);
      try {
        await run(scene);
      } finally {
        await scene.end();
      }
    },
  });
}

function range(from: number, to: number): number[] {
  return Array.from({ length: to - from }, (_, index) => from + index);
}

function levels(log: Log): string {
  return log.lines.map((line) => line.split(":")[0]).join(" ");
}

holds("an engine that is not there: all reject within their time, and say why", async (scene) => {
  const broker = scene.broker(SHORT_MS, await freePort());
  const attempts = {
    'Cannot publish to "a b"': () => broker.publish("a b", "1", KEEP),
    'Cannot subscribe to "a b"': () => broker.subscribe("a b", KEEP, new Recorder()),
    'Cannot read the history of "a b"': () => broker.history("a b", KEEP, {}),
  };
  for (const [start, attempt] of Object.entries(attempts)) {
    const { message } = await assertRejects(async () => await attempt(), Error, start);
    assertMatch(message, /: (?:Redis|NATS) is out of reach \(.*(?:ECONNREFUSED|refused|connect)/i);
  }
  assertEquals(levels(scene.log), "warn");
});

holds("close() ends what waits for an engine that is not there", async (scene) => {
  const broker = scene.broker(LONG_MS, await freePort());
  const publishing = assertRejects(
    async () => await broker.publish("a", "1", KEEP),
    Error,
    'Cannot publish to "a": the broker is closed',
  );
  await until(() => scene.log.lines.length > 0);
  await broker.close();
  await publishing;
  await assertRejects(async () => await broker.publish("a", "1", KEEP), Error, "closed");
  await assertRejects(
    async () => await broker.subscribe("a", KEEP, new Recorder()),
    Error,
    "closed",
  );
});

holds("killed and started with its data: publishing waits, and nothing is lost", async (scene) => {
  const [broker, topic, recorder] = [scene.broker(), newTopic(), new Recorder()];
  const { position } = await broker.subscribe(topic, KEEP, recorder);
  await publishAll(broker, topic, range(0, 10));
  await recorder.some(10);
  await scene.engine.kill();
  await until(() => levels(scene.log) === "warn");
  const waiting = range(10, 20).map((n) => broker.publish(topic, `${n}`, KEEP));
  await scene.engine.start("with its data");
  await Promise.all(waiting);
  await publishAll(broker, topic, range(20, 30));
  await recorder.some(30);
  assertEquals([recorder.data, recorder.gaps], [range(0, 30), []]);
  const history = await broker.history(topic, KEEP, { since: position });
  assertEquals([dataOf(history.events), history.complete], [range(0, 30), true]);
  assertEquals(levels(scene.log), "warn info");
});

holds("killed and started with its data: no gap in a topic without events", async (scene) => {
  const [broker, other, recorder] = [scene.broker(), scene.broker(), new Recorder()];
  const [topic, quiet] = [newTopic(), newTopic()];
  await broker.subscribe(topic, KEEP, recorder);
  const { position: since, unsubscribe } = await broker.subscribe(quiet, KEEP, new Recorder());
  await unsubscribe();
  await scene.engine.kill();
  await until(() => levels(scene.log).startsWith("warn"));
  await scene.engine.start("with its data");
  await publishAll(other, quiet, [1, 2]);
  await publishAll(other, topic, [1]);
  await recorder.some(1);
  const { complete, events } = await broker.history(quiet, KEEP, { since });
  assertEquals([recorder.data, recorder.gaps], [[1], []]);
  assertEquals([dataOf(events), complete], [[1, 2], true]);
});

holds("killed and started with its data: a late joiner gets the newest events", async (scene) => {
  const [topic, other] = [newTopic(), scene.broker()];
  const rpc = new JsonRpc({ broker: scene.broker(), logger: scene.log })
    .topic(topic, { history: { size: 100 } });
  const [near, far] = linkedSockets();
  rpc.attach(far);
  const client = await connect(near);
  await publishAll(other, topic, range(0, 60), { size: 100, ageMs: Infinity });
  await scene.engine.kill();
  await until(() => levels(scene.log).includes("warn"));
  const events: unknown[] = [];
  const joining = client.subscribe(topic, (n) => events.push(n), { last: 50 });
  await scene.engine.start("with its data");
  await joining;
  await publishAll(other, topic, range(60, 70), { size: 100, ageMs: Infinity });
  await until(() => events.length >= 60);
  assertEquals(events, range(10, 70));
  await client.close();
  await rpc.close();
});

holds("killed and started without its data: a gap, then all that is new", async (scene) => {
  const [broker, other, topic, recorder] = [
    scene.broker(),
    scene.broker(),
    newTopic(),
    new Recorder(),
  ];
  await broker.subscribe(topic, KEEP, recorder);
  const positions = await publishAll(broker, topic, range(0, 10));
  await recorder.some(10);
  await scene.engine.kill();
  await scene.engine.start("without its data");
  await until(() => recorder.gaps.length > 0);
  await publishAll(other, topic, range(10, 20));
  await recorder.some(20);
  assertEquals([recorder.data, recorder.gaps.length], [range(0, 20), 1]);
  assertNotEquals(recorder.gaps[0]?.epoch, positions[0]?.epoch);
  const since = positions.at(-1) as Position;
  assertEquals((await other.history(topic, KEEP, { since })).complete, false);
  const after = await other.history(topic, KEEP, { since: recorder.gaps[0] as Position });
  assertEquals([dataOf(after.events), after.complete], [range(10, 20), true]);
});

holds(
  "stopped for a while: publishing fails in time, and what is recorder goes on",
  async (scene) => {
    const [broker, hasty, topic] = [scene.broker(), scene.broker(HASTY_MS), newTopic()];
    const recorder = new Recorder();
    await broker.subscribe(topic, KEEP, recorder);
    await publishAll(hasty, topic, range(0, 10));
    await recorder.some(10);
    await scene.engine.freeze();
    try {
      const publish = async () => await hasty.publish(topic, '"late"', KEEP);
      const { message } = await assertRejects(publish, Error);
      assertMatch(
        message,
        new RegExp(`did not answer within ${HASTY_MS} ms; it may have been published$`),
      );
      // Nothing is sent from then on.
      assertMatch((await assertRejects(publish, Error)).message, /is out of reach \(.*\)$/);
      const patient = broker.publish(topic, "10", KEEP);
      scene.engine.thaw();
      await patient;
    } finally {
      scene.engine.thaw();
    }
    await until(() => levels(scene.log) === "warn info");
    await publishAll(hasty, topic, range(11, 20));
    await until(() => recorder.data.at(-1) === 19);
    // The first that was not answered may have been taken all the same, once.
    assert(recorder.data.filter((data) => data === "late").length <= 1);
    assertEquals(recorder.data.filter((data) => data !== "late"), range(0, 20));
    assertEquals(recorder.gaps, []);
  },
);

holds("a process that was cut off catches up from history, in order", async (scene) => {
  await using wire = await engineProxy(scene.engine.port);
  const [broker, other] = [scene.broker(LONG_MS, wire.port), scene.broker()];
  const topics = [newTopic(), newTopic()];
  const recorders = [new Recorder(), new Recorder()] as const;
  for (const [n, topic] of topics.entries()) {
    await broker.subscribe(topic, KEEP, recorders[n] as Recorder);
  }
  for (const topic of topics) await publishAll(other, topic, range(0, 5));
  for (const recorder of recorders) await recorder.some(5);
  for (let round = 1; round <= 3; round++) {
    await wire.break();
    // More than one page of history.
    const numbers = range(recorders[0].events.length, recorders[0].events.length + 300);
    for (const topic of topics) {
      await Promise.all(numbers.map((n) => other.publish(topic, `${n}`, KEEP)));
    }
    await wire.mend();
    for (const recorder of recorders) await recorder.some(numbers.length * round + 5);
    for (const recorder of recorders) {
      assertEquals(recorder.data, range(0, numbers.length * round + 5));
    }
  }
  for (const recorder of recorders) assertEquals(recorder.gaps, []);
});

holds("a process that was cut off for longer than history has a gap, no hole", async (scene) => {
  await using wire = await engineProxy(scene.engine.port);
  const [broker, other, topic] = [scene.broker(LONG_MS, wire.port), scene.broker(), newTopic()];
  const recorder = new Recorder();
  await broker.subscribe(topic, SHORT, recorder);
  await publishAll(other, topic, range(0, 5), SHORT);
  await recorder.some(5);
  await wire.break();
  const positions = await publishAll(other, topic, range(5, 500), SHORT);
  await wire.mend();
  await until(() => recorder.gaps.length > 0);
  await publishAll(other, topic, range(500, 510), SHORT);
  await recorder.some(15);
  assertEquals(recorder.data, [...range(0, 5), ...range(500, 510)]);
  assertEquals(recorder.gaps, positions.slice(-1));
});

holds("a process that was cut off publishes each event once, in order", async (scene) => {
  await using wire = await engineProxy(scene.engine.port);
  const [broker, other, topic] = [scene.broker(), scene.broker(LONG_MS, wire.port), newTopic()];
  const recorder = new Recorder();
  await broker.subscribe(topic, KEEP, recorder);
  await publishAll(other, topic, [0]);
  await wire.break();
  await until(() => levels(scene.log) === "warn");
  const waiting = range(1, 200).map((n) => other.publish(topic, `${n}`, KEEP));
  await wire.mend();
  const positions = await Promise.all(waiting);
  await recorder.some(200);
  assertEquals(recorder.data, range(0, 200));
  assertEquals(recorder.events.slice(1).map(({ position }) => position), positions);
});

holds("unsubscribing while the engine is away leaves nothing behind", async (scene) => {
  const [broker, topic, recorder] = [scene.broker(), newTopic(), new Recorder()];
  const subscription = await broker.subscribe(topic, KEEP, recorder);
  await scene.engine.kill();
  await until(() => scene.log.lines.length > 0);
  await subscription.unsubscribe();
  await scene.engine.start("with its data");
  await publishAll(broker, topic, range(0, 5));
  const again = new Recorder();
  await broker.subscribe(topic, KEEP, again);
  await publishAll(broker, topic, range(5, 10));
  await again.some(5);
  assertEquals([recorder.data, recorder.gaps, again.data], [[], [], range(5, 10)]);
});
