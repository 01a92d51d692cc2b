import { test } from "node:test";
import { assertEquals, assertRejects, assertStringIncludes, assertThrows } from "@std/assert";
import {
  connect,
  guard,
  JsonRpc,
  RpcConnectionError,
  RpcInvalidParamsError,
  RpcServerError,
  type,
} from "@x/jsonrpc";
import type { CallMiddleware, Schema } from "@x/jsonrpc";
import { memoryBroker } from "@x/jsonrpc/memory";
import { linkedSockets } from "@x/jsonrpc/testing";
import { pair } from "../helpers/client.ts";
import { cuttableProxy } from "../helpers/cuttable_proxy.ts";
import { deferred, quietMoment, until } from "../helpers/deferred.ts";
import { silentLog } from "../helpers/log.ts";
import { serveHere } from "../helpers/server.ts";
import { bareClient, bareServer, WirePeer } from "../helpers/wire.ts";
import type { WireMessage } from "../helpers/wire.ts";

const numbers: Schema<number> = {
  "~standard": {
    version: 1,
    vendor: "test",
    validate: (value) =>
      typeof value === "number"
        ? { value: Math.round(value) }
        : { issues: [{ message: "Expected a number" }] },
  },
};

/** Asks for topics and reads the answer; events that come with it are for later. */
async function subscribe(wire: WirePeer, ...topics: string[]): Promise<WireMessage> {
  wire.call("subscribe", "subscribe", topics);
  return await wire.next();
}

/** Names and data of the events that a bare client has received. */
function eventsOf(wire: WirePeer): unknown[] {
  return wire.received.map((text) => JSON.parse(text) as WireMessage)
    .filter(({ id }) => id === undefined)
    .map(({ method, params }) => [method, params]);
}

// -- events --

test("subscribe() receives the events of a topic, in order, and nothing of others", async () => {
  const rpc = new JsonRpc().topic("clock", { schema: type<number>() }).topic("news");
  await using server = await serveHere(rpc);
  await using client = await connect<typeof rpc>(server.ws);
  const received: number[] = [];
  const subscription = await client.subscribe("clock", (time) => received.push(time));
  assertEquals(subscription.topic, "clock");
  for (let n = 0; n < 100; n++) {
    rpc.publish("clock", n);
    rpc.publish("news", n);
  }
  await client.getTopics();
  assertEquals(received, [...Array(100).keys()]);
});

test("subscribe() receives any JSON as it was sent", async () => {
  const rpc = new JsonRpc().topic("any");
  await using client = await pair(rpc);
  const received: unknown[] = [];
  await client.subscribe("any", (data) => received.push(data));
  const sent = ["text", 0, "", false, true, [1], [], {}, { a: { b: 1 } }, null];
  for (const data of sent) rpc.publish("any", data);
  await client.getTopics();
  assertEquals(received, sent);
});

test("publish() answers to how many it went", async () => {
  const rpc = new JsonRpc().topic("clock").topic("room.*");
  const clients = await Promise.all([pair(rpc), pair(rpc), pair(rpc)]);
  assertEquals(rpc.publish("clock", 1).deliveries, 0);
  for (const client of clients) await client.subscribe("clock", () => {});
  await clients[0]?.subscribe("room.7", () => {});
  await clients[0]?.subscribe("clock", () => {});
  assertEquals([
    rpc.publish("clock", 1).deliveries,
    rpc.publish("room.7", 1).deliveries,
    rpc.publish("room.8", 1).deliveries,
  ], [
    3,
    1,
    0,
  ]);
  await clients[1]?.close();
  assertEquals(rpc.publish("clock", 1).deliveries, 2);
  await Promise.all(clients.map((client) => client.close()));
  assertEquals([rpc.publish("clock", 1).deliveries, rpc.publish("room.7", 1).deliveries], [0, 0]);
});

test("publish() sends an event without data, too", async () => {
  const rpc = new JsonRpc().topic("tick");
  const wire = bareClient(rpc);
  await subscribe(wire, "tick");
  rpc.publish("tick");
  assertEquals(await wire.next(), { jsonrpc: "2.0", method: "tick" });
  wire.close();
});

test("publish() throws TypeError when there is no such topic", () => {
  const rpc = new JsonRpc().topic("clock").topic("room.*.log").method("ping", () => "pong");
  const names = [
    "Clock",
    "ping",
    "",
    "room",
    "room.7",
    "room.7.log.x",
    "room..log",
    "room.*.log",
    "__proto__",
  ];
  for (const name of names) {
    assertThrows(() => rpc.publish(name as "clock", 1), TypeError, "no such topic");
  }
});

