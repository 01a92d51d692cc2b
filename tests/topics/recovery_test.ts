import { assert, assertEquals, assertStringIncludes, assertThrows } from "@std/assert";
import { test } from "node:test";
import { guard, JsonRpc, RpcServerError } from "@x/jsonrpc";
import type { JsonRpcOptions, TopicOptions } from "@x/jsonrpc";
import { memoryBroker } from "@x/jsonrpc/memory";
import { LateBroker, turn } from "../helpers/brokers/late_broker.ts";
import { deferred, quietMoment, until } from "../helpers/deferred.ts";
import { silentLog } from "../helpers/log.ts";
import { bareClient } from "../helpers/wire.ts";
import type { WireMessage, WirePeer } from "../helpers/wire.ts";

/** What an event of a recovering subscriber has. */
interface EventParams {
  readonly topic: string;
  readonly position: string;
  readonly data?: unknown;
  readonly gap?: true;
}

/** What `subscribe` answers to one who recovers. */
interface Answer {
  readonly subscriptions: string[];
  readonly positions: Record<string, string>;
  readonly recovered: Record<string, boolean>;
  readonly ages?: Record<string, number>;
}

const HISTORY: TopicOptions = { history: { size: 100 } };

/** A server with the topics that most tests need, on a broker that waits or on one that does not. */
function serverOf(options: JsonRpcOptions = {}) {
  return new JsonRpc(options)
    .topic("clock", HISTORY)
    .topic("short", { history: { size: 3 } })
    .topic("plain")
    .topic("last", { retain: true })
    .topic("both", { retain: true, history: { size: 3 } })
    .topic("room.*", HISTORY);
}

let calls = 0;

/** Subscribes as one who recovers, and gives the answer: the next message that is one. */
async function recover(
  wire: WirePeer,
  topics: string[] | string,
  since?: Record<string, unknown>,
  more: object = {},
): Promise<Answer> {
  const id = `recover ${calls++}`;
  wire.call(id, "subscribe", { topics, recover: true, since, ...more });
  const answer = await wire.next();
  assertEquals([answer.id, answer.error], [id, undefined]);
  return answer.result as Answer;
}

/** What came of a topic, or of all: data, or "gap". */
function got(messages: readonly WireMessage[], topic?: string): unknown[] {
  return messages.filter(({ method }) => method === "rpc.message")
    .map(({ params }) => params as EventParams)
    .filter((params) => topic === undefined || params.topic === topic)
    .map((params) => params.gap ? "gap" : params.data);
}

/** All that a bare client has received. */
function allOf(wire: WirePeer): WireMessage[] {
  return wire.received.map((text) => JSON.parse(text));
}

function lastPosition(wire: WirePeer): string {
  const last = allOf(wire).findLast(({ method }) => method === "rpc.message");
  return (last?.params as EventParams).position;
}

const BROKERS: Readonly<Record<string, () => Pick<JsonRpcOptions, "broker">>> = {
  "in memory": () => ({}),
  "on a broker that takes its time": () => ({ broker: new LateBroker() }),
};

