import { test } from "node:test";
import { assertEquals, assertRejects, assertStringIncludes } from "@std/assert";
import {
  connect,
  JsonRpc,
  RpcConnectionError,
  RpcError,
  RpcInvalidParamsError,
  RpcMethodNotFoundError,
  type,
} from "@x/jsonrpc";
import { pair } from "../helpers/client.ts";
import { cuttableProxy } from "../helpers/cuttable_proxy.ts";
import { quietMoment, until } from "../helpers/deferred.ts";
import { serveHere } from "../helpers/server.ts";
import type { WireMessage, WirePeer } from "../helpers/wire.ts";
import { scripted } from "../helpers/scripted_server.ts";

/** What a subscribe that recovers answers. */
function granted(positions: Record<string, string>, recovered: Record<string, boolean> = {}) {
  return { subscriptions: Object.keys(positions), positions, recovered };
}

function say(wire: WirePeer, { id }: WireMessage, result: unknown): void {
  wire.send({ jsonrpc: "2.0", result, id });
}

function event(wire: WirePeer, position: string, rest: object, topic = "news"): void {
  wire.send({ jsonrpc: "2.0", method: "rpc.message", params: { topic, position, ...rest } });
}

/** A client that recovers "news" and stands at "p0", with all that it receives, gaps included. */
async function hearing() {
  const script = scripted();
  const { client, wire } = script;
  const got: unknown[] = [];
  await client.connect();
  const server = await wire(0);
  const subscribing = client.subscribe("news", (data) => got.push(data), {
    recover: true,
    onGap: ({ topic }) => got.push(`gap in ${topic}`),
  });
  const asked = await server.next();
  say(server, asked, granted({ news: "p0" }));
  return { ...script, got, server, asked, subscription: await subscribing };
}

// -- resubscribing --

test("JsonRpcClient resubscribes all topics with one call, and those that it lost end", async () => {
  const { client, wire, events, log } = scripted();
  await client.connect();
  const got: unknown[] = [];
  const first = await wire(0);
  for (const topic of ["a", "b", "c"]) {
    const subscribing = client.subscribe(topic, (data) => got.push(`${topic}${data}`));
    say(first, await first.next(), [topic]);
    await subscribing;
  }
  first.close(1001);
  const second = await wire(1);
  const { method, params, id } = await second.next();
  assertEquals([method, params], ["subscribe", ["a", "b", "c"]]);
  second.send({ jsonrpc: "2.0", result: ["a", "c"], id });
  for (const topic of ["a", "b", "c"]) second.send({ jsonrpc: "2.0", method: topic, params: 1 });
  await until(() => events.includes("resubscribed a,c"));
  assertEquals(got, ["a1", "c1"]);
  assertStringIncludes(log.text, 'Subscription to topic "b" ended');
  await client.close();
});

test("JsonRpcClient ends its topics when resubscribing is refused, and not when it is cut", async () => {
  const { client, wire, log } = scripted();
  await client.connect();
  const subscribing = client.subscribe("a", () => {});
  say(await wire(0), await (await wire(0)).next(), ["a"]);
  await subscribing;
  (await wire(0)).close(1001);
  await (await wire(1)).next();
  (await wire(1)).close(1001);
  const third = await wire(2);
  const { id } = await third.next();
  const error = { code: -32601, message: "Method not found" };
  third.send({ jsonrpc: "2.0", error, id });
  await until(() => log.text.includes('Subscription to topic "a" ended: Method not found'));
  third.close(1001);
  await until(() => client.state === "open" && third !== undefined);
  const fourth = await wire(3);
  await quietMoment();
  assertEquals(fourth.received, []);
  await client.close();
});

test("subscribe() that was not answered is sent again, and not resubscribed beside", async () => {
  const { client, wire, wires } = scripted();
  await client.connect();
  const subscribing = client.subscribe("a", () => {});
  await (await wire(0)).next();
  (await wire(0)).close(1001);
  const second = await wire(1);
  say(second, await second.next(), ["a"]);
  await subscribing;
  assertEquals(wires[1]?.received.length, 1);
  await client.close();
});

