import { assertEquals, assertInstanceOf, assertNotEquals } from "@std/assert";
import { test } from "node:test";
import { JsonRpc } from "@x/jsonrpc";
import { NodeResponse } from "../../src/runtimes/node/response.ts";
import { serveOnNode } from "../helpers/server.ts";

test("NodeResponse makes a Response, and the global class is unchanged", async () => {
  assertNotEquals(NodeResponse, Response);
  const light = new NodeResponse("text", { headers: { "x-a": "1" } });
  assertInstanceOf(light, Response);
  assertEquals([light.status, light.headers.get("x-a"), await light.text()], [200, "1", "text"]);
  assertEquals(Object.getPrototypeOf(new Response()), Response.prototype);
  assertEquals(Object.getPrototypeOf(new Request("http://a")), Request.prototype);
});

test("a POST through ./node is answered with type and length, also if the app changes the response", async () => {
  const rpc = new JsonRpc().method("echo", ([text]: [string]) => text);
  await using server = await serveOnNode({
    async fetch(request, host) {
      const response = await rpc.fetch(request, host);
      if (!new URL(request.url).searchParams.has("changed")) return response;
      const headers = new Headers(response.headers);
      headers.set("x-changed", "yes");
      return new Response(response.body, { status: response.status, headers });
    },
  });
  const body = JSON.stringify({ jsonrpc: "2.0", method: "echo", params: ["ü€💬"], id: 1 });
  const headers = { "content-type": "application/json" };
  for (const [query, changed] of [["", null], ["?changed", "yes"]] as const) {
    const response = await fetch(`${server.url}/${query}`, { method: "POST", headers, body });
    assertEquals(response.headers.get("content-type"), "application/json");
    assertEquals(response.headers.get("x-changed"), changed);
    const text = await response.text();
    assertEquals(JSON.parse(text), { jsonrpc: "2.0", result: "ü€💬", id: 1 });
    const length = response.headers.get("content-length");
    if (length !== null) assertEquals(Number(length), new TextEncoder().encode(text).length);
  }
});
