// `rawJson()` in every place where a value goes out.

import { assertEquals, assertInstanceOf, assertRejects, assertThrows } from "@std/assert";
import { test } from "node:test";
import { JsonRpc, rawJson, RpcError } from "@x/jsonrpc";
import { stream } from "@x/jsonrpc/stream";
import { pair } from "../helpers/client.ts";
import { until } from "../helpers/deferred.ts";
import { silentLog } from "../helpers/log.ts";
import { serveHere } from "../helpers/server.ts";
import { bareClient, bareServer } from "../helpers/wire.ts";

const TEXT = '{"deep": [1, {"two": null}]}';
const VALUE = { deep: [1, { two: null }] };

test("rawJson() is a result, a part of one, and an entry of a batch", async () => {
  const rpc = new JsonRpc()
    .method("whole", () => rawJson(TEXT))
    .method("later", () => Promise.resolve(rawJson(TEXT)))
    .method("nested", () => ({ list: [rawJson(TEXT), rawJson("5")], text: rawJson('"t"') }));
  const wire = bareClient(rpc);
  wire.call(1, "whole");
  await wire.next();
  assertEquals(wire.received, [`{"jsonrpc":"2.0","result":${TEXT},"id":1}`]);
  await using client = await pair(rpc);
  const nested = { list: [VALUE, 5], text: "t" };
  assertEquals(
    await client.batch((batch) => [
      batch.call("whole"),
      batch.call("later"),
      batch.call("nested"),
    ]),
    [VALUE, VALUE, nested],
  );
  assertEquals(await client.call("nested"), nested);
  await using server = await serveHere(rpc);
  for (const [method, result] of [["whole", VALUE], ["nested", nested]] as const) {
    const response = await fetch(server.url, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ jsonrpc: "2.0", method, id: 1 }),
    });
    assertEquals((await response.json()).result, result);
  }
  wire.close();
});

test("rawJson() is an event, a part of one, and is kept for later subscribers", async () => {
  const rpc = new JsonRpc().topic("whole", { history: { size: 9 } }).topic("nested", {
    retain: true,
  });
  await using client = await pair(rpc);
  const received: unknown[] = [];
  await client.subscribe("whole", (data) => received.push(data));
  await client.subscribe("nested", (data) => received.push(data), { recover: true });
  rpc.publish("whole", rawJson(TEXT));
  rpc.publish("nested", { part: rawJson(TEXT) });
  await client.getTopics();
  assertEquals(received, [VALUE, { part: VALUE }]);
  await using late = await pair(rpc);
  await late.subscribe("nested", (data) => received.push(data));
  await late.getTopics();
  assertEquals(received[2], { part: VALUE });
});

test("rawJson() is an item of a stream", async () => {
  const names = { unsubscribe: "end", notification: "item", notifyEnd: true };
  const rpc = new JsonRpc().stream("begin", names, function* () {
    yield rawJson(TEXT);
    yield [rawJson(TEXT)];
  });
  await using client = await pair(rpc);
  const items: unknown[] = [];
  for await (const item of stream(client, "begin", undefined, names)) items.push(item);
  assertEquals(items, [VALUE, [VALUE]]);
});

test("rawJson() is the params of a notification or a call, a part of them, and progress", async () => {
  const rpc = new JsonRpc()
    .method("ask", async (_params, request) => {
      request.notify("note", rawJson(TEXT));
      request.notify("note", { part: rawJson(TEXT) });
      request.progress(rawJson(TEXT));
      return await request.call("echo", rawJson(TEXT));
    })
    .method("echo", (params: unknown) => params);
  await using client = await pair(rpc);
  const received: unknown[] = [];
  client.method("note", (params) => void received.push(params));
  client.method("echo", (params: unknown) => params);
  const onProgress = (value: unknown) => received.push(value);
  assertEquals(await client.call("ask", undefined, { onProgress }), VALUE);
  assertEquals(received, [VALUE, { part: VALUE }, VALUE]);
  assertEquals(await client.call("echo", rawJson("[1]")), [1]);
  assertEquals(await client.call("echo", [rawJson(TEXT)]), [VALUE]);
  const [bare, wire] = await bareServer();
  bare.notify("note", rawJson("[1]"));
  assertEquals(await wire.next(), { jsonrpc: "2.0", method: "note", params: [1] });
  await bare.close();
});

test("rawJson() as params has to be an array or an object", async () => {
  const rpc = new JsonRpc().method("echo", (params: unknown) => params);
  await using client = await pair(rpc);
  for (const text of ["5", '"text"', "true"]) {
    await assertRejects(
      () => client.call("echo", rawJson(text)),
      TypeError,
      "an array or an object",
    );
    assertThrows(() => client.notify("echo", rawJson(text)), TypeError, "an array or an object");
  }
  assertEquals(await client.call("echo", rawJson("null")), null);
  await assertRejects(() => client.call("echo", rawJson("{")), SyntaxError);
});

test("rawJson() is the data of an error, and a part of it", async () => {
  const rpc = new JsonRpc()
    .method("whole", () => {
      throw new RpcError(1, "whole", { data: rawJson(TEXT) });
    })
    .method("part", () => {
      throw new RpcError(1, "part", { data: [rawJson(TEXT)] });
    });
  await using client = await pair(rpc);
  for (const [method, data] of [["whole", VALUE], ["part", [VALUE]]] as const) {
    const error = await client.call(method).catch((error) => error);
    assertInstanceOf(error, RpcError);
    assertEquals((error as RpcError).data, data);
  }
});

test("rawJson() with a text that is no JSON fails where it is a part of something", async () => {
  const logger = silentLog();
  const rpc = new JsonRpc({ logger })
    .topic("news")
    .method("part", () => [rawJson("{")])
    .method("data", () => {
      throw new RpcError(1, "bad", { data: rawJson("{") });
    });
  await using client = await pair(rpc);
  for (const method of ["part", "data"] as const) {
    const error = await client.call(method).catch((error) => error);
    assertEquals((error as RpcError).code, -32603);
  }
  assertThrows(() => rpc.publish("news", [rawJson("{")]), SyntaxError);
  await until(() => logger.lines.length === 2);
});