test("publish() throws TypeError when the data breaks the schema, and sends nothing", async () => {
  const rpc = new JsonRpc().topic("load", { schema: numbers, retain: true });
  const wire = bareClient(rpc);
  await subscribe(wire, "load");
  assertThrows(() => rpc.publish("load", "high" as never), TypeError, "Expected a number");
  rpc.publish("load", 1.6);
  assertEquals((await wire.next()).params, 2);
  wire.close();
});

test("publish() throws TypeError when the schema is asynchronous or the data has no JSON", () => {
  const slow: Schema<number> = {
    "~standard": {
      version: 1,
      vendor: "test",
      validate: () => Promise.resolve({ value: 1 }),
    },
  };
  const rpc = new JsonRpc().topic("slow", { schema: slow }).topic("any");
  assertThrows(() => rpc.publish("slow", 1), TypeError, "asynchronous");
  assertThrows(() => rpc.publish("any", 1n), TypeError);
});

test("publish() throws RangeError when the event is over maxMessageBytes, and keeps nothing of it", async () => {
  const rpc = new JsonRpc({ maxMessageBytes: 1000 }).topic("log", { retain: true });
  rpc.publish("log", "short");
  assertThrows(() => rpc.publish("log", "x".repeat(1000)), RangeError, "maxMessageBytes");
  const wire = bareClient(rpc);
  await subscribe(wire, "log");
  assertEquals((await wire.next()).params, "short");
  wire.close();
});

test("wrapScalars sends what is no array or object in an array of one", async () => {
  const rpc = new JsonRpc({ wrapScalars: true }).topic("any");
  const wire = bareClient(rpc);
  await subscribe(wire, "any");
  for (const data of [1, "text", null, [2], { three: 3 }]) rpc.publish("any", data);
  const events = await wire.some(5);
  assertEquals(events.map(({ params }) => params), [[1], ["text"], [null], [2], { three: 3 }]);
  wire.close();
});

// -- subscribing --

test("subscribe() rejects with RpcInvalidParamsError when there is no such topic", async () => {
  const rpc = new JsonRpc().topic("clock").topic("room.*");
  await using client = await pair(rpc);
  for (const name of ["nowhere", "", "room", "room.*", "room.7.log", "*", "constructor"]) {
    await assertRejects(() => client.subscribe(name as "clock", () => {}), RpcInvalidParamsError);
  }
  assertEquals(await client.getSubscriptions(), []);
});

test("subscribe() can be tried again when the topic was not there at first", async () => {
  const rpc = new JsonRpc().topic("clock");
  await using client = await pair(rpc);
  const received: unknown[] = [];
  const tries = [1, 2].map(() => client.subscribe("late" as "clock", () => received.push("old")));
  for (const each of tries) await assertRejects(() => each, RpcInvalidParamsError);
  rpc.topic("late");
  await client.subscribe("late" as "clock", (data) => received.push(data));
  rpc.publish("late" as "clock", "new");
  await client.getTopics();
  assertEquals(received, ["new"]);
});

const asked: readonly (readonly [params: unknown, subscriptions: string[]])[] = [
  [["a", "b"], ["a", "b"]],
  [["b", "a", "b"], ["b", "a"]],
  ["a", ["a"]],
  [{ topics: ["a", "b"] }, ["a", "b"]],
  [{ topics: "b" }, ["b"]],
  [{ topic: "b" }, ["b"]],
  [{ topic: ["a", "b"] }, ["a", "b"]],
  [["a", "nowhere", "hidden"], ["a"]],
  [[], []],
];

for (const [params, subscriptions] of asked) {
  test(`subscribe answers all subscriptions when it is asked for ${JSON.stringify(params)}`, async () => {
    const rpc = new JsonRpc().topic("a").topic("b").topic("hidden", {
      guards: [guard(() => false)],
    });
    const wire = bareClient(rpc);
    wire.call(1, "subscribe", params);
    wire.call(2, "get_subscriptions");
    wire.call(3, "unsubscribe", params);
    const answers = await wire.some(3);
    assertEquals(answers.map(({ result }) => result), [subscriptions, subscriptions, []]);
    wire.close();
  });
}