for (const [where, options] of Object.entries(BROKERS)) {
  test(`subscribe with recover answers first, then sends events with their positions, ${where}`, async () => {
    const rpc = serverOf(options());
    const wire = bareClient(rpc);
    const { subscriptions, positions, recovered } = await recover(wire, "clock");
    assertEquals([subscriptions, recovered], [["clock"], { clock: true }]);
    assertEquals(Object.keys(positions), ["clock"]);
    const earliest = Date.now();
    const first = rpc.publish("clock", { n: 1 });
    const second = rpc.publish("clock", [2]);
    const messages = await wire.some(2);
    const times = messages.map(({ params }) => (params as { time: number }).time);
    assert(times.every((time) => time >= earliest && time <= Date.now()));
    assertEquals(messages, [
      {
        jsonrpc: "2.0",
        method: "rpc.message",
        params: {
          topic: "clock",
          position: await first.position,
          time: times[0],
          data: { n: 1 },
        },
      },
      {
        jsonrpc: "2.0",
        method: "rpc.message",
        params: { topic: "clock", position: await second.position, time: times[1], data: [2] },
      },
    ]);
    wire.close();
    await rpc.close();
  });

  test(`subscribe with since sends what was missed, once and in order, then what is new, ${where}`, async () => {
    const rpc = serverOf(options());
    const first = bareClient(rpc);
    const { positions } = await recover(first, ["clock", "room.7"]);
    for (const n of [1, 2, 3]) rpc.publish("clock", n);
    await until(() => first.received.length === 4);
    const clock = lastPosition(first);
    first.close();
    for (const n of [4, 5]) rpc.publish("clock", n);
    await rpc.publish("room.7", "a").position;
    const second = bareClient(rpc);
    const since = { clock, "room.7": positions["room.7"] };
    const answer = await recover(second, ["clock", "room.7"], since);
    assertEquals(answer.positions, since);
    assertEquals(answer.recovered, { clock: true, "room.7": true });
    rpc.publish("clock", 6);
    await until(() => second.received.length === 5);
    assertEquals(got(allOf(second), "clock"), [4, 5, 6]);
    assertEquals(got(allOf(second), "room.7"), ["a"]);
    second.close();
    await rpc.close();
  });

  test(`subscribe hands out a position on a quiet topic, and recovers from it, ${where}`, async () => {
    const rpc = serverOf(options());
    const first = bareClient(rpc);
    const { positions } = await recover(first, "clock");
    first.close();
    const nothing = bareClient(rpc);
    const again = await recover(nothing, "clock", positions);
    assertEquals([again.positions, again.recovered], [positions, { clock: true }]);
    await rpc.publish("clock", 1).position;
    const second = bareClient(rpc);
    assertEquals((await recover(second, "clock", positions)).recovered, { clock: true });
    await until(() => second.received.length === 2 && nothing.received.length === 2);
    assertEquals([got(allOf(second)), got(allOf(nothing))], [[1], [1]]);
    nothing.close();
    second.close();
    await rpc.close();
  });

  test(`subscribe says recovered: false where history no longer reaches, and sends none of it, ${where}`, async () => {
    const rpc = serverOf(options());
    const first = bareClient(rpc);
    const { positions } = await recover(first, ["short", "plain", "both"]);
    first.close();
    for (const n of [1, 2, 3, 4]) {
      for (const topic of ["short", "plain", "both"] as const) {
        await rpc.publish(topic, n).position;
      }
    }
    const second = bareClient(rpc);
    const answer = await recover(second, ["short", "plain", "both"], positions);
    assertEquals(answer.recovered, { short: false, plain: false, both: false });
    for (const topic of ["short", "plain"] as const) {
      assertEquals(answer.positions[topic], `${positions[topic]?.replace(/\d+$/, "")}4`);
    }
    for (const topic of ["short", "plain", "both"] as const) rpc.publish(topic, 5);
    await until(() => second.received.length === 5);
    const came = allOf(second);
    // As for a new subscriber: the last event, and then new ones.
    assertEquals([got(came, "short"), got(came, "plain"), got(came, "both")], [[5], [5], [
      4,
      5,
    ]]);
    second.close();
    await rpc.close();
  });

  test(`subscribe says recovered: false for positions that the topic never had, ${where}`, async () => {
    const rpc = serverOf(options());
    const first = bareClient(rpc);
    const { positions: { clock = "" } } = await recover(first, "clock");
    rpc.publish("clock", 1);
    await first.next();
    const strange = ["", "x", "x:0", ":1", `${clock}9`, clock.replace(/^./, "~"), 5, true, {}, [
      clock,
    ]];
    for (const since of strange) {
      const wire = bareClient(rpc);
      const { recovered } = await recover(wire, "clock", { clock: since });
      assertEquals(recovered, { clock: false }, JSON.stringify(since));
      await rpc.publish("clock", "new").position;
      await until(() => wire.received.length === 2);
      assertEquals(got(allOf(wire)), ["new"]);
      wire.close();
    }
    await rpc.close();
  });

  test(`a new subscriber that recovers gets the last event, with a position just before it, ${where}`, async () => {
    const rpc = serverOf(options());
    for (const n of [1, 2, 3]) await rpc.publish("last", n).position;
    const first = bareClient(rpc);
    const { positions, recovered } = await recover(first, ["last"]);
    assertEquals(recovered, { last: true });
    await until(() => first.received.length === 2);
    assertEquals(got(allOf(first)), [3]);
    const second = bareClient(rpc);
    const again = await recover(second, ["last"], positions);
    assertEquals([again.positions, again.recovered], [positions, { last: true }]);
    await until(() => second.received.length === 2);
    // The first got it because its subscription was new, the second because it had missed it.
    const [kept, missed] = [first, second].map((wire) => allOf(wire)[1]?.params as object);
    assertEquals(kept, { ...missed, retained: true });
    first.close();
    second.close();
    await rpc.close();
  });

  test(`a long history is sent whole, in order, with what comes meanwhile, ${where}`, async () => {
    const rpc = new JsonRpc(options()).topic("long", { history: { size: 2000 } });
    const { positions } = await recover(bareClient(rpc), "long");
    for (let n = 0; n < 1000; n++) await rpc.publish("long", n).position;
    const wire = bareClient(rpc);
    assertEquals((await recover(wire, "long", positions)).recovered, { long: true });
    for (let n = 1000; n < 1100; n++) {
      rpc.publish("long", n);
      if (n % 10 === 0) await turn();
    }
    await until(() => wire.received.length === 1101);
    assertEquals(got(allOf(wire)), [...Array(1100).keys()]);
    wire.close();
    await rpc.close();
  });

  test(`subscribing again switches between plain and recovering, ${where}`, async () => {
    const rpc = serverOf(options());
    const wire = bareClient(rpc);
    const names = async () => {
      const from = wire.received.length;
      await rpc.publish("both", "event").position;
      await until(() => wire.received.length > from);
      await quietMoment();
      return allOf(wire).slice(from).map(({ method }) => method);
    };
    wire.call(1, "subscribe", ["both"]);
    await wire.next();
    assertEquals(await names(), ["both"]);
    await wire.next();
    const { positions, recovered } = await recover(wire, "both");
    assertEquals(recovered, { both: true });
    assertEquals(await names(), ["rpc.message"]);
    await wire.next();
    // Asked for again it changes nothing, and tells where one stands.
    const now = await recover(wire, "both");
    assertEquals([now.positions, now.recovered], [{ both: lastPosition(wire) }, { both: true }]);
    assertEquals(await names(), ["rpc.message"]);
    await wire.next();
    await recover(wire, "both", positions);
    assertEquals(got(await wire.some(2)), ["event", "event"]);
    wire.call(2, "subscribe", ["both"]);
    assertEquals((await wire.next()).result, ["both"]);
    assertEquals(await names(), ["both"]);
    wire.close();
    await rpc.close();
  });

  test(`unsubscribe, logout and removeTopic end what is being joined, ${where}`, async () => {
    const rpc = serverOf(options());
    for (const n of [1, 2]) await rpc.publish("both", n).position;
    const wire = bareClient(rpc);
    wire.call("s", "subscribe", {
      topics: ["both", "clock"],
      recover: true,
      since: { both: "x:1" },
    });
    wire.call("u", "unsubscribe", ["both"]);
    await until(() => wire.received.length >= 2);
    await turn();
    const answers = allOf(wire).filter(({ id }) => id !== undefined);
    assertEquals(answers.find(({ id }) => id === "u")?.result, ["clock"]);
    const late = answers.findIndex(({ id }) => id === "u") === 0;
    // Where it was answered afterwards, it is true afterwards.
    if (late) assertEquals((answers[1]?.result as Answer).subscriptions, ["clock"]);
    const heardBefore = allOf(wire).length;
    await rpc.publish("both", 3).position;
    await turn();
    assertEquals(allOf(wire).length, heardBefore);
    wire.call("r", "subscribe", { topics: ["short"], recover: true });
    rpc.removeTopic("short");
    await until(() => allOf(wire).some(({ id }) => id === "r"));
    wire.call("g", "get_subscriptions");
    await until(() => allOf(wire).some(({ id }) => id === "g"));
    assertEquals(allOf(wire).find(({ id }) => id === "g")?.result, ["clock"]);
    wire.close();
    await rpc.close();
  });
}

