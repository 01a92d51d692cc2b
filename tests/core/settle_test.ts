import process from "node:process";
import { test } from "node:test";
import {
  assert,
  assertEquals,
  assertInstanceOf,
  assertRejects,
  assertStrictEquals,
} from "@std/assert";
import {
  connect,
  JsonRpc,
  JsonRpcClient,
  RpcConnectionError,
  RpcError,
  RpcInternalError,
  RpcTimeoutError,
} from "@x/jsonrpc";
import type { RpcRequest } from "@x/jsonrpc";
import { linkedSockets } from "@x/jsonrpc/testing";
import fc from "fast-check";
import { pair } from "../helpers/client.ts";
import { cuttableProxy } from "../helpers/cuttable_proxy.ts";
import { deferred, quietMoment, unsettled, until } from "../helpers/deferred.ts";
import { silentLog } from "../helpers/log.ts";
import { runtimeHere } from "../helpers/runtimes.ts";
import { scriptFile } from "../helpers/script_file.ts";
import { serveHere } from "../helpers/server.ts";
import { bareClient, bareServer } from "../helpers/wire.ts";
import type { WireMessage } from "../helpers/wire.ts";
import { spawnServer } from "../helpers/spawn_server.ts";

/** A server with a method that waits until the test releases it, and with what became of its requests. */
function testServer() {
  const held = deferred<string>();
  const seen: RpcRequest[] = [];
  const logger = silentLog();
  const rpc = new JsonRpc({ logger })
    .method("ping", () => "pong")
    .method("wait", (_params: unknown, request) => {
      seen.push(request as RpcRequest);
      return held.promise;
    })
    .method("heed", (_params: unknown, request) =>
      new Promise<string>((_resolve, reject) => {
        seen.push(request as RpcRequest);
        request.signal.addEventListener("abort", () => reject(request.signal.reason));
      }))
    .method("askBack", (_params: unknown, request) => request.call<string>("wait"));
  return { rpc, held, seen, logger };
}

/** Whatever a promise rejects with. */
function failureOf(promise: Promise<unknown>): Promise<unknown> {
  return promise.then((value) => new Error(`resolved with ${value}`), (error) => error);
}

function assertConnectionLost(error: unknown, outcome: "unknown" | "unsent" = "unknown"): void {
  assertInstanceOf(error, RpcConnectionError);
  assertEquals((error as RpcConnectionError).outcome, outcome);
}

// -- by timeout --

test("call() rejects with RpcTimeoutError when timeoutMs is over", async () => {
  const { rpc } = testServer();
  await using server = await serveHere(rpc);
  await using client = await connect<typeof rpc>(server.ws);
  const call = client.call("wait", undefined, { timeoutMs: 20 });
  await assertRejects(() => call, RpcTimeoutError, '"wait"');
});

test("call() takes timeoutMs from the client when it has none of its own", async () => {
  const { rpc, held } = testServer();
  await using server = await serveHere(rpc);
  await using client = await connect<typeof rpc>(server.ws, { timeoutMs: 20 });
  const patient = client.call("wait", undefined, { timeoutMs: 60_000 });
  const endless = client.call("wait", undefined, { timeoutMs: 0 });
  await assertRejects(() => client.call("wait"), RpcTimeoutError);
  held.resolve("at last");
  assertEquals(await Promise.all([patient, endless]), ["at last", "at last"]);
});

test("call() counts the time until the connection is open, too", async () => {
  const held = deferred();
  const rpc = new JsonRpc({ logger: silentLog() }).use({
    name: "test",
    handshake: () => held.promise,
  });
  await using server = await serveHere(rpc);
  await using client = new JsonRpcClient(server.ws);
  await assertRejects(() => client.call("ping", undefined, { timeoutMs: 20 }), RpcTimeoutError);
  held.resolve();
});

test("call() rejects with RangeError when timeoutMs is no time", async () => {
  const [client, server] = await bareServer();
  for (const timeoutMs of [-1, NaN, -Infinity]) {
    await assertRejects(() => client.call("ping", [], { timeoutMs }), RangeError, "timeoutMs");
  }
  await client.close();
  assertEquals(server.received, []);
});

test("call() ignores the answer that comes after its timeout", async () => {
  const { rpc, held } = testServer();
  await using server = await serveHere(rpc);
  await using client = await connect<typeof rpc>(server.ws);
  await assertRejects(() => client.call("wait", undefined, { timeoutMs: 20 }), RpcTimeoutError);
  held.resolve("too late");
  assertEquals(await client.call("ping"), "pong");
  assertEquals(await client.call("wait"), "too late");
});