test("subscribe answers -32602 when the params name no topics", async () => {
  const wire = bareClient(new JsonRpc().topic("a"));
  const wrong = [1, true, [1], [["a"]], ["a", null], {}, { topics: 1 }, { topic: 1 }, {
    name: "a",
  }];
  for (const method of ["subscribe", "unsubscribe"]) {
    for (const params of wrong) {
      wire.call(1, method, params);
      assertEquals((await wire.next()).error?.code, -32602);
    }
  }
  wire.close();
});

test("subscribe and unsubscribe may come in one batch", async () => {
  const rpc = new JsonRpc().topic("a", { retain: true }).topic("b", { retain: true });
  rpc.publish("a", "last a");
  rpc.publish("b", "last b");
  const wire = bareClient(rpc);
  const entry = (method: string, topic: string, id?: number) => (
    { jsonrpc: "2.0", method, params: [topic], id }
  );
  wire.send([
    entry("subscribe", "a", 1),
    entry("subscribe", "b", 2),
    entry("unsubscribe", "a", 3),
    entry("unsubscribe", "b"),
    entry("subscribe", "b", 4),
  ]);
  const answers = await wire.next() as unknown as WireMessage[];
  assertEquals(answers.map(({ result }) => result), [["a"], ["a", "b"], ["b"], ["b"]]);
  await quietMoment();
  assertEquals(eventsOf({ received: wire.received.slice(1) } as WirePeer), [["b", "last b"]]);
  assertEquals([rpc.publish("a", 1).deliveries, rpc.publish("b", 1).deliveries], [0, 1]);
  wire.close();
});

test("subscribe may be a notification", async () => {
  const rpc = new JsonRpc().topic("clock", { retain: true });
  rpc.publish("clock", "last");
  const wire = bareClient(rpc);
  wire.call(undefined, "subscribe", ["clock"]);
  assertEquals((await wire.next()).params, "last");
  wire.close();
});

test("maxSubscriptions answers -32006, with nothing half done", async () => {
  const rpc = new JsonRpc({ maxSubscriptions: 3 }).topic("room.*", { retain: true });
  for (const n of [1, 2, 3, 4]) rpc.publish(`room.${n}`, n);
  const wire = bareClient(rpc);
  assertEquals((await subscribe(wire, "room.1", "room.2")).result, ["room.1", "room.2"]);
  await wire.some(2);
  const refused = await subscribe(wire, "room.3", "room.4");
  assertEquals(refused.error?.code, -32006);
  assertStringIncludes(refused.error?.message, "maxSubscriptions");
  assertEquals([3, 4].map((n) => rpc.publish(`room.${n}`, n).deliveries), [0, 0]);
  const fitting = await subscribe(wire, "room.1", "room.3");
  assertEquals(fitting.result, ["room.1", "room.2", "room.3"]);
  assertEquals((await wire.next()).params, 3);
  wire.call("u", "unsubscribe", ["room.1"]);
  await wire.next();
  assertEquals((await subscribe(wire, "room.4")).result, ["room.2", "room.3", "room.4"]);
  wire.close();
});

test("maxSubscriptions rejects with RpcServerError at the client", async () => {
  const rpc = new JsonRpc({ maxSubscriptions: 1 }).topic("a").topic("b");
  await using client = await pair(rpc);
  await client.subscribe("a", () => {});
  await client.subscribe("a", () => {});
  const error = await assertRejects(() => client.subscribe("b", () => {}), RpcServerError);
  assertEquals(error.code, -32006);
});

// -- the last event --

const layers: Readonly<Record<string, CallMiddleware[]>> = {
  "without middleware": [],
  "behind an asynchronous middleware": [async (_request, next) => {
    await quietMoment();
    const result = await next();
    await quietMoment();
    return result;
  }],
};

for (const [what, use] of Object.entries(layers)) {
  test(`subscribe answers first, then sends the last event, then new ones, ${what}`, async () => {
    const rpc = new JsonRpc().topic("clock", { retain: true }).topic("quiet", { retain: true })
      .topic("plain");
    for (const layer of use) rpc.use(layer);
    rpc.publish("clock", "old");
    rpc.publish("clock", "last");
    rpc.publish("plain", "lost");
    const wire = bareClient(rpc);
    wire.call(1, "subscribe", ["clock", "quiet", "plain"]);
    const answer = await wire.next();
    assertEquals(answer, { jsonrpc: "2.0", result: ["clock", "quiet", "plain"], id: 1 });
    await quietMoment();
    rpc.publish("clock", "new");
    await quietMoment();
    assertEquals(eventsOf(wire), [["clock", "last"], ["clock", "new"]]);
    wire.close();
  });
}

