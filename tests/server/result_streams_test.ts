import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import { test } from "node:test";
import { connect, JsonRpc, loginRequired, RpcError, RpcInvalidParamsError } from "@x/jsonrpc";
import type { JsonRpcOptions } from "@x/jsonrpc";
import { z } from "zod";
import { stream } from "@x/jsonrpc/stream";
import { linkedSockets, testClient } from "@x/jsonrpc/testing";
import { quietMoment, until } from "../helpers/deferred.ts";
import { silentLog } from "../helpers/log.ts";
import { scripted } from "../helpers/scripted_server.ts";

/** A server whose streams note what they do. */
function streaming(options: JsonRpcOptions = {}) {
  const log: unknown[] = [];
  const rpc = new JsonRpc({ logger: silentLog(), ...options })
    .user<{ readonly name: string }>()
    .method("count", async function* ([to]: [number | null]) {
      try {
        for (let i = 1; i <= (to ?? Infinity); i++) {
          log.push(i);
          yield i;
        }
      } finally {
        log.push("ended");
      }
    })
    .method("wait", async function* (_params: unknown, { signal }) {
      try {
        yield "begun";
        await new Promise((_resolve, reject) => {
          signal.addEventListener("abort", () => reject(signal.reason));
        });
      } finally {
        log.push("ended");
      }
    })
    .method("readable", () =>
      new ReadableStream({
        start: (controller) => controller.enqueue({ chunk: 1 }),
        cancel: () => void log.push("cancelled"),
      }))
    .method("fail", async function* ([how]: [string]) {
      yield 1;
      if (how === "json") yield 1n as unknown as number;
      throw how === "rpc" ? new RpcInvalidParamsError({ data: "the reason" }) : new Error("secret");
    })
    .method("plain", ([value]: [unknown]) => value)
    .method("login", (_params: unknown, { connection }) => connection.login({ name: "ann" }))
    .method("logout", (_params: unknown, { connection }) => connection.logout())
    .method("private", { use: [loginRequired] }, async function* (_params: unknown, request) {
      yield request.method;
      await new Promise(() => {});
    });
  return { rpc, log };
}

test("stream() reads the items of a generator, and call() gets them as an array", async () => {
  const { rpc, log } = streaming();
  await using client = await testClient(rpc);
  assertEquals(
    await Array.fromAsync(stream(client, "count", [1000])),
    [...Array(1001).keys()].slice(1),
  );
  assertEquals(await client.call("count", [3]), [1, 2, 3]);
  assertEquals(await client.call("count", [0]), []);
  assertEquals(log.filter((each) => each === "ended").length, 3);
});

test("a generator never runs further ahead than the credit that was granted", async () => {
  const { rpc, log } = streaming();
  await using client = await testClient(rpc);
  const items = stream(client, "count", [null], { credit: 4 });
  for (let taken = 1; taken <= 20; taken++) {
    assertEquals((await items.next()).value, taken);
    await quietMoment();
    const ahead = log.length - taken;
    assert(ahead <= 4, `${ahead} ahead of ${taken}`);
  }
  await items.return();
  await until(() => log.includes("ended"));
});

test("a generator ends when the loop is left, its signal aborts, or the connection ends", async () => {
  const { rpc, log } = streaming();
  const client = await testClient(rpc);
  const ended = async (count: number): Promise<void> => {
    await until(() => log.filter((each) => each === "ended").length === count);
  };
  for await (const item of stream(client, "count", [null])) if (item === 3) break;
  await ended(1);
  const controller = new AbortController();
  const items = stream(client, "wait", [], { signal: controller.signal });
  await items.next();
  controller.abort(new Error("enough"));
  await assertRejects(() => items.next(), Error, "enough");
  await ended(2);
  for await (const _ of stream(client, "readable")) break;
  await until(() => log.includes("cancelled"));
  const [one, two] = [stream(client, "wait"), stream(client, "count", [null])];
  await Promise.all([one.next(), two.next()]);
  await client.close();
  await ended(4);
  await assertRejects(() => one.next(), Error, "closed");
});

test("a call that collects a stream ends it when it is cancelled", async () => {
  const { rpc, log } = streaming();
  await using client = await testClient(rpc);
  const controller = new AbortController();
  const call = client.call("wait", [], { signal: controller.signal });
  await client.call("plain", [1]);
  controller.abort(new Error("enough"));
  await assertRejects(() => call, Error, "enough");
  await until(() => log.includes("ended"));
});

test("a collected stream is over the limit before all of it is in memory", async () => {
  const { rpc, log } = streaming({ maxMessageBytes: 1000 });
  await using client = await testClient(rpc);
  const error = await assertRejects(() => client.call("count", [null]), RpcError);
  assertEquals(error.code, -32008);
  assert(error.message.includes("stream()"), error.message);
  await until(() => log.includes("ended"));
  assert(log.length < 600, String(log.length));
});

