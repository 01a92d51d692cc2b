// What a program adds while the server goes through a set counts from the next time on: without a copy,
// code that adds one thing for each that it sees would never end.

import { assertEquals } from "@std/assert";
import { test } from "node:test";
import { guard, JsonRpc } from "@x/jsonrpc";
import { linkedSockets } from "@x/jsonrpc/testing";
import { pair } from "../helpers/client.ts";
import { quietMoment, until } from "../helpers/deferred.ts";
import { bareClient } from "../helpers/wire.ts";

const MOST = 1000;

test("a loop over connections visits those that were open when it began", async () => {
  const rpc = new JsonRpc().topic("a");
  const clients = await Promise.all([pair(rpc), pair(rpc)]);
  for (const client of clients) await client.subscribe("a", () => {});
  const attach = () => rpc.attach(linkedSockets()[1]);
  let visited = 0;
  for (const _connection of rpc.connections) if (++visited < MOST) attach();
  assertEquals(visited, 2);
  assertEquals(rpc.connections.size, 4);
  visited = 0;
  rpc.revoke(() => {
    if (++visited < MOST) attach();
    return false;
  });
  assertEquals(visited, 4);
  visited = 0;
  for (const _connection of rpc.subscribers(["a"])) if (++visited < MOST) attach();
  assertEquals(visited, 2);
  await rpc.close();
});

test("a plugin that a hook mounts is called from the next time on", async () => {
  const rpc = new JsonRpc().topic("a");
  let calls = 0;
  const mount = (): void => {
    rpc.use({
      name: "more",
      onSubscribe() {
        if (++calls < MOST) mount();
      },
    });
  };
  mount();
  const wire = bareClient(rpc);
  wire.call(1, "subscribe", ["a"]);
  await wire.next();
  await quietMoment();
  assertEquals(calls, 1);
  wire.close();
});

test("a guard that declares topics and methods is asked once for each question", async () => {
  let asked = 0;
  const rpc: JsonRpc = new JsonRpc();
  const more = guard(({ kind }) => {
    if (++asked < MOST) {
      if (kind === "topic") rpc.topic(`${"*.".repeat(asked)}x`).topic(`a${asked}.*`);
      else rpc.method(`m${asked}`, { use: [more] }, () => 1);
    }
    return true;
  });
  rpc.topic("a.*", { guards: [more] }).method("m", { use: [more] }, () => 1);
  const wire = bareClient(rpc);
  wire.call(1, "subscribe", ["a.1"]);
  await wire.next();
  const once = asked;
  wire.call(2, "get_methods");
  await wire.next();
  assertEquals([once > 0 && once <= 3, asked - once], [true, 1]);
  wire.close();
});

test("a connection that is opened and closed by hooks leaves the others alone", async () => {
  const rpc = new JsonRpc();
  let closed = 0;
  rpc.use({
    name: "opener",
    onClose() {
      if (++closed < MOST) rpc.attach(linkedSockets()[1]);
    },
  });
  for (let n = 0; n < 3; n++) rpc.attach(linkedSockets()[1]);
  for (const connection of rpc.connections) connection.close();
  await until(() => closed >= 3);
  assertEquals([closed, rpc.connections.size], [3, 3]);
  await rpc.close();
});
