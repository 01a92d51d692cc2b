import { assertEquals, assertRejects } from "@std/assert";
import { test } from "node:test";
import { JsonRpc, loginRequired, RpcConnectionError, RpcMethodNotFoundError } from "@x/jsonrpc";
import { session } from "@x/jsonrpc/session";
import { testClient } from "@x/jsonrpc/testing";
import { until } from "../helpers/deferred.ts";
import { silentLog } from "../helpers/log.ts";

const USERS: Readonly<Record<string, { readonly name: string }>> = { a7: { name: "ada" } };

function testServer(origins: readonly string[] = []) {
  return new JsonRpc({ logger: silentLog(), origins })
    .use(session(({ headers }) => {
      const [, token = ""] = /bearer\.(\w+)/.exec(headers.get("sec-websocket-protocol") ?? "") ??
        [];
      return USERS[headers.get("x-session") ?? token] ?? null;
    }))
    .method("add", ([a, b]: [number, number]) => a + b)
    .method("whoami", { use: [loginRequired] }, (_params: unknown, { user }) => user.name)
    .topic("news");
}

test("testClient() calls, subscribes and is typed", async () => {
  const rpc = testServer();
  await using client = await testClient(rpc);
  const sum: number = await client.call("add", [1, 2]);
  assertEquals(sum, 3);
  // @ts-expect-error -- no such method
  await assertRejects(() => client.call("subtract", [1, 2]), RpcMethodNotFoundError);
  const received: unknown[] = [];
  await client.subscribe("news", (event) => received.push(event));
  assertEquals([...rpc.subscribers(["news"])], [...rpc.connections]);
  rpc.publish("news", "Hello");
  await until(() => received.length === 1);
});

test("testClient() passes the plugins' handshake checks with its headers or its token", async () => {
  const rpc = testServer();
  for (
    const options of [{ headers: { "x-session": "a7" } }, { token: "a7" }, { token: () => "a7" }]
  ) {
    await using client = await testClient(rpc, options);
    assertEquals(await client.call("whoami"), "ada");
  }
  await using stranger = await testClient(rpc);
  await assertRejects(() => stranger.call("whoami"), RpcMethodNotFoundError);
});

test("testClient() is the user of its option, and no check runs", async () => {
  const rpc = testServer();
  await using client = await testClient(rpc, { user: { name: "bob" }, remoteAddress: "192.0.2.7" });
  assertEquals(await client.call("whoami"), "bob");
  const [connection] = rpc.connections;
  assertEquals(connection?.handshake.remoteAddress, "192.0.2.7");
});

test("testClient() rejects when the server refuses its origin, or closes", async () => {
  const rpc = testServer(["https://app.example"]);
  const options = { logger: silentLog() };
  await using _own = await testClient(rpc, {
    ...options,
    headers: { origin: "https://app.example" },
  });
  const foreign = { ...options, headers: { origin: "https://foreign.example" } };
  const error = await assertRejects(() => testClient(rpc, foreign), RpcConnectionError);
  assertEquals(String(error).includes("403"), true, String(error));
  await rpc.close();
  await assertRejects(() => testClient(rpc, options), RpcConnectionError, "503");
  await assertRejects(
    () => testClient(rpc, { ...options, user: { name: "ada" } }),
    RpcConnectionError,
  );
});

test("testClient() reconnects at once, with its topics", async () => {
  for (const user of [undefined, { name: "ada" }]) {
    const rpc = testServer();
    const options = { logger: silentLog() };
    await using client = await testClient(rpc, user === undefined ? options : { ...options, user });
    const received: unknown[] = [];
    await client.subscribe("news", (event) => received.push(event));
    const [first] = rpc.connections;
    first?.close(1012, "Restart");
    await until(() => [...rpc.subscribers(["news"])].some((each) => each !== first));
    rpc.publish("news", 1);
    await until(() => received.length === 1);
  }
});