test("subscribe sends what happens while a slow middleware holds its answer back", async () => {
  const held = deferred();
  const rpc = new JsonRpc().topic("clock", { retain: true })
    .use(async (_request, next) => {
      const result = next();
      await held.promise;
      return result;
    });
  const wire = bareClient(rpc);
  wire.call(1, "subscribe", ["clock"]);
  await quietMoment();
  rpc.publish("clock", "meanwhile");
  held.resolve();
  const [answer, event] = await wire.some(2);
  assertEquals([answer?.id, event?.params], [1, "meanwhile"]);
  rpc.publish("clock", "after");
  assertEquals((await wire.next()).params, "after");
  wire.close();
});

test("subscribe that was cancelled leaves nothing half done", async () => {
  const held = deferred();
  const rpc = new JsonRpc({ logger: silentLog() }).topic("clock", { retain: true })
    .use(async ({ id }, next) => {
      if (id === "slow") await held.promise;
      return next();
    });
  const wire = bareClient(rpc);
  wire.call("slow", "subscribe", ["clock"]);
  wire.call(undefined, "$/cancelRequest", { id: "slow" });
  assertEquals((await wire.next()).error?.code, -32800);
  held.resolve();
  await quietMoment();
  assertEquals((await subscribe(wire, "clock")).result, ["clock"]);
  assertEquals(rpc.publish("clock", "now").deliveries, 1);
  assertEquals((await wire.next()).params, "now");
  wire.close();
});

test("subscribe that another layer refuses afterwards leaves nothing half done", async () => {
  let refuse = true;
  const rpc = new JsonRpc().topic("clock").use((_request, next) => {
    const result = next();
    if (refuse) throw new RpcServerError(-32050, "Not today");
    return result;
  });
  const wire = bareClient(rpc);
  assertEquals((await subscribe(wire, "clock")).error?.code, -32050);
  refuse = false;
  await subscribe(wire, "clock");
  assertEquals(rpc.publish("clock", "now").deliveries, 1);
  wire.close();
});

test("maxAgeMs keeps an event back that is older", async () => {
  const rpc = new JsonRpc().topic("young", { retain: { maxAgeMs: 60_000 } })
    .topic("old", { retain: { maxAgeMs: 0 } });
  rpc.publish("young", 1);
  rpc.publish("old", 1);
  const before = Date.now();
  await until(() => Date.now() > before);
  const wire = bareClient(rpc);
  await subscribe(wire, "old", "young");
  await quietMoment();
  assertEquals(eventsOf(wire), [["young", 1]]);
  wire.close();
});

test("subscribe sends the last event once when a topic is asked for again", async () => {
  const rpc = new JsonRpc().topic("clock", { retain: true });
  rpc.publish("clock", "last");
  const wire = bareClient(rpc);
  wire.call(1, "subscribe", ["clock", "clock"]);
  wire.call(2, "subscribe", ["clock"]);
  await quietMoment();
  assertEquals(eventsOf(wire), [["clock", "last"]]);
  wire.call(3, "unsubscribe", ["clock"]);
  wire.call(4, "subscribe", ["clock"]);
  await quietMoment();
  assertEquals(eventsOf(wire), [["clock", "last"], ["clock", "last"]]);
  wire.close();
});

test("a topic under a pattern keeps its last event when nobody is subscribed any more", async () => {
  const rpc = new JsonRpc().topic("room.*", { retain: true });
  rpc.publish("room.7", "last");
  for (let round = 0; round < 2; round++) {
    const wire = bareClient(rpc);
    await subscribe(wire, "room.7");
    assertEquals((await wire.next()).params, "last");
    wire.call("u", "unsubscribe", ["room.7"]);
    await wire.next();
    wire.close();
  }
});

test("a topic under a pattern keeps its last event, up to 10,000 of them, the newest", async () => {
  const rpc = new JsonRpc().topic("room.*", { retain: true });
  for (let n = 0; n <= 10_001; n++) {
    rpc.publish(`room.${n}`, n);
    if (n === 5000) rpc.publish("room.1", "kept alive");
  }
  const wire = bareClient(rpc);
  await subscribe(wire, "room.0", "room.1", "room.2", "room.3", "room.10001");
  await quietMoment();
  assertEquals(eventsOf(wire), [
    ["room.1", "kept alive"],
    ["room.3", 3],
    ["room.10001", 10_001],
  ]);
  wire.close();
});

// -- patterns --