test("call() that timed out is cancelled on the other side", async () => {
  const { rpc, seen } = testServer();
  await using server = await serveHere(rpc);
  await using client = await connect<typeof rpc>(server.ws);
  await assertRejects(() => client.call("wait", undefined, { timeoutMs: 20 }), RpcTimeoutError);
  await until(() => seen[0]?.signal.aborted === true);
});

test("connection.call() times out and cancels as client.call() does", async () => {
  const { rpc } = testServer();
  await using server = await serveHere(rpc);
  await using client = await connect<typeof rpc>(server.ws);
  let request: RpcRequest | undefined;
  client.method("slow", (_params, its) => {
    request = its;
    return new Promise(() => {});
  });
  await client.call("ping");
  const [connection] = rpc.connections;
  const call = connection?.call("slow", undefined, { timeoutMs: 20 });
  await assertRejects(() => call as Promise<unknown>, RpcTimeoutError, '"slow"');
  await until(() => request?.signal.aborted === true);
});

// -- by signal --

test("call() rejects with the signal's reason when it was aborted before, and sends nothing", async () => {
  const [client, server] = await bareServer();
  const reason = { any: "thing" };
  const signal = AbortSignal.abort(reason);
  assertStrictEquals(await failureOf(client.call("ping", [], { signal })), reason);
  await client.close();
  assertEquals(server.received, []);
});

test("call() rejects with the signal's reason while it waits, and tells the other side", async () => {
  const [client, server] = await bareServer();
  const controller = new AbortController();
  const reason = new Error("enough");
  const call = failureOf(client.call("wait", [], { signal: controller.signal }));
  const { id } = await server.next();
  controller.abort(reason);
  assertStrictEquals(await call, reason);
  assertEquals(await server.next(), { jsonrpc: "2.0", method: "$/cancelRequest", params: { id } });
  await client.close();
});

test("call() has nothing to do with its signal once it has its answer", async () => {
  const [client, server] = await bareServer();
  const controller = new AbortController();
  const call = client.call("ping", [], { signal: controller.signal });
  server.send({ jsonrpc: "2.0", result: "pong", id: (await server.next()).id });
  assertEquals(await call, "pong");
  controller.abort();
  client.notify("last");
  assertEquals((await server.next()).method, "last");
  await client.close();
});

test("call() rejects with a TimeoutError when its signal is AbortSignal.timeout()", async () => {
  const { rpc } = testServer();
  await using server = await serveHere(rpc);
  await using client = await connect<typeof rpc>(server.ws);
  const error = await failureOf(
    client.call("wait", undefined, { signal: AbortSignal.timeout(20) }),
  );
  assertEquals((error as Error).name, "TimeoutError");
});

test("request.signal aborts when the caller gives the call up", async () => {
  const { rpc, seen, logger } = testServer();
  await using server = await serveHere(rpc);
  await using client = await connect<typeof rpc>(server.ws);
  const controller = new AbortController();
  const call = failureOf(client.call("heed", undefined, { signal: controller.signal }));
  await until(() => seen.length === 1);
  controller.abort(new Error("enough"));
  assertEquals((await call as Error).message, "enough");
  await until(() => seen[0]?.signal.aborted === true);
  assertEquals((seen[0]?.signal.reason as RpcError).code, -32800);
  assertEquals(await client.call("ping"), "pong");
  assertEquals(logger.lines, []);
});

test("request.signal aborts when the connection ends", async () => {
  const { rpc, seen } = testServer();
  await using server = await serveHere(rpc);
  const client = await connect<typeof rpc>(server.ws);
  client.call("heed").catch(() => {});
  await until(() => seen.length === 1);
  await client.close();
  await until(() => seen[0]?.signal.aborted === true);
  assertInstanceOf(seen[0]?.signal.reason, RpcConnectionError);
  assertEquals(seen[0]?.connection.isOpen, false);
  assertEquals(seen[0]?.connection.signal.aborted, true);
});

test("request.signal can be asked for late and is aborted then", async () => {
  const { rpc, seen } = testServer();
  const wire = bareClient(rpc);
  wire.call(1, "wait");
  wire.call(undefined, "$/cancelRequest", { id: 1 });
  await wire.next();
  assertEquals(seen[0]?.signal.aborted, true);
  wire.close();
});