test("a batch and a POST collect streams too", async () => {
  const { rpc } = streaming();
  await using client = await testClient(rpc);
  const results = await client.batch(({ call }) => [call("count", [2]), call("plain", ["b"])]);
  assertEquals(results, [[1, 2], "b"]);
  const answer = await rpc.fetch(
    new Request("http://localhost/", {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ jsonrpc: "2.0", method: "count", params: [3], id: 1 }),
    }),
  );
  assertEquals(await answer.json(), { jsonrpc: "2.0", result: [1, 2, 3], id: 1 });
});

test("stream() throws what a generator throws, and hides the details of any other error", async () => {
  const { rpc } = streaming();
  await using client = await testClient(rpc);
  for (const how of ["rpc", "plain", "json"]) {
    const items = stream(client, "fail", [how]);
    assertEquals((await items.next()).value, 1);
    const error = await assertRejects(() => items.next(), RpcError);
    assertEquals(
      [error.code, error.data],
      how === "rpc" ? [-32602, "the reason"] : [-32603, undefined],
    );
    assertEquals((await items.next()).done, true);
  }
});

test("stream() yields the items of an array, and any other result as one item", async () => {
  const { rpc } = streaming();
  await using client = await testClient(rpc);
  assertEquals(await Array.fromAsync(stream(client, "plain", [[1, 2]])), [1, 2]);
  assertEquals(await Array.fromAsync(stream(client, "plain", ["one"])), ["one"]);
  assertEquals(await Array.fromAsync(stream(client, "plain", [undefined])), [null]);
});

test("stream() runs guards under the method's own name, and ends when the user loses the right", async () => {
  const { rpc } = streaming();
  await using client = await testClient(rpc);
  await assertRejects(() => stream(client, "private").next(), RpcError, "Method not found");
  const [near, far] = linkedSockets();
  rpc.attach(far);
  await using stranger = await connect(near);
  await assertRejects(() => stream(stranger, "nothing").next(), RpcError, "Method not found");
  await client.call("login");
  const items = stream(client, "private");
  assertEquals((await items.next()).value, "private");
  await client.call("logout");
  await assertRejects(() => items.next(), RpcError, "the user may not have it");
});

test("a server without streams is called in the plain way", async () => {
  const { client, wire } = scripted();
  await client.connect();
  const server = await wire(0);
  const items = Array.fromAsync(stream(client, "list", ["a"]));
  const asked = await server.next();
  assertEquals(asked.method, "rpc.stream");
  server.send({
    jsonrpc: "2.0",
    error: { code: -32601, message: "Method not found" },
    id: asked.id,
  });
  const plain = await server.next();
  assertEquals([plain.method, plain.params], ["list", ["a"]]);
  server.send({ jsonrpc: "2.0", result: [1, 2], id: plain.id });
  assertEquals(await items, [1, 2]);
  await client.close();
});

test("rpc.stream refuses params that make no sense", async () => {
  const { rpc } = streaming();
  await using client = await testClient(rpc);
  const ask = (params: unknown) =>
    (client.call as (method: string, params: unknown) => Promise<unknown>)("rpc.stream", params);
  const good = { method: "wait", token: 7, credit: 1 };
  for (
    const wrong of [
      undefined,
      { ...good, method: 1 },
      { ...good, token: "7" },
      { ...good, credit: 0 },
      { ...good, credit: 1.5 },
    ]
  ) {
    await assertRejects(() => ask(wrong), RpcInvalidParamsError);
  }
  await assertRejects(() => ask({ ...good, params: 1 }), RpcError, "Invalid Request");
  const items = stream(client, "wait");
  await items.next();
  assertThrows(() => stream(client, "wait", [], { credit: 0 }), RangeError, "credit");
  await items.return();
});

test("a thousand streams at once each get their own items", async () => {
  const { rpc } = streaming({ maxInFlight: 1000 });
  await using client = await testClient(rpc);
  const sums = await Promise.all(
    Array.from(
      { length: 900 },
      async (_, index) => (await Array.fromAsync(stream(client, "count", [index % 50]))).length,
    ),
  );
  assertEquals(sums, Array.from({ length: 900 }, (_, index) => index % 50));
});

test("a result schema is for plain results, and lets streams pass", async () => {
  const { rpc } = streaming();
  const schema = z.array(z.number());
  const checked = rpc
    .method("generated", { result: schema }, async function* () {
      yield* [1, 2];
    })
    .method("read", { result: schema }, () => Promise.resolve(ReadableStream.from([3, 4])));
  await using client = await testClient(checked);
  assertEquals([...await client.call("generated"), ...await client.call("read")], [1, 2, 3, 4]);
  const items: number[] = await Array.fromAsync(stream(client, "generated"));
  assertEquals(items, [1, 2]);
});
