/**
 * Whatever happens: a subscriber that recovers has each event exactly once and in order, or was told of a gap.
 */
import { assert, assertEquals } from "@std/assert";
import fc from "fast-check";
import { test } from "node:test";
import { JsonRpc } from "@x/jsonrpc";
import type { SlowConsumer } from "../../src/topics/options.ts";
import { linkedSockets } from "@x/jsonrpc/testing";
import type { LinkedSocket } from "@x/jsonrpc/testing";
import { LateBroker, turn } from "../helpers/brokers/late_broker.ts";
import { quietMoment, until } from "../helpers/deferred.ts";
import { silentLog } from "../helpers/log.ts";
import type { WireMessage } from "../helpers/wire.ts";

const TOPICS = ["kept", "short", "unkept", "state", "slow", "latest"] as const;
type TopicName = (typeof TOPICS)[number];

// A broker between processes numbers as its engine does; here the nth event has offset n, and says so.
function serverOf(broker: LateBroker | undefined, maxBufferedBytes: number) {
  const slowConsumer: SlowConsumer = "drop-oldest";
  return new JsonRpc({ logger: silentLog(), maxBufferedBytes, ...(broker && { broker }) })
    .topic("kept", { history: { size: 10_000 } })
    .topic("short", { history: { size: 5 }, slowConsumer: "drop-newest" })
    .topic("unkept", { slowConsumer })
    .topic("state", { retain: true, history: { size: 3 } })
    .topic("slow", { history: { size: 10_000 }, slowConsumer })
    .topic("latest", { retain: true, slowConsumer: "latest" });
}

type Server = ReturnType<typeof serverOf>;

interface Place {
  readonly epoch: string;
  readonly offset: number;
}

function placeOf(position: string): Place {
  const colon = position.lastIndexOf(":");
  return { epoch: position.slice(0, colon), offset: Number(position.slice(colon + 1)) };
}

/** A client that recovers, believes nothing, and remembers where it stands. */
class Subscriber {
  readonly places = new Map<TopicName, string>();
  readonly wanted = new Set<TopicName>();
  readonly failures: unknown[] = [];
  gaps = 0;
  events = 0;
  #far: LinkedSocket;
  #near: LinkedSocket;
  readonly #rpc: Server;
  readonly #asked = new Map<number, { readonly since: Record<string, string> }>();
  readonly #live = new Set<string>();
  #calls = 0;

  constructor(rpc: Server) {
    this.#rpc = rpc;
    [this.#near, this.#far] = this.#dial();
  }

  #dial(): [LinkedSocket, LinkedSocket] {
    const [near, far] = linkedSockets();
    near.addEventListener("message", ({ data }) => {
      if (this.#near !== near) return;
      try {
        this.#hear(JSON.parse(data as string));
      } catch (error) {
        // Thrown here, it would reach nobody.
        this.failures.push(error);
      }
    });
    this.#rpc.attach(far);
    return [near, far];
  }

  /** Whether its peer reads. */
  set reads(reads: boolean) {
    (this.#far as { bufferedAmount: number }).bufferedAmount = reads ? 0 : MARK;
  }

  subscribe(topic: TopicName): void {
    if (this.wanted.has(topic)) return;
    this.wanted.add(topic);
    this.#ask([topic]);
  }

  unsubscribe(topic: TopicName): void {
    if (!this.wanted.delete(topic)) return;
    this.#live.delete(topic);
    this.#say({ method: "unsubscribe", params: [topic] });
    // What is on its way may still come.
    this.places.delete(topic);
  }

  /** Loses its connection, with all that is on its way, and comes back. */
  cut(): void {
    this.#near.close();
    this.#asked.clear();
    this.#live.clear();
    [this.#near, this.#far] = this.#dial();
    if (this.wanted.size > 0) this.#ask([...this.wanted]);
  }

  /** Whether it has what there is. */
  has(topic: TopicName, count: number): boolean {
    return !this.wanted.has(topic) ||
      (this.#live.has(topic) && placeOf(this.places.get(topic) ?? ":-1").offset === count);
  }

  close(): void {
    this.#near.close();
  }

  #ask(topics: TopicName[]): void {
    const since: Record<string, string> = {};
    for (const topic of topics) {
      const place = this.places.get(topic);
      if (place !== undefined) since[topic] = place;
    }
    const id = ++this.#calls;
    this.#asked.set(id, { since });
    this.#say({ id, method: "subscribe", params: { topics, recover: true, since } });
  }

  #say(message: object): void {
    this.#near.send(JSON.stringify({ jsonrpc: "2.0", ...message }));
  }

  #hear({ id, method, params, result, error }: WireMessage): void {
    assertEquals(error, undefined);
    if (method === "rpc.message") return this.#event(params as EventParams);
    const asked = this.#asked.get(id as number);
    if (asked !== undefined) this.#answer(asked.since, result as Answer);
  }

  #answer(since: Record<string, string>, { positions, recovered }: Answer): void {
    for (const [topic, position] of Object.entries(positions) as [TopicName, string][]) {
      if (!this.wanted.has(topic)) continue;
      const before = since[topic];
      if (before === undefined) assert(recovered[topic], "nothing was to recover");
      else if (recovered[topic]) assertEquals(position, before);
      else this.gaps++;
      this.places.set(topic, position);
      this.#live.add(topic);
    }
  }

