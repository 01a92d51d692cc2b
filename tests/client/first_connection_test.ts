/**
 * A client that waits for a server which is not there yet.
 */
import { test } from "node:test";
import { assert, assertEquals, assertRejects } from "@std/assert";
import { connect, JsonRpc, JsonRpcClient, RpcConnectionError } from "@x/jsonrpc";
import { until } from "../helpers/deferred.ts";
import { freePort } from "../helpers/ports.ts";
import { eventsOf, scripted } from "../helpers/scripted_server.ts";
import { serveHere } from "../helpers/server.ts";

const FIRST = { reconnect: { first: true, minMs: 0, maxMs: 0 } };

test("connect() with reconnect.first waits for a server that is not there yet", async () => {
  const port = await freePort();
  const reconnect = { first: true, minMs: 10, maxMs: 20 };
  const client = new JsonRpcClient(`ws://127.0.0.1:${port}`, { reconnect });
  const delays: number[] = [];
  client.addEventListener("reconnecting", ({ delayMs }) => delays.push(delayMs));
  const connecting = client.connect();
  const call = client.call("ping");
  await until(() => delays.length > 3);
  await using _server = await serveHere(new JsonRpc().method("ping", () => "pong"), port);
  await connecting;
  assertEquals([await call, client.state], ["pong", "open"]);
  assert(delays.every((delay) => Number.isInteger(delay) && delay <= 20), `${delays}`);
  await client.close();
});

test("reconnect.first tells of each attempt, and connect() gives one promise for all", async () => {
  const script = scripted(FIRST);
  script.refuse = 3;
  const { client, events } = script;
  await Promise.all([client.connect(), client.connect()]);
  const attempts = [1, 2, 3].map((attempt) => `reconnecting ${attempt}`);
  assertEquals([client.state, ...events], ["open", ...attempts, "open"]);
  await client.close();
});

test("reconnect.first gives up after maxAttempts", async () => {
  const script = scripted({ reconnect: { first: true, minMs: 0, maxMs: 0, maxAttempts: 2 } });
  script.refuse = 9;
  const attempt = script.client.connect();
  await assertRejects(() => attempt, RpcConnectionError, "gave up after 2 attempts");
  assertEquals([script.client.state, script.asked.length], ["closed", 3]);
});

test("close() ends a connect() that waits with reconnect.first", async () => {
  const script = scripted({ reconnect: { first: true, minMs: 60_000, maxMs: 60_000 } });
  script.refuse = 1;
  const attempt = assertRejects(() => script.client.connect(), RpcConnectionError, "was closed");
  await until(() => script.client.state === "waiting");
  await script.client.close();
  await attempt;
});

test("without reconnect.first the first attempt fails, and the next call makes another", async () => {
  const script = scripted();
  script.refuse = 1;
  await assertRejects(() => script.client.connect(), RpcConnectionError, "refused");
  assertEquals([script.client.state, script.events], ["idle", []]);
  await script.client.connect();
  await script.client.close();
});

test("reconnect.first changes nothing for a socket that was passed in, and over HTTP", async () => {
  const { client } = scripted();
  await client.close();
  const socket = { readyState: 3, bufferedAmount: 0, send() {}, close() {}, addEventListener() {} };
  await assertRejects(() => connect(socket, FIRST), RpcConnectionError, "1006: closed");
  const http = new JsonRpcClient("http://127.0.0.1:1", FIRST);
  const events = eventsOf(http);
  await http.connect();
  assertEquals(events, ["open"]);
  await http.close();
});
