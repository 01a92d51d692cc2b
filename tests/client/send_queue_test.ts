import { test } from "node:test";
import {
  assert,
  assertEquals,
  assertRejects,
  assertStringIncludes,
  assertThrows,
} from "@std/assert";
import { connect, JsonRpc, RpcConnectionError, RpcServerError, RpcTimeoutError } from "@x/jsonrpc";
import fc from "fast-check";
import { cuttableProxy } from "../helpers/cuttable_proxy.ts";
import { quietMoment, unsettled, until } from "../helpers/deferred.ts";
import { silentLog } from "../helpers/log.ts";
import { serveHere } from "../helpers/server.ts";
import type { WireMessage, WirePeer } from "../helpers/wire.ts";
import { scripted } from "../helpers/scripted_server.ts";

/** Waits longer than any test. */
const FOR_EVER = { reconnect: { minMs: 1e9, maxMs: 1e9 } };
const DRAINING = { code: -32009, message: "Server busy: it is closing", data: { retry: true } };

/** A client whose connection has ended and that waits before its next attempt. */
async function waiting(options: Parameters<typeof scripted>[0] = {}) {
  const script = scripted({ ...FOR_EVER, ...options });
  await script.client.connect();
  (await script.wire(0)).close(1001);
  await until(() => script.client.state === "waiting");
  return script;
}

/** Answers a call with its own name. */
function answer(wire: WirePeer, { id, method }: WireMessage): void {
  wire.send({ jsonrpc: "2.0", result: method, id });
}

// -- what waits --

test("call() and notify() wait for the next connection, and keep their order", async () => {
  const { client, wire } = await waiting();
  const calls = [client.call("first"), client.batch((b) => [b.call("second"), b.call("third")])];
  client.notify("fourth");
  await client.connect();
  calls.push(client.call("fifth"));
  const next = await wire(1);
  const [first, batch, fourth, fifth] = await next.some(4) as [
    WireMessage,
    WireMessage[] & WireMessage,
    WireMessage,
    WireMessage,
  ];
  assertEquals(
    [first.method, batch.map(({ method }) => method), fourth.method, fifth.method],
    ["first", ["second", "third"], "fourth", "fifth"],
  );
  for (const each of [fifth, ...batch, first]) answer(next, each);
  assertEquals(await Promise.all(calls), ["first", ["second", "third"], "fifth"]);
  await client.close();
});

test("call() is not sent when it was given up while it waited", async () => {
  const { client, wire } = await waiting({ maxQueued: 2 });
  const controller = new AbortController();
  const { signal } = controller;
  const givenUp = [
    assertRejects(() => client.call("never", [], { timeoutMs: 1 }), RpcTimeoutError),
    assertRejects(() => client.call("never", [], { signal }), Error, "enough"),
  ];
  controller.abort(new Error("enough"));
  await Promise.all(givenUp);
  // Their places are free again.
  const calls = [client.call("a"), client.call("b")];
  await client.connect();
  const next = await wire(1);
  for (const each of await next.some(2)) answer(next, each);
  assertEquals(await Promise.all(calls), ["a", "b"]);
  await client.close();
});

test("call() rejects and notify() throws when maxQueued messages wait", async () => {
  const { client, wire } = await waiting({ maxQueued: 3 });
  const calls = [client.call("a"), client.call("b")];
  client.notify("c");
  const error = await assertRejects(() => client.call("d"), RpcConnectionError, "maxQueued");
  assertEquals(error.outcome, "unsent");
  assertThrows(() => client.notify("d"), RpcConnectionError, "maxQueued");
  await assertRejects(() => client.batch((b) => [b.call("d")]), RpcConnectionError, "maxQueued");
  await client.connect();
  const next = await wire(1);
  const sent = await next.some(3);
  assertEquals(sent.map(({ method }) => method), ["a", "b", "c"]);
  sent.slice(0, 2).forEach((each) => answer(next, each));
  await Promise.all(calls);
  await client.close();
});