test("subscribe with ages tells how old the last event is", async () => {
  const rpc = serverOf();
  rpc.publish("last", 1);
  const published = Date.now();
  await until(() => Date.now() > published);
  const wire = bareClient(rpc);
  wire.call(1, "subscribe", { topics: ["last", "plain", "both"], ages: true });
  const { subscriptions, ages, ...rest } = (await wire.next()).result as Answer;
  assertEquals([subscriptions, rest], [["last", "plain", "both"], {}]);
  assertEquals(Object.keys(ages ?? {}), ["last"]);
  const age = ages?.last ?? -1;
  assert(age >= 1 && age <= Date.now() - published + 1, `${age}`);
  assertEquals((await wire.next()).params, 1);
  const other = bareClient(rpc);
  const answer = await recover(other, ["last", "clock"], {}, { ages: true });
  assertEquals(Object.keys(answer.ages ?? {}), ["last"]);
  wire.close();
  other.close();
});

test("subscribe answers -32602 when since is no object", async () => {
  const wire = bareClient(serverOf());
  for (const since of [1, "clock", [], ["x:1"]]) {
    wire.call(1, "subscribe", { topics: ["clock"], recover: true, since });
    assertEquals((await wire.next()).error?.code, -32602);
  }
  wire.call(2, "get_subscriptions");
  assertEquals((await wire.next()).result, []);
  wire.close();
});

