/**
 * Long answers are spread over several turns of the event loop, and lose neither order nor messages.
 */
import { assert, assertEquals } from "@std/assert";
import { test } from "node:test";
import { JsonRpc } from "@x/jsonrpc";
import { until } from "../helpers/deferred.ts";
import { silentLog } from "../helpers/log.ts";
import { bareClient } from "../helpers/wire.ts";

const LONG = 900_000;

function longServer(): { readonly rpc: JsonRpc; readonly ran: unknown[] } {
  const ran: unknown[] = [];
  const rpc = new JsonRpc({ logger: silentLog() })
    .method("long", ([name]: [unknown]) => {
      ran.push(name);
      return "x".repeat(LONG);
    })
    .method("short", ([name]: [unknown]) => void ran.push(name));
  return { rpc: rpc as unknown as JsonRpc, ran };
}

test("messages that wait for the next turn keep their order", async () => {
  const { rpc, ran } = longServer();
  const peer = bareClient(rpc);
  for (let id = 0; id < 12; id++) peer.call(id, id % 2 === 0 ? "long" : "short", [id]);
  const answers = await peer.some(12);
  assertEquals(answers.map(({ id }) => id), Array.from({ length: 12 }, (_, id) => id));
  assertEquals(ran, Array.from({ length: 12 }, (_, id) => id));
  await rpc.close();
});

test("calls of peers that have left before their turn do not run", async () => {
  const { rpc, ran } = longServer();
  const peers = Array.from({ length: 50 }, () => bareClient(rpc));
  for (const peer of peers) {
    for (let id = 0; id < 6; id++) peer.call(id, "long", [id]);
    peer.close();
  }
  await until(() => rpc.connections.size === 0);
  const last = bareClient(rpc);
  last.call(1, "short", ["last"]);
  await last.next();
  assert(ran.length < 10, `${ran.length} calls ran`);
  await rpc.close();
});

test("a burst of short calls is answered although others ask for long answers", async () => {
  const { rpc } = longServer();
  const greedy = bareClient(rpc);
  const modest = bareClient(rpc);
  for (let id = 0; id < 4; id++) greedy.call(id, "long", [id]);
  // More than may wait: the rest is handled at once, after what has waited.
  for (let id = 0; id < 3000; id++) modest.call(id, "short", [id]);
  const answers = await modest.some(3000);
  assertEquals(answers.map(({ id }) => id), Array.from({ length: 3000 }, (_, id) => id));
  assertEquals((await greedy.some(4)).length, 4);
  await rpc.close();
});

test("messages that wait are released from the memory budget when their peer leaves", async () => {
  const ran: number[] = [];
  const rpc = new JsonRpc({ logger: silentLog(), maxTotalBytes: 4_000_000, maxMessageBytes: 1e6 })
    .method("long", ([text]: [string]) => {
      ran.push(text.length);
      return "x".repeat(990_000);
    });
  for (let round = 0; round < 5; round++) {
    const peers = Array.from({ length: 4 }, () => bareClient(rpc));
    for (const peer of peers) {
      for (let n = 0; n < 2; n++) peer.call(n, "long", ["x".repeat(400_000)]);
    }
    for (const peer of peers) peer.close();
    await until(() => rpc.connections.size === 0);
  }
  const last = bareClient(rpc);
  last.call(1, "long", ["x".repeat(400_000)]);
  assertEquals(((await last.next()).result as string)?.length, 990_000);
  await rpc.close();
});
