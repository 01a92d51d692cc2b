import {
  assert,
  assertEquals,
  assertRejects,
  assertStringIncludes,
  assertThrows,
} from "@std/assert";
import { test } from "node:test";
import { connect, JsonRpc, RpcConnectionError, RpcInvalidParamsError } from "@x/jsonrpc";
import type { JsonRpcOptions } from "@x/jsonrpc";
import { stream } from "@x/jsonrpc/stream";
import { linkedSockets } from "@x/jsonrpc/testing";
import { quietMoment, until } from "../helpers/deferred.ts";
import { silentLog } from "../helpers/log.ts";
import type { Log } from "../helpers/log.ts";
import { bareClient } from "../helpers/wire.ts";
import { scripted } from "../helpers/scripted_server.ts";

const NAMES = { unsubscribe: "count_end", notification: "count_item", notifyEnd: true };

test("stream() yields the items of a subscription and ends with it", async () => {
  await using client = await counting();
  assertEquals(await Array.fromAsync(stream(client, "count", [5], NAMES)), [1, 2, 3, 4, 5]);
});

test("stream() yields items that come together with the id", async () => {
  await using client = await counting();
  const all = [3, 2, 1].map((to) => Array.fromAsync(stream(client, "count", [to], NAMES)));
  assertEquals(await Promise.all(all), [[1, 2, 3], [1, 2], [1]]);
});

test("stream() unsubscribes when the loop is left, which ends the generator", async () => {
  const ended: string[] = [];
  await using client = await counting({}, () => ended.push("ended"));
  for await (const item of stream(client, "count", [Infinity], NAMES)) if (item === 3) break;
  assertEquals(ended, ["ended"]);
  assertEquals(await client.call("count_end", ["unknown"]), false);
});

test("stream() throws an RpcError that a generator threw, and hides the details of any other error", async () => {
  await using client = await counting();
  const refused = await assertRejects(() => read(client, "refused"));
  assert(refused instanceof RpcInvalidParamsError);
  assertEquals(refused.data, "the reason");
  const broken = await assertRejects(() => read(client, "broken")) as Error;
  assertEquals(broken.message, "Internal error");
});

test("stream() throws when the connection ends", async () => {
  const client = await counting();
  const items = stream(client, "wait", [], NAMES);
  const failing = assertRejects(() => items.next(), RpcConnectionError);
  await client.call("count_end", ["after the subscription"]);
  await client.close();
  await failing;
});

test("stream() works with an id that the server uses again on the next connection", async () => {
  const { client, wire } = scripted();
  await client.connect();
  const open = async (nth: number) => {
    const server = await wire(nth);
    const items = stream(client, "count", [], NAMES);
    const first = items.next();
    server.send({ jsonrpc: "2.0", result: "0x1", id: (await server.next()).id });
    const put = (result: unknown) => {
      const params = { subscription: "0x1", result };
      server.send({ jsonrpc: "2.0", method: NAMES.notification, params });
    };
    put(nth);
    assertEquals((await first).value, nth);
    return { server, items, put };
  };
  const before = await open(0);
  before.server.close(1001);
  const after = await open(1);
  // Who reads the first learns of its end only now.
  await assertRejects(() => before.items.next(), RpcConnectionError);
  after.put(2);
  assertEquals((await after.items.next()).value, 2);
  await client.close();
});

test("stream() fails when more items wait than maxWaiting, after it has yielded those that wait", async () => {
  const { promise: allSent, resolve } = Promise.withResolvers<void>();
  await using client = await counting({}, resolve);
  const items = stream(client, "count", [100], { ...NAMES, maxWaiting: 10 });
  assertEquals(await items.next(), { value: 1, done: false });
  await allSent;
  await client.call("count_end", ["an answer comes after the items"]);
  const taken: unknown[] = [];
  await assertRejects(async () => {
    for await (const item of items) taken.push(item);
  }, RpcConnectionError);
  assert(taken.length >= 9 && taken.length < 99, `took ${taken.length}`);
});

test("rpc.stream() refuses to register without one of its names", () => {
  for (const option of ["unsubscribe", "notification"] as const) {
    for (const given of [undefined, "", 5]) {
      const rpc = new JsonRpc();
      const options = { ...NAMES, [option]: given as string };
      const message = `Cannot register "count": its \`${option}\` is no name`;
      assertThrows(() => rpc.stream("count", options, endless), TypeError, message);
      rpc.stream("count", NAMES, endless);
    }
  }
});

