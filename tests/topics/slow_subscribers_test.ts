import { assert, assertEquals, assertStringIncludes, assertThrows } from "@std/assert";
import { test } from "node:test";
import { JsonRpc } from "@x/jsonrpc";
import type { Connection, JsonRpcOptions, TopicOptions } from "@x/jsonrpc";
import type { SlowConsumer } from "../../src/topics/options.ts";
import { linkedSockets } from "@x/jsonrpc/testing";
import { LateBroker, turn } from "../helpers/brokers/late_broker.ts";
import { deferred, quietMoment, until } from "../helpers/deferred.ts";
import { silentLog } from "../helpers/log.ts";
import { bareClient, WirePeer } from "../helpers/wire.ts";
import type { WireMessage } from "../helpers/wire.ts";

const MARK = 1000;

/** A bare client whose peer can be made to believe that it does not read. */
class SlowWire extends WirePeer {
  readonly connection: Connection;
  readonly #far: { bufferedAmount: number };

  constructor(rpc: JsonRpc) {
    const [near, far] = linkedSockets();
    super(near);
    this.#far = far;
    rpc.attach(far);
    this.connection = [...rpc.connections].at(-1) as Connection;
  }

  /** Bytes that it leaves unread. */
  set unread(bytes: number) {
    this.#far.bufferedAmount = bytes;
  }

  /** Subscribes, plainly or with `recover`. */
  async subscribe(topic: string, recover = false): Promise<void> {
    this.call("s", "subscribe", recover ? { topics: [topic], recover } : [topic]);
    assertEquals((await this.next()).error, undefined);
  }

  /** The data of the events that came, or "gap". */
  get data(): unknown[] {
    return this.received.map((text) => JSON.parse(text) as WireMessage)
      .filter(({ method }) => method !== undefined)
      .map(({ method, params }) => {
        if (method !== "rpc.message") return params;
        const { gap, data } = params as { gap?: true; data?: unknown };
        return gap ? "gap" : data;
      });
  }
}

function serverOf(
  slowConsumer: SlowConsumer,
  more: TopicOptions = {},
  options: JsonRpcOptions = {},
) {
  const dropped: [topic: string, count: number][] = [];
  const rpc = new JsonRpc({ maxBufferedBytes: 2 * MARK, logger: silentLog(), ...options })
    .use({ name: "test", onDrop: (_connection, topic, count) => void dropped.push([topic, count]) })
    .topic("a", { slowConsumer, ...more })
    .topic("b", { slowConsumer, ...more });
  return { rpc: rpc as unknown as JsonRpc, dropped };
}

function publish(rpc: JsonRpc, topic: string, from: number, to: number): void {
  for (let n = from; n < to; n++) rpc.publish(topic as never, n as never);
}

function range(from: number, to: number): number[] {
  return Array.from({ length: to - from }, (_, index) => from + index);
}

test("slowConsumer: close sends on, and closes with 1013 past maxBufferedBytes", async () => {
  const { rpc } = serverOf("close");
  const wire = new SlowWire(rpc);
  const other = bareClient(rpc);
  await wire.subscribe("a");
  other.call(1, "subscribe", ["a"]);
  await other.next();
  wire.unread = MARK + 1;
  publish(rpc, "a", 0, 3);
  await quietMoment();
  assertEquals(wire.data, [0, 1, 2]);
  wire.unread = 2 * MARK + 1;
  publish(rpc, "a", 3, 6);
  assert(!wire.connection.isOpen);
  assertEquals((await other.some(6)).map(({ params }) => params), range(0, 6));
  assertEquals([rpc.connections.size, wire.connection.dropped], [1, 0]);
  other.close();
});

const HELD: Readonly<Record<string, (sent: number) => number[]>> = {
  "drop-oldest": (sent) => range(sent - 64, sent),
  "drop-newest": () => range(0, 64),
  latest: (sent) => [sent - 1],
};