test("unsubscribe() resolves at once while there is no connection, and the topic stays away", async () => {
  const { client, wire } = scripted({ reconnect: { minMs: 1e9, maxMs: 1e9 } });
  await client.connect();
  const subscribing = client.subscribe("a", () => {});
  say(await wire(0), await (await wire(0)).next(), ["a"]);
  const subscription = await subscribing;
  (await wire(0)).close(1001);
  await until(() => client.state === "waiting");
  await subscription.unsubscribe();
  await client.connect();
  client.notify("last");
  assertEquals((await (await wire(1)).next()).method, "last");
  await client.close();
});

// -- recovering, against a server played by hand --

test("subscribe() with recover asks for positions, and receives rpc.message", async () => {
  const { client, got, server, asked } = await hearing();
  assertEquals(asked.params, { topics: ["news"], recover: true });
  event(server, "p1", { data: { n: 1 } });
  event(server, "p2", { data: null });
  event(server, "q1", { data: "of a topic without a subscription" }, "other");
  server.send({ jsonrpc: "2.0", method: "rpc.message" });
  await quietMoment();
  assertEquals(got, [{ n: 1 }, null]);
  await client.close();
});

test("JsonRpcClient asks for what came since, and receives it once", async () => {
  const { client, got, server, wire } = await hearing();
  event(server, "p1", { data: 1 });
  event(server, "p2", { data: 2 });
  await quietMoment();
  server.close(1001);
  const next = await wire(1);
  const asked = await next.next();
  assertEquals(asked.params, { topics: ["news"], recover: true, since: { news: "p2" } });
  say(next, asked, granted({ news: "p2" }, { news: true }));
  // One that it had, one that came meanwhile, and one that is new.
  for (const n of [2, 3, 3, 4]) event(next, `p${n}`, { data: n });
  await until(() => got.length === 4);
  assertEquals(got, [1, 2, 3, 4]);
  await client.close();
});

test("JsonRpcClient asks from where it stands when it is cut while it recovers", async () => {
  const { client, got, server, wire } = await hearing();
  event(server, "p1", { data: 1 });
  await quietMoment();
  server.close(1001);
  const second = await wire(1);
  // It names the newest position, and goes before all that was missed has come.
  say(second, await second.next(), granted({ news: "p9" }, { news: true }));
  event(second, "p2", { data: 2 });
  await until(() => got.length === 2);
  second.close(1001);
  const third = await wire(2);
  const { params } = await third.next();
  assertEquals((params as { since: unknown }).since, { news: "p2" });
  await client.close();
});

test("onGap is called before what follows when events are lost for good", async () => {
  const { client, got, server, wire } = await hearing();
  event(server, "p1", { data: 1 });
  await quietMoment();
  server.close(1001);
  const next = await wire(1);
  const { id } = await next.next();
  // In one go: nothing may be looked at before the answer was.
  next.send({ jsonrpc: "2.0", result: granted({ news: "e2-7" }, { news: false }), id });
  event(next, "e2-8", { data: 8 });
  await until(() => got.length === 3);
  assertEquals(got, [1, "gap in news", 8]);
  event(next, "e2-20", { gap: true });
  event(next, "e2-21", { data: 21 });
  await until(() => got.length === 5);
  assertEquals(got.slice(3), ["gap in news", 21]);
  next.close(1001);
  const { params } = await (await wire(2)).next();
  assertEquals((params as { since: unknown }).since, { news: "e2-21" });
  await client.close();
});

test("subscribe() shares one subscription, and asks anew when a later handler wants to recover", async () => {
  const { client, wire } = scripted();
  await client.connect();
  const server = await wire(0);
  const got: unknown[] = [];
  const plain = client.subscribe("news", (data) => got.push(`plain ${data}`));
  say(server, await server.next(), ["news"]);
  await plain;
  const recovering = client.subscribe("news", (data) => got.push(`recovering ${data}`), {
    recover: true,
  });
  say(server, await server.next(), granted({ news: "p0" }));
  await recovering;
  await client.subscribe("news", (data) => got.push(`third ${data}`), { recover: true });
  event(server, "p1", { data: 1 });
  await until(() => got.length === 3);
  assertEquals(got, ["plain 1", "recovering 1", "third 1"]);
  assertEquals(server.received.length, 2);
  await client.close();
});

