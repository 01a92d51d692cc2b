/**
 * Bodies of POSTs in the memory budget.
 */
import { assertEquals } from "@std/assert";
import { test } from "node:test";
import { JsonRpc } from "@x/jsonrpc";
import { until } from "../helpers/deferred.ts";

const KIB = 1024;

test("a body that was given up no longer counts, although more of it comes", async () => {
  const rpc = new JsonRpc({ bodyTimeoutMs: 100 });
  let controller!: ReadableStreamDefaultController<Uint8Array>;
  const body = new ReadableStream<Uint8Array>({ start: (given) => void (controller = given) });
  const init: RequestInit & { duplex: "half" } = {
    method: "POST",
    body,
    duplex: "half",
    headers: { "content-type": "application/json" },
  };
  const answer = rpc.fetch(new Request("http://localhost/", init));
  controller.enqueue(new Uint8Array(70 * KIB));
  // The answer waits for the rest of the body, so that it arrives.
  await until(() => rpc.stats().memoryBytes > 0);
  await until(() => rpc.stats().memoryBytes === 0);
  controller.enqueue(new Uint8Array(70 * KIB));
  controller.close();
  assertEquals((await answer).status, 408);
  assertEquals(rpc.stats().memoryBytes, 0);
});