test("topic() with * fits exactly one segment", async () => {
  const rpc = new JsonRpc().topic("room.*").topic("*.log").topic("a.*.c.*");
  const wire = bareClient(rpc);
  const fitting = ["room.7", "room.x y", "x.log", "room.log", "a.b.c.d", "room.__proto__"];
  const others = ["room", "room.", "room.7.8", ".log", "a.b.c", "a..c.d", "a.b.x.d", "room.*"];
  assertEquals((await subscribe(wire, ...others, ...fitting)).result, fitting);
  assertEquals(
    fitting.map((name) => rpc.publish(name as `room.${string}`, 1).deliveries),
    fitting.map(() => 1),
  );
  wire.call("list", "get_topics");
  assertEquals((await wire.some(fitting.length + 1)).at(-1)?.result, []);
  wire.close();
});

test("close() leaves a broker to the other servers that share it, and is its end with the last", async () => {
  const inner = memoryBroker();
  let closed = 0;
  const broker = {
    publish: inner.publish.bind(inner),
    subscribe: inner.subscribe.bind(inner),
    history: inner.history.bind(inner),
    close: () => (closed++, inner.close()),
  };
  const [first, second] = [0, 1].map(() => new JsonRpc({ broker }).topic("clock"));
  const [near, far] = linkedSockets();
  second?.attach(far);
  const client = await connect(near);
  const received: unknown[] = [];
  await client.subscribe("clock", (data) => received.push(data));
  await Promise.all([first?.close(), first?.close()]);
  second?.publish("clock", "noon");
  await until(() => received.length > 0);
  assertEquals([received, closed], [["noon"], 0]);
  await Promise.all([client.close(), second?.close()]);
  assertEquals(closed, 1);
});

for (const answer of ["refused", "let in"]) {
  test(`subscribe that a layer has ${answer} before another lets it through does what was answered`, async () => {
    const late = deferred();
    const rpc = new JsonRpc({ logger: silentLog() })
      .use(({ method }, next) => {
        if (method !== "subscribe") return next();
        next();
        if (answer === "refused") throw new RpcServerError(-32050, "Too late");
        return ["clock"];
      })
      .use(({ method }, next) => method === "subscribe" ? late.promise.then(next) : next())
      .topic("clock");
    const wire = bareClient(rpc);
    wire.call(1, "subscribe", ["clock"]);
    assertEquals((await wire.next()).error?.code, answer === "refused" ? -32050 : undefined);
    late.resolve();
    for (let n = 0; n < 5; n++) await quietMoment();
    const [connection] = rpc.connections;
    assertEquals([...connection?.subscriptions ?? []], answer === "refused" ? [] : ["clock"]);
    rpc.publish("clock", "noon");
    wire.call(2, "get_subscriptions");
    const received = await wire.next();
    assertEquals(
      [received.method, received.id],
      answer === "refused" ? [undefined, 2] : ["clock", undefined],
    );
    wire.close();
  });
}

test("topic() throws TypeError when its name is the protocol's own", () => {
  const rpc = new JsonRpc();
  for (const name of ["rpc.message", "rpc.*", "$/progress", "$/*"]) {
    assertThrows(() => rpc.topic(name), TypeError, "reserved");
  }
});

test("subscribe finds nothing of the protocol's own under a pattern", async () => {
  const rpc = new JsonRpc().topic("*.*");
  const [near, far] = linkedSockets();
  rpc.attach(far);
  await using client = await connect(near);
  assertEquals(await client.call("subscribe", ["rpc.message", "a.message"]), ["a.message"]);
  assertThrows(() => rpc.publish("rpc.message"), TypeError, "no such topic");
});

test("topic() refuses a schema that is no Standard Schema", () => {
  const schema = { type: "string" } as never;
  assertThrows(
    () => new JsonRpc().topic("news", { schema }),
    TypeError,
    'Cannot declare topic "news": its `schema` is no Standard Schema',
  );
});

test("topic() throws TypeError when its name is empty or taken", () => {
  const rpc = new JsonRpc().topic("clock").topic("room.*");
  assertThrows(() => rpc.topic(""), TypeError, "empty");
  assertThrows(() => rpc.topic("clock"), TypeError, "taken");
  assertThrows(() => rpc.topic("room.*"), TypeError, "taken");
  rpc.topic("room.7");
});