test("subscribe() with recover rejects when the server does not have the topic", async () => {
  const rpc = new JsonRpc().topic("news");
  await using client = await pair(rpc);
  const recovering = client.subscribe("old" as "news", () => {}, { recover: true });
  await assertRejects(() => recovering, RpcInvalidParamsError, '"old"');
});

// -- recovering, for real --

function newsServer(size = 1000) {
  return new JsonRpc()
    .method("ping", () => "pong")
    .topic("news", { schema: type<number>(), history: { size } });
}

test("JsonRpcClient loses nothing and receives nothing twice when its connection is cut a hundred times", async () => {
  const rpc = newsServer();
  await using server = await serveHere(rpc);
  await using between = await cuttableProxy(server);
  await using client = await connect<typeof rpc>(between.ws, {
    reconnect: { minMs: 0, maxMs: 5 },
  });
  const got: number[] = [];
  let gaps = 0;
  const options = { recover: true, onGap: () => gaps++ };
  await client.subscribe("news", (n) => got.push(n), options);
  let sent = 0;
  for (let round = 0; round < 100; round++) {
    for (let n = 0; n < 5; n++) rpc.publish("news", ++sent);
    if (round % 3 === 0) await until(() => got.length > sent - 5);
    between.cut();
    for (let n = 0; n < 5; n++) rpc.publish("news", ++sent);
    if (round % 4 === 0) await until(() => client.state === "open");
  }
  await until(() => got.length >= sent);
  await client.call("ping");
  assertEquals(got, Array.from({ length: sent }, (_, n) => n + 1));
  assertEquals(gaps, 0);
});

test("onGap is called when the server was restarted, or keeps less than was missed", async () => {
  const first = newsServer();
  const before = await serveHere(first);
  const port = Number(new URL(before.url).port);
  await using client = await connect<typeof first>(before.ws, {
    reconnect: { minMs: 0, maxMs: 50 },
  });
  const got: unknown[] = [];
  const onGap = () => got.push("gap");
  await client.subscribe("news", (n) => got.push(n), { recover: true, onGap });
  first.publish("news", 1);
  await until(() => got.length === 1);
  await before.stop();
  const second = newsServer(2);
  await using _after = await serveHere(second, port);
  await until(() => got.length === 2);
  second.publish("news", 2);
  await until(() => got.length === 3);
  assertEquals(got, [1, "gap", 2]);
  for (const connection of second.connections) connection.close(4000);
  for (const n of [3, 4, 5, 6]) second.publish("news", n);
  await until(() => got.includes("gap", 2));
  second.publish("news", 7);
  await until(() => got.at(-1) === 7);
});

// -- topic() --

test("topic() reads events until its loop is left, and then unsubscribes", async () => {
  const rpc = newsServer();
  await using server = await serveHere(rpc);
  await using client = await connect<typeof rpc>(server.ws);
  const read: number[] = [];
  let sent = 0;
  const ticking = setInterval(() => rpc.publish("news", sent++), 1);
  for await (const n of client.topic("news")) {
    read.push(n);
    if (read.length === 3) break;
  }
  clearInterval(ticking);
  const [first = 0] = read;
  assertEquals(read, [first, first + 1, first + 2]);
  await until(() => [...rpc.subscribers(["news"])].length === 0);
});

test("topic() reads on after a reconnect", async () => {
  const rpc = newsServer();
  await using server = await serveHere(rpc);
  await using between = await cuttableProxy(server);
  await using client = await connect<typeof rpc>(between.ws, { reconnect: { minMs: 0, maxMs: 5 } });
  const events = client.topic("news", { recover: true });
  const next = events.next();
  await until(() => [...rpc.subscribers(["news"])].length === 1);
  rpc.publish("news", 1);
  assertEquals(await next, { value: 1, done: false });
  between.cut();
  rpc.publish("news", 2);
  assertEquals(await events.next(), { value: 2, done: false });
  await events.return();
});

test("topic() throws when the client is closed, after what came before", async () => {
  const { client, wire } = scripted();
  await client.connect();
  const events = client.topic("news");
  const first = events.next();
  const server = await wire(0);
  say(server, await server.next(), ["news"]);
  for (const n of [1, 2]) server.send({ jsonrpc: "2.0", method: "news", params: n });
  assertEquals(await first, { value: 1, done: false });
  await client.close();
  assertEquals(await events.next(), { value: 2, done: false });
  await assertRejects(() => events.next(), RpcConnectionError, "closed");
  assertEquals(await events.next(), { value: undefined, done: true });
});