test("$/cancelRequest is answered with -32800 once, whatever the handler does later", async () => {
  const { rpc, held } = testServer();
  const wire = bareClient(rpc);
  wire.call("a", "wait");
  wire.call(undefined, "$/cancelRequest", { id: "a" });
  wire.call(undefined, "$/cancelRequest", { id: "a" });
  const answer = await wire.next();
  assertEquals([answer.id, answer.error?.code], ["a", -32800]);
  held.resolve("too late");
  await quietMoment();
  wire.call("b", "ping");
  assertEquals((await wire.next()).id, "b");
  wire.close();
});

test("$/cancelRequest leaves all other calls alone", async () => {
  const { rpc, held } = testServer();
  const [mine, theirs] = [bareClient(rpc), bareClient(rpc)];
  mine.call(1, "wait");
  theirs.call(1, "wait");
  for (const params of [{ id: "1" }, { id: 2 }, { id: null }, {}, [1], undefined]) {
    mine.call(undefined, "$/cancelRequest", params);
  }
  theirs.call(undefined, "$/cancelRequest", { id: 1 });
  assertEquals((await theirs.next()).error?.code, -32800);
  held.resolve("mine");
  assertEquals((await mine.next()).result, "mine");
  mine.close();
  theirs.close();
});

test("$/cancelRequest reaches one call of a batch", async () => {
  const { rpc, held } = testServer();
  const wire = bareClient(rpc);
  wire.send([1, 2].map((id) => ({ jsonrpc: "2.0", method: "wait", id })));
  wire.call(undefined, "$/cancelRequest", { id: 1 });
  await quietMoment();
  assertEquals(wire.received, []);
  held.resolve("done");
  const [first, second] = await wire.next() as unknown as WireMessage[];
  assertEquals([first?.id, first?.error?.code], [1, -32800]);
  assertEquals([second?.id, second?.result], [2, "done"]);
  wire.close();
});

test("request.call() is given up together with the call it belongs to", async () => {
  const { rpc } = testServer();
  await using server = await serveHere(rpc);
  await using client = await connect<typeof rpc>(server.ws);
  let inner: RpcRequest | undefined;
  client.method("wait", (_params, request) => {
    inner = request;
    return new Promise(() => {});
  });
  const controller = new AbortController();
  const call = client.call("askBack", undefined, { signal: controller.signal }).catch(() => {});
  await until(() => inner !== undefined);
  controller.abort();
  await call;
  await until(() => inner?.signal.aborted === true);
});

// -- by the end of the connection --

/** A client and a server that both wait for answers of the other; what these calls reject with. */
async function waitingBothWays(url: string, rpc: JsonRpc) {
  const client = await connect(url);
  client.method("wait", () => new Promise(() => {}));
  const fromClient = [client.call("wait"), client.call("wait", [], { timeoutMs: 0 })];
  await until(() => rpc.connections.size === 1);
  const [connection] = rpc.connections;
  const fromServer = [connection?.call("wait"), connection?.call("wait", [], { timeoutMs: 0 })];
  const failures = [...fromClient, ...fromServer].map((call) =>
    failureOf(call as Promise<unknown>)
  );
  return { client, connection, failures };
}

const ends: Readonly<
  Record<string, (both: Awaited<ReturnType<typeof waitingBothWays>>) => unknown>
> = {
  "the client closes": ({ client }) => client.close(),
  "the server closes the connection": ({ connection }) => connection?.close(1008, "enough"),
};

for (const [what, end] of Object.entries(ends)) {
  test(`call() rejects on both sides when ${what}`, async () => {
    const { rpc } = testServer();
    await using server = await serveHere(rpc);
    const both = await waitingBothWays(server.ws, rpc as unknown as JsonRpc);
    await end(both);
    for (const failure of both.failures) assertConnectionLost(await failure);
    await until(() => rpc.connections.size === 0);
    await both.client.close();
  });
}

test("call() rejects on both sides when the server as a whole closes", async () => {
  const { rpc } = testServer();
  await using server = await serveHere(rpc);
  const both = await waitingBothWays(server.ws, rpc as unknown as JsonRpc);
  await server.stop();
  for (const failure of both.failures) assertConnectionLost(await failure);
  await both.client.close();
});

test("call() rejects on both sides when the cable is cut", async () => {
  const { rpc } = testServer();
  await using server = await serveHere(rpc);
  await using between = await cuttableProxy(server);
  const both = await waitingBothWays(between.ws, rpc as unknown as JsonRpc);
  between.cut();
  for (const failure of both.failures) assertConnectionLost(await failure);
  await until(() => rpc.connections.size === 0);
  await both.client.close();
});