test("filter() gives each connection once, whichever topics it has", async () => {
  const rpc = new JsonRpc().topic("a").topic("b").topic("room.*");
  await using first = await pair(rpc);
  await using second = await pair(rpc);
  await using _third = await pair(rpc);
  const [one, two] = [...rpc.connections];
  await first.subscribe("a", () => {});
  await first.subscribe("b", () => {});
  await second.subscribe("b", () => {});
  await second.subscribe("room.7", () => {});
  assertEquals([...rpc.subscribers(["a", "b"])], [one, two]);
  assertEquals([...rpc.subscribers(["b", "a", "room.7"])].length, 2);
  assertEquals([...rpc.subscribers(["room.7"])], [two]);
  assertEquals([...rpc.subscribers(["room.8", "nowhere", "room.*"])], []);
  assertEquals([...rpc.subscribers([])], []);
});

// -- several handlers, and the end of them --

test("subscribe() asks the server once when a topic has several handlers", async () => {
  const [client, server] = await bareServer();
  const received: string[] = [];
  const subscribing = ["one", "two"].map((name) =>
    client.subscribe("clock", (data) => received.push(`${name} ${data}`))
  );
  const { id, method, params } = await server.next();
  assertEquals([method, params], ["subscribe", ["clock"]]);
  server.send({ jsonrpc: "2.0", result: ["clock"], id });
  const [one, two] = await Promise.all(subscribing);
  const three = await client.subscribe("clock", (data) => received.push(`three ${data}`));
  server.call(undefined, "clock", 1);
  await quietMoment();
  await one?.unsubscribe();
  await three.unsubscribe();
  server.call(undefined, "clock", 2);
  await quietMoment();
  const leaving = two?.unsubscribe();
  const last = await server.next();
  assertEquals([last.method, last.params], ["unsubscribe", ["clock"]]);
  server.send({ jsonrpc: "2.0", result: [], id: last.id });
  await leaving;
  await two?.unsubscribe();
  server.call(undefined, "clock", 3);
  await quietMoment();
  assertEquals(received, ["one 1", "two 1", "three 1", "two 2"]);
  assertEquals(server.received.length, 2);
  await client.close();
});

test("subscribe() may be given the same function twice", async () => {
  const rpc = new JsonRpc().topic("clock");
  await using client = await pair(rpc);
  const received: unknown[] = [];
  const handler = (data: unknown) => received.push(data);
  const first = await client.subscribe("clock", handler);
  await client.subscribe("clock", handler);
  rpc.publish("clock", 1);
  await quietMoment();
  await first.unsubscribe();
  await first.unsubscribe();
  rpc.publish("clock", 2);
  await client.getTopics();
  assertEquals(received, [1, 1, 2]);
});

test("subscription ends with `await using`", async () => {
  const rpc = new JsonRpc().topic("clock");
  await using client = await pair(rpc);
  {
    await using _subscription = await client.subscribe("clock", () => {});
    assertEquals(rpc.publish("clock", 1).deliveries, 1);
  }
  assertEquals(rpc.publish("clock", 1).deliveries, 0);
});

test("subscription.unsubscribe() does nothing when the client is closed", async () => {
  const rpc = new JsonRpc().topic("clock");
  const client = await pair(rpc);
  const subscription = await client.subscribe("clock", () => {});
  await client.close();
  await subscription.unsubscribe();
  await client.unsubscribe("clock");
});

test("unsubscribe() ends all handlers of a topic", async () => {
  const rpc = new JsonRpc().topic("clock");
  await using client = await pair(rpc);
  const received: unknown[] = [];
  const subscription = await client.subscribe("clock", (data) => received.push(data));
  await client.subscribe("clock", (data) => received.push(data));
  await client.unsubscribe("clock");
  await subscription.unsubscribe();
  assertEquals(rpc.publish("clock", 1).deliveries, 0);
  assertEquals(received, []);
});

test("removeTopic() ends the client's handlers and loops, and is told to a method of its own", async () => {
  const rpc = new JsonRpc().topic("news");
  const log = silentLog();
  await using client = await pair(rpc, { logger: log });
  const told: unknown[] = [];
  client.method("rpc.removed", (params) => told.push(params));
  const received: unknown[] = [];
  await client.subscribe("news", (data) => received.push(data));
  const loop = client.topic("news");
  const next = loop.next();
  await client.getTopics(); // by then the loop is subscribed
  rpc.removeTopic("news");
  const error = await assertRejects(() => next, RpcInvalidParamsError);
  assertStringIncludes(error.message, "no such topic");
  assertEquals(told, [{ topic: "news" }]);
  assertStringIncludes(log.text, 'Subscription to topic "news" ended');

  await assertRejects(() => client.subscribe("news", () => {}), RpcInvalidParamsError);
  rpc.topic("news");
  await client.subscribe("news", (data) => received.push(data));
  rpc.publish("news", 1);
  await client.getTopics();
  assertEquals(received, [1]);
});