test("subscribe with recover leaves out unknown and hidden topics, whatever their names", async () => {
  const rpc = new JsonRpc().topic("__proto__").topic("constructor");
  const wire = bareClient(rpc);
  const since = JSON.parse('{"__proto__":"x:1","nowhere":"x:1"}');
  wire.send(JSON.stringify({
    jsonrpc: "2.0",
    id: 1,
    method: "subscribe",
    params: { topics: ["__proto__", "nowhere", "constructor"], recover: true, since },
  }));
  const { subscriptions, positions, recovered } = (await wire.next()).result as Answer;
  assertEquals(subscriptions, ["__proto__", "constructor"]);
  assertEquals(Object.keys(positions), ["__proto__", "constructor"]);
  assertEquals(Object.entries(recovered), [["__proto__", false], ["constructor", true]]);
  wire.close();
});

test("subscribe that was cancelled leaves the subscription as it was", async () => {
  const held = deferred();
  const rpc = new JsonRpc({ logger: silentLog() }).topic("clock", HISTORY)
    .use(async ({ id }, next) => {
      const result = next();
      if (id === "slow") await held.promise;
      return result;
    });
  const wire = bareClient(rpc);
  const { positions } = await recover(wire, "clock");
  wire.call("slow", "subscribe", ["clock"]);
  await quietMoment();
  rpc.publish("clock", 1);
  wire.call(undefined, "$/cancelRequest", { id: "slow" });
  assertEquals((await wire.next()).error?.code, -32800);
  rpc.publish("clock", 2);
  assertEquals(got(await wire.some(2)), [1, 2]);
  wire.call("slow", "subscribe", { topics: ["clock"], recover: true, since: positions });
  await quietMoment();
  rpc.publish("clock", 3);
  wire.call(undefined, "$/cancelRequest", { id: "slow" });
  const [answer, event] = await wire.some(2);
  assertEquals([answer?.error?.code, got([event as WireMessage])], [-32800, [3]]);
  wire.close();
});

