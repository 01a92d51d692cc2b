/**
 * A hostile server: whatever it sends, its client stays bounded, settles each call, and can go on with an honest
 * server.
 */
import { assert, assertEquals, assertRejects } from "@std/assert";
import fc from "fast-check";
import { test } from "node:test";
import { JsonRpc, JsonRpcClient, RpcConnectionError, RpcError } from "@x/jsonrpc";
import type { ClientOptions, StandardSocket } from "@x/jsonrpc";
import { stream } from "@x/jsonrpc/stream";
import { linkedSockets } from "@x/jsonrpc/testing";
import { quietMoment, unsettled, until } from "../helpers/deferred.ts";
import { heldMemory } from "../helpers/held_memory.ts";
import { silentLog } from "../helpers/log.ts";
import { scripted } from "../helpers/scripted_server.ts";
import { bareServer, WirePeer } from "../helpers/wire.ts";
import type { WireMessage } from "../helpers/wire.ts";

const MIB = 2 ** 20;

function honest(): JsonRpc {
  return new JsonRpc({ logger: silentLog() })
    .method("ping", () => "pong")
    .method("fail", () => {
      throw new RpcError(7, "As always");
    })
    .topic("news", { history: { size: 10 } }) as unknown as JsonRpc;
}

/** A client whose first server is played by the test; all others are honest. */
function betrayed(options: ClientOptions = {}) {
  const [near, far] = linkedSockets();
  const wire = new WirePeer(far);
  const rpc = honest();
  let attempts = 0;
  function WebSocket(): StandardSocket {
    if (attempts++ === 0) return near;
    const [mine, end] = linkedSockets();
    rpc.attach(end);
    return mine;
  }
  const client = new JsonRpcClient("ws://betrayed.example", {
    logger: silentLog(),
    reconnect: { minMs: 0, maxMs: 0 },
    WebSocket: WebSocket as unknown as new (url: string) => StandardSocket,
    ...options,
  });
  return { client, wire, rpc };
}

const logins: Readonly<Record<string, unknown>> = {
  "a method that is a number": { method: 5, params: {} },
  "a method that is an object": { method: { toString: 1 }, params: [] },
  "a method that is a list": { method: ["ping"], params: [] },
  "params that are a text": { method: "ping", params: "x" },
  "params that are a number": { method: "ping", params: 5 },
  "params that are true": { method: "ping", params: true },
  "params of nearly 1 MiB": { method: "ping", params: ["x".repeat(MIB - 100)] },
  "a method that always fails": { method: "fail", params: [] },
  "no params at all": null,
  "a list": [["ping"], {}],
};

for (const [what, params] of Object.entries(logins)) {
  test(`a login that is kept with ${what} does not keep the client away`, async () => {
    const { client, wire } = betrayed();
    await using _client = client;
    await client.connect();
    const closed = new Promise((resolve) => client.addEventListener("close", resolve));
    wire.call(undefined, "rpc.login", params);
    await quietMoment();
    wire.close(1012);
    await closed;
    assertEquals(await client.call("ping", undefined, { timeoutMs: 20_000 }), "pong");
  });
}

test("positions of 1 MiB on 1,000 topics are not kept, and the client learns of the gap", async () => {
  // Other tests run in the same process on Bun.
  const before = heldMemory();
  const { client, wires, wire } = scripted();
  const gaps: string[] = [];
  const got: string[] = [];
  const topics = Array.from({ length: 1000 }, (_, n) => `t${n}`);
  const subscribed = topics.map((topic) =>
    client.subscribe(topic, (data) => got.push(`${topic}${data}`), {
      recover: true,
      onGap: (gap) => gaps.push(gap.topic),
    })
  );
  const server = await wire(0);
  const filler = "x".repeat(MIB - 1000);
  for (const topic of topics) {
    const { id } = await server.next();
    const positions = { [topic]: topic + filler };
    const result = { subscriptions: [topic], positions, recovered: {} };
    server.send({ jsonrpc: "2.0", result, id });
    await quietMoment();
  }
  await Promise.all(subscribed);
  for (const topic of topics) {
    const params = { topic, position: `${topic}:${filler}`, data: "event", time: 1 };
    server.call(undefined, "rpc.message", params);
    await quietMoment();
  }
  assertEquals(got.length, 1000);
  const held = heldMemory() - before;
  assert(held < 100, `${held} MiB are held`);
  server.close(1012);
  const next = await wire(1);
  const { id, params } = await next.next();
  const { since } = params as { since: Record<string, unknown> };
  assertEquals(Object.values(since), topics.map(() => ""));
  const recovered = Object.fromEntries(topics.map((topic) => [topic, false]));
  const positions = Object.fromEntries(topics.map((topic) => [topic, "e:1"]));
  next.send({ jsonrpc: "2.0", result: { subscriptions: topics, positions, recovered }, id });
  await until(() => gaps.length === 1000);
  assertEquals([client.state, wires.length], ["open", 2]);
  await client.close();
});