test("subscribe() and unsubscribe() keep their order when nobody waits between them", async () => {
  const rpc = new JsonRpc().topic("clock");
  await using client = await pair(rpc);
  const received: string[] = [];
  const first = await client.subscribe("clock", () => received.push("first"));
  const steps: Promise<unknown>[] = [];
  for (let n = 0; n < 10; n++) {
    steps.push(client.unsubscribe("clock"));
    steps.push(client.subscribe("clock", () => received.push(`round ${n}`)));
  }
  steps.push(first.unsubscribe());
  await Promise.all(steps);
  assertEquals(await client.getSubscriptions(), ["clock"]);
  rpc.publish("clock", 1);
  await client.getTopics();
  assertEquals(received, ["round 9"]);
});

test("unsubscribe() before the answer to subscribe leaves no subscription", async () => {
  const rpc = new JsonRpc().topic("clock", { retain: true });
  rpc.publish("clock", "last");
  await using client = await pair(rpc);
  const received: unknown[] = [];
  const subscribing = client.subscribe("clock", (data) => received.push(data));
  await client.unsubscribe("clock");
  await (await subscribing).unsubscribe();
  assertEquals(await client.getSubscriptions(), []);
  assertEquals([rpc.publish("clock", 1).deliveries, received], [0, []]);
});

test("a handler that throws or rejects is logged, and the other handlers still run", async () => {
  const rpc = new JsonRpc().topic("clock");
  const logger = silentLog();
  await using client = await pair(rpc, { logger });
  const received: unknown[] = [];
  await client.subscribe("clock", () => {
    throw new Error("thrown here");
  });
  await client.subscribe("clock", async () => {
    await quietMoment();
    throw new Error("rejected here");
  });
  await client.subscribe("clock", (data) => received.push(data));
  rpc.publish("clock", 1);
  rpc.publish("clock", 2);
  await client.getTopics();
  await quietMoment();
  assertEquals(received, [1, 2]);
  for (const trace of ['"clock"', "thrown here", "rejected here"]) {
    assertStringIncludes(logger.text, trace);
  }
});

test("a topic wins over a method of the client that has its name", async () => {
  const rpc = new JsonRpc().topic("clock");
  await using client = await pair(rpc);
  const received: string[] = [];
  client.method("clock", () => received.push("method"));
  const subscription = await client.subscribe("clock", () => received.push("topic"));
  rpc.publish("clock", 1);
  await client.getTopics();
  await subscription.unsubscribe();
  for (const connection of rpc.connections) connection.notify("clock");
  await client.getTopics();
  assertEquals(received, ["topic", "method"]);
});

test("subscribe() rejects when the connection ends before the answer", async () => {
  const [client, server] = await bareServer();
  const subscribing = client.subscribe("clock", () => {});
  await server.next();
  await client.close();
  await assertRejects(() => subscribing, RpcConnectionError);
});

// -- who may --

test("a guard on a topic hides it: from the list, from its subscribers-to-be", async () => {
  const rpc = new JsonRpc().topic("open").topic("closed", { guards: [guard(() => false)] });
  await using client = await pair(rpc);
  assertEquals(await client.getTopics(), ["open"]);
  await assertRejects(() => client.subscribe("closed", () => {}), RpcInvalidParamsError);
  assertEquals(rpc.publish("closed", 1).deliveries, 0);
  const bare = bareClient(rpc);
  const [hidden, missing] = [await subscribe(bare, "closed"), await subscribe(bare, "missing")];
  assertEquals(hidden, missing);
  bare.close();
});

test("a guard on a pattern is asked with the concrete name", async () => {
  const names: string[] = [];
  const own = guard<string>(({ user, name, kind }) => {
    names.push(`${kind} ${name}`);
    return name === `inbox.${user}`;
  });
  const rpc = new JsonRpc().topic("inbox.*", { guards: [own] });
  const [near, far] = linkedSockets();
  const wire = new WirePeer(near);
  rpc.attach(far, { user: "ada" });
  const answer = await subscribe(wire, "inbox.ada", "inbox.bob", "inbox.*");
  assertEquals(answer.result, ["inbox.ada"]);
  assertEquals(names, ["topic inbox.ada", "topic inbox.bob"]);
  wire.close();
});