  #event({ topic, position, data, gap }: EventParams): void {
    const before = this.places.get(topic);
    // It has unsubscribed meanwhile.
    if (!this.#live.has(topic) || before === undefined) return;
    const [from, to] = [placeOf(before), placeOf(position)];
    assertEquals(to.epoch, from.epoch);
    if (gap) {
      this.gaps++;
      assert(to.offset >= from.offset, `${topic}: a gap from ${before} back to ${position}`);
    } else {
      this.events++;
      assertEquals([to.offset, data], [from.offset + 1, to.offset], `${topic} after ${before}`);
    }
    this.places.set(topic, position);
  }
}

interface Answer {
  readonly positions: Record<string, string>;
  readonly recovered: Record<string, boolean>;
}

interface EventParams {
  readonly topic: TopicName;
  readonly position: string;
  readonly data?: unknown;
  readonly gap?: true;
}

const MARK = 1_000_000;
const CLIENTS = 4;

const nth = fc.nat({ max: CLIENTS - 1 });
const topic = fc.constantFrom(...TOPICS);
const step = fc.oneof(
  { weight: 8, arbitrary: fc.tuple(fc.constant("publish" as const), topic, fc.nat({ max: 20 })) },
  { weight: 1, arbitrary: fc.tuple(fc.constant("flood" as const), topic, fc.constant(150)) },
  { weight: 5, arbitrary: fc.tuple(fc.constant("subscribe" as const), topic, nth) },
  { weight: 1, arbitrary: fc.tuple(fc.constant("unsubscribe" as const), topic, nth) },
  { weight: 3, arbitrary: fc.tuple(fc.constant("cut" as const), topic, nth) },
  { weight: 2, arbitrary: fc.tuple(fc.constant("stall" as const), topic, nth) },
  { weight: 2, arbitrary: fc.tuple(fc.constant("read" as const), topic, nth) },
  { weight: 5, arbitrary: fc.tuple(fc.constant("pass" as const), topic, nth) },
);

const STEPS = fc.array(step, { minLength: 20, maxLength: 120, size: "max" });

type Step = typeof step extends fc.Arbitrary<infer T> ? T : never;

/** Runs what happens, lets it come to rest, and looks whether anybody misses anything. */
async function run(steps: readonly Step[], broker: LateBroker | undefined): Promise<void> {
  const rpc = serverOf(broker, 2 * MARK);
  const counts = new Map<TopicName, number>();
  const subscribers = Array.from({ length: CLIENTS }, () => new Subscriber(rpc));
  const publishing: Promise<unknown>[] = [];
  function publish(name: TopicName, count: number): void {
    for (let n = 0; n < count; n++) {
      const number = (counts.get(name) ?? 0) + 1;
      counts.set(name, number);
      publishing.push(rpc.publish(name, number).position);
    }
  }
  for (const [what, name, n] of steps) {
    const subscriber = subscribers[n] as Subscriber;
    switch (what) {
      case "publish":
      case "flood":
        publish(name, n);
        break;
      case "subscribe":
      case "unsubscribe":
        subscriber[what](name);
        break;
      case "cut":
        subscriber.cut();
        break;
      case "stall":
      case "read":
        subscriber.reads = what === "read";
        break;
      case "pass":
        await (n === 0 ? turn() : quietMoment());
    }
  }
  await Promise.all(publishing);
  for (const subscriber of subscribers) subscriber.reads = true;
  await until(() =>
    subscribers.some(({ failures }) => failures.length > 0) ||
    TOPICS.every((name) => subscribers.every((each) => each.has(name, counts.get(name) ?? 0)))
  );
  // Nothing comes twice, later.
  await turn();
  for (const { events, gaps, failures: [failure] } of subscribers) {
    if (failure !== undefined) throw failure;
    seen.events += events;
    seen.gaps += gaps;
  }
  for (const subscriber of subscribers) subscriber.close();
  await rpc.close();
}

/** What happened in all runs: a property that nothing ever tried holds too easily. */
const seen = { events: 0, gaps: 0 };

function assertMuchHappened(): void {
  assert(seen.events > 1000 && seen.gaps > 20, JSON.stringify(seen));
  seen.events = seen.gaps = 0;
}

test("whatever happens, a subscriber has each event once, in order, or knows of the gap", async () => {
  const property = fc.asyncProperty(
    STEPS,
    (steps) => run(steps, undefined),
  );
  await fc.assert(property, { numRuns: 150 });
  assertMuchHappened();
});

test("the same holds on a broker that takes its time", async () => {
  const property = fc.asyncProperty(
    STEPS,
    fc.infiniteStream(fc.nat({ max: 3 })),
    (steps, waits) => {
      async function wait(): Promise<void> {
        for (let left = waits.next().value as number; left > 0; left--) await quietMoment();
      }
      // Publishing keeps its order; all else takes as long as it likes.
      // Events may still be on their way when a history that has them was read.
      const way = async () => {
        for (let left = 1 + 2 * (waits.next().value as number); left > 0; left--) await turn();
      };
      const broker = new LateBroker((what) => what === "publish" ? turn() : wait(), way);
      return run(steps, broker);
    },
  );
  await fc.assert(property, { numRuns: 60 });
  assertMuchHappened();
});