test("subscribe fails with data.retry when the broker is out of reach, and leaves nothing behind", async () => {
  const broker = new LateBroker();
  const log = silentLog();
  const rpc = serverOf({ broker, logger: log, maxSubscriptions: 2 });
  let down = true;
  broker.delay = async (what) => {
    await turn();
    if (down && what === "subscribe") throw new Error("Connection refused");
  };
  const wire = bareClient(rpc);
  for (const params of [["clock", "plain"], { topics: ["clock", "plain"], recover: true }]) {
    wire.call(1, "subscribe", params);
    const { error } = await wire.next();
    assertEquals([error?.code, error?.data], [-32009, { retry: true }]);
  }
  assertStringIncludes(log.text, "Connection refused");
  wire.call(2, "get_subscriptions");
  assertEquals((await wire.next()).result, []);
  down = false;
  await recover(wire, ["clock", "plain"]);
  await rpc.publish("clock", 1).position;
  assertEquals(got([await wire.next()]), [1]);
  wire.close();
  await rpc.close();
});

test("maxSubscriptions holds although the broker takes its time", async () => {
  const rpc = serverOf({ broker: new LateBroker(), maxSubscriptions: 2 });
  const wire = bareClient(rpc);
  for (const n of [1, 2, 3, 4]) {
    wire.call(n, "subscribe", { topics: [`room.${n}`], recover: true });
  }
  const answers = await wire.some(4);
  assertEquals(answers.filter(({ error }) => error?.code === -32006).length, 2);
  wire.call("g", "get_subscriptions");
  assertEquals((await wire.next()).result, ["room.1", "room.2"]);
  wire.close();
  await rpc.close();
});

test("the server listens to a topic of the broker only while one of its clients is subscribed", async () => {
  const broker = new LateBroker();
  const rpc = serverOf({ broker });
  assertEquals(broker.asked, []);
  const [one, two] = [bareClient(rpc), bareClient(rpc)];
  one.call(1, "subscribe", ["clock"]);
  two.call(1, "subscribe", { topics: ["clock"], recover: true });
  await Promise.all([one.next(), two.next()]);
  assertEquals(broker.asked, ["subscribe clock"]);
  one.close();
  await rpc.publish("clock", 1).position;
  assertEquals(got([await two.next()]), [1]);
  two.call(2, "unsubscribe", ["clock"]);
  await two.next();
  await until(() => broker.sinks.size === 0);
  assertEquals(broker.asked, ["subscribe clock", "unsubscribe clock"]);
  two.close();
  await rpc.close();
});

test("unsubscribing and subscribing while the broker still answers keep their order", async () => {
  const broker = new LateBroker();
  const rpc = serverOf({ broker });
  const wire = bareClient(rpc);
  for (let round = 0; round < 20; round++) {
    wire.call(round, "subscribe", { topics: ["clock"], recover: true });
    wire.call(undefined, "unsubscribe", ["clock"]);
    if (round % 3 === 0) await turn();
  }
  await until(() => wire.received.length === 20 && broker.sinks.size === 0);
  wire.call("last", "subscribe", { topics: ["clock"], recover: true });
  await until(() => wire.received.length === 21);
  assertEquals(broker.sinks.size, 1);
  for (const [n, asked] of broker.asked.entries()) {
    assertEquals(asked, n % 2 === 0 ? "subscribe clock" : "unsubscribe clock");
  }
  await rpc.publish("clock", "heard").position;
  await until(() => wire.received.length === 22);
  assertEquals(got(allOf(wire)), ["heard"]);
  wire.close();
  await until(() => broker.sinks.size === 0);
  await rpc.close();
});