test("connection.login() and logout() drop the topics that are not allowed any more", async () => {
  const users = guard(({ user }) => user !== null);
  const admins = guard(({ user }) => user === "admin");
  const rpc = new JsonRpc().user<string>().topic("open").topic("users", { guards: [users] })
    .topic("room.*", { guards: [admins] })
    .method("login", ([user]: [string], { connection }) => {
      connection.login(user);
      return [...connection.subscriptions];
    })
    .method("logout", (_params: unknown, { connection }) => {
      connection.logout();
      return [...connection.subscriptions];
    });
  const wire = bareClient(rpc);
  const say = async (method: string, ...params: string[]) => {
    wire.call(1, method, params);
    return (await wire.next()).result;
  };
  const all = ["open", "users", "room.7"];
  assertEquals(await say("subscribe", ...all), ["open"]);
  assertEquals(await say("login", "admin"), ["open"]);
  assertEquals(await say("subscribe", ...all), all);
  assertEquals(all.map((name) => rpc.publish(name as "open", 1).deliveries), [1, 1, 1]);
  await wire.some(3);
  assertEquals(await say("login", "bob"), ["open", "users"]);
  assertEquals(all.map((name) => rpc.publish(name as "open", 1).deliveries), [1, 1, 0]);
  await wire.some(2);
  assertEquals(await say("logout"), ["open"]);
  assertEquals(all.map((name) => rpc.publish(name as "open", 1).deliveries), [1, 0, 0]);
  wire.close();
});

test("connection.logout() while subscribe waits for its layers leaves no subscription", async () => {
  const held = deferred();
  const rpc = new JsonRpc().topic("secret", {
    retain: true,
    guards: [guard(({ user }) => user === "ada")],
  }).use(async (_request, next) => {
    const result = next();
    await held.promise;
    return result;
  });
  rpc.publish("secret", "last");
  const [near, far] = linkedSockets();
  const wire = new WirePeer(near);
  rpc.attach(far, { user: "ada" });
  wire.call(1, "subscribe", ["secret"]);
  await quietMoment();
  for (const connection of rpc.connections) connection.logout();
  held.resolve();
  await wire.next();
  await quietMoment();
  assertEquals(eventsOf(wire), []);
  assertEquals(rpc.publish("secret", "new").deliveries, 0);
  wire.close();
});

// -- nothing is left --

test("a connection that ends leaves no trace in any topic", async () => {
  const rpc = new JsonRpc().topic("clock").topic("room.*", { retain: true });
  await using server = await serveHere(rpc);
  await using between = await cuttableProxy(server);
  for (const end of ["client", "server", "cut"]) {
    const clients = await Promise.all([1, 2, 3].map(() => connect<typeof rpc>(between.ws)));
    await Promise.all(clients.flatMap((client) => [
      client.subscribe("clock", () => {}),
      client.subscribe(`room.${end}`, () => {}),
    ]));
    const topics = ["clock", `room.${end}`];
    assertEquals([...rpc.subscribers(topics)].length, 3);
    if (end === "server") { for (const connection of rpc.connections) connection.close(); }
    if (end === "cut") between.cut();
    await Promise.all(clients.map((client) => client.close()));
    await until(() => rpc.connections.size === 0);
    assertEquals([...rpc.subscribers(topics)], []);
  }
});

test("subscribe in a batch whose first entry ends the connection leaves no trace", async () => {
  const rpc = new JsonRpc({ logger: silentLog() })
    .method("leave", (_params: unknown, { connection }) => connection.close())
    .topic("clock");
  const wire = bareClient(rpc);
  wire.send(
    `[${
      ["leave", "subscribe"].map((method, id) =>
        JSON.stringify({ jsonrpc: "2.0", method, params: ["clock"], id })
      )
    }]`,
  );
  await until(() => rpc.connections.size === 0);
  assertEquals([...rpc.subscribers(["clock"])], []);
  assertEquals(rpc.publish("clock", 1).deliveries, 0);
});

test("a pattern fits no name of more than 256 characters", async () => {
  const rpc = new JsonRpc().topic("room.*");
  const wire = bareClient(rpc);
  const longest = `room.${"x".repeat(251)}` as const;
  const { result } = await subscribe(wire, longest, `${longest}x`);
  assertEquals(result, [longest]);
  assertThrows(() => rpc.publish(`room.${"x".repeat(252)}`, 1), TypeError, "no such topic");
  wire.close();
});
