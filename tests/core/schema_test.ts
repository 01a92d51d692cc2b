import { assertEquals, assertRejects, assertStringIncludes, assertThrows } from "@std/assert";
import { type as ark } from "arktype";
import { test } from "node:test";
import * as v from "valibot";
import { z } from "zod";
import { connect, JsonRpc, RpcInvalidParamsError, type } from "@x/jsonrpc";
import type { JsonRpcClient, RpcError, Schema } from "@x/jsonrpc";
import type { Context } from "../../src/core/api.ts";
import { linkedSockets } from "@x/jsonrpc/testing";

/** The same description in each library: a text, and a number that is read from one. */
const LIBRARIES: Record<string, Schema<{ text: string; count: number }>> = {
  zod: z.object({ text: z.string(), count: z.string().transform(Number) }),
  valibot: v.object({ text: v.string(), count: v.pipe(v.string(), v.transform(Number)) }),
  arktype: ark({ text: "string", count: "string.numeric.parse" }),
};

for (const [library, params] of Object.entries(LIBRARIES)) {
  test(`a ${library} schema gives the handler what it made of the params`, async () => {
    const rpc = new JsonRpc().method("repeat", { params }, ({ text, count }) => text.repeat(count));
    await using client = await linked(rpc);
    assertEquals(await client.call("repeat", { text: "ab", count: "2" }), "abab");
  });

  test(`a ${library} schema refuses with -32602 and says where and why`, async () => {
    const rpc = new JsonRpc().method("repeat", { params }, ({ text, count }) => text.repeat(count));
    await using client = await linked(rpc);
    const error = await assertRejects(() => client.call("repeat", { text: 5, count: "2" }));
    assertEquals(error instanceof RpcInvalidParamsError, true);
    const [issue] = (error as RpcError).data as { message: string; path: string[] }[];
    assertEquals(issue?.path, ["text"]);
    assertStringIncludes(issue?.message.toLowerCase(), "string");
  });

  test(`a ${library} schema takes params by position, in the order of its properties`, async () => {
    const rpc = new JsonRpc().method("repeat", { params }, ({ text, count }) => text.repeat(count));
    await using client = await linked(rpc);
    // arktype keeps its properties sorted by name.
    const order = library === "arktype" ? ["2", "ab"] : ["ab", "2"];
    assertEquals(await client.call("repeat", order), "abab");
  });
}

test("a schema may be asynchronous", async () => {
  const params = z.object({ name: z.string().refine((name) => Promise.resolve(name !== "taken")) });
  const rpc = new JsonRpc().method("register", { params }, ({ name }) => `welcome ${name}`);
  await using client = await linked(rpc);
  assertEquals(await client.call("register", { name: "ann" }), "welcome ann");
  await assertRejects(() => client.call("register", { name: "taken" }), RpcInvalidParamsError);
});

test("a result that breaks its schema is a fault of the server, and says so in its log only", async () => {
  const log: string[] = [];
  const rpc = new JsonRpc({ logger: { ...console, error: (message: string) => log.push(message) } })
    .method("sync", { result: z.object({ id: z.number() }) }, () => ({ id: "seven" } as never))
    .method("async", { result: z.number() }, () => Promise.resolve("seven" as never))
    .method("fine", { result: z.string().transform((text) => text.length) }, () => "seven");
  await using client = await linked(rpc);
  for (const method of ["sync", "async"]) {
    const error = await assertRejects(() => client.call(method)) as RpcError;
    assertEquals([error.code, error.message, error.data], [-32603, "Internal error", undefined]);
  }
  assertStringIncludes(log[0], 'Method "sync" failed');
  assertStringIncludes(log[0], "id: ");
  assertEquals(log.length, 2);
  assertEquals(await client.call("fine"), 5);
});

test("names go before the order of a schema's properties", async () => {
  const params = z.object({ a: z.number(), b: z.number() });
  const rpc = new JsonRpc().method("minus", { params, names: ["b", "a"] }, ({ a, b }) => a - b);
  await using client = await linked(rpc);
  assertEquals(await client.call("minus", [1, 10]), 9);
});

test("rpc.discover tells types where the schema's library can", async () => {
  const params = z.object({ a: z.number() });
  const rpc = new JsonRpc().method("half", { params, result: z.number() }, ({ a }) => a / 2);
  await using client = await linked(rpc);
  const { methods } = await client.call("rpc.discover") as { methods: Record<string, unknown>[] };
  const half = methods.find(({ name }) => name === "half");
  assertEquals(half?.params, [{ name: "a", required: true, schema: { type: "number" } }]);
  assertEquals((half?.result as { schema: { type: string } }).schema.type, "number");
});

test("types flow from a schema to the handler and to connect<typeof rpc>()", async () => {
  const rpc = new JsonRpc()
    .method("repeat", { params: z.object({ count: z.string().transform(Number) }) }, (params) => {
      const count: number = params.count;
      return count;
    })
    .method(
      "described",
      { params: type<{ a: number }>(), result: type<string>() },
      ({ a }) => `${a}`,
    );
  const [near, far] = linkedSockets();
  rpc.attach(far);
  await using client = await connect<typeof rpc>(near);
  const count: number = await client.call("repeat", { count: "7" });
  assertEquals(count, 7);
  // @ts-expect-error -- what callers pass is what the schema takes, not what it gives
  await assertRejects(() => client.call("repeat", { count: 7 }));
  const text: string = await client.call("described", { a: 1 });
  assertEquals(text, "1");
});

test("publish() refuses data that does not fit the topic's schema, or cannot be checked at once", () => {
  const rpc = new JsonRpc()
    .topic("count", { schema: z.number().min(1) })
    .topic("slow", { schema: z.number().refine(() => Promise.resolve(true)) });
  assertEquals(rpc.publish("count", 1).deliveries, 0);
  assertThrows(() => rpc.publish("count", 0), TypeError, 'Cannot publish to "count"');
  assertThrows(() => rpc.publish("slow", 1), TypeError, "asynchronous");
});

async function linked<Parts, C extends Context>(rpc: JsonRpc<Parts, C>): Promise<JsonRpcClient> {
  const [near, far] = linkedSockets();
  rpc.attach(far);
  return await connect(near);
}