test("subscribers that recover are told of a gap of the broker", async () => {
  const broker = new LateBroker();
  const rpc = serverOf({ broker });
  const [wire, plain] = [bareClient(rpc), bareClient(rpc)];
  await recover(wire, "clock");
  plain.call(1, "subscribe", ["clock"]);
  await plain.next();
  await rpc.publish("clock", 1).position;
  await wire.next();
  const before = lastPosition(wire);
  broker.loseAll({ epoch: "new", offset: 0 });
  assertEquals((await wire.next()).params, { topic: "clock", position: "new:0", gap: true });
  const other = bareClient(rpc);
  assertEquals((await recover(other, "clock", { clock: before })).recovered, { clock: false });
  assertEquals(plain.received.length, 2);
  for (const each of [wire, plain, other]) each.close();
  await rpc.close();
});

test("subscribe asks again for an event that a store may only not know yet", async () => {
  const broker = new LateBroker();
  const rpc = serverOf({ broker });
  const [wire, other] = [bareClient(rpc), bareClient(rpc)];
  await recover(wire, "clock");
  const first = await rpc.publish("clock", 1).position;
  await rpc.publish("clock", 2).position;
  broker.forgetful = 2;
  assertEquals((await recover(other, "clock", { clock: first })).recovered, { clock: true });
  await other.next();
  assertEquals([got(allOf(other)), broker.forgetful], [[2], 0]);
  for (const each of [wire, other]) each.close();
  await rpc.close();
});

test("an event that a store does not know is not sent again to a client that had it", async () => {
  const broker = new LateBroker();
  const rpc = serverOf({ broker });
  const wire = bareClient(rpc);
  await recover(wire, "clock");
  await rpc.publish("clock", 1).position;
  await wire.next();
  // The next event reaches another server, and this one only later.
  const arrival = deferred<void>();
  broker.onTheWay = () => arrival.promise;
  const position = await rpc.publish("clock", 2).position;
  broker.forgetful = Infinity;
  const other = bareClient(rpc);
  assertEquals((await recover(other, "clock", { clock: position })).recovered, { clock: false });
  arrival.resolve();
  await wire.next();
  await rpc.publish("clock", 3).position;
  await until(() => other.received.length > 1);
  assertEquals([got(allOf(wire)), got(allOf(other))], [[1, 2, 3], [3]]);
  for (const each of [wire, other]) each.close();
  await rpc.close();
});

test("events that a store knows again are not sent again to a client that had them", async () => {
  const broker = new LateBroker();
  const rpc = serverOf({ broker });
  const [wire, other] = [bareClient(rpc), bareClient(rpc)];
  await recover(wire, "clock");
  await rpc.publish("clock", 1).position;
  await wire.next();
  // The next events reach another server, and this one only later.
  const arrival = deferred<void>();
  broker.onTheWay = () => arrival.promise;
  await rpc.publish("clock", 2).position;
  const position = await rpc.publish("clock", 3).position;
  broker.forgetful = 4;
  assertEquals((await recover(other, "clock", { clock: position })).recovered, { clock: false });
  arrival.resolve();
  for (const _ of [2, 3]) await wire.next();
  await rpc.publish("clock", 4).position;
  await until(() => other.received.length > 1);
  assertEquals([got(allOf(wire)), got(allOf(other))], [[1, 2, 3, 4], [4]]);
  for (const each of [wire, other]) each.close();
  await rpc.close();
});

test("publish() whose event the engine does not take rejects at position alone, and is logged once", async () => {
  const broker = new LateBroker();
  const log = silentLog();
  const rpc = serverOf({ broker, logger: log });
  let down = true;
  broker.delay = async () => {
    await turn();
    if (down) throw new RpcServerError(-32050, "Engine stopped");
  };
  const [first] = [rpc.publish("clock", 1), rpc.publish("clock", 2), rpc.publish("plain", 3)];
  assertEquals(first?.deliveries, 0);
  const error = await first?.position.catch((error) => error);
  assertStringIncludes(error.message, "Engine stopped");
  await turn();
  down = false;
  await rpc.publish("clock", 4).position;
  assertEquals(log.lines.length, 2);
  assertStringIncludes(log.lines[0] ?? "", "Engine stopped");
  assertStringIncludes(log.lines[1] ?? "", "3 were not");
  await rpc.close();
});

