import { assert, assertEquals, assertNotEquals, assertThrows } from "@std/assert";
import { test } from "node:test";
import { memoryBroker } from "../../src/brokers/memory.ts";
import type { Broker, BrokerEvent, BrokerHistory, Position } from "../../src/brokers/broker.ts";
import { parsePosition, positionText } from "../../src/brokers/broker.ts";
import { brokerCases, dataOf, publishAll, Recorder } from "./broker_cases.ts";

for (const { name, run } of brokerCases) {
  test(`memoryBroker: ${name}`, async () => {
    // Its engine is itself: all nodes are the same.
    const broker = memoryBroker();
    await run(() => broker);
  });
}

const KEEP = { size: 3, ageMs: Infinity };

/** What a broker that never waits gives. */
function history(broker: Broker, topic: string, since?: Position): BrokerHistory {
  return broker.history(topic, KEEP, since === undefined ? {} : { since }) as BrokerHistory;
}

test("memoryBroker() answers at once, and its sinks hear before publish returns", () => {
  const broker = memoryBroker();
  const recorder = new Recorder();
  assert(!(broker.subscribe("a", KEEP, recorder) instanceof Promise));
  assert(!(broker.publish("a", "1", KEEP) instanceof Promise));
  assertEquals(recorder.data, [1]);
  assertEquals(dataOf(history(broker, "a").events), [1]);
});

test("memoryBroker() keeps the newest, and no more than it was told to", async () => {
  const broker = memoryBroker();
  const positions = await publishAll(broker, "a", Array(1000).keys(), KEEP);
  assertEquals(dataOf(history(broker, "a").events), [997, 998, 999]);
  assertEquals(history(broker, "a", positions[995]).complete, false);
  assertEquals(history(broker, "a", positions[996]).complete, true);
});

test("memoryBroker() keeps what any of those who share a topic asks for", async () => {
  const broker = memoryBroker();
  await publishAll(broker, "a", [1, 2], KEEP);
  await publishAll(broker, "a", [3], { size: 0, ageMs: 0 });
  assertEquals(dataOf(history(broker, "a").events), [1, 2, 3]);
});

test("memoryBroker() brings an event that a sink publishes round after the one it received", () => {
  const broker = memoryBroker();
  const order: string[][] = [[], []];
  for (const own of order) {
    broker.subscribe("a", KEEP, {
      event({ data }) {
        own.push(data);
        if (data === "1" && own === order[0]) broker.publish("a", "2", KEEP);
      },
      gap() {},
    });
  }
  broker.publish("a", "1", KEEP);
  assertEquals(order, [["1", "2"], ["1", "2"]]);
});

test("memoryBroker() gives a sink that begins to hear within an event only later ones", () => {
  const broker = memoryBroker();
  const late = new Recorder();
  broker.subscribe("a", KEEP, {
    event({ data }: BrokerEvent) {
      if (data === "1") broker.subscribe("a", KEEP, late);
    },
    gap() {},
  });
  broker.publish("a", "1", KEEP);
  broker.publish("a", "2", KEEP);
  assertEquals(late.data, [2]);
});

test("memoryBroker() forgets the topic that was silent for longest, and says so", () => {
  const broker = memoryBroker({ maxIdleTopics: 2 });
  const positions = ["a", "b", "c"].map((topic) => broker.publish(topic, "1", KEEP) as Position);
  broker.publish("b", "2", KEEP);
  assertEquals(history(broker, "a", positions[0]).complete, false);
  assertEquals(history(broker, "b", positions[1]).complete, true);
  assertNotEquals(history(broker, "a").position.epoch, positions[0]?.epoch);
});

test("memoryBroker() forgets nothing that it keeps for names that were only asked for", () => {
  const broker = memoryBroker({ maxIdleTopics: 2 });
  const kept = broker.publish("kept", "1", KEEP) as Position;
  const first = history(broker, "asked").position;
  for (let n = 0; n < 1000; n++) {
    history(broker, `asked ${n}`);
    const subscription = broker.subscribe(`received ${n}`, KEEP, new Recorder()) as {
      unsubscribe(): void;
    };
    subscription.unsubscribe();
  }
  assertEquals(dataOf(history(broker, "kept").events), [1]);
  assertEquals(history(broker, "kept", kept).complete, true);
  assertEquals(history(broker, "asked", first).complete, false);
});

test("memoryBroker() does not count topics that are subscribed to or fixed, and counts those no longer subscribed to", () => {
  const broker = memoryBroker({ maxIdleTopics: 1 });
  const fixed = { ...KEEP, fixed: true };
  const start = broker.publish("fixed", "1", fixed) as Position;
  const subscription = broker.subscribe("received", KEEP, new Recorder()) as {
    unsubscribe(): void;
  };
  const recorder = broker.publish("received", "1", KEEP) as Position;
  for (const topic of ["a", "b", "c"]) broker.publish(topic, "1", KEEP);
  assertEquals(history(broker, "received", recorder).complete, true);
  subscription.unsubscribe();
  broker.publish("d", "1", KEEP);
  assertEquals(history(broker, "received", recorder).complete, false);
  const kept = broker.history("fixed", fixed, { since: start }) as BrokerHistory;
  assertEquals(kept.complete, true);
  broker.forget?.("fixed");
  assertEquals(history(broker, "fixed", start).complete, false);
});

test("memoryBroker() refuses a bound that makes no sense", () => {
  for (const maxIdleTopics of [-1, 1.5, NaN, "1"] as number[]) {
    assertThrows(() => memoryBroker({ maxIdleTopics }), RangeError, "maxIdleTopics");
  }
});

test("parsePosition() reads what positionText() wrote, and nothing else", () => {
  const positions = [{ epoch: "", offset: 0 }, { epoch: "a:b\n", offset: 2 ** 53 - 1 }];
  const named = [{ epoch: "a:1.b", offset: 7, id: "x_9-" }, { epoch: "", offset: 0, nextId: "1" }];
  for (const position of [...positions, ...named]) {
    assertEquals(parsePosition(positionText(position)), position);
  }
  const wrong = ["", "a", "a:", ":", "a:-1", "a:1,5", "a:9007199254740992", `${"a".repeat(101)}:1`];
  wrong.push("a:1.", "a:1~", "a:1.ä", `a:1.${"x".repeat(33)}`);
  for (const text of [...wrong, null, undefined, 1, {}, ["a:1"]]) {
    assertEquals(parsePosition(text), undefined);
  }
});
