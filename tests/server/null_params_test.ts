import { assertEquals } from "@std/assert";
import { test } from "node:test";
import { JsonRpc } from "@x/jsonrpc";
import { z } from "zod";
import { serveHere } from "../helpers/server.ts";
import { bareClient } from "../helpers/wire.ts";

/** Methods that give back what they are called with. */
function serverOf(scalarParams: boolean) {
  return new JsonRpc({ scalarParams })
    .method("plain", (params: unknown) => ({ params: params ?? String(params) }))
    .method("named", { names: ["a"] }, (params: { a?: number }) => ({ params }))
    .method("object", { params: z.object({ a: z.number().optional() }) }, (params) => ({ params }))
    .method("optional", { params: z.array(z.number()).optional() }, (params) => ({
      params: params ?? String(params),
    }));
}

for (const scalarParams of [false, true]) {
  const mode = scalarParams ? "with scalarParams" : "without scalarParams";
  // Only a method that declares nothing, and accepts scalars, gets null as one.
  const results = {
    plain: scalarParams ? "null" : "undefined",
    named: {},
    object: {},
    optional: "undefined",
  };

  test(`"params": null means no params, over WebSocket and POST, ${mode}`, async () => {
    const rpc = serverOf(scalarParams);
    const wire = bareClient(rpc);
    await using server = await serveHere(rpc);
    for (const [method, params] of Object.entries(results)) {
      wire.call(1, method, null);
      assertEquals((await wire.next()).result, { params }, method);
      const response = await fetch(server.url, {
        method: "POST",
        headers: { "content-type": "application/json" },
        body: JSON.stringify({ jsonrpc: "2.0", method, params: null, id: 1 }),
      });
      assertEquals((await response.json()).result, { params }, method);
    }
    wire.close();
  });

  test(`"params": null means no params for built-in methods, ${mode}`, async () => {
    const wire = bareClient(serverOf(scalarParams).topic("a"));
    const builtIn = { get_topics: ["a"], get_subscriptions: [], subscribe: [], unsubscribe: [] };
    for (const [method, result] of Object.entries(builtIn)) {
      wire.call(1, method, null);
      assertEquals((await wire.next()).result, result, method);
    }
    wire.close();
  });
}