for (
  const [slowConsumer, expected] of Object.entries(HELD) as [
    SlowConsumer,
    (sent: number) => number[],
  ][]
) {
  test(`slowConsumer: ${slowConsumer} holds events back until the peer reads, and counts what it drops`, async () => {
    const { rpc, dropped } = serverOf(slowConsumer);
    const wire = new SlowWire(rpc);
    const other = bareClient(rpc);
    await wire.subscribe("a");
    await wire.subscribe("b");
    other.call(1, "subscribe", ["a", "b"]);
    await other.next();
    publish(rpc, "a", -2, 0);
    wire.unread = MARK;
    publish(rpc, "a", 0, 100);
    publish(rpc, "b", 0, 1);
    await quietMoment();
    assertEquals(wire.data, [-2, -1]);
    const kept = expected(100);
    assertEquals(wire.connection.dropped, 100 - kept.length);
    assertEquals(new Set(dropped.map(([topic]) => topic)), new Set(["a"]));
    assertEquals(dropped.reduce((sum, [, count]) => sum + count, 0), 100 - kept.length);
    wire.unread = MARK - 1;
    await until(() => wire.data.length === 3 + kept.length);
    publish(rpc, "a", 100, 102);
    await quietMoment();
    const all = wire.data;
    // Order holds within a topic: the one event of `b` is anywhere.
    assertEquals(all.slice(0, 2), [-2, -1]);
    assertEquals(all.slice(-2), [100, 101]);
    const between = all.slice(2, -2) as number[];
    between.splice(
      slowConsumer === "drop-newest" || slowConsumer === "latest"
        ? between.lastIndexOf(0)
        : between.indexOf(0),
      1,
    );
    assertEquals(between, kept);
    assertEquals((await other.some(105)).length, 105);
    assertEquals([...rpc.connections].at(-1)?.dropped, 0);
    wire.close();
    other.close();
    await rpc.close();
  });
}

test("slowConsumer: what is held back for one connection is bounded in bytes, over all its topics", async () => {
  const { rpc } = serverOf("drop-oldest");
  const wire = new SlowWire(rpc);
  await wire.subscribe("a");
  await wire.subscribe("b");
  wire.unread = MARK;
  const text = "x".repeat(300);
  for (const topic of ["a", "b", "a", "b", "a", "b"]) rpc.publish(topic as never, text as never);
  // Of 1,000 bytes there is room for three; the fourth takes the place of another of its topic.
  assertEquals(wire.connection.dropped, 3);
  wire.unread = 0;
  await until(() => wire.data.length === 3);
  // And nothing is held back for ever: it holds again as before.
  wire.unread = MARK;
  for (const topic of ["a", "b", "a"]) rpc.publish(topic as never, text as never);
  assertEquals(wire.connection.dropped, 3);
  wire.close();
  await rpc.close();
});

test("slowConsumer: drop-oldest makes as much room as the newest event needs, and no more", async () => {
  const { rpc, dropped } = serverOf("drop-oldest");
  const wire = new SlowWire(rpc);
  await wire.subscribe("a");
  wire.unread = MARK;
  publish(rpc, "a", 0, 10);
  const long = range(0, 10).map((n) => `${n}`.repeat(0.4 * MARK - 2));
  for (const each of long.slice(0, 2)) rpc.publish("a" as never, each as never);
  publish(rpc, "a", 0, 10);
  assertEquals(dropped, []);
  for (const each of long.slice(2)) rpc.publish("a" as never, each as never);
  wire.unread = 0;
  await until(() => wire.data.includes(long[9]));
  assertEquals(wire.data, long.slice(8));
  assertEquals(wire.connection.dropped, 28);
  // 118 characters and 902 are 20 too many: ten of one and five of two have to go.
  wire.unread = MARK;
  publish(rpc, "a", 0, 64);
  rpc.publish("a" as never, "x".repeat(0.9 * MARK) as never);
  assertEquals(wire.connection.dropped, 28 + 15);
  wire.close();
  await rpc.close();
});

for (const recover of [false, true]) {
  test(`subscribe loses nothing while its answer is held back, ${recover ? "with" : "without"} recover`, async () => {
    const held = deferred();
    const rpc = new JsonRpc({ maxBufferedBytes: 40_000 }).topic("a").use(async (_request, next) => {
      const result = next();
      await held.promise;
      return result;
    });
    const wire = bareClient(rpc);
    wire.call(1, "subscribe", { topics: ["a"], recover });
    await quietMoment();
    for (let n = 0; n < 500; n++) rpc.publish("a", n);
    held.resolve();
    const data = (await wire.some(501)).slice(1)
      .map(({ params }) => recover ? (params as { data: number }).data : params);
    assertEquals(data, Array.from({ length: 500 }, (_, n) => n));
    wire.close();
  });
}