test("call() rejects when the server's process is killed", async () => {
  await using file = await scriptFile(`
    import { JsonRpc } from ${JSON.stringify(import.meta.resolve("../../mod.ts"))};
    import { serveHere } from ${JSON.stringify(import.meta.resolve("../helpers/server.ts"))};
    import { exitWithParent } from ${
    JSON.stringify(import.meta.resolve("../helpers/exit_with_parent.ts"))
  };
    exitWithParent();
    const rpc = new JsonRpc().method("ping", () => "pong").method("wait", () => new Promise(() => {}));
    console.log("LISTENING " + (await serveHere(rpc)).ws);
  `);
  const server = await spawnServer(runtimeHere, file.path);
  const client = await connect(server.url);
  try {
    assertEquals(await client.call("ping"), "pong");
    const call = failureOf(client.call("wait"));
    process.kill(server.pid, "SIGKILL");
    assertConnectionLost(await call);
  } finally {
    await client.close();
    await server.stop();
  }
});

test("connection.call() rejects as unsent when the connection has ended", async () => {
  const { rpc, seen } = testServer();
  const client = await pair(rpc);
  client.call("heed").catch(() => {});
  await until(() => seen.length === 1);
  const connection = seen[0]?.connection;
  await client.close();
  assertConnectionLost(await failureOf(connection?.call("any") as Promise<unknown>), "unsent");
  connection?.notify("any");
  connection?.close();
});

// -- whatever the other side answers --

const lies: Readonly<Record<string, (id: number) => unknown>> = {
  "another id": (id) => ({ jsonrpc: "2.0", result: "lie", id: id + 1 }),
  "the id as a string": (id) => ({ jsonrpc: "2.0", result: "lie", id: String(id) }),
  "the id in an array": (id) => ({ jsonrpc: "2.0", result: "lie", id: [id] }),
  "the id plus a half": (id) => ({ jsonrpc: "2.0", result: "lie", id: id + 0.5 }),
  "the name of a prototype's member": () => ({ jsonrpc: "2.0", result: "lie", id: "__proto__" }),
  "an error of another id": (id) => ({
    jsonrpc: "2.0",
    error: { code: 1, message: "lie" },
    id: -id,
  }),
  "an error without an id": () => ({
    jsonrpc: "2.0",
    error: { code: 1, message: "lie" },
    id: null,
  }),
  "a batch of all this": (id) => [
    { jsonrpc: "2.0", result: "lie", id: `${id}` },
    { jsonrpc: "2.0", result: "lie" },
    { jsonrpc: "2.0", error: null, id: null },
  ],
};

for (const [what, lie] of Object.entries(lies)) {
  test(`call() waits on when an answer has ${what}`, async () => {
    const [client, server] = await bareServer({ logger: silentLog() });
    const call = client.call("ping");
    const id = (await server.next()).id as number;
    server.send(lie(id));
    assertEquals(await unsettled([call]), [0]);
    server.send({ jsonrpc: "2.0", result: "truth", id });
    assertEquals(await call, "truth");
    assertEquals(server.received.length, 1, "an answer was answered");
    await client.close();
  });
}

test("call() keeps its first answer when more of them come", async () => {
  const [client, server] = await bareServer({ logger: silentLog() });
  const first = client.call("ping");
  const { id } = await server.next();
  for (const result of ["truth", "lie"]) server.send({ jsonrpc: "2.0", result, id });
  server.send({ jsonrpc: "2.0", error: { code: 1, message: "lie" }, id });
  assertEquals(await first, "truth");
  const second = client.call("ping");
  server.send({ jsonrpc: "2.0", result: "lie", id });
  server.send({ jsonrpc: "2.0", result: "truth", id: (await server.next()).id });
  assertEquals(await second, "truth");
  assertEquals(server.received.length, 2, "an answer was answered");
  await client.close();
});

const malformed: Readonly<Record<string, object>> = {
  "both result and error": { result: 1, error: { code: 1, message: "no" } },
  "neither result nor error": {},
  "an error without code": { error: { message: "no" } },
  "an error with a code that is no integer": { error: { code: 1.5, message: "no" } },
  "an error that is a string": { error: "no" },
  "an error that is null": { error: null },
  "an error that is false": { error: false },
};