test("rpc.stream() refuses more than maxSubscriptions", async () => {
  await using client = await counting({ maxSubscriptions: 2 });
  await client.call("wait");
  await client.call("wait");
  const error = await assertRejects(() => client.call("wait")) as { code?: number };
  assertEquals(error.code, -32006);
});

test("rpc.stream() does not start its source beyond maxSubscriptions", async () => {
  let begun = 0;
  const rpc = new JsonRpc({ maxSubscriptions: 1 }).stream("count", NAMES, () => {
    begun++;
    return new ReadableStream<number>();
  });
  const wire = bareClient(rpc);
  const asked = ["count", "count", "count"].map((method, id) => ({ jsonrpc: "2.0", method, id }));
  wire.send(asked);
  const answers = await wire.next() as unknown as { error?: { code: number } }[];
  assertEquals(answers.map(({ error }) => error?.code), [undefined, -32006, -32006]);
  assertEquals(begun, 1);
  wire.close();
});

test("unsubscribing answers false if there is no such subscription, and logs nothing", async () => {
  const logger = silentLog();
  const wire = bareClient(new JsonRpc({ logger }).stream("count", NAMES, function* () {}));
  for (const params of [undefined, null, [], {}, [null], ["none"], { subscription: "toString" }]) {
    wire.send({ jsonrpc: "2.0", method: "count_end", params, id: 1 });
    assertEquals(await wire.next(), { jsonrpc: "2.0", result: false, id: 1 });
  }
  assertEquals(logger.lines, []);
  wire.close();
});

test("rpc.stream() ends its generators when the connection is gone", async () => {
  const { promise, resolve } = Promise.withResolvers<string>();
  const client = await counting({}, () => resolve("ended"));
  await stream(client, "count", [Infinity], NAMES).next();
  await client.close();
  assertEquals(await promise, "ended");
});

test("rpc.stream() cancels a ReadableStream that has nothing to give when its subscriber leaves", async () => {
  const cancelled: string[] = [];
  const rpc = new JsonRpc().stream("count", NAMES, ([name]: [string]) => {
    return new ReadableStream<number>({ cancel: () => void cancelled.push(name) });
  });
  const [near, far] = linkedSockets();
  rpc.attach(far);
  const client = await connect(near, { logger: silentLog() });
  const id = await client.call("count", ["left"]);
  assertEquals(await client.call("count_end", [id]), true);
  await until(() => cancelled.length === 1);
  await client.call("count", ["closed"]);
  await client.close();
  await until(() => cancelled.length === 2);
  assertEquals(cancelled, ["left", "closed"]);
});

test("rpc.stream() ends its generator and its signal when an item cannot be sent", async () => {
  const ended: unknown[] = [];
  const logger = silentLog();
  const rpc = new JsonRpc({ logger })
    .stream("count", NAMES, async function* (_: unknown, { signal }) {
      try {
        yield 1n as never;
      } finally {
        ended.push(signal.aborted);
      }
    });
  await failing(rpc, logger);
  await until(() => ended.length > 0);
  assertEquals(ended, [true]);
});

test("rpc.stream() sends an internal error in place of an error that cannot be encoded", async () => {
  const logger = silentLog();
  const rpc = new JsonRpc({ logger })
    // deno-lint-ignore require-yield -- it fails before
    .stream("count", NAMES, function* () {
      throw new RpcInvalidParamsError({ data: 1n });
    });
  await failing(rpc, logger);
});

/** Makes sure that the first thing a subscription tells is that it failed, and not why. */
async function failing(rpc: Pick<JsonRpc, "attach">, logger: Log): Promise<void> {
  const wire = bareClient(rpc);
  wire.call(1, "count");
  const { result } = await wire.next();
  const { params } = await wire.next();
  const error = { code: -32603, message: "Internal error" };
  assertEquals(params, { subscription: result, error });
  assertStringIncludes(logger.text, 'Stream "count" failed');
  wire.close();
}

for (const how of ["ends", "fails to end"]) {
  test(`rpc.stream() ends all generators of a connection that one of them closes and then ${how}`, async () => {
    const ended: string[] = [];
    const logger = silentLog();
    const rpc = new JsonRpc({ logger })
      .stream("leave", NAMES, function* (_: unknown, { connection }) {
        try {
          yield 1;
          connection.close();
          yield 2;
        } finally {
          ended.push("leave");
          // deno-lint-ignore no-unsafe-finally -- that is what may happen
          if (how !== "ends") throw new Error("Broken end");
        }
      })
      .stream("stay", { ...NAMES, unsubscribe: "stay_end" }, async function* (_, request) {
        try {
          yield 1;
          await new Promise((resolve) => request.signal.addEventListener("abort", resolve));
        } finally {
          ended.push("stay");
        }
      });
    const wire = bareClient(rpc);
    wire.send(["leave", "stay"].map((method, id) => ({ jsonrpc: "2.0", method, id })));
    await until(() => ended.length === 2);
    assertEquals(ended.toSorted(), ["leave", "stay"]);
    assertEquals(logger.lines, []);
  });
}