test("topic() ends when all handlers of its topic are ended, after what came before", async () => {
  const { client, wire } = scripted();
  await client.connect();
  const server = await wire(0);
  const events = client.topic("news");
  const first = events.next();
  say(server, await server.next(), ["news"]);
  server.send({ jsonrpc: "2.0", method: "news", params: 1 });
  server.send({ jsonrpc: "2.0", method: "news", params: 2 });
  assertEquals((await first).value, 1);
  await quietMoment();
  const ending = client.unsubscribe("news");
  const { id, method } = await server.next();
  assertEquals(method, "unsubscribe");
  server.send({ jsonrpc: "2.0", result: [], id });
  await ending;
  assertEquals(await Array.fromAsync(events), [2]);
  assertEquals(server.received.length, 2);
  await client.close();
});

test("topic() throws when more events wait than maxWaiting", async () => {
  const { client, wire } = scripted();
  await client.connect();
  const taken: unknown[] = [];
  async function read(): Promise<void> {
    for await (const n of client.topic("news", { maxWaiting: 2 })) taken.push(n);
  }
  const failing = assertRejects(read, RpcConnectionError, "maxWaiting");
  const server = await wire(0);
  say(server, await server.next(), ["news"]);
  for (const n of [1, 2, 3, 4, 5, 6, 7]) server.send({ jsonrpc: "2.0", method: "news", params: n });
  const last = await server.next();
  assertEquals(last.method, "unsubscribe");
  say(server, last, []);
  await failing;
  assertEquals(taken.slice(0, 2), [1, 2]);
  await client.close();
});

test("topic() throws when the server does not have the topic, or takes it back", async () => {
  const { client, wire } = scripted();
  await client.connect();
  const server = await wire(0);
  const none = assertRejects(() => client.topic("none").next(), RpcInvalidParamsError, '"none"');
  say(server, await server.next(), []);
  await none;
  const events = client.topic("news");
  const failing = assertRejects(() => events.next(), RpcMethodNotFoundError);
  say(server, await server.next(), ["news"]);
  await quietMoment();
  server.close(1001);
  const next = await wire(1);
  const { id } = await next.next();
  next.send({ jsonrpc: "2.0", error: { code: -32601, message: "Method not found" }, id });
  await failing;
  await client.close();
});

test("a subscribe() that fails ends neither earlier nor later subscriptions to the topic", async () => {
  const { client, wire } = scripted();
  await client.connect();
  const server = await wire(0);
  const got: string[] = [];
  const handlers = ["a", "b", "c"].map((name) => (data: unknown) => got.push(`${name}${data}`));
  const [a, b, c] = handlers as [typeof handlers[0], typeof handlers[0], typeof handlers[0]];
  const first = client.subscribe("news", a);
  say(server, await server.next(), ["news"]);
  await first;
  const failing = assertRejects(() => client.subscribe("news", b, { recover: true }), RpcError);
  const { id } = await server.next();
  server.send({ jsonrpc: "2.0", error: { code: -32000, message: "Not now" }, id });
  await failing;
  server.send({ jsonrpc: "2.0", method: "news", params: 1 });
  const later = client.subscribe("news", c);
  say(server, await server.next(), granted({ news: "p0" }));
  await later;
  event(server, "p1", { data: 2 });
  await quietMoment();
  assertEquals(got, ["a1", "c1", "a2", "c2"]);
  await client.close();
});

test("onGap is not called when a topic with the name of a built-in property is new", async () => {
  const { client, wire } = scripted();
  await client.connect();
  const server = await wire(0);
  const gaps: string[] = [];
  for (const topic of ["constructor", "toString", "__proto__"]) {
    const onGap = () => gaps.push(topic);
    const subscribing = client.subscribe(topic, () => {}, { recover: true, onGap });
    const positions = Object.fromEntries([[topic, "p0"]]);
    say(server, await server.next(), granted(positions));
    await subscribing;
  }
  assertEquals(gaps, []);
  await client.close();
});