test("subscribe whose answer is held back for long is told of a gap, and costs bounded memory", async () => {
  const held = deferred();
  const rpc = new JsonRpc({ maxBufferedBytes: 400_000 }).topic("a").use(async (_request, next) => {
    const result = next();
    await held.promise;
    return result;
  });
  const wire = bareClient(rpc);
  wire.call(1, "subscribe", { topics: ["a"], recover: true });
  await quietMoment();
  for (let n = 0; n < 500; n++) rpc.publish("a", "x".repeat(1000));
  held.resolve();
  let gap = 0;
  const isGap = ({ params }: WireMessage) => (params as { gap?: boolean } | undefined)?.gap;
  while (!isGap(await wire.next())) gap++;
  assert(gap > 64 && gap <= 201, `after ${gap}`);
  wire.close();
});

const RECOVERERS: Readonly<Record<string, () => JsonRpcOptions>> = {
  "in memory": () => ({}),
  "on a broker that takes its time": () => ({ broker: new LateBroker() }),
};

for (const [where, options] of Object.entries(RECOVERERS)) {
  for (const slowConsumer of ["drop-oldest", "drop-newest", "latest"] as const) {
    test(`slowConsumer: ${slowConsumer} loses nothing of what a recovering subscriber can still be given, ${where}`, async () => {
      const { rpc, dropped } = serverOf(slowConsumer, { history: { size: 1000 } }, options());
      const wire = new SlowWire(rpc);
      await wire.subscribe("a", true);
      wire.unread = MARK;
      const published: Promise<string>[] = [];
      for (let n = 0; n < 500; n++) published.push(rpc.publish("a" as never, n as never).position);
      await Promise.all(published);
      await turn();
      assertEquals(wire.data, []);
      wire.unread = 0;
      await until(() => wire.data.length === 500);
      publish(rpc, "a", 500, 510);
      await until(() => wire.data.length === 510);
      assertEquals(wire.data, range(0, 510));
      assertEquals([wire.connection.dropped, dropped], [0, []]);
      wire.close();
      await rpc.close();
    });
  }

  test(`a slow recovering subscriber is told where history no longer reaches, ${where}`, async () => {
    const { rpc, dropped } = serverOf("drop-oldest", { history: { size: 10 } }, options());
    const wire = new SlowWire(rpc);
    await wire.subscribe("a", true);
    wire.unread = MARK;
    const published: Promise<string>[] = [];
    for (let n = 0; n < 200; n++) published.push(rpc.publish("a" as never, n as never).position);
    await Promise.all(published);
    await turn();
    wire.unread = 0;
    await until(() => wire.data.includes("gap"));
    publish(rpc, "a", 200, 203);
    await until(() => wire.data.at(-1) === 202);
    const { data } = wire;
    const gap = data.indexOf("gap");
    // What was held, the gap, and what came after it.
    assertEquals(data.slice(0, gap), range(0, gap));
    const rest = data.slice(gap + 1) as number[];
    assertEquals(rest, range(203 - rest.length, 203));
    assert(wire.connection.dropped > 0 && dropped.length === 1);
    wire.close();
    await rpc.close();
  });

  test(`a slow subscriber to a topic with retain gets its newest event after the gap, ${where}`, async () => {
    const { rpc } = serverOf("latest", { retain: true }, options());
    const wire = new SlowWire(rpc);
    await wire.subscribe("a", true);
    wire.unread = MARK;
    const published: Promise<string>[] = [];
    for (let n = 0; n < 200; n++) published.push(rpc.publish("a" as never, n as never).position);
    await Promise.all(published);
    await turn();
    wire.unread = 0;
    await until(() => wire.data.at(-1) === 199);
    assertEquals(wire.data.slice(-2), ["gap", 199]);
    wire.close();
    await rpc.close();
  });

  test(`a long history is sent to a slow reader as it reads, ${where}`, async () => {
    const { rpc } = serverOf("close", { history: { size: 1000 } }, options());
    const first = new SlowWire(rpc);
    first.call(1, "subscribe", { topics: ["a"], recover: true });
    const { positions } = (await first.next()).result as { positions: Record<string, string> };
    first.close();
    for (let n = 0; n < 500; n++) await rpc.publish("a" as never, n as never).position;
    const wire = new SlowWire(rpc);
    wire.unread = MARK;
    wire.call(1, "subscribe", { topics: ["a"], recover: true, since: positions });
    await wire.next();
    await rpc.publish("a" as never, 500 as never).position;
    await turn();
    assertEquals([wire.data, wire.connection.isOpen], [[], true]);
    wire.unread = 0;
    await until(() => wire.data.length === 501);
    assertEquals(wire.data, range(0, 501));
    wire.close();
    await rpc.close();
  });
}