test("rpc.stream() ends its generator when its source has closed the connection", async () => {
  const ended: string[] = [];
  let asked = 0;
  const rpc = new JsonRpc().stream("count", NAMES, (_: unknown, { connection }) => {
    connection.close();
    return {
      [Symbol.iterator]: () => ({
        next: () => ({ done: asked++ > 1000, value: 1 }),
        return: () => (ended.push("ended"), { done: true, value: undefined }),
      }),
    };
  });
  const wire = bareClient(rpc);
  wire.call(1, "count");
  await until(() => ended.length > 0 || asked > 1000);
  assertEquals([ended, asked], [["ended"], 0]);
});

test("rpc.stream() stops waiting for a slow peer that is gone", async () => {
  const [near, far] = linkedSockets();
  let looks = 0;
  const ended: string[] = [];
  Object.defineProperty(far, "bufferedAmount", { get: () => (looks++, 3) });
  counter({ maxBufferedBytes: 4 }, () => ended.push("ended")).attach(far);
  near.send('{"jsonrpc":"2.0","method":"count","params":[null],"id":1}');
  await until(() => looks > 4);
  near.close();
  await until(() => ended.length > 0);
  // What waits looks every 50 ms; two of its timers would be over by now.
  const before = looks;
  for (let n = 0; n < 2; n++) await new Promise((resolve) => setTimeout(resolve, 60));
  assertEquals(looks, before);
});

test("rpc.stream() sends the id before the first item, and the end after the last", async () => {
  const rpc = counter();
  const [near, far] = linkedSockets();
  rpc.attach(far);
  const received: { id?: number; result?: string; method?: string; params?: unknown }[] = [];
  const { promise: done, resolve } = Promise.withResolvers<void>();
  near.addEventListener("message", ({ data }) => {
    received.push(JSON.parse(data as string));
    if (received.length === 3) resolve();
  });
  near.send('{"jsonrpc":"2.0","method":"count","params":[1],"id":7}');
  await done;
  const subscription = received[0]?.result;
  assertEquals(received.map(({ id, method, params }) => ({ id, method, params })), [
    { id: 7, method: undefined, params: undefined },
    { id: undefined, method: "count_item", params: { subscription, result: 1 } },
    { id: undefined, method: "count_item", params: { subscription, done: true } },
  ]);
  near.close();
});

function counter(options: JsonRpcOptions = {}, onEnd = () => {}) {
  return new JsonRpc({ ...options, logger: silent() })
    .stream("count", NAMES, async function* ([to]: [number | null]) {
      try {
        for (let item = 1; item <= (to ?? Infinity); item++) yield await item;
      } finally {
        onEnd();
      }
    })
    .stream(
      "wait",
      { ...NAMES, unsubscribe: "wait_end" },
      async function* (_: unknown, request) {
        await new Promise((resolve) => request.signal.addEventListener("abort", resolve));
        yield "never";
      },
    )
    // deno-lint-ignore require-yield -- it fails before
    .stream("refused", { ...NAMES, unsubscribe: "refused_end" }, function* () {
      throw new RpcInvalidParamsError({ data: "the reason" });
    })
    // deno-lint-ignore require-yield -- it fails before
    .stream("broken", { ...NAMES, unsubscribe: "broken_end" }, function* () {
      throw new Error("a secret");
    });
}

function counting(options: JsonRpcOptions = {}, onEnd?: () => void) {
  const [near, far] = linkedSockets();
  counter(options, onEnd).attach(far);
  return connect(near);
}

function read(client: Awaited<ReturnType<typeof counting>>, method: string): Promise<unknown[]> {
  return Array.fromAsync(stream(client, method, [], NAMES));
}

function silent() {
  const nothing = () => {};
  return { debug: nothing, info: nothing, warn: nothing, error: nothing };
}

test("rpc.stream() starts nothing in a batch whose first entry closes the connection", async () => {
  const log: string[] = [];
  const rpc = new JsonRpc({ logger: silentLog() })
    .method("leave", (_params: unknown, { connection }) => connection.close())
    .stream("count", NAMES, function* () {
      try {
        for (;;) yield log.push("item");
      } finally {
        log.push("ended");
      }
    });
  const wire = bareClient(rpc);
  wire.send(["leave", "count"].map((method, id) => ({ jsonrpc: "2.0", method, id })));
  await until(() => rpc.connections.size === 0);
  for (let n = 0; n < 5; n++) await quietMoment();
  assertEquals(log, []);
});