test("a client remembers at most 1,024 positions of a topic, also for a handler that comes late", async () => {
  const [client, server] = await bareServer({ logger: silentLog() });
  const granted = async (position: string) => {
    const { id } = await server.next();
    const result = { subscriptions: ["t"], positions: { t: position }, recovered: { t: true } };
    server.send({ jsonrpc: "2.0", result, id });
  };
  const first = client.subscribe("t", () => {}, { recover: true });
  await granted("e:1000000");
  await first;
  let replayed = 0;
  const late = client.subscribe("t", () => replayed++, { last: 1024 });
  await granted("e:1000001");
  await late;
  const before = heldMemory();
  for (let n = 0; n < 100_000; n++) {
    const position = `${n}:${"x".repeat(200)}`;
    server.call(undefined, "rpc.message", { topic: "t", position, data: n, retained: true });
    if (n % 1000 === 0) await quietMoment();
  }
  await until(() => replayed === 100_000);
  const held = heldMemory() - before;
  assert(held < 10, `${held} MiB are held`);
  await client.close();
});

test("a class of errors that does not expect the server's data leaves no call open", async () => {
  class OutOfStock extends RpcError {
    readonly left: number;
    constructor(code: number, message: string, options: { readonly data?: unknown }) {
      super(code, message, options);
      this.left = (options.data as { stock: { left: number } }).stock.left;
    }
  }
  const [client, server] = await bareServer({ errors: { 409: OutOfStock } });
  const call = client.call("buy");
  const { id } = await server.next();
  server.send({ jsonrpc: "2.0", error: { code: 409, message: "Sold out", data: null }, id });
  assertEquals(await unsettled([call]), []);
  const error = await assertRejects(() => call, RpcError, "Sold out");
  assertEquals([error.code, error.data], [409, null]);
  await client.close();
});

test("what a server says is written to the log cut, and without characters that change its look", async () => {
  const logger = silentLog();
  const [client, server] = await bareServer({ logger });
  const message = `\u009b2J\u202e${"x".repeat(10_000)}`;
  const subscribed = client.subscribe("news", () => {});
  const { id } = await server.next();
  server.send({ jsonrpc: "2.0", result: ["news"], id });
  await subscribed;
  server.send({ jsonrpc: "2.0", error: { code: 1, message }, id: null });
  await quietMoment();
  const [line = ""] = logger.lines;
  assert(line.length < 300 && line.includes("\\u{9b}2J\\u{202e}xxx"), line);
  await client.close();
});

test("a server that sends more items than it has credit for ends the loop", async () => {
  const [client, server] = await bareServer({ logger: silentLog() });
  const items = stream(client, "count", [], { credit: 4 });
  const first = items.next();
  const { params } = await server.next();
  const { token } = params as { token: number };
  for (let value = 0; value < 1000; value++) {
    server.call(undefined, "rpc.item", { token, value });
  }
  assertEquals((await first).value, 0);
  await assertRejects(
    async () => {
      for await (const _ of items) { /* until it fails */ }
    },
    RpcConnectionError,
    "more than 4 items ahead (credit)",
  );
  await client.close();
});

test("an answer to rpc.stream that is no object ends the loop, which says so and does not ask again", async () => {
  for (const answer of [null, 5, "x", [], true]) {
    for (const resume of [undefined, () => [1]]) {
      const [client, wire] = await bareServer({ logger: silentLog() });
      const items = stream(client, "numbers", [], resume && { resume });
      const read = assertRejects(() => items.next(), RpcConnectionError, "with no object");
      const { id } = await wire.next();
      wire.send('{"jsonrpc":"2.0","method":"rpc.item","params":null}');
      wire.send({ jsonrpc: "2.0", id, result: answer });
      await read;
      await quietMoment();
      assertEquals(wire.received.filter((text) => text.includes('"rpc.stream"')).length, 1);
      await client.close();
    }
  }
});

test("items of subscriptions by id that nobody has asked for are dropped", async () => {
  const [client, server] = await bareServer({ logger: silentLog() });
  const names = { unsubscribe: "off", notification: "item" };
  const items = stream(client, "on", [], names);
  const first = items.next();
  const { id } = await server.next();
  const before = heldMemory();
  for (let n = 0; n < 50_000; n++) {
    const params = { subscription: `${n}`, result: "x".repeat(1000) };
    server.call(undefined, "item", params);
    if (n % 1000 === 0) await quietMoment();
  }
  const held = heldMemory() - before;
  assert(held < 20, `${held} MiB are held`);
  server.send({ jsonrpc: "2.0", result: "0", id });
  await assertRejects(() => first, RpcConnectionError, "before the answer");
  // Those of the next one count anew.
  const again = stream(client, "on", [], names).next();
  const next = await server.next();
  server.call(undefined, "item", { subscription: "1", result: "early" });
  server.send({ jsonrpc: "2.0", result: "1", id: next.id });
  assertEquals((await again).value, "early");
  await client.close();
});

/** What a hostile server may put anywhere. */
const odd = fc.oneof(
  fc.jsonValue({ maxDepth: 2 }),
  fc.constantFrom<unknown>(null, 0, -1, 1e300, "", "ping", "__proto__", "news", [], {}, [[]], true),
  fc.dictionary(
    fc.constantFrom("news", "retry", "firstId", "__proto__", "constructor"),
    fc.jsonValue(),
  ),
);