test("call() rejects as unsent when it has waited for maxQueuedMs, and notify() is logged", async () => {
  const { client, wire, log } = await waiting({ maxQueuedMs: 20 });
  const call = client.call("late");
  client.notify("late");
  const error = await assertRejects(() => call, RpcConnectionError, "maxQueuedMs");
  assertEquals(error.outcome, "unsent");
  await until(() => log.text.includes('"method":"late"'));
  await client.connect();
  client.notify("last");
  assertEquals((await (await wire(1)).next()).method, "last");
  await client.close();
});

test("call() waits without end when maxQueuedMs is Infinity", async () => {
  const { client, wire } = await waiting({ maxQueuedMs: Infinity, timeoutMs: 0 });
  const call = client.call("patient");
  await quietMoment();
  await client.connect();
  const next = await wire(1);
  answer(next, await next.next());
  assertEquals(await call, "patient");
  await client.close();
});

// -- what was sent --

test("call() that was sent rejects as unknown when the connection ends, save one that is idempotent", async () => {
  const { client, wire } = scripted();
  await client.connect();
  const once = client.call("once");
  const twice = client.call("twice", [1], { idempotent: true });
  const first = await wire(0);
  await first.some(2);
  const lost = assertRejects(() => once, RpcConnectionError, "1001");
  first.close(1001);
  assertEquals((await lost).outcome, "unknown");
  const second = await wire(1);
  second.close(1001); // not even answered there
  const third = await wire(2);
  const message = await third.next();
  assertEquals([message.method, message.params], ["twice", [1]]);
  answer(third, message);
  assertEquals(await twice, "twice");
  await quietMoment();
  assertEquals(third.received.length, 1);
  await client.close();
});

for (const how of ["expires", "is given up", "is refused and then given up"]) {
  test(`call() that was sent and taken back rejects as unknown when it ${how}`, async () => {
    const expires = how === "expires";
    const script = scripted({
      maxQueuedMs: expires ? 20 : 30_000,
      reconnect: { minMs: 0, maxMs: 0, maxAttempts: 2 },
      ...expires && FOR_EVER,
    });
    const { client, wire } = script;
    await client.connect();
    const call = client.call("pay", [], { idempotent: true });
    const error = assertRejects(() => call, RpcConnectionError);
    const first = await wire(0);
    await first.next();
    if (how === "is refused and then given up") {
      first.close(1001);
      const second = await wire(1);
      const { id } = await second.next();
      second.send({ jsonrpc: "2.0", error: DRAINING, id });
      await quietMoment();
      script.refuse = 99;
      second.close(1001);
    } else {
      script.refuse = 99;
      first.close(1001);
    }
    const { outcome, message } = await error;
    assertEquals([outcome, message.slice(0, 15)], ["unknown", "Not sent again:"]);
    await client.close();
  });
}

test("call() that is idempotent goes out before what was called later", async () => {
  const { client, wire } = scripted(FOR_EVER);
  await client.connect();
  const calls = [
    client.call("a", [], { idempotent: true }),
    client.call("b", [], { idempotent: true }),
  ];
  const first = await wire(0);
  await first.some(2);
  first.close(1001);
  await until(() => client.state === "waiting");
  calls.push(client.call("c"));
  await client.connect();
  const second = await wire(1);
  const sent = await second.some(3);
  assertEquals(sent.map(({ method }) => method), ["a", "b", "c"]);
  sent.forEach((each) => answer(second, each));
  assertEquals(await Promise.all(calls), ["a", "b", "c"]);
  await client.close();
});

test("call() that is idempotent still times out as counted from call()", async () => {
  const { client, wire } = scripted(FOR_EVER);
  await client.connect();
  const call = client.call("a", [], { idempotent: true, timeoutMs: 30 });
  await (await wire(0)).next();
  (await wire(0)).close(1001);
  await assertRejects(() => call, RpcTimeoutError);
  assertEquals(client.state, "waiting");
  await client.connect();
  client.notify("last");
  assertEquals((await (await wire(1)).next()).method, "last");
  await client.close();
});

