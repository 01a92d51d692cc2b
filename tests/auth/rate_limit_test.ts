import {
  assert,
  assertEquals,
  assertRejects,
  assertStringIncludes,
  assertThrows,
} from "@std/assert";
import { test } from "node:test";
import { createClient } from "redis";
import { WebSocket as WsSocket } from "ws";
import { JsonRpc, RpcError } from "@x/jsonrpc";
import type { StandardSocket } from "@x/jsonrpc";
import { connect } from "@x/jsonrpc/client";
import type { Plugin } from "@x/jsonrpc/plugin";
import { memoryRates, rateLimit, redisRates } from "@x/jsonrpc/rate_limit";
import type { RateLimitOptions, RateStore } from "@x/jsonrpc/rate_limit";
import { startEngine } from "../helpers/brokers/engine.ts";
import { silentLog } from "../helpers/log.ts";
import { call, notice } from "../helpers/messages.ts";
import { needs } from "../helpers/needs.ts";
import { rawPost, RawSocket } from "../helpers/raw_client.ts";
import { serveHere } from "../helpers/server.ts";

const users: Plugin = {
  name: "users",
  handshake(handshake) {
    const name = handshake.headers.get("x-user");
    if (name !== null) handshake.user = { name };
  },
};

function limited(options: RateLimitOptions): JsonRpc {
  return new JsonRpc({ logger: silentLog() }).use(users).use(rateLimit(options))
    .method("ping", () => "pong") as unknown as JsonRpc;
}

// So slow that no call comes back within a test.
const THREE = { perSecond: 0.001, burst: 3 };

test("rateLimit() refuses with -32005 and says when to call again, each entry of a batch", async () => {
  await using server = await serveHere(limited({ ...THREE, by: "connection" }));
  const line = await RawSocket.open(server.url);
  const batch = Array.from({ length: 5 }, (_, id) => call("ping", id));
  const answers = await line.ask(batch) as unknown as {
    result?: unknown;
    error?: { code: number };
  }[];
  assertEquals(answers.map(({ error }) => error?.code), [...Array(3), -32005, -32005]);
  const { error } = await line.ask(call("ping", 6));
  assertEquals([error?.code, error?.message], [-32005, "Too many calls"]);
  const { retryAfterMs } = error?.data as { retryAfterMs: number };
  assert(Number.isInteger(retryAfterMs) && retryAfterMs > 100_000 && retryAfterMs <= 1_000_000);
  // Another connection has a count of its own.
  const other = await RawSocket.open(server.url);
  assertEquals((await other.ask(call("ping", 1))).result, "pong");
  for (const each of [line, other]) each.disconnect();
});

test("rateLimit() answers a POST with 429 and Retry-After, by address", async () => {
  await using server = await serveHere(limited({ ...THREE, by: "connection" }));
  const post = () => rawPost(server.url, JSON.stringify(call("ping", 1)));
  const answers = [];
  for (let count = 0; count < 4; count++) answers.push(await post());
  assertEquals(answers.map(({ status }) => status), [200, 200, 200, 429]);
  assert(Number(answers[3]?.headers.get("retry-after")) > 100);
  assertStringIncludes(answers[3]?.body ?? "", '"retryAfterMs":');
});

test("rateLimit() by user counts users apart, over POST too", async () => {
  await using server = await serveHere(limited({ ...THREE, by: "user" }));
  const post = (user: string) =>
    rawPost(server.url, JSON.stringify(call("ping", 1)), { "x-user": user });
  for (let count = 0; count < 3; count++) assertEquals((await post("ada")).status, 200);
  assertEquals((await post("ada")).status, 429);
  assertEquals((await post("bob")).status, 200);
});

test("rateLimit() by user tells users apart whose ids are of BigInt, as drivers give them", async () => {
  let id = 1n;
  const rpc = new JsonRpc({ logger: silentLog() })
    .use({ name: "test", handshake: (handshake) => void (handshake.user = { id }) })
    .use(rateLimit({ perSecond: 0.01, burst: 1, by: "user" }))
    .method("ping", { get: true }, () => "pong");
  const ask = async () => (await rpc.fetch(new Request("http://a/?method=ping&id=1"))).status;
  assertEquals([await ask(), await ask()], [200, 429]);
  id = 2n;
  assertEquals([await ask(), await ask()], [200, 429]);
});

test("rateLimit() counts by the key of a function, and not at all without one", async () => {
  const by: RateLimitOptions["by"] = ({ params }) => (params as [string] | undefined)?.[0];
  await using server = await serveHere(limited({ ...THREE, by }));
  const line = await RawSocket.open(server.url);
  const codes = [];
  for (const key of ["a", "a", "a", "a", "b"]) {
    codes.push((await line.ask(call("ping", 1, [key]))).error?.code);
  }
  assertEquals(codes, [undefined, undefined, undefined, -32005, undefined]);
  for (let count = 0; count < 9; count++) {
    assertEquals((await line.ask(call("ping", 1))).result, "pong");
  }
  line.disconnect();
});

test("rateLimit() of a method counts that method alone, and drops its notifications", async () => {
  let ran = 0;
  const rpc = new JsonRpc().method("ping", () => "pong")
    .method("dear", { use: [rateLimit(THREE)] }, () => ++ran);
  await using server = await serveHere(rpc);
  const line = await RawSocket.open(server.url);
  for (let count = 0; count < 9; count++) line.send(notice("dear"));
  assertEquals((await line.ask(call("ping", 1))).result, "pong");
  assertEquals(ran, 3);
  assertEquals((await line.ask(call("dear", 2))).error?.code, -32005);
  line.disconnect();
});

