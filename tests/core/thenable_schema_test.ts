// A schema may answer a promise of another realm or library. Taken as a finished result, it would let any
// value pass.

import { assertEquals, assertInstanceOf, assertThrows } from "@std/assert";
import { test } from "node:test";
import { runInNewContext } from "node:vm";
import { JsonRpc, RpcError } from "@x/jsonrpc";
import type { Schema } from "@x/jsonrpc";
import { pair } from "../helpers/client.ts";
import { silentLog } from "../helpers/log.ts";

type Result = Awaited<ReturnType<Schema<number>["~standard"]["validate"]>>;

/** Ways to give a result later that are no promises of this realm. */
const LATER: Readonly<Record<string, (result: Result) => unknown>> = {
  "a thenable": (result) => ({
    then: (resolve: (result: Result) => void) => void queueMicrotask(() => resolve(result)),
  }),
  "a thenable that answers at once": (result) => ({
    then: (resolve: (result: Result) => void) => resolve(result),
  }),
  "a promise of another realm": (result) =>
    (runInNewContext("(value) => Promise.resolve(value)") as (result: Result) => unknown)(result),
};

for (const [how, later] of Object.entries(LATER)) {
  const positive = {
    "~standard": {
      version: 1,
      vendor: "test",
      validate: (value: unknown) =>
        later(
          typeof value === "number" && value > 0
            ? { value: value * 2 }
            : { issues: [{ message: "Expected a positive number" }] },
        ),
    },
  } as unknown as Schema<number>;
  const params = {
    "~standard": {
      version: 1,
      vendor: "test",
      validate: (value: unknown) =>
        later(
          Array.isArray(value) && value[0] > 0
            ? { value: value[0] }
            : { issues: [{ message: "Expected a positive number" }] },
        ),
    },
  } as unknown as Schema<number>;

  test(`a schema of params that answers ${how} is waited for`, async () => {
    const seen: unknown[] = [];
    const rpc = new JsonRpc().method("half", { params }, (n: number) => {
      seen.push(n);
      return n / 2;
    });
    await using client = await pair(rpc);
    assertEquals(await client.call("half", [8] as never), 4);
    const error = await client.call("half", [-8] as never).catch((error) => error);
    assertInstanceOf(error, RpcError);
    assertEquals((error as RpcError).code, -32602);
    assertEquals(seen, [8]);
  });

  test(`a schema of the result that answers ${how} is waited for`, async () => {
    const logger = silentLog();
    const rpc = new JsonRpc({ logger })
      .method("good", { result: positive }, () => 4)
      .method("bad", { result: positive }, () => -4)
      .method("late", { result: positive }, () => Promise.resolve(-4));
    await using client = await pair(rpc);
    assertEquals(await client.call("good"), 8 as never);
    for (const method of ["bad", "late"] as const) {
      const error = await client.call(method).catch((error) => error);
      assertEquals((error as RpcError).code, -32603);
    }
  });

  test(`a topic refuses a schema that answers ${how}, as events are checked at once`, () => {
    const rpc = new JsonRpc().topic("clock", { schema: positive });
    for (const data of [1, -1]) {
      assertThrows(() => rpc.publish("clock", data), TypeError, "asynchronous");
    }
  });
}
