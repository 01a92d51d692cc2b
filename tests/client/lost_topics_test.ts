/**
 * Subscriptions that end although the program did not end them.
 */
import { test } from "node:test";
import { assertEquals, assertInstanceOf, assertRejects, assertStringIncludes } from "@std/assert";
import { connect, JsonRpc, loginRequired, RpcConnectionError } from "@x/jsonrpc";
import { RpcInvalidParamsError } from "@x/jsonrpc";
import type { Connection } from "@x/jsonrpc";
import { pair } from "../helpers/client.ts";
import { deferred, quietMoment, until } from "../helpers/deferred.ts";
import { silentLog } from "../helpers/log.ts";
import { eventsOf, scripted } from "../helpers/scripted_server.ts";
import { serveHere } from "../helpers/server.ts";

const AT_ONCE = { reconnect: { minMs: 0, maxMs: 0 }, logger: silentLog() };

/** A server with a topic for users, and a login that lives as long as its connection. */
function testServer() {
  return new JsonRpc({ logger: silentLog() })
    .user<{ name: string }>()
    .method("login", ([name]: [string], { connection }) => (connection.login({ name }), true))
    .topic("news", { guards: [loginRequired] })
    .topic("clock");
}

test("a topic that the server refuses after a reconnect tells its handlers, its loops and the client", async () => {
  const rpc = testServer();
  await using server = await serveHere(rpc);
  await using client = await connect(server.ws, AT_ONCE);
  await client.call("login", ["ada"]);
  const events: unknown[] = [];
  client.addEventListener("subscriptionlost", ({ topic, error }) => events.push(topic, error));
  const errors: Error[] = [];
  const onError = (error: Error) => errors.push(error);
  await client.subscribe("news", () => {}, { onError });
  await client.subscribe("clock", () => {}, { onError });
  const loop = assertRejects(() => client.topic("news").next(), RpcInvalidParamsError, "news");
  await client.getSubscriptions();
  for (const connection of rpc.connections) connection.close(1012, "Restart");
  await until(() => errors.length > 0);
  const error = await loop;
  assertEquals([errors, events], [[error], ["news", error]]);
  assertEquals(await client.getSubscriptions(), ["clock"]);
});

test("a topic that the server removes tells its handlers and the client", async () => {
  const { client, wire } = scripted();
  const lost: string[] = [];
  client.addEventListener("subscriptionlost", ({ topic }) => lost.push(topic));
  const errors: Error[] = [];
  const subscription = client.subscribe("news", () => {}, {
    onError: (error) => void errors.push(error),
  });
  const first = await wire(0);
  const { id } = await first.next();
  first.send({ jsonrpc: "2.0", result: ["news"], id });
  await subscription;
  first.send({ jsonrpc: "2.0", method: "rpc.removed", params: { topic: "news" } });
  await until(() => errors.length > 0);
  assertInstanceOf(errors[0], RpcInvalidParamsError);
  assertEquals(lost, ["news"]);
  await client.close();
  assertEquals(errors.length, 1);
});

test("onError is called when the server closes for good, not when the program does", async () => {
  const rpc = testServer();
  const logger = silentLog();
  const clients = [await pair(rpc, { logger }), await pair(rpc, { logger })];
  const errors: unknown[][] = [[], []];
  for (const [index, client] of clients.entries()) {
    await client.subscribe("clock", () => {}, { onError: (error) => errors[index]?.push(error) });
  }
  await clients[0]?.close();
  await rpc.close();
  await until(() => clients[1]?.state === "closed");
  assertEquals(errors[0], []);
  assertInstanceOf(errors[1]?.[0], RpcConnectionError);
});

test("onError is called once the subscription is gone: it may subscribe again", async () => {
  const rpc = testServer();
  await using server = await serveHere(rpc);
  await using client = await connect(server.ws, AT_ONCE);
  await client.call("login", ["ada"]);
  const again = deferred<unknown>();
  async function onError(): Promise<void> {
    await client.call("login", ["ada"]);
    await client.subscribe("news", again.resolve);
    rpc.publish("news", "back");
  }
  await client.subscribe("news", () => {}, { onError });
  for (const connection of rpc.connections) connection.close(1012);
  assertEquals(await again.promise, "back");
});

test("an error in onError is logged, and the other handlers are told", async () => {
  const logger = silentLog();
  const rpc = testServer();
  const client = await pair(rpc, { logger });
  let told = 0;
  await client.subscribe("clock", () => {}, {
    onError() {
      throw new Error("mine");
    },
  });
  await client.subscribe("clock", () => {}, { onError: () => told++ });
  await rpc.close();
  await until(() => told > 0);
  assertStringIncludes(logger.text, "mine");
});

const failures: Readonly<Record<string, (connection: Connection) => unknown>> = {
  "gives false": () => false,
  "resolves to false": () => Promise.resolve(false),
  "answers false to a login": (connection) => connection.call("login", ["ada", "wrong"]),
};

for (const [what, prepare] of Object.entries(failures)) {
  test(`client.connect() rejects when prepare ${what}`, async () => {
    const rpc = new JsonRpc().method("login", () => false);
    await using server = await serveHere(rpc);
    const attempt = connect(server.ws, { prepare });
    await assertRejects(() => attempt, RpcConnectionError, "(prepare gave false)");
  });
}

test("a prepare that fails when the client reconnects is logged, and tried again", async () => {
  const rpc = testServer();
  await using server = await serveHere(rpc);
  const logger = silentLog();
  let attempts = 0;
  const prepare = () => ++attempts !== 2;
  await using client = await connect(server.ws, { ...AT_ONCE, logger, prepare });
  const events = eventsOf(client);
  for (const connection of rpc.connections) connection.close(1012);
  await until(() => events.includes("open"));
  await quietMoment();
  assertEquals(attempts, 3);
  assertStringIncludes(logger.text, "(prepare gave false)");
});

test("a handler that subscribes again to its own topic is called once for one event", async () => {
  const rpc = testServer();
  await using client = await pair(rpc);
  let calls = 0;
  async function handler(): Promise<void> {
    if (++calls < 1000) void client.subscribe("clock", handler);
    await quietMoment();
  }
  await client.subscribe("clock", handler);
  rpc.publish("clock", 1);
  await until(() => calls > 0);
  await client.getTopics();
  assertEquals(calls, 1);
});

test("a handler that another one unsubscribes does not get the same event", async () => {
  const rpc = testServer();
  await using client = await pair(rpc);
  const received: string[] = [];
  await client.subscribe("clock", () => {
    received.push("first");
    void second.unsubscribe();
  });
  const second = await client.subscribe("clock", () => received.push("second"));
  rpc.publish("clock", 1);
  await until(() => received.length > 0);
  await client.getTopics();
  assertEquals(received, ["first"]);
});