const recovery = fc.record({
  subscriptions: fc.oneof(fc.constant(["news"]), odd),
  positions: fc.oneof(fc.record({ news: fc.oneof(fc.constant("e:1"), odd) }), odd),
  recovered: fc.oneof(fc.record({ news: odd }), odd),
}, { requiredKeys: [] });

const failure = fc.record({
  code: fc.oneof(fc.constantFrom(-32009, -32601, -32603, -32000, 409, 1.5), odd),
  message: odd,
  data: fc.oneof(fc.constant({ retry: true }), odd),
}, { requiredKeys: [] });

/** How it answers a call; `undefined` if it does not. */
const answer = fc.option(
  fc.record({
    jsonrpc: fc.constantFrom("2.0", "1.0", 2),
    result: fc.oneof(recovery, fc.constant(["news"]), fc.constant({ result: [1, 2] }), odd),
    error: fc.oneof(failure, odd),
    id: fc.oneof({ weight: 8, arbitrary: fc.constant("own") }, odd),
  }, { requiredKeys: ["id"] }),
  { nil: undefined },
);

const message = fc.record({
  topic: fc.oneof(fc.constant("news"), odd),
  position: odd,
  data: odd,
  gap: fc.oneof(fc.constant(true), odd),
  retained: fc.oneof(fc.constant(true), odd),
  time: odd,
}, { requiredKeys: ["topic"] });

/** What it sends unasked. */
const unasked = fc.oneof(
  fc.record({ method: fc.constant("rpc.message"), params: fc.oneof(message, odd) }),
  fc.record({ method: fc.constant("rpc.removed"), params: fc.oneof(message, odd) }),
  fc.record({
    method: fc.constant("rpc.login"),
    params: fc.oneof(
      fc.record({ method: fc.oneof(fc.constantFrom("ping", "fail"), odd), params: odd }),
      odd,
    ),
  }),
  fc.record({
    method: fc.constantFrom("rpc.item", "$/progress", "$/cancelRequest", "item", "news", "own"),
    params: fc.oneof(
      fc.record({ token: fc.nat(9), value: odd, subscription: odd, error: odd }),
      odd,
    ),
    id: odd,
  }, { requiredKeys: ["method", "params"] }),
).map((each) => JSON.stringify({ jsonrpc: "2.0", ...each }));

const frame = fc.oneof(unasked, fc.json(), fc.string(), fc.array(unasked).map((all) => `[${all}]`));

const close = fc.record({
  code: fc.constantFrom(1001, 1006, 1008, 1009, 1011, 1012, 1013, 3000, 4000, 4401, 1000),
  reason: fc.constantFrom(
    "",
    "retry-after=",
    "retry-after=1e9",
    "retry-after=999999999999999999",
    "x",
  ),
});

test("whatever a server answers, each call settles, and an honest server can follow", async () => {
  const script = fc.record({
    answers: fc.array(answer, { minLength: 1, maxLength: 12 }),
    frames: fc.array(frame, { maxLength: 6 }),
    close,
  });
  await fc.assert(
    fc.asyncProperty(script, async ({ answers, frames, close }) => {
      let answered = 0;
      const { client, wire } = betrayed({ maxInFlight: 10 });
      await client.connect();
      const closed = new Promise((resolve) => client.addEventListener("close", resolve));
      client.method("own", (params) => params);
      wire.onMessage = ({ id, method }: WireMessage) => {
        if (method === undefined) return;
        const next = answers[answered++ % answers.length];
        if (next && id !== undefined) wire.send({ ...next, id: next.id === "own" ? id : next.id });
      };
      const calls = callAll(client);
      for (const call of calls) call.catch(() => {});
      for (const each of frames) wire.send(each);
      await quietMoment();
      wire.close(close.code, close.reason);
      await closed;
      // It may have been closed for good. Else it need not wait as long as the server has said.
      if (client.state !== "closed") {
        // It may fail, if it is told to log in with what fails: the client then tries again.
        await client.connect().catch(() => {});
        assertEquals(await client.call("ping"), "pong");
      }
      await client.close();
      assertEquals(await unsettled(calls), []);
    }),
    { numRuns: 300 },
  );
});

/** Asks for all that a client may ask for. Everything may fail. */
function callAll(client: JsonRpcClient): Promise<unknown>[] {
  const names = { unsubscribe: "off", notification: "item" };
  return [
    client.call("a", [1], { onProgress: () => {} }),
    client.call("b", {}, { idempotent: true }),
    client.batch((batch) => [batch.call("c"), batch.call("d")]),
    client.subscribe("news", () => {}, { recover: true, onGap: () => {} }),
    client.subscribe("news", () => {}, { last: 3 }),
    client.subscribe("__proto__", () => {}),
    client.getMethods(),
    client.topic("news", { recover: true }).next(),
    stream(client, "e", []).next(),
    stream(client, "f", [], names).next(),
    client.unsubscribe("other"),
  ];
}