for (const [what, members] of Object.entries(malformed)) {
  test(`call() rejects with RpcInternalError when the answer has ${what}`, async () => {
    const [client, server] = await bareServer({ logger: silentLog() });
    const call = client.call("ping");
    server.send({ jsonrpc: "2.0", ...members, id: (await server.next()).id });
    assertEquals(await unsettled([call]), []);
    await assertRejects(() => call, RpcInternalError, '"ping"');
    assertEquals(server.received.length, 1, "an answer was answered");
    await client.close();
  });
}

const tolerated: Readonly<Record<string, readonly [members: object, result: unknown]>> = {
  "an error of null beside its result": [{ result: "fine", error: null }, "fine"],
  "a result of null": [{ result: null }, null],
  "no jsonrpc member": [{ jsonrpc: undefined, result: "fine" }, "fine"],
};

for (const [what, [members, result]] of Object.entries(tolerated)) {
  test(`call() takes an answer that has ${what}`, async () => {
    const [client, server] = await bareServer();
    const call = client.call("ping");
    server.send({ jsonrpc: "2.0", ...members, id: (await server.next()).id });
    assertEquals(await call, result);
    await client.close();
  });
}

test("call() rejects when the answer has an error with null beside it as a result", async () => {
  const [client, server] = await bareServer();
  const call = client.call("ping");
  const error = { code: 7, message: "seven" };
  server.send({ jsonrpc: "2.0", result: null, error, id: (await server.next()).id });
  assertEquals((await failureOf(call) as RpcError).code, 7);
  await client.close();
});

test("connection.call() is as wary of its client's answers", async () => {
  const rpc = new JsonRpc();
  const wire = bareClient(rpc);
  const [connection] = rpc.connections;
  const call = connection?.call("name") as Promise<unknown>;
  const id = (await wire.next()).id as number;
  for (const lie of Object.values(lies)) wire.send(lie(id));
  assertEquals(await unsettled([call]), [0]);
  wire.send({ jsonrpc: "2.0", result: "truth", id });
  assertEquals(await call, "truth");
  assertEquals(wire.received.length, 1, "an answer was answered");
  wire.close();
});

test("JsonRpcClient matches no call with an answer that is not its own, however many come", async () => {
  const answer = fc.record({
    jsonrpc: fc.constantFrom("2.0", undefined, 2),
    id: fc.oneof(fc.integer({ min: -5, max: 40 }).map((n) => n + 0.5), fc.string(), fc.jsonValue())
      .filter((id) => !Number.isInteger(id)),
    result: fc.jsonValue(),
    error: fc.option(fc.jsonValue(), { nil: undefined }),
  }, { requiredKeys: ["id", "result"] });
  await fc.assert(
    fc.asyncProperty(fc.array(fc.array(answer, { maxLength: 5 })), async (batches) => {
      const [client, server] = await bareServer({ logger: silentLog() });
      const calls = Array.from({ length: 20 }, (_, n) => client.call("echo", [n]));
      const asked = await server.some(calls.length);
      for (const batch of batches) batch.length === 1 ? server.send(batch[0]) : server.send(batch);
      for (const { id, params } of asked) server.send({ jsonrpc: "2.0", result: params, id });
      assertEquals(await Promise.all(calls), [...calls.keys()].map((n) => [n]));
      await client.close();
    }),
  );
});

// -- whatever happens, in whatever order --

type Step =
  | readonly [act: "call", method: string]
  | readonly [act: "cancel" | "open", nth: number]
  | readonly [act: "batch" | "askBack" | "pass"]
  | readonly [act: "close", side: "client" | "server" | "both"];

const METHODS = ["now", "soon", "gated", "endless", "failing", "nested", "missing"];
const nth = fc.nat({ max: 30 });
const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 8, arbitrary: fc.tuple(fc.constant("call" as const), fc.constantFrom(...METHODS)) },
  { weight: 4, arbitrary: fc.tuple(fc.constantFrom("cancel" as const, "open" as const), nth) },
  {
    weight: 4,
    arbitrary: fc.tuple(fc.constantFrom("batch" as const, "askBack" as const, "pass" as const)),
  },
  {
    weight: 1,
    arbitrary: fc.tuple(
      fc.constant("close" as const),
      fc.constantFrom("client" as const, "server" as const, "both" as const),
    ),
  },
);

/** Both ends of a connection, with the same methods, all calls that were made, all that was said. */
class Story {
  readonly calls: Promise<unknown>[] = [];
  readonly #controllers: AbortController[] = [];
  readonly #gates: PromiseWithResolvers<string>[] = [];
  readonly #answered = [new Map<unknown, number>(), new Map<unknown, number>()];
  readonly #rpc = new JsonRpc({ logger: silentLog(), maxInFlight: 12 });
  #client!: JsonRpcClient;

