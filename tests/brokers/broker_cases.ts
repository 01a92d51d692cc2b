/**
 * What holds of every broker, as cases that take a way to make one. A case may make several: each is what one
 * more process would have, all on one engine.
 */
import { assert, assertEquals } from "@std/assert";
import { connect, JsonRpc } from "@x/jsonrpc";
import { linkedSockets } from "@x/jsonrpc/testing";
import { before } from "../../src/brokers/broker.ts";
import type {
  Broker,
  BrokerEvent,
  BrokerSink,
  Position,
  Retention,
} from "../../src/brokers/broker.ts";
import { until } from "../helpers/deferred.ts";
import { silentLog } from "../helpers/log.ts";

/** Makes a broker on the engine that the cases run against. The suite closes it. */
export type MakeBroker = () => Broker | Promise<Broker>;

/** Something that holds of a broker. */
export interface BrokerCase {
  /** What holds, as a sentence. */
  readonly name: string;
  /** Fails if it does not. */
  run(make: MakeBroker): Promise<void>;
}

/** All that holds. */
export const brokerCases: BrokerCase[] = [];

/** What most topics of the suite keep. */
const KEEP: Retention = { size: 1000, ageMs: Infinity };
const NOTHING: Retention = { size: 0, ageMs: 0 };

/** Brokers of one case, closed when it ends. */
class Engine {
  readonly #make: MakeBroker;
  readonly #made = new Set<Broker>();

  constructor(make: MakeBroker) {
    this.#make = make;
  }

  /** The broker of one more process. */
  async node(): Promise<Broker> {
    const broker = await this.#make();
    this.#made.add(broker);
    return broker;
  }