test("rateLimit() lets calls pass if its store fails, and says so", async () => {
  for (
    const [take, why] of [
      [() => Promise.reject(new Error("no Redis")), "Error: no Redis"],
      [() => {
        throw new Error("no Redis");
      }, "Error: no Redis"],
      // As a client of Redis does while it is not connected.
      [() => new Promise<number>(() => {}), "Error: no answer within 1000 ms"],
      [() => NaN, "TypeError: Expected the store to give a number, got NaN"],
      [
        () => Promise.resolve("OK" as never),
        "TypeError: Expected the store to give a number, got OK",
      ],
    ] as const
  ) {
    const logger = silentLog();
    const store: RateStore = { take };
    const rpc = new JsonRpc({ logger }).use(rateLimit({ perSecond: 1, store }))
      .method("ping", () => "pong");
    await using server = await serveHere(rpc);
    const { status } = await rawPost(server.url, JSON.stringify(call("ping", 1)));
    assertEquals(status, 200);
    assertStringIncludes(logger.text, `error: A rate limit does not work: ${why}`);
  }
});

test("rateLimit() throws RangeError for rates that are no number above 0", () => {
  for (const value of [0, -1, NaN, Infinity, "5"]) {
    assertThrows(() => rateLimit({ perSecond: value as number }), RangeError, "perSecond");
    assertThrows(() => rateLimit({ perSecond: 1, burst: value as number }), RangeError, "burst");
  }
});

test("memoryRates() forgets what was not used for longest beyond maxKeys", () => {
  const store = memoryRates({ maxKeys: 2 });
  const rate = { perSecond: 0.001, burst: 1 };
  assertEquals(store.take("a", rate), 0);
  assert((store.take("a", rate) as number) > 0);
  assertEquals([store.take("b", rate), store.take("c", rate)], [0, 0]);
  assertEquals(store.take("a", rate), 0);
  assert((store.take("c", rate) as number) > 0);
});

test("memoryRates() gives a use back after its time", async () => {
  const store = memoryRates();
  const rate = { perSecond: 100, burst: 1 };
  assertEquals(store.take("a", rate), 0);
  const waitMs = store.take("a", rate) as number;
  assert(waitMs > 0 && waitMs <= 10);
  await new Promise((resolve) => setTimeout(resolve, waitMs + 5));
  assertEquals(store.take("a", rate), 0);
});

test("redisRates() shares counts among servers, exactly", await needs("redis-server"), async () => {
  await using redis = await startEngine("redis");
  const clients = await Promise.all([1, 2].map(() => createClient({ url: redis.url }).connect()));
  const stores = clients.map((client) => redisRates(client));
  const rate = { perSecond: 0.01, burst: 10 };
  const takes = Array.from({ length: 40 }, (_, n) => stores[n % 2]?.take("ada", rate));
  const waits = await Promise.all(takes);
  assertEquals(waits.filter((wait) => wait === 0).length, 10);
  assert(waits.every((wait) => wait === 0 || (wait as number) > 1000));
  const left = await clients[0]?.pTTL("rpc:rate:ada") ?? -1;
  assert(left > 0 && left <= 1_000_000);
  await Promise.all(clients.map((client) => client.close()));
});

test("rateLimit() by address counts clients behind a trusted proxy apart, and believes no others", async () => {
  const setUp = (trustedProxies: readonly string[]) =>
    new JsonRpc({ logger: silentLog(), trustedProxies })
      .use(rateLimit({ ...THREE, burst: 1 })).method("ping", () => "pong");
  const from = async (url: string, forwarded: string) => {
    const headers = { "x-forwarded-for": forwarded };
    return (await rawPost(url, JSON.stringify(call("ping", 1)), headers)).status;
  };
  await using behind = await serveHere(setUp(["127.0.0.1"]));
  assertEquals(await from(behind.url, "203.0.113.1"), 200);
  assertEquals(await from(behind.url, "203.0.113.2"), 200);
  // What stands before the last address may be forged.
  assertEquals(await from(behind.url, "198.51.100.1, 203.0.113.2"), 429);
  // Empty entries are none (RFC 9110, section 5.6.1): not another client.
  for (const empty of ["203.0.113.2,", "203.0.113.2, ,", "203.0.113.2, 127.0.0.1, "]) {
    assertEquals(await from(behind.url, empty), 429, empty);
  }
  // Without any entry it is the proxy itself.
  assertEquals([await from(behind.url, ""), await from(behind.url, "127.0.0.1")], [200, 429]);
  class Forwarded extends WsSocket {
    constructor(url: string) {
      super(url, ["jsonrpc"], { headers: { "x-forwarded-for": "203.0.113.1" } });
    }
  }
  const WebSocket = Forwarded as unknown as new (url: string) => StandardSocket;
  await using client = await connect(behind.ws, { WebSocket });
  assertEquals((await assertRejects(() => client.call("ping"), RpcError)).code, -32005);

  await using open = await serveHere(setUp(["10.0.0.1"]));
  assertEquals(await from(open.url, "203.0.113.1"), 200);
  assertEquals(await from(open.url, "203.0.113.2"), 429);
});