test("call() that is idempotent is not sent again when the server found it too large", async () => {
  const { client, wire } = scripted();
  await client.connect();
  const call = client.call("large", [], { idempotent: true });
  await (await wire(0)).next();
  (await wire(0)).close(1009);
  assertEquals((await assertRejects(() => call, RpcConnectionError)).outcome, "unknown");
  await client.close();
});

test("call() that is idempotent rejects when no connection follows", async () => {
  const { client, wire } = scripted({ reconnect: false });
  await client.connect();
  const call = client.call("a", [], { idempotent: true });
  await (await wire(0)).next();
  (await wire(0)).close(1001);
  assertEquals((await assertRejects(() => call, RpcConnectionError)).outcome, "unknown");
});

// -- a server that drains --

test("call() that a draining server refuses is sent again on the next connection", async () => {
  const { client, wire, log } = scripted();
  await client.connect();
  const calls = [client.call("a"), client.batch((b) => [b.call("b"), b.call("c")])];
  const draining = await wire(0);
  const [first, batch] = await draining.some(2) as [WireMessage, WireMessage[] & WireMessage];
  draining.send(batch.map(({ id }) => ({ jsonrpc: "2.0", error: DRAINING, id })));
  draining.send({ jsonrpc: "2.0", error: DRAINING, id: first.id });
  await quietMoment();
  client.addEventListener("reconnecting", () => calls.push(client.call("d")));
  draining.close(1012, "retry-after=0");
  const next = await wire(1);
  const sent = await next.some(4);
  assertEquals(sent.map(({ method }) => method), ["a", "b", "c", "d"]);
  for (const each of sent) answer(next, each);
  assertEquals(await Promise.all(calls), ["a", ["b", "c"], "d"]);
  assertEquals(log.lines, []);
  await client.close();
});

test("call() that was refused so is sent again to a server that stays, and keeps none waiting", async () => {
  const { client, wire } = scripted();
  await client.connect();
  const refused = client.call("a");
  const server = await wire(0);
  const first = await server.next();
  server.send({ jsonrpc: "2.0", error: DRAINING, id: first.id });
  await quietMoment();
  const other = client.call("b");
  answer(server, await server.next());
  assertEquals(await other, "b");
  await until(() => server.received.length === 3);
  const again = await server.next();
  assertEquals(again, first);
  answer(server, again);
  assertEquals(await refused, "a");
  await client.close();
});

test("call() rejects with -32009 when the server does not promise that it did not run", async () => {
  for (const data of [undefined, null, {}, { retry: 1 }, "retry"]) {
    const { client, wire } = scripted();
    await client.connect();
    const call = client.call("a");
    const { id } = await (await wire(0)).next();
    (await wire(0)).send({ jsonrpc: "2.0", error: { code: -32009, message: "busy", data }, id });
    await assertRejects(() => call, RpcServerError, "busy");
    await client.close();
  }
});

test("call() rejects with -32009 when there will be no other connection", async () => {
  const { client, wire } = scripted({ reconnect: false });
  await client.connect();
  const call = client.call("a");
  const { id } = await (await wire(0)).next();
  (await wire(0)).send({ jsonrpc: "2.0", error: DRAINING, id });
  await assertRejects(() => call, RpcServerError, "closing");
  await client.close();
});

test("call() that is unanswered at the end of a drain is sent again, once, on the next connection", async () => {
  const { client, wire, log } = scripted();
  await client.connect();
  const calls = [client.call("a"), client.batch((b) => [b.call("b"), b.call("c")])];
  client.notify("told");
  const drained = await wire(0);
  await drained.some(3);
  drained.close(1012, "retry-after=0");
  const next = await wire(1);
  const sent = await next.some(3);
  assertEquals(sent.map(({ method }) => method), ["a", "b", "c"]);
  for (const each of sent) answer(next, each);
  assertEquals(await Promise.all(calls), ["a", ["b", "c"]]);
  assertEquals([next.received.length, log.lines], [3, []]);
  await client.close();
});