test("rpc.stream() gives ids of the form that a client expects", async () => {
  let last = 0;
  const rpc = new JsonRpc({ logger: silentLog() })
    .stream("count", { ...NAMES, id: () => ++last }, async function* () {
      yield "item";
      await new Promise(() => {});
    })
    .stream("same", { ...NAMES, unsubscribe: "same_end", id: () => "0x1" }, () => endless());
  const wire = bareClient(rpc);
  wire.send({ jsonrpc: "2.0", method: "count", id: 1 });
  assertEquals(await wire.next(), { jsonrpc: "2.0", result: 1, id: 1 });
  assertEquals((await wire.next()).params, { subscription: 1, result: "item" });
  wire.send({ jsonrpc: "2.0", method: "count_end", params: [1], id: 2 });
  assertEquals(await wire.next(), { jsonrpc: "2.0", result: true, id: 2 });
  // An id that is in use would mix two subscriptions up.
  for (const id of [3, 4]) wire.send({ jsonrpc: "2.0", method: "same", id });
  assertEquals((await wire.next()).result, "0x1");
  assertEquals((await wire.next()).error?.code, -32603);
});

test("rpc.stream() sends nothing without a result unless it is told to", async () => {
  const names = { unsubscribe: "count_end", notification: "count_item" };
  const rpc = new JsonRpc({ logger: silentLog() }).stream(
    "count",
    names,
    function* ([to]: [number]) {
      for (let i = 0; i < to; i++) yield i;
      if (to > 1) throw new Error("failed");
    },
  );
  const wire = bareClient(rpc);
  for (const to of [1, 2]) wire.send({ jsonrpc: "2.0", method: "count", params: [to], id: to });
  const items = [];
  for (let n = 0; n < 5; n++) items.push(await wire.next());
  wire.send({ jsonrpc: "2.0", method: "count_end", params: ["gone"], id: 3 });
  assertEquals(await wire.next(), { jsonrpc: "2.0", result: false, id: 3 });
  assertEquals(items.map(({ params }) => (params as { result?: unknown })?.result).sort(), [
    0,
    0,
    1,
    undefined,
    undefined,
  ]);
});

test("stream() with resume goes on after a reconnect, and says what came last", async () => {
  const { client, wire } = scripted();
  await client.connect();
  const lasts: unknown[] = [];
  const items = stream(client, "count", ["from the start"], {
    ...NAMES,
    resume: (last) => {
      lasts.push(last);
      return ["after", last];
    },
  });
  const first = items.next();
  const one = await wire(0);
  const begun = await one.next();
  assertEquals(begun.params, ["from the start"]);
  one.send({ jsonrpc: "2.0", result: "0x1", id: begun.id });
  one.send({ jsonrpc: "2.0", method: "count_item", params: { subscription: "0x1", result: 7 } });
  assertEquals((await first).value, 7);
  one.close(1012, "Restart");
  const two = await wire(1);
  const again = await two.next();
  assertEquals([again.method, again.params], ["count", ["after", 7]]);
  two.send({ jsonrpc: "2.0", result: "0x9", id: again.id });
  two.send({ jsonrpc: "2.0", method: "count_item", params: { subscription: "0x9", result: 8 } });
  assertEquals((await items.next()).value, 8);
  assertEquals(lasts, [7]);
  const left = items.return();
  const ended = await two.next();
  assertEquals([ended.method, ended.params], ["count_end", ["0x9"]]);
  two.send({ jsonrpc: "2.0", result: true, id: ended.id });
  await left;
  await client.close();
});

test("stream() with resume ends on the server if the loop was left meanwhile", async () => {
  const { client, wire } = scripted();
  await client.connect();
  const items = stream(client, "count", [], { ...NAMES, resume: () => [] });
  const first = items.next();
  const one = await wire(0);
  one.send({ jsonrpc: "2.0", result: "0x1", id: (await one.next()).id });
  one.send({ jsonrpc: "2.0", method: "count_item", params: { subscription: "0x1", result: 7 } });
  await first;
  one.close(1012, "Restart");
  const two = await wire(1);
  const again = await two.next();
  await items.return();
  two.send({ jsonrpc: "2.0", result: "0x2", id: again.id });
  const ended = await two.next();
  assertEquals([ended.method, ended.params], ["count_end", ["0x2"]]);
  await client.close();
});

async function* endless(): AsyncGenerator<unknown> {
  yield await new Promise(() => {});
}
