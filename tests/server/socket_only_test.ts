import { assertEquals, assertThrows } from "@std/assert";
import { test } from "node:test";
import { connect, JsonRpc, method } from "@x/jsonrpc";
import { silentLog } from "../helpers/log.ts";
import { call } from "../helpers/messages.ts";
import { Post } from "../helpers/raw_client.ts";
import { serveHere } from "../helpers/server.ts";

test("a method that is socketOnly exists over a WebSocket alone, in every list", async () => {
  const rpc = new JsonRpc({ logger: silentLog() })
    .method("ping", () => "pong")
    .method("count", { socketOnly: true }, (_params, { connection }) => {
      return connection.state["calls"] = Number(connection.state["calls"] ?? 0) + 1;
    })
    .addMethods("group", { here: method({ socketOnly: true }, () => "here") })
    .addMethods("whole", { here: () => "here" }, { socketOnly: true });
  const names = ["count", "group.here", "whole.here"];
  await using server = await serveHere(rpc);
  await using client = await connect(server.ws);
  assertEquals([await client.call("count"), await client.call("count")], [1, 2]);
  const listed = await client.getMethods();
  assertEquals(names.filter((name) => listed.includes(name)), names);
  const post = new Post(server.url);
  for (const name of names) {
    const { error } = await post.ask(call(name, 1));
    assertEquals((error as { code: number }).code, -32601);
  }
  const [first] = await post.ask([call("count", 1), call("ping", 2)]) as unknown as [
    { error: { code: number } },
  ];
  assertEquals(first.error.code, -32601);
  const { result } = await post.ask(call("get_methods", 1));
  assertEquals((result as string[]).filter((name) => names.includes(name)), []);
});

test("a method cannot be both socketOnly and for GET", () => {
  assertThrows(
    () => new JsonRpc().method("x", { get: true, socketOnly: true }, () => 1),
    TypeError,
    'Cannot register "x": `get` and `socketOnly` exclude each other',
  );
});