test("a history that cannot be read is tried again, and lost to nobody", async () => {
  const broker = new LateBroker();
  const { rpc } = serverOf("drop-oldest", { history: { size: 1000 } }, { broker });
  const wire = new SlowWire(rpc);
  await wire.subscribe("a", true);
  wire.unread = MARK;
  const published: Promise<string>[] = [];
  for (let n = 0; n < 200; n++) published.push(rpc.publish("a" as never, n as never).position);
  await Promise.all(published);
  await turn();
  let failures = 0;
  broker.delay = async (what) => {
    await turn();
    if (what === "history" && failures++ === 0) throw new Error("Engine stopped");
  };
  wire.unread = 0;
  await until(() => wire.data.length === 200);
  assertEquals([wire.data, failures > 1], [range(0, 200), true]);
  wire.close();
  await rpc.close();
});

test("topic() refuses options that make no sense", () => {
  const rpc = new JsonRpc();
  const wrong: [options: object, message: string][] = [
    [{ slowConsumer: "drop" }, "slowConsumer"],
    [{ history: { size: 0 } }, "history.size"],
    [{ history: { size: 1.5 } }, "history.size"],
    [{ history: { size: "9" } }, "history.size"],
    [{ history: {} }, "history.size"],
    [{ history: { size: 1, ageMs: 0 } }, "history.ageMs"],
    [{ history: { size: 1, ageMs: NaN } }, "history.ageMs"],
    [{ retain: { maxAgeMs: -1 } }, "retain.maxAgeMs"],
    [{ retain: {} }, "retain.maxAgeMs"],
  ];
  for (const [options, message] of wrong) {
    const error = assertThrows(() => rpc.topic("a", options as TopicOptions));
    assertStringIncludes((error as Error).message, `\`${message}\``);
  }
  rpc.topic("a");
});

test("slowConsumer: a topic that is declared by name takes its own policy, though clients were subscribed by a pattern", async () => {
  for (const recover of [false, true]) {
    const rpc = new JsonRpc({ maxBufferedBytes: 2 * MARK, logger: silentLog() })
      .topic("room.*", { slowConsumer: "close" }) as unknown as JsonRpc;
    const wire = new SlowWire(rpc);
    await wire.subscribe("room.7", recover);
    publish(rpc, "room.7", 0, 2);
    rpc.topic("room.7", { slowConsumer: "latest", history: { size: 1 } });
    publish(rpc, "room.7", 2, 3);
    wire.unread = MARK;
    publish(rpc, "room.7", 3, 6);
    await quietMoment();
    assertEquals(wire.data, [0, 1, 2]);
    wire.unread = 0;
    await until(() => wire.data.at(-1) === 5);
    assert(wire.connection.isOpen);
    if (!recover) assertEquals([wire.data, wire.connection.dropped], [[0, 1, 2, 5], 2]);
    wire.close();
  }
});

test("slowConsumer: close, declared by name, ends what a pattern's policy has held back", async () => {
  const rpc = new JsonRpc({ maxBufferedBytes: 2 * MARK, logger: silentLog() })
    .topic("room.*", { slowConsumer: "drop-newest" }) as unknown as JsonRpc;
  const wire = new SlowWire(rpc);
  await wire.subscribe("room.7");
  wire.unread = MARK;
  publish(rpc, "room.7", 0, 3);
  await quietMoment();
  assertEquals(wire.data, []);
  rpc.topic("room.7", {});
  publish(rpc, "room.7", 3, 5);
  await until(() => wire.data.length === 5);
  assertEquals(wire.data, range(0, 5));
  wire.unread = 2 * MARK + 1;
  publish(rpc, "room.7", 5, 6);
  assert(!wire.connection.isOpen);
});