  async close(): Promise<void> {
    await Promise.all([...this.#made].map((broker) => broker.close()));
  }
}

/** A sink that writes down what it is given. */
export class Recorder implements BrokerSink {
  readonly events: BrokerEvent[] = [];
  readonly gaps: Position[] = [];

  event(event: BrokerEvent): void {
    this.events.push(event);
  }

  gap(position: Position): void {
    this.gaps.push(position);
  }

  /** The data of what was received. */
  get data(): unknown[] {
    return dataOf(this.events);
  }

  /** Waits until so many events were received. */
  async some(count: number): Promise<void> {
    await until(() => this.events.length >= count);
  }
}

/** The data of events. */
export function dataOf(events: readonly BrokerEvent[]): unknown[] {
  return events.map(({ data }) => JSON.parse(data));
}

let topics = 0;
const RUN = crypto.randomUUID().slice(0, 8);

/** A topic that no other case uses, nor an earlier run on the same engine. */
export function newTopic(rest = ""): string {
  return `suite.${RUN}.${++topics}${rest}`;
}

/** Publishes numbers one after the other, each when the one before has its place. */
export async function publishAll(
  broker: Broker,
  topic: string,
  data: Iterable<unknown>,
  keep: Retention = KEEP,
): Promise<Position[]> {
  const positions: Position[] = [];
  for (const each of data) {
    positions.push(await broker.publish(topic, JSON.stringify(each), keep));
  }
  return positions;
}

function holds(name: string, run: (engine: Engine) => Promise<void>): void {
  brokerCases.push({
    name,
    async run(make) {
      const engine = new Engine(make);
      try {
        await run(engine);
      } finally {
        await engine.close();
      }
    },
  });
}

/** Numbers from `from` up to, without, `to`. */
function range(from: number, to: number): number[] {
  return Array.from({ length: to - from }, (_, index) => from + index);
}

function offsetsOf(events: readonly BrokerEvent[]): number[] {
  return events.map(({ position }) => position.offset);
}

function assertGrows(offsets: readonly number[]): void {
  offsets.forEach((offset, index) => {
    assert(index === 0 || offset > (offsets[index - 1] as number), `${offsets}`);
  });
}

// -- events --

holds(
  "each event reaches a sink once, in order, with the position that publish gave",
  async (engine) => {
    const broker = await engine.node();
    const [topic, recorder, start] = [newTopic(), new Recorder(), Date.now()];
    await broker.subscribe(topic, KEEP, recorder);
    const positions = await publishAll(broker, topic, range(0, 200));
    await recorder.some(200);
    assertEquals(recorder.data, range(0, 200));
    assertEquals(recorder.events.map(({ position }) => position), positions);
    assertGrows(offsetsOf(recorder.events));
    assertEquals([new Set(positions.map(({ epoch }) => epoch)).size, recorder.gaps], [1, []]);
    for (const { at } of recorder.events) assert(at >= start - 1000 && at <= Date.now() + 1000);
  },
);

holds("events that are published without waiting keep their order", async (engine) => {
  const broker = await engine.node();
  const [topic, recorder] = [newTopic(), new Recorder()];
  await broker.subscribe(topic, KEEP, recorder);
  await Promise.all(range(0, 500).map((n) => broker.publish(topic, `${n}`, KEEP)));
  await recorder.some(500);
  assertEquals(recorder.data, range(0, 500));
});

holds("all nodes hear the events of all nodes in one order, each once", async (engine) => {
  const nodes = [await engine.node(), await engine.node(), await engine.node()];
  const [topic, recorders] = [newTopic(), nodes.map(() => new Recorder())];
  await Promise.all(nodes.map((node, n) => node.subscribe(topic, KEEP, recorders[n] as Recorder)));
  await Promise.all(
    nodes.map((node, n) => publishAll(node, topic, range(0, 100).map((each) => [n, each]))),
  );
  await Promise.all(recorders.map((recorder) => recorder.some(300)));
  for (const recorder of recorders) {
    assertEquals(recorder.events.length, 300);
    assertEquals(recorder.events, recorders[0]?.events);
  }
  for (const n of nodes.keys()) {
    const own = (recorders[0] as Recorder).data.filter((each) => (each as number[])[0] === n);
    assertEquals(own, range(0, 100).map((each) => [n, each]));
  }
  assertGrows(offsetsOf((recorders[0] as Recorder).events));
});

holds("several sinks of one broker hear a topic, and each ends by itself", async (engine) => {
  const broker = await engine.node();
  const [topic, one, two] = [newTopic(), new Recorder(), new Recorder()];
  const first = await broker.subscribe(topic, KEEP, one);
  await broker.subscribe(topic, KEEP, two);
  await publishAll(broker, topic, [1, 2]);
  await Promise.all([one.some(2), two.some(2)]);
  await first.unsubscribe();
  await publishAll(broker, topic, [3]);
  await two.some(3);
  assertEquals([one.data, two.data], [[1, 2], [1, 2, 3]]);
});

holds(
  "nothing is received after unsubscribe, and only what is new after the next subscribe",
  async (engine) => {
    const broker = await engine.node();
    const other = await engine.node();
    const [topic, recorder, again] = [newTopic(), new Recorder(), new Recorder()];
    for (let round = 0; round < 5; round++) {
      const subscription = await broker.subscribe(topic, KEEP, recorder);
      await publishAll(other, topic, [`received ${round}`]);
      await recorder.some(round + 1);
      await subscription.unsubscribe();
      await publishAll(other, topic, [`missed ${round}`]);
    }
    const subscription = await broker.subscribe(topic, KEEP, again);
    const [position] = await publishAll(other, topic, ["new"]);
    await again.some(1);
    assertEquals(recorder.data, range(0, 5).map((round) => `received ${round}`));
    assertEquals([again.data, subscription.position.epoch], [["new"], position?.epoch]);
  },
);

holds("unsubscribe may come at once, and again", async (engine) => {
  const broker = await engine.node();
  const [topic, early, late] = [newTopic(), new Recorder(), new Recorder()];
  const subscription = await broker.subscribe(topic, KEEP, early);
  const ending = subscription.unsubscribe();
  const next = broker.subscribe(topic, KEEP, late);
  await Promise.all([ending, next]);
  await subscription.unsubscribe();
  await publishAll(broker, topic, [1]);
  await late.some(1);
  assertEquals([early.data, late.data], [[], [1]]);
});

holds("a topic that keeps nothing brings its events round all the same", async (engine) => {
  const broker = await engine.node();
  const [topic, recorder] = [newTopic(), new Recorder()];
  const { position } = await broker.subscribe(topic, NOTHING, recorder);
  await publishAll(broker, topic, range(0, 50), NOTHING);
  await recorder.some(50);
  assertEquals(recorder.data, range(0, 50));
  const { events, complete } = await broker.history(topic, NOTHING, { since: position });
  assertEquals([events, complete], [[], false]);
});

// -- what events and topics may be --

const TEXTS = [
  '""',
  '"with \\"quotes\\", \\n, \\r\\n, \\u0000 and \\ud800"',
  '"ä€😀\u2028"',
  "null",
  '{"a":[1,2,{"b":null}]}',
  " [ 1 ]\r\n",
  `"${"x".repeat(100_000)}"`,
  "",
];

holds("data arrives and is kept as it was sent, to the letter", async (engine) => {
  const broker = await engine.node();
  const [topic, recorder] = [newTopic(), new Recorder()];
  await broker.subscribe(topic, KEEP, recorder);
  for (const text of TEXTS) await broker.publish(topic, text, KEEP);
  await recorder.some(TEXTS.length);
  assertEquals(recorder.events.map(({ data }) => data), TEXTS);
  assertEquals((await broker.history(topic, KEEP, {})).events, recorder.events);
});

/** Ends of topics that an engine, its client or a careless program might take for something else. */
const ODD = [
  ...["", "*", ">", ".*", ".>", "?", "[ab]", ".", "..", ".a", ".a.b", "/a", "%2F", "%", "\\", "$"],
  ...[
    " ",
    "a b",
    "\t",
    "\r\n",
    "a\r\nPUB x 1",
    "\0",
    "ä",
    "a\u0308",
    "€😀",
    "ß",
    "A",
    "a",
    "_",
    "-",
  ],
  ...[
    "{a}",
    "}",
    "#",
    ":",
    ":events",
    "__proto__",
    ".constructor",
    "'",
    '"',
    "`",
    "~",
    "=",
    "+",
    "|",
  ],
  ...["x".repeat(1000), "ä".repeat(500), `${"y".repeat(2000)}1`, `${"y".repeat(2000)}2`],
];

holds("topics are data: none is taken for a pattern, or for another", async (engine) => {
  const broker = await engine.node();
  const start = newTopic();
  const names = ODD.map((end) => start + end);
  assertEquals(new Set(names).size, names.length);
  const recorders = names.map(() => new Recorder());
  await Promise.all(names.map((name, n) => broker.subscribe(name, KEEP, recorders[n] as Recorder)));
  await Promise.all(names.map((name, n) => publishAll(broker, name, [n])));
  await Promise.all(recorders.map((recorder) => recorder.some(1)));
  assertEquals(recorders.map(({ data }) => data), names.map((_, n) => [n]));
  for (const [n, name] of names.entries()) {
    const { events, complete } = await broker.history(name, KEEP, {});
    assertEquals([dataOf(events), complete], [[n], true]);
  }
});

// -- positions and history --

holds("a quiet topic has a position, the same until an event comes", async (engine) => {
  const broker = await engine.node();
  const topic = newTopic();
  const first = await broker.subscribe(topic, KEEP, new Recorder());
  const second = await broker.subscribe(topic, KEEP, new Recorder());
  const asked = await broker.history(topic, KEEP, { since: first.position });
  assertEquals([second.position, asked.position], [first.position, first.position]);
  assertEquals([asked.events, asked.complete], [[], true]);
  const [position] = await publishAll(broker, topic, [1]) as [Position];
  assertEquals(position.epoch, first.position.epoch);
  assert(position.offset > first.position.offset);
  const third = await broker.subscribe(topic, KEEP, new Recorder());
  assertEquals(third.position, position);
});

holds("history gives what comes after a position, from any node", async (engine) => {
  const [broker, other] = [await engine.node(), await engine.node()];
  const topic = newTopic();
  const start = (await broker.subscribe(topic, KEEP, new Recorder())).position;
  const positions = [start, ...await publishAll(broker, topic, range(0, 20))];
  for (const node of [broker, other]) {
    for (const [n, since] of positions.entries()) {
      const { events, position, complete } = await node.history(topic, KEEP, { since });
      assertEquals([dataOf(events), position, complete], [range(n, 20), positions[20], true]);
      assertEquals(events.map((event) => event.position), positions.slice(n + 1));
    }
  }
});

holds("history gives the newest where it is limited, and says what is missing", async (engine) => {
  const broker = await engine.node();
  const topic = newTopic();
  const positions = await publishAll(broker, topic, range(0, 10));
  const since = positions[4] as Position;
  const newest = await broker.history(topic, KEEP, { limit: 3 });
  assertEquals([dataOf(newest.events), newest.position], [[7, 8, 9], positions[9]]);
  const cut = await broker.history(topic, KEEP, { since, limit: 3 });
  assertEquals([dataOf(cut.events), cut.complete], [[7, 8, 9], false]);
  const whole = await broker.history(topic, KEEP, { since, limit: 5 });
  assertEquals([dataOf(whole.events), whole.complete], [[5, 6, 7, 8, 9], true]);
  const all = await broker.history(topic, KEEP, { limit: 100 });
  assertEquals([dataOf(all.events), all.complete], [range(0, 10), true]);
});

holds("the newest events are read in pages too", async (engine) => {
  const broker = await engine.node();
  const topic = newTopic();
  const positions = await publishAll(broker, topic, range(0, 60));
  const page = await broker.history(topic, KEEP, { limit: 40, first: 10 });
  assertEquals([dataOf(page.events), page.position], [range(20, 30), positions[59]]);
  assertEquals(page.reached, positions[29]);
  const rest = await broker.history(topic, KEEP, { since: page.reached });
  assertEquals([dataOf(rest.events), rest.complete], [range(30, 60), true]);
});

holds("a long history is read in pages, without a hole", async (engine) => {
  const broker = await engine.node();
  const topic = newTopic();
  const { position } = await broker.subscribe(topic, KEEP, new Recorder());
  await publishAll(broker, topic, range(0, 25));
  const read: unknown[] = [];
  let since = position;
  for (;;) {
    const { events, complete, reached } = await broker.history(topic, KEEP, { since, first: 10 });
    assert(complete && events.length <= 10);
    if (events.length === 0) break;
    read.push(...dataOf(events));
    assertEquals(reached, events.at(-1)?.position);
    since = reached;
  }
  assertEquals(read, range(0, 25));
});

holds("history that no longer reaches back says so, and gives what is left", async (engine) => {
  const broker = await engine.node();
  const [topic, keep] = [newTopic(), { size: 5, ageMs: Infinity }];
  const positions = await publishAll(broker, topic, range(0, 50), keep);
  // An engine may keep more than it was told to.
  const left = dataOf((await broker.history(topic, keep, {})).events) as number[];
  assert(left.length >= 5);
  assertEquals(left, range(50 - left.length, 50));
  for (const [n, since] of positions.entries()) {
    const { events, complete } = await broker.history(topic, keep, { since });
    if (complete) assertEquals(dataOf(events), range(n + 1, 50));
    assertEquals(complete, n + 1 >= (left[0] as number), `after ${n} of ${left}`);
  }
});

holds("history reaches back to just before the oldest event that is kept", async (engine) => {
  const broker = await engine.node();
  const [topic, other, keep] = [newTopic(), newTopic(), { size: 1, ageMs: Infinity }];
  for (const n of [1, 2, 3]) {
    await publishAll(broker, topic, [n], keep);
    await publishAll(broker, other, [n], keep);
  }
  for (const name of [topic, other]) {
    const { events: [last] } = await broker.history(name, keep, { limit: 1 });
    const since = before((last as BrokerEvent).position);
    const { events, complete } = await broker.history(name, keep, { since });
    assertEquals([events, complete], [[last], true]);
  }
});

holds("an event that is too old is history no more", async (engine) => {
  const broker = await engine.node();
  const [topic, keep] = [newTopic(), { size: 100, ageMs: 1 }];
  const { position } = await broker.subscribe(topic, keep, new Recorder());
  const [since] = await publishAll(broker, topic, [1], keep);
  await until(async () => (await broker.history(topic, keep, {})).events.length === 0);
  const { complete } = await broker.history(topic, keep, { since: position });
  assertEquals(complete, false);
  const now = await broker.history(topic, keep, { since: since as Position });
  assertEquals([now.events, now.position, now.complete], [[], since, true]);
});

holds("a position that the topic never had is of another history", async (engine) => {
  const broker = await engine.node();
  const [topic, other] = [newTopic(), newTopic()];
  const [position] = await publishAll(broker, topic, [1, 2, 3]) as [Position];
  await publishAll(broker, other, [1]);
  const strange = [
    { epoch: "elsewhere", offset: position.offset },
    { epoch: "", offset: 0 },
    { epoch: position.epoch, offset: Number.MAX_SAFE_INTEGER },
  ];
  // Of stores that name their events.
  const named = position.id === undefined ? [] : [
    { ...position, offset: 0 },
    { ...position, id: "made-up" },
    { epoch: position.epoch, offset: position.offset - 1, nextId: "made-up" },
  ];
  for (const since of [...strange, ...named]) {
    assertEquals((await broker.history(topic, KEEP, { since })).complete, false);
  }
});

holds("an event that replaced another at its offset is not mistaken for it", async (engine) => {
  const broker = await engine.node();
  const topic = newTopic();
  const positions = await publishAll(broker, topic, [1, 2, 3]);
  for (const { id, ...place } of positions) {
    if (id === undefined) continue; // a store that loses nothing while it lives
    for (const since of [place, { ...place, id: "other" }, { ...place, nextId: "other" }]) {
      assertEquals((await broker.history(topic, KEEP, { since })).complete, false);
    }
  }
});

holds(
  "between history and what is received nothing is lost, doubled or out of order",
  async (engine) => {
    const [broker, other] = [await engine.node(), await engine.node()];
    const topic = newTopic();
    const { position: start } = await broker.subscribe(topic, KEEP, new Recorder());
    let published = 0;
    const publishing = (async () => {
      while (published < 300) await other.publish(topic, `${published++}`, KEEP);
    })();
    for (let round = 1; round <= 10; round++) {
      await until(() => published >= round * 20);
      const recorder = new Recorder();
      const subscription = await broker.subscribe(topic, KEEP, recorder);
      const history = await broker.history(topic, KEEP, { since: start });
      assert(history.complete && history.position.offset >= subscription.position.offset);
      await until(() => recorder.events.length > 10 || published === 300);
      const after = recorder.events.filter(({ position }) =>
        position.offset > history.position.offset
      );
      const all = dataOf([...history.events, ...after]);
      assertEquals(all, range(0, all.length));
      // What is in both was received from the position on that subscribe gave.
      const both = history.events.filter(({ position }) =>
        position.offset > subscription.position.offset
      );
      assertEquals(recorder.events.slice(0, both.length), both.slice(0, recorder.events.length));
      await subscription.unsubscribe();
    }
    await publishing;
  },
);

holds("close() ends what is recorder, and may be called again", async (engine) => {
  const [broker, other] = [await engine.node(), await engine.node()];
  const [topic, recorder, rest] = [newTopic(), new Recorder(), new Recorder()];
  await broker.subscribe(topic, KEEP, recorder);
  await publishAll(broker, topic, [1]);
  await recorder.some(1);
  await broker.close();
  await broker.close();
  await other.subscribe(topic, KEEP, rest);
  await publishAll(other, topic, [2]);
  await rest.some(1);
  assertEquals(recorder.data, [1]);
});

holds("brokers at once keep many topics apart", async (engine) => {
  const nodes = [await engine.node(), await engine.node()] as const;
  const names = range(0, 200).map(() => newTopic());
  const recorders = names.map(() => new Recorder());
  await Promise.all(
    names.map((name, n) => nodes[1].subscribe(name, KEEP, recorders[n] as Recorder)),
  );
  await Promise.all(names.map((name, n) => publishAll(nodes[0], name, [n, n + 1])));
  await Promise.all(recorders.map((recorder) => recorder.some(2)));
  assertEquals(recorders.map(({ data }) => data), names.map((_, n) => [n, n + 1]));
});

holds("late joiners at two servers get the newest events, and then what is new", async (engine) => {
  const servers = [];
  const topic = newTopic();
  for (let n = 0; n < 2; n++) {
    const rpc = new JsonRpc({ broker: await engine.node(), logger: silentLog() });
    rpc.topic(topic, { history: { size: 100 }, retain: true });
    servers.push(rpc);
  }
  const [first, second] = servers as [JsonRpc, JsonRpc];
  const publish = (n: number) => first.publish(topic as never, n as never).position;
  for (let n = 1; n <= 60; n++) await publish(n);
  const ends: (() => Promise<void>)[] = [];
  try {
    for (const rpc of [first, second]) {
      const [near, far] = linkedSockets();
      rpc.attach(far);
      const client = await connect(near);
      ends.push(() => client.close());
      const events: [number, boolean | undefined][] = [];
      const late: [number, boolean | undefined][] = [];
      await client.subscribe(topic, (n, { retained }) => events.push([n as number, retained]), {
        last: 50,
      });
      await until(() => events.length >= 50);
      const newest = events.at(-1)?.[0] as number;
      assertEquals(events.map(([n]) => n), range(newest - 49, newest + 1));
      assert(events.every(([, retained]) => retained));
      await publish(newest + 1);
      await until(() => events.length === 51);
      // Another handler of the same client gets its own, and the first gets nothing twice.
      await client.subscribe(topic, (n, { retained }) => late.push([n as number, retained]), {
        last: 3,
      });
      await publish(newest + 2);
      await until(() => late.length >= 4 && events.length >= 52);
      assertEquals(events.map(([n]) => n), range(newest - 49, newest + 3));
      assertEquals(late, [
        [newest - 1, true],
        [newest, true],
        [newest + 1, true],
        [newest + 2, false],
      ]);
    }
  } finally {
    for (const end of ends) await end();
    for (const rpc of servers) await rpc.close();
  }
});
