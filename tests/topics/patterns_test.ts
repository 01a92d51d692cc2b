// Topics that several declarations match: whose options count, and whose guards are asked.

import { assertEquals, assertRejects } from "@std/assert";
import { test } from "node:test";
import { guard, JsonRpc, RpcInvalidParamsError } from "@x/jsonrpc";
import { pair } from "../helpers/client.ts";
import { serveHere } from "../helpers/server.ts";
import { bareClient } from "../helpers/wire.ts";
import type { WireMessage } from "../helpers/wire.ts";

const nobody = { guards: [guard(() => false)] };

const declared: Readonly<Record<string, (rpc: JsonRpc) => unknown>> = {
  "the open pattern first": (rpc) => rpc.topic("*.*").topic("admin.*", nobody),
  "the guarded pattern first": (rpc) => rpc.topic("admin.*", nobody).topic("*.*"),
  "a name of its own": (rpc) => rpc.topic("admin.log").topic("admin.*", nobody).topic("*.*"),
  "three patterns": (rpc) => rpc.topic("*.*").topic("*.log", nobody).topic("admin.*"),
};

for (const [how, declare] of Object.entries(declared)) {
  test(`a topic is closed if the guards of one matching pattern refuse: ${how}`, async () => {
    const rpc = new JsonRpc();
    declare(rpc);
    await using client = await pair(rpc);
    await assertRejects(
      () => client.subscribe("admin.log" as never, () => {}),
      RpcInvalidParamsError,
    );
    assertEquals((await client.getTopics()).includes("admin.log"), false);
    await client.subscribe("open.door" as never, () => {});
    await using server = await serveHere(rpc);
    const headers = { accept: "text/event-stream" };
    const response = await fetch(`${server.url}/?topics=admin.log`, { headers });
    assertEquals(response.status, 404);
    await response.text();
  });
}

test("each matching guard is asked with the concrete name, and all have to admit", async () => {
  const asked: string[] = [];
  const noting = (label: string) => ({
    guards: [guard(({ name, kind }) => {
      asked.push(`${label} ${kind} ${name}`);
      return true;
    })],
  });
  const rpc = new JsonRpc()
    .topic("*.*", noting("any"))
    .topic("room.*", noting("room"))
    .topic("room.7", noting("seven"));
  await using client = await pair(rpc);
  await client.subscribe("room.7", () => {});
  assertEquals(asked, ["seven topic room.7", "any topic room.7", "room topic room.7"]);
});

test("removing one of two matching patterns leaves its topics to the other", async () => {
  const rpc = new JsonRpc().topic("room.*", { wrapScalars: true }).topic("*.*");
  const wire = bareClient(rpc);
  wire.call(1, "subscribe", ["room.7"]);
  await wire.next();
  rpc.publish("room.7", 1);
  rpc.removeTopic("room.*");
  rpc.publish("room.7" as "a.b", 2);
  rpc.removeTopic("*.*");
  const messages = await wire.some(3);
  assertEquals(messages.map(({ method, params }) => [method, params]), [
    ["room.7", [1]],
    ["room.7", 2],
    ["rpc.removed", { topic: "room.7" }],
  ]);
  wire.close();
});

test("wrapScalars of a topic holds for that topic alone, and over the server's", async () => {
  for (const wrapScalars of [false, true]) {
    const rpc = new JsonRpc({ wrapScalars })
      .topic("as it is", { wrapScalars: false })
      .topic("wrapped", { wrapScalars: true })
      .topic("as the server", {});
    const wire = bareClient(rpc);
    const topics = ["as it is", "wrapped", "as the server"] as const;
    wire.call(1, "subscribe", topics);
    await wire.next();
    for (const topic of topics) rpc.publish(topic, 5);
    const events: WireMessage[] = await wire.some(3);
    assertEquals(events.map(({ params }) => params), [5, [5], wrapScalars ? [5] : 5]);
    wire.close();
  }
});
