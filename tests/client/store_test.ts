import { assertEquals, assertRejects } from "@std/assert";
import { test } from "node:test";
import { JsonRpc } from "@x/jsonrpc";
import { queryOptions, topicStore } from "@x/jsonrpc/store";
import { testClient } from "@x/jsonrpc/testing";
import { quietMoment, until } from "../helpers/deferred.ts";
import { silentLog } from "../helpers/log.ts";

function testServer() {
  return new JsonRpc({ logger: silentLog() })
    .method("double", ([n]: [number]) => 2 * n)
    .method("wait", () => new Promise<number>(() => {}))
    .topic<"clock", string>("clock");
}

function subscribers(rpc: ReturnType<typeof testServer>): number {
  return [...rpc.subscribers(["clock"])].length;
}

test("topicStore() subscribes with its first listener, and unsubscribes after its last", async () => {
  const rpc = testServer();
  await using client = await testClient(rpc);
  const store = topicStore(client, "clock", { initial: "…" });
  await quietMoment();
  assertEquals([subscribers(rpc), store.getSnapshot(), store.getServerSnapshot()], [0, "…", "…"]);
  const seen: unknown[][] = [[], []];
  const stops = seen.map((values) => store.subscribe((value) => values.push(value)));
  await until(() => subscribers(rpc) === 1);
  assertEquals(await client.getSubscriptions(), ["clock"]);
  rpc.publish("clock", "noon");
  await until(() => store.getSnapshot() === "noon");
  stops[0]?.();
  rpc.publish("clock", "one");
  await until(() => store.getSnapshot() === "one");
  assertEquals(seen, [["…", "noon"], ["…", "noon", "one"]]);
  assertEquals([subscribers(rpc), store.getServerSnapshot()], [1, "…"]);
  stops[1]?.();
  stops[1]?.();
  await until(() => subscribers(rpc) === 0);
});

test("topicStore() keeps one subscription when React's strict mode mounts twice", async () => {
  const rpc = testServer();
  let begun = 0;
  let ended = 0;
  rpc.use({
    name: "counts",
    onSubscribe: () => void begun++,
    onUnsubscribe: () => void ended++,
  });
  await using client = await testClient(rpc);
  const store = topicStore(client, "clock");
  const listener = () => {};
  store.subscribe(listener)();
  const stop = store.subscribe(listener);
  await until(() => subscribers(rpc) === 1);
  await client.call("double", [1]);
  assertEquals([begun, ended], [1, 0]);
  stop();
  await until(() => ended === 1);
});

test("topicStore() reports a topic that there is not, and tries again with the next listener", async () => {
  const rpc = testServer();
  await using client = await testClient(rpc);
  const errors: Error[] = [];
  const store = topicStore(client, "late" as "clock", { onError: (error) => errors.push(error) });
  const stop = store.subscribe(() => {});
  await until(() => errors.length === 1);
  stop();
  rpc.topic("late", { retain: true });
  rpc.publish("late" as "clock", "here");
  store.subscribe(() => {});
  await until(() => store.getSnapshot() === "here");
});

test("queryOptions() gives a key, and a function that calls and can be aborted", async () => {
  await using client = await testClient(testServer());
  const { queryKey, queryFn } = queryOptions(client, "double", [4]);
  const result: number = await queryFn({});
  assertEquals([queryKey, result], [["double", [4]], 8]);
  // @ts-expect-error -- of another type
  queryOptions(client, "double", ["4"]);
  const controller = new AbortController();
  const waiting = queryOptions(client, "wait").queryFn({ signal: controller.signal });
  controller.abort(new Error("unmounted"));
  await assertRejects(() => waiting, Error, "unmounted");
});
