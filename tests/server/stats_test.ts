/**
 * The numbers that `rpc.stats()` gives.
 */
import { assert, assertEquals } from "@std/assert";
import { test } from "node:test";
import { connect, JsonRpc } from "@x/jsonrpc";
import type { ServerStats } from "@x/jsonrpc/types";
import { memoryBroker } from "@x/jsonrpc/memory";
import { linkedSockets } from "@x/jsonrpc/testing";
import type { Plugin } from "@x/jsonrpc/plugin";
import { until } from "../helpers/deferred.ts";
import { silentLog } from "../helpers/log.ts";
import { serveHere } from "../helpers/server.ts";

const NONE: ServerStats = {
  connections: 0,
  requests: 0,
  calls: 0,
  pendingCalls: 0,
  subscriptions: 0,
  topics: 0,
  bufferedBytes: 0,
  memoryBytes: 0,
  events: { published: 0, delivered: 0, dropped: 0, gaps: 0 },
};

test("rpc.stats() counts connections and calls in both directions, and goes back to 0", async () => {
  const never = Promise.withResolvers<string>();
  const rpc = new JsonRpc({ logger: silentLog() })
    .method("wait", () => never.promise)
    .method("ask", (_params: undefined, request) => request.call("sure"));
  await using server = await serveHere(rpc);
  assertEquals(rpc.stats(), NONE);
  const client = await connect(server.ws);
  client.method("sure", () => never.promise);
  const waiting = [client.call("wait"), client.call("wait"), client.call("ask")];
  const posted = fetch(server.url, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: '{"jsonrpc":"2.0","id":1,"method":"wait"}',
  });
  await until(() => rpc.stats().requests === 1 && rpc.stats().pendingCalls === 1);
  const { connections, requests, calls, pendingCalls } = rpc.stats();
  assertEquals({ connections, requests, calls, pendingCalls }, {
    connections: 1,
    requests: 1,
    calls: 3,
    pendingCalls: 1,
  });
  never.resolve("done");
  assertEquals(await Promise.all(waiting), ["done", "done", "done"]);
  await (await posted).text();
  await client.close();
  await until(() => rpc.stats().connections === 0);
  assertEquals(rpc.stats(), NONE);
});

test("rpc.stats() counts subscriptions, and the events published and delivered", async () => {
  const broker = memoryBroker();
  const rpc = new JsonRpc({ broker, logger: silentLog() }).topic("a").topic("room.*");
  const other = new JsonRpc({ broker, logger: silentLog() }).topic("a");
  await using server = await serveHere(rpc);
  const clients = [await connect(server.ws), await connect(server.ws)] as const;
  const received: unknown[] = [];
  for (const client of clients) {
    for (const topic of ["a", "room.1"]) await client.subscribe(topic, (n) => received.push(n));
  }
  rpc.publish("a", 1);
  rpc.publish("room.2", 2);
  other.publish("a", 3);
  await until(() => received.length === 4);
  const { subscriptions, topics, memoryBytes, events } = rpc.stats();
  assertEquals([subscriptions, topics], [4, 2]);
  assertEquals(events, { published: 2, delivered: 4, dropped: 0, gaps: 0 });
  assertEquals(other.stats().events, { published: 1, delivered: 0, dropped: 0, gaps: 0 });
  assert(memoryBytes > 0, "subscriptions count in maxTotalBytes");
  for (const client of clients) await client.close();
  await until(() => rpc.stats().subscriptions === 0);
  assertEquals([rpc.stats().topics, rpc.stats().memoryBytes], [0, 0]);
  await other.close();
});

test("rpc.stats() does not count what the broker rejects", async () => {
  let isAway = true;
  const inner = memoryBroker();
  const broker = {
    ...{ subscribe: inner.subscribe.bind(inner), history: inner.history.bind(inner) },
    close: () => inner.close(),
    publish: async (...args: Parameters<typeof inner.publish>) => {
      if (isAway) throw new Error("away");
      return await inner.publish(...args);
    },
  };
  await using rpc = new JsonRpc({ broker, logger: silentLog() }).topic("a");
  await rpc.publish("a", 1).position.catch(() => {});
  isAway = false;
  await rpc.publish("a", 2).position;
  assertEquals(rpc.stats().events.published, 1);
});

test("rpc.stats() counts what a client leaves unread, events dropped, and gaps", async () => {
  const rpc = new JsonRpc({ maxBufferedBytes: 4096, logger: silentLog() })
    .topic("a", { slowConsumer: "latest" })
    .topic("b", { history: { size: 1 } });
  const [near, far] = linkedSockets();
  rpc.attach(far);
  const client = await connect(near);
  await client.subscribe("a", () => {});
  const socket = far as { bufferedAmount: number };
  socket.bufferedAmount = 3000; // as if the peer did not read
  for (let n = 0; n < 100; n++) rpc.publish("a", n);
  const { bufferedBytes, events } = rpc.stats();
  assertEquals([bufferedBytes, events.published, events.gaps], [3000, 100, 0]);
  assert(events.dropped > 0 && events.dropped <= 100, `${events.dropped}`);
  socket.bufferedAmount = 0;
  const answer = await client.call("subscribe", {
    topics: ["b"],
    recover: true,
    since: { b: "another-epoch:1" },
  });
  assertEquals([(answer as { recovered: unknown }).recovered, rpc.stats().events.gaps], [{
    b: false,
  }, 1]);
  await client.close();
  await rpc.close();
});

test("a plugin's onMount gets the server, and its numbers", async () => {
  const seen: number[] = [];
  let look = (): number => -1;
  const plugin: Plugin = {
    name: "looker",
    onMount: (server) => void seen.push(server.stats().connections),
  };
  const other: Plugin = {
    name: "other",
    onMount: (server) => void (look = () => server.stats().events.published),
  };
  await using rpc = new JsonRpc({ logger: silentLog() }).topic("a").use(plugin).use(other);
  rpc.publish("a", 1);
  assertEquals([seen, look()], [[0], 1]);
});