for (
  const [code, reason] of [
    [1012, ""],
    [1012, "back soon, retry-after=0"],
    [1013, "retry-after=0"],
    [
      1001,
      "retry-after=0",
    ],
  ] as const
) {
  test(`call() that is unanswered rejects when the end is no drain's: ${code} "${reason}"`, async () => {
    const { client, wire } = scripted();
    await client.connect();
    const call = client.call("a");
    await (await wire(0)).next();
    (await wire(0)).close(code, reason);
    assertEquals((await assertRejects(() => call, RpcConnectionError)).outcome, "unknown");
    await client.close();
  });
}

test("a call of prepare() that is unanswered at the end of a drain rejects with its connection", async () => {
  const { client, wire } = scripted({ prepare: (connection) => connection.call("login") });
  const connecting = client.connect();
  await (await wire(0)).next();
  (await wire(0)).close(1012, "retry-after=0");
  await assertRejects(() => connecting, RpcConnectionError);
  await client.close();
});

// -- whatever happens --

test("JsonRpcClient settles every call once, however often its connection is cut", async () => {
  const counts = new Map<number, number>();
  const rpc = new JsonRpc({ logger: silentLog() })
    .method("count", ([n]: [number]) => {
      counts.set(n, (counts.get(n) ?? 0) + 1);
      return n;
    })
    .method("slow", async ([n]: [number]) => {
      await quietMoment();
      return n;
    })
    .method("never", () => new Promise<number>(() => {}));
  await using server = await serveHere(rpc);
  await using between = await cuttableProxy(server);
  const step = fc.oneof(
    {
      weight: 3,
      arbitrary: fc.record({
        name: fc.constantFrom("count", "slow", "never"),
        idempotent: fc.boolean(),
      }),
    },
    { weight: 1, arbitrary: fc.constantFrom("cut", "pass", "kick", "batch", "abort") },
  );
  const property = fc.asyncProperty(fc.array(step, { maxLength: 30 }), async (steps) => {
    counts.clear();
    const client = await connect(between.ws, {
      reconnect: { minMs: 0, maxMs: 5 },
      timeoutMs: 300,
      logger: silentLog(),
    });
    const calls: { readonly promise: Promise<unknown>; readonly idempotent: boolean }[] = [];
    const controllers: AbortController[] = [];
    let settled = 0;
    function made(promise: Promise<unknown>, idempotent: boolean): Promise<unknown> {
      calls.push({ promise, idempotent });
      promise.then(() => settled++, () => settled++);
      return promise;
    }
    for (const each of steps) {
      if (each === "cut") between.cut();
      else if (each === "pass") await quietMoment();
      else if (each === "kick") {
        for (const connection of rpc.connections) connection.close(4000);
      } else if (each === "abort") controllers.pop()?.abort();
      else if (each === "batch") {
        client.batch((b) => [1, 2].map(() => made(b.call("count", [calls.length]), false))).catch(
          () => {},
        );
      } else {
        const controller = new AbortController();
        controllers.push(controller);
        const { signal } = controller;
        const { idempotent, name } = each;
        made(client.call(name, [calls.length], { idempotent, signal }), idempotent);
      }
    }
    await Promise.allSettled(calls.map(({ promise }) => promise));
    assertEquals(settled, calls.length);
    calls.forEach(({ idempotent }, n) =>
      assert(idempotent || (counts.get(n) ?? 0) <= 1, `${n} ran twice`)
    );
    const fulfilled = await Promise.allSettled(calls.map(({ promise }) => promise));
    fulfilled.forEach((each, n) => {
      if (each.status === "fulfilled") assertEquals(each.value, n, "another call's answer");
      else assertStringIncludes("RpcConnectionError RpcTimeoutError AbortError", each.reason.name);
    });
    await client.close();
    assertEquals(await unsettled(calls.map(({ promise }) => promise)), []);
  });
  await fc.assert(property, { numRuns: 40 });
  await until(() => rpc.connections.size === 0);
});