test("an event over maxMessageBytes with its position is a gap to those who recover", async () => {
  const rpc = new JsonRpc({ maxMessageBytes: 200 }).topic("clock", HISTORY);
  const [wire, plain] = [bareClient(rpc), bareClient(rpc)];
  await recover(wire, "clock");
  plain.call(1, "subscribe", ["clock"]);
  await plain.next();
  rpc.publish("clock", "x".repeat(140));
  rpc.publish("clock", "y");
  assertEquals(got(await wire.some(2)), ["gap", "y"]);
  assertEquals((await plain.next()).params, "x".repeat(140));
  wire.close();
  plain.close();
});

test("a program that serves nobody publishes through a broker that it shares with a server", async () => {
  const broker = memoryBroker();
  const rpc = serverOf({ broker });
  const wire = bareClient(rpc);
  await recover(wire, ["clock", "room.7"]);
  const outside = new JsonRpc({ broker }).topic("clock", HISTORY).topic("room.*", HISTORY);
  const first = outside.publish("clock", 1);
  outside.publish("room.7", 2);
  rpc.publish("clock", 3);
  assertEquals(got(await wire.some(3)), [1, 2, 3]);
  assertEquals(first.deliveries, 0);
  assertStringIncludes(await first.position, ":1");
  wire.close();
  await outside.close();
});

test("removeTopic() drops the subscribers of a topic or a pattern, and tells them", async () => {
  const rpc = new JsonRpc().topic("clock", HISTORY).topic("room.*").topic("room.8");
  const [plain, recovering] = [bareClient(rpc), bareClient(rpc)];
  plain.call(1, "subscribe", ["clock", "room.7", "room.8"]);
  await plain.next();
  const { positions } = await recover(recovering, ["clock", "room.7"]);
  rpc.publish("clock", 1);
  assertEquals([rpc.removeTopic("clock"), rpc.removeTopic("clock")], [true, false]);
  assertEquals(rpc.removeTopic("room.*" as "room.7"), true);
  const told = (topic: string) => ({ jsonrpc: "2.0", method: "rpc.removed", params: { topic } });
  assertEquals((await plain.some(3)).slice(1), [told("clock"), told("room.7")]);
  assertEquals((await recovering.some(3)).slice(1), [told("clock"), told("room.7")]);
  for (const topic of ["clock", "room.7"] as const) {
    assertThrows(() => rpc.publish(topic), TypeError);
  }
  plain.call(2, "get_subscriptions");
  assertEquals((await plain.next()).result, ["room.8"]);
  assertEquals([rpc.publish("room.8").deliveries, [...rpc.subscribers(["clock"])]], [1, []]);
  // One that comes back has another history.
  rpc.topic("clock", HISTORY);
  assertEquals((await recover(recovering, "clock", positions)).recovered, { clock: false });
  plain.close();
  recovering.close();
});

test("topic() of a name that a pattern has given already takes its subscribers over", async () => {
  const rpc = new JsonRpc().topic("room.*");
  const wire = bareClient(rpc);
  wire.call(1, "subscribe", ["room.7", "room.8"]);
  await wire.next();
  rpc.topic("room.7").topic("room.8", { guards: [guard(() => false)] });
  assertEquals([rpc.publish("room.7").deliveries, rpc.publish("room.8").deliveries], [1, 0]);
  wire.close();
});

test("publish() of an event without data reaches those who recover without data", async () => {
  const rpc = serverOf();
  const wire = bareClient(rpc);
  await recover(wire, "clock");
  const { position } = rpc.publish("clock");
  rpc.publish("clock", null);
  const [none, empty] = await wire.some(2);
  const { time } = none?.params as { time: number };
  assertEquals(none?.params, { topic: "clock", position: await position, time });
  assertEquals((empty?.params as EventParams).data, null);
  wire.close();
});