  async begin(): Promise<void> {
    const [near, far] = linkedSockets();
    [near, far].forEach((socket, side) =>
      socket.addEventListener("message", ({ data }) => this.#note(side, JSON.parse(data as string)))
    );
    for (const [name, handler] of Object.entries(this.#handlers())) this.#rpc.method(name, handler);
    this.#rpc.attach(far);
    this.#client = await connect(near, { logger: silentLog(), maxInFlight: 12, timeoutMs: 0 });
    for (const [name, handler] of Object.entries(this.#handlers())) {
      this.#client.method(name, handler);
    }
  }

  async take(step: Step): Promise<void> {
    switch (step[0]) {
      case "call":
        return this.#made(this.#client.call(step[1], [], this.#options()));
      case "askBack": {
        const [connection] = this.#rpc.connections;
        const methods = ["gated", "endless", "nested", "now"];
        for (const name of methods) this.#made(connection?.call(name, [], this.#options()));
        return;
      }
      case "batch":
        return this.#made(this.#client.batch((b) =>
          METHODS.map((name) => {
            const call = b.call(name, [], this.#options());
            this.#made(call);
            return call;
          })
        ));
      case "cancel":
        return this.#controllers[step[1] % (this.#controllers.length || 1)]?.abort();
      case "open":
        return this.#gates[step[1] % (this.#gates.length || 1)]?.resolve("opened");
      case "pass":
        return await quietMoment();
      case "close":
        if (step[1] !== "server") this.#made(this.#client.close());
        if (step[1] !== "client") { for (const each of this.#rpc.connections) each.close(); }
    }
  }

  /** Checks what must hold when everything has been answered or is over. */
  async end(closing: boolean): Promise<void> {
    for (let round = 0; round < 8; round++) {
      for (const each of this.#gates) each.resolve("opened");
      if (!closing) { for (const each of this.#controllers) each.abort(); }
      await quietMoment();
    }
    if (closing) await this.#client.close();
    assertEquals(await unsettled(this.calls), []);
    await this.#client.close();
    await quietMoment();
    assertEquals(this.#rpc.connections.size, 0);
    const twice = this.#answered.flatMap((counts) => [...counts]).filter(([_id, count]) =>
      count > 1
    );
    assertEquals(twice, [], "a call was answered twice");
  }

  #made(call: Promise<unknown> | undefined): void {
    if (call !== undefined) this.calls.push(call);
    call?.catch(() => {});
  }

  #options(): { signal: AbortSignal } {
    const controller = new AbortController();
    this.#controllers.push(controller);
    return { signal: controller.signal };
  }

  #note(side: number, message: WireMessage | WireMessage[]): void {
    for (const { id, method } of Array.isArray(message) ? message : [message]) {
      const counts = this.#answered[side];
      if (method === undefined) counts?.set(id, (counts.get(id) ?? 0) + 1);
    }
  }

  #handlers(): Record<string, (params: unknown, request: RpcRequest) => unknown> {
    return {
      now: () => "now",
      soon: () => quietMoment(),
      gated: () => {
        const held = deferred<string>();
        this.#gates.push(held);
        return held.promise;
      },
      endless: () => new Promise(() => {}),
      failing: () => Promise.reject(new RpcError(1, "failed")),
      nested: (_params, request) => request.call("gated"),
    };
  }
}

test("JsonRpc and its client settle every call once, in whatever order things happen", async () => {
  const property = fc.asyncProperty(
    fc.array(step, { maxLength: 40 }),
    fc.boolean(),
    async (steps, closing) => {
      const story = new Story();
      await story.begin();
      for (const each of steps) await story.take(each);
      await story.end(closing);
    },
  );
  await fc.assert(property, { numRuns: 300 });
});

test("JsonRpc and its client settle every call when real cables are cut at random", async () => {
  const { rpc } = testServer();
  await using server = await serveHere(rpc);
  await using between = await cuttableProxy(server);
  for (let round = 0; round < 20; round++) {
    const client = await connect<typeof rpc>(between.ws);
    const calls = [...Array(round).keys()].map((n) => client.call(n % 2 === 0 ? "ping" : "wait"));
    if (round % 3 === 0) await calls[0];
    if (round % 4 === 0) await quietMoment();
    between.cut();
    for (const { status } of await Promise.allSettled(calls)) assert(status.length > 0);
    await client.close();
  }
  await until(() => rpc.connections.size === 0);
});
