import { execFile } from "node:child_process";
import { test } from "node:test";
import { promisify } from "node:util";
import {
  assert,
  assertEquals,
  assertRejects,
  assertStrictEquals,
  assertStringIncludes,
  assertThrows,
} from "@std/assert";
import {
  connect,
  JsonRpc,
  JsonRpcClient,
  RpcConnectionError,
  RpcMethodNotFoundError,
  RpcServerError,
  RpcTimeoutError,
  type,
} from "@x/jsonrpc";
import type { StandardSocket } from "@x/jsonrpc";
import { linkedSockets } from "@x/jsonrpc/testing";
import { WebSocket as WsSocket } from "ws";
import { pair } from "../helpers/client.ts";
import { deferred, quietMoment, unsettled, until } from "../helpers/deferred.ts";
import { silentLog } from "../helpers/log.ts";
import { scriptFile } from "../helpers/script_file.ts";
import { serveHere } from "../helpers/server.ts";
import { bareServer } from "../helpers/wire.ts";
import { runtime, runtimeHere } from "../helpers/runtimes.ts";
import { scripted } from "../helpers/scripted_server.ts";

/** A server with a bit of everything, and with what it received, in order. */
function testServer() {
  const received: unknown[] = [];
  const logger = silentLog();
  const never = new Promise<string>(() => {});
  const rpc = new JsonRpc({ logger, maxBatch: 5 })
    .method("ping", () => "pong")
    .method("add", ({ a, b }: { a: number; b: number }) => a + b)
    .method("echo", (params: unknown[]) => params)
    .method("later", async (params: unknown[]) => {
      await quietMoment();
      return params;
    })
    .method("note", (params: unknown[]) => void received.push(...params))
    .method("never", () => never)
    .addMethods("math", { double: ([n]: [number]) => 2 * n })
    .addMethods("math.trig", { zero: () => 0 });
  return { rpc, received, logger };
}

/** The URL of a server that is gone. */
async function deadUrl(): Promise<string> {
  const server = await serveHere(new JsonRpc());
  await server.stop();
  return server.ws;
}

/** A WebSocket class that remembers the sockets it made. */
function watchedSockets(): { readonly made: WebSocket[]; readonly WebSocket: typeof WebSocket } {
  const made: WebSocket[] = [];
  class Watched extends WebSocket {
    constructor(...rest: ConstructorParameters<typeof WebSocket>) {
      super(...rest);
      made.push(this);
    }
  }
  return { made, WebSocket: Watched };
}

/** Collects a client's events as they come. */
function eventsOf(client: JsonRpcClient): string[] {
  const events: string[] = [];
  client.addEventListener("open", () => events.push("open"));
  client.addEventListener("close", ({ code, reason }) => {
    events.push(`close ${code} ${reason}`.trimEnd());
  });
  return events;
}

// -- connecting --

test("connect() gives a client that calls over a WebSocket", async () => {
  const { rpc } = testServer();
  await using server = await serveHere(rpc);
  await using client = await connect<typeof rpc>(server.ws);
  assertEquals(await client.call("ping"), "pong");
  assertEquals(await client.call("add", { a: 1, b: 2 }), 3);
});

test("connect() takes a URL object", async () => {
  const { rpc } = testServer();
  await using server = await serveHere(rpc);
  await using client = await connect<typeof rpc>(new URL("/any/path?and=query", server.ws));
  assertEquals(await client.call("ping"), "pong");
});

test("connect() rejects with RpcConnectionError when nobody listens", async () => {
  const url = await deadUrl();
  const error = await assertRejects(() => connect(url), RpcConnectionError, url);
  assertEquals(error.outcome, "unsent");
});

test("connect() rejects with RpcConnectionError when the server refuses with 403", async () => {
  const rpc = new JsonRpc().use({
    name: "test",
    handshake: () => new Response("no", { status: 403 }),
  });
  await using server = await serveHere(rpc);
  const error = await assertRejects(() => connect(server.ws), RpcConnectionError, server.ws);
  assertEquals(error.outcome, "unsent");
  assertEquals(rpc.connections.size, 0);
});

test("connect() rejects with RpcConnectionError when the server speaks no WebSocket", async () => {
  await using server = await serveHere({ fetch: () => new Response("hello") });
  await assertRejects(() => connect(server.ws), RpcConnectionError);
});

test("connect() rejects with RpcConnectionError when its socket is closed already", async () => {
  const [near, far] = linkedSockets();
  far.close();
  await quietMoment();
  const connecting = connect(near);
  assertEquals(await unsettled([connecting]), []);
  await assertRejects(() => connecting, RpcConnectionError);
});

test("JsonRpcClient tells of its end when the socket that it was given does not open", async () => {
  const [near] = linkedSockets();
  near.close();
  const client = new JsonRpcClient(near);
  const ends: boolean[] = [];
  client.addEventListener("close", ({ final }) => ends.push(final));
  await assertRejects(() => client.connect(), RpcConnectionError, "closed");
  assertEquals([client.state, ends], ["closed", [true]]);
  await client.close();
});

test("notify() is logged when it is not sent: nobody is reached, or the client is closed", async () => {
  const refused = scripted();
  refused.refuse = 1;
  refused.client.notify("first");
  await quietMoment();
  assertEquals(refused.client.state, "idle");
  assertStringIncludes(refused.log.text, '"method":"first"');
  const url = deferred<string>();
  const later = scripted({}, () => url.promise);
  later.client.notify("second");
  await later.client.close();
  assertStringIncludes(later.log.text, '"method":"second"');
  url.resolve("ws://scripted.example");
  await quietMoment();
  assertEquals(later.wires, []);
});

test("notify() logs no token that WebSocket refuses", async () => {
  const logger = silentLog();
  await using client = new JsonRpcClient("ws://127.0.0.1:1", { logger, token: "my secret=" });
  client.notify("note");
  await until(() => logger.text.includes('"method":"note"'));
  assertEquals(logger.text.includes("secret"), false);
});

for (const target of ["", "localhost:8080", "ftp://localhost", "ws://", "ws:// /", "/rpc"]) {
  test(`new JsonRpcClient() throws TypeError when the target is "${target}"`, async () => {
    assertThrows(() => new JsonRpcClient(target), TypeError, "Cannot connect: expected a ws:");
    await assertRejects(() => connect(target), TypeError);
  });
}

test("new JsonRpcClient() throws RangeError when a limit makes no sense", () => {
  assertThrows(() => new JsonRpcClient("ws://x", { timeoutMs: -1 }), RangeError, "timeoutMs");
  assertThrows(() => new JsonRpcClient("ws://x", { maxDepth: 1.5 }), RangeError, "maxDepth");
});

test("new JsonRpcClient() takes frozen options", async () => {
  const { rpc } = testServer();
  await using server = await serveHere(rpc);
  const options = Object.freeze({ protocols: Object.freeze(["jsonrpc"]), token: "secret" });
  await using client = await connect<typeof rpc>(server.ws, options);
  assertEquals(await client.call("ping"), "pong");
});

test("new JsonRpcClient() connects with its first call", async () => {
  const { rpc } = testServer();
  await using server = await serveHere(rpc);
  const { made, WebSocket } = watchedSockets();
  await using client = new JsonRpcClient(server.ws, { WebSocket });
  const events = eventsOf(client);
  await quietMoment();
  assertEquals([client.state, made.length], ["idle", 0]);
  const answer = client.call("ping");
  assertEquals([client.state, made.length], ["connecting", 1]);
  assertEquals(await answer, "pong");
  assertEquals([client.state, made.length, events], ["open", 1, ["open"]]);
});

test("call() keeps its place when the connection is not open yet", async () => {
  const { rpc, received } = testServer();
  await using server = await serveHere(rpc);
  await using client = new JsonRpcClient(server.ws);
  const first = client.call("note", [1]);
  client.notify("note", [2]);
  const batch = client.batch((b) => [b.call("note", [3]), b.call("note", [4])]);
  client.notify("note", [5]);
  await Promise.all([first, batch, client.call("note", [6])]);
  assertEquals(received, [1, 2, 3, 4, 5, 6]);
});

test("call() is not sent when it was given up before the connection opened", async () => {
  const { rpc, received } = testServer();
  await using server = await serveHere(rpc);
  await using client = new JsonRpcClient(server.ws);
  const controller = new AbortController();
  const givenUp = client.call("note", ["given up"], { signal: controller.signal });
  controller.abort(new Error("enough"));
  await assertRejects(() => givenUp, Error, "enough");
  await client.call("note", ["wanted"]);
  assertEquals(received, ["wanted"]);
});

test("call() rejects as unsent when the connection cannot be made", async () => {
  await using client = new JsonRpcClient(await deadUrl());
  const error = await assertRejects(() => client.call("ping"), RpcConnectionError);
  assertEquals(error.outcome, "unsent");
});

test("call() rejects when the WebSocket cannot even be constructed", async () => {
  await using client = new JsonRpcClient("ws://127.0.0.1:1", { token: "no spaces, please" });
  assertEquals(await unsettled([client.call("ping")]), []);
});

test("connect() takes another WebSocket class: ws", async () => {
  const { rpc } = testServer();
  await using server = await serveHere(rpc);
  const WebSocket = WsSocket as unknown as new (url: string) => StandardSocket;
  await using client = await connect<typeof rpc>(server.ws, { WebSocket });
  assertEquals(await client.call("echo", ["ä€😀"]), ["ä€😀"]);
});

test("close() while the token is awaited leaves no socket behind", async () => {
  const token = deferred<string>();
  let sockets = 0;
  class WebSocket extends WsSocket {
    constructor(url: string, protocols?: string[]) {
      super(url, protocols);
      sockets++;
    }
  }
  const client = new JsonRpcClient("ws://127.0.0.1:1", {
    token: () => token.promise,
    WebSocket: WebSocket as unknown as new (url: string) => StandardSocket,
  });
  const call = assertRejects(() => client.call("ping"), RpcConnectionError, "closed");
  await client.close();
  await call;
  token.resolve("late");
  await quietMoment();
  assertEquals(sockets, 0);
});

test("close() while the socket connects leaves nothing behind, also with ws", async () => {
  const made = deferred<WsSocket>();
  class WebSocket extends WsSocket {
    constructor(url: string, protocols?: string[]) {
      super(url, protocols);
      made.resolve(this);
    }
  }
  const { rpc } = testServer();
  await using server = await serveHere(rpc);
  const client = new JsonRpcClient(server.ws, {
    WebSocket: WebSocket as unknown as new (url: string) => StandardSocket,
  });
  const call = assertRejects(() => client.call("ping"), RpcConnectionError, "closed");
  const socket = await made.promise;
  await client.close();
  await call;
  // Without a listener the socket's error event would have ended the process by then.
  await new Promise((resolve) => socket.addEventListener("close", resolve));
  assertEquals(rpc.connections.size, 0);
});

test("attach() of a socket that closes gives its place back once", async () => {
  const rpc = new JsonRpc({ maxConnections: 1 });
  const listeners: (() => void)[] = [];
  rpc.attach({
    readyState: 2,
    bufferedAmount: 0,
    send() {},
    close() {},
    addEventListener: (type, listener) => {
      if (type === "close") listeners.push(() => listener({ type }));
    },
  });
  listeners.forEach((close) => close());
  const attach = () => rpc.attach(linkedSockets()[0]);
  attach();
  assertThrows(attach, TypeError, "1 connections are open (maxConnections)");
  await rpc.close();
});

test("connect() takes a WebSocket that is connecting, or open", async () => {
  const { rpc } = testServer();
  await using server = await serveHere(rpc);
  const connecting = new WebSocket(server.ws);
  const open = new WebSocket(server.ws);
  await new Promise((resolve) => open.addEventListener("open", resolve));
  for (const socket of [connecting, open]) {
    await using client = await connect<typeof rpc>(socket);
    assertEquals(await client.call("ping"), "pong");
  }
});

test("connect() offers the token beside jsonrpc, and the server never says it back", async () => {
  const offered: (string | null)[] = [];
  const rpc = new JsonRpc().use({
    name: "test",
    handshake: ({ headers }) => void offered.push(headers.get("sec-websocket-protocol")),
  });
  await using server = await serveHere(rpc);
  const { made, WebSocket } = watchedSockets();
  await using _client = await connect(server.ws, { token: "secret", WebSocket });
  assertEquals(offered, ["jsonrpc, bearer.secret"]);
  assertEquals(made[0]?.protocol, "jsonrpc");
});

test("connect() offers the protocols it is told, of which the server knows one", async () => {
  await using server = await serveHere(new JsonRpc({ protocols: ["v2"] }));
  const { made, WebSocket } = watchedSockets();
  await using _client = await connect(server.ws, { protocols: ["v3", "v2"], WebSocket });
  assertEquals(made[0]?.protocol, "v2");
});

// -- calls --

test("call() rejects with TypeError when params are no array or object, or have no JSON", async () => {
  const [client, server] = await bareServer();
  const cycle: unknown[] = [];
  cycle.push(cycle);
  for (const params of ["text", 1, true, [1n], cycle]) {
    await assertRejects(() => client.call("echo", params), TypeError);
    assertThrows(() => client.notify("echo", params), TypeError);
  }
  await client.close();
  assertEquals(server.received, []);
});

test("subscribe(), topic() and call() are sent in the order in which they were made", async () => {
  const [client, server] = await bareServer();
  const made = [
    client.subscribe("news", () => {}, { recover: true }),
    client.call("first"),
    client.topic("clock").next(),
    client.call("second"),
  ];
  const sent = await server.some(4);
  assertEquals(sent.map(({ method }) => method), ["subscribe", "first", "subscribe", "second"]);
  await client.close();
  await Promise.allSettled(made);
});

test("JsonRpcClient holds its server to maxBatch, maxInFlight and maxDepth", async () => {
  const limits = { maxBatch: 2, maxInFlight: 1, maxDepth: 1001, logger: silentLog() };
  const [client, server] = await bareServer(limits);
  const held = deferred();
  client.method("wait", () => held.promise);
  server.send(Array.from({ length: 3 }, (_, id) => ({ jsonrpc: "2.0", method: "wait", id })));
  assertEquals((await server.next()).error?.code, -32010);
  server.call(1, "wait");
  server.call(2, "wait");
  const busy = await server.next();
  assertEquals([busy.id, busy.error?.code], [2, -32009]);
  server.send(`${"[".repeat(100_000)}${"]".repeat(100_000)}`);
  assertEquals((await server.next()).error?.code, -32700);
  held.resolve();
  assertEquals((await server.next()).id, 1);
  await client.close();
});

test("JsonRpcClient answers a batch whose answers are too long with one -32011", async () => {
  const [client, server] = await bareServer({ maxMessageBytes: 1000 });
  client.method("long", () => "x".repeat(600));
  server.send([1, 2].map((id) => ({ jsonrpc: "2.0", method: "long", id })));
  assertEquals((await server.next()).error?.code, -32011);
  await client.close();
});

test("JsonRpcClient logs an error that belongs to no call, and no other answer without an id", async () => {
  const warnings: string[] = [];
  const logger = { ...silentLog(), warn: (text: string) => void warnings.push(text) };
  const [client, server] = await bareServer({ logger });
  const error = { code: 7, message: "Whose?" };
  server.send({ jsonrpc: "2.0", error, id: null });
  server.send({ jsonrpc: "2.0", error });
  server.send({ jsonrpc: "2.0", error, id: 99 });
  server.call(1, "any");
  assertEquals((await server.next()).id, 1);
  assertEquals(warnings, Array(2).fill("The server refused a message: Whose? (7)"));
  await client.close();
});

test("call() leaves params out when they are null or undefined", async () => {
  const [client, server] = await bareServer();
  client.notify("note", null);
  client.notify("note");
  assertEquals(await server.some(2), [
    { jsonrpc: "2.0", method: "note" },
    { jsonrpc: "2.0", method: "note" },
  ]);
  await client.close();
});

test("call() rejects with RangeError when it is over maxMessageBytes, and the client goes on", async () => {
  const { rpc } = testServer();
  await using client = await pair(rpc, { maxMessageBytes: 1000 });
  await assertRejects(() => client.call("echo", ["x".repeat(1000)]), RangeError, "maxMessageBytes");
  assertEquals(await client.call("ping"), "pong");
});

test("getMethods(), getTopics() and getSubscriptions() ask the server", async () => {
  const rpc = new JsonRpc().method("ping", () => "pong").topic("clock").topic("news");
  await using client = await pair(rpc);
  await client.subscribe("news", () => {});
  assert((await client.getMethods()).includes("ping"));
  assertEquals(await client.getTopics(), ["clock", "news"]);
  assertEquals(await client.getSubscriptions(), ["news"]);
});

test("method() throws TypeError when the client offers that name already", async () => {
  const [client] = await bareServer();
  client.method("confirm", () => true);
  assertThrows(() => client.method("confirm", () => false), TypeError, "taken");
  await client.close();
});

test("method() gives a way to take the method back, which a block with `using` uses by itself", async () => {
  const [client, server] = await bareServer();
  const ask = async (): Promise<unknown> => {
    server.call(1, "name");
    const { result, error } = await server.next();
    return result ?? error?.code;
  };
  const remove = client.method("name", () => "first");
  assertEquals(await ask(), "first");
  remove();
  assertEquals(await ask(), -32601);
  {
    using _ = client.method("name", () => "second");
    // The first registration is gone: it takes back nothing of another one.
    remove();
    remove[Symbol.dispose]();
    assertEquals(await ask(), "second");
  }
  assertEquals(await ask(), -32601);
  await client.close();
});

test("a call that runs when its method is taken back is answered", async () => {
  const [client, server] = await bareServer();
  const { promise, resolve } = Promise.withResolvers<string>();
  const remove = client.method("slow", () => promise);
  server.call(1, "slow");
  await quietMoment();
  remove();
  resolve("done");
  assertEquals((await server.next()).result, "done");
  await client.close();
});

test("connect() logs an answer that belongs to no call, and goes on", async () => {
  const logger = silentLog();
  const [client, server] = await bareServer({ logger });
  server.send({ jsonrpc: "2.0", id: null, error: { code: -32700, message: "Parse error" } });
  const answer = client.call("ping");
  await server.next();
  server.send({ jsonrpc: "2.0", id: 1, result: "pong" });
  assertEquals(await answer, "pong");
  assertStringIncludes(logger.text, "Parse error (-32700)");
  await client.close();
});

// -- batches --

test("batch() answers in the order of its calls when a later one is done first", async () => {
  const { rpc } = testServer();
  await using server = await serveHere(rpc);
  await using client = await connect<typeof rpc>(server.ws);
  const results = await client.batch((b) => [
    b.call("later", [1]),
    b.call("echo", [2]),
    b.call("add", { a: 1, b: 2 }),
  ]);
  assertEquals(results, [[1], [2], 3]);
});

test("batch() goes out as one message", async () => {
  const [client, server] = await bareServer();
  const results = client.batch((b) => {
    b.notify("note", [1]);
    return [b.call("echo", [2]), b.call("ping")];
  });
  assertEquals(await server.next(), [
    { jsonrpc: "2.0", method: "note", params: [1] },
    { jsonrpc: "2.0", method: "echo", params: [2], id: 1 },
    { jsonrpc: "2.0", method: "ping", id: 2 },
  ]);
  server.send([
    { jsonrpc: "2.0", result: "pong", id: 2 },
    { jsonrpc: "2.0", result: [2], id: 1 },
  ]);
  assertEquals(await results, [[2], "pong"]);
  await client.close();
});

test("batch() rejects with the call that fails, and settles the others", async () => {
  const { rpc } = testServer();
  await using client = await pair(rpc);
  let pong: Promise<string> | undefined;
  const batch = client.batch((b) => [pong = b.call("ping"), b.call("nowhere" as "ping")]);
  await assertRejects(() => batch, RpcMethodNotFoundError);
  assertEquals(await pong, "pong");
});

test("batch() gives what a failing call was caught with", async () => {
  const { rpc } = testServer();
  await using server = await serveHere(rpc);
  await using client = await connect<typeof rpc>(server.ws);
  const results = await client.batch((b) => [
    b.call("nowhere" as "ping").catch((error) => error.code),
    b.call("ping"),
    b.call("never", undefined, { timeoutMs: 20 }).catch((error) => error.name),
  ]);
  assertEquals(results, [-32601, "pong", "RpcTimeoutError"]);
});

test("batch() sends nothing when it is empty", async () => {
  const [client, server] = await bareServer();
  assertEquals(await client.batch(() => []), []);
  client.notify("last");
  assertEquals((await server.next()).method, "last");
  await client.close();
});

test("batch() resolves at once when it has only notifications", async () => {
  const { rpc, received } = testServer();
  await using client = await pair(rpc);
  assertEquals(await client.batch((b) => [b.notify("note", [1]), b.notify("note", [2])]), [
    undefined,
    undefined,
  ]);
  await client.call("ping");
  assertEquals(received, [1, 2]);
});

for (const way of ["ws", "url"] as const) {
  test(`batch() rejects every call when it is over maxBatch, over ${way}`, async () => {
    const { rpc, received } = testServer();
    await using server = await serveHere(rpc);
    await using client = await connect<typeof rpc>(server[way]);
    const calls: Promise<unknown>[] = [];
    const batch = client.batch((b) => {
      for (let n = 0; n < 6; n++) calls.push(b.call("note", [n]));
      return calls;
    });
    await assertRejects(() => batch, RpcServerError, "maxBatch");
    const codes = await Promise.all(calls.map((call) => call.catch(({ code }) => code)));
    assertEquals(codes, Array(6).fill(-32010));
    assertEquals(received, []);
    assertEquals(await client.call("ping"), "pong");
  });
}

test("batch() leaves no call waiting when its function throws", async () => {
  const { rpc } = testServer();
  await using client = await pair(rpc);
  const calls: Promise<unknown>[] = [];
  const build = () =>
    client.batch((b) => {
      calls.push(b.call("ping"));
      throw new Error("changed my mind");
    });
  await assertRejects(async () => await build(), Error, "changed my mind");
  assertEquals(await unsettled(calls), []);
});

test("batch() rejects with RangeError when all of it is over maxMessageBytes", async () => {
  const { rpc } = testServer();
  await using client = await pair(rpc, { maxMessageBytes: 1000 });
  const calls: Promise<unknown>[] = [];
  const batch = () =>
    client.batch((b) => {
      for (let n = 0; n < 3; n++) calls.push(b.call("echo", ["x".repeat(500)]));
      return calls;
    });
  await assertRejects(async () => await batch(), RangeError, "maxMessageBytes");
  assertEquals(await unsettled(calls), []);
  assertEquals(await client.call("ping"), "pong");
});

test("batch() rejects when the client is closed", async () => {
  const { rpc } = testServer();
  const client = await pair(rpc);
  await client.close();
  await assertRejects(() => client.batch((b) => [b.call("ping")]), RpcConnectionError);
});

// -- remote --

test("remote calls methods by name, nested ones too", async () => {
  const { rpc } = testServer();
  await using client = await pair(rpc);
  assertEquals(await client.remote.ping(), "pong");
  assertEquals(await client.remote.add({ a: 1, b: 2 }), 3);
  assertEquals(await client.remote.math.double([4]), 8);
  assertEquals(await client.remote.math.trig.zero(), 0);
});

test("remote passes options on", async () => {
  const { rpc } = testServer();
  await using server = await serveHere(rpc);
  await using client = await connect<typeof rpc>(server.ws);
  await assertRejects(() => client.remote.never(undefined, { timeoutMs: 20 }), RpcTimeoutError);
});

test("remote joins names with the separator that the client is told", async () => {
  const rpc = new JsonRpc({ separator: "__" }).addMethods("math", { one: () => 1 });
  await using client = await pair(rpc, { separator: "__" });
  assertEquals(await client.remote.math.one(), 1);
});

test("remote can be awaited without calling anything", async () => {
  const [client, server] = await bareServer();
  assertStrictEquals(await client.remote, client.remote);
  assertStrictEquals(await client.remote.math, client.remote.math);
  await client.close();
  assertEquals(server.received, []);
});

// -- events and the end --

test("close() rejects the calls that wait, and those that come later", async () => {
  const { rpc } = testServer();
  await using server = await serveHere(rpc);
  const client = await connect<typeof rpc>(server.ws);
  const waiting = [client.call("never"), client.call("never", undefined, { timeoutMs: 0 })];
  const outcomes = waiting.map((call) => call.catch(({ outcome }) => outcome));
  await client.close();
  assertEquals(await Promise.all(outcomes), ["unknown", "unknown"]);
  const late = await assertRejects(() => client.call("ping"), RpcConnectionError, "closed");
  assertEquals(late.outcome, "unsent");
  await assertRejects(() => client.connect(), RpcConnectionError, "closed");
  assertThrows(() => client.notify("ping"), RpcConnectionError, "closed");
  await assertRejects(() => client.subscribe("any" as never, () => {}), RpcConnectionError);
  assertEquals(client.state, "closed");
});

test("close() may be called twice, and at the same time", async () => {
  const { rpc } = testServer();
  await using server = await serveHere(rpc);
  const client = await connect(server.ws);
  const events = eventsOf(client);
  await Promise.all([client.close(), client.close()]);
  await client.close();
  assertEquals(events, ["close 1000"]);
});

test("close() before the first call keeps the client from connecting", async () => {
  const { rpc } = testServer();
  await using server = await serveHere(rpc);
  const { made, WebSocket } = watchedSockets();
  const client = new JsonRpcClient(server.ws, { WebSocket });
  await client.close();
  await assertRejects(() => client.call("ping"), RpcConnectionError);
  assertEquals(made, []);
});

test("close() while connecting rejects what waits, and tells of the end once", async () => {
  const { rpc } = testServer();
  await using server = await serveHere(rpc);
  const { made, WebSocket } = watchedSockets();
  const client = new JsonRpcClient(server.ws, { WebSocket });
  const events = eventsOf(client);
  const connecting = client.connect();
  const call = client.call("ping").catch(({ outcome }) => outcome);
  // Not by its readyState: Node's stays at CLOSING then.
  const gone = new Promise((resolve) => made[0]?.addEventListener("close", resolve));
  await client.close();
  assertEquals(await call, "unsent");
  await assertRejects(() => connecting, RpcConnectionError);
  await gone;
  await quietMoment();
  assertEquals([client.state, events.length], ["closed", 1]);
  assertStringIncludes(events[0] as string, "close");
});

test("JsonRpcClient tells of open and of close with the server's code and reason", async () => {
  const { rpc } = testServer();
  await using server = await serveHere(rpc);
  const client = new JsonRpcClient(server.ws);
  const events = eventsOf(client);
  await client.call("ping");
  const closed = new Promise((resolve) => client.addEventListener("close", resolve));
  for (const connection of rpc.connections) connection.close(1000, "enough");
  await closed;
  assertEquals(events, ["open", "close 1000 enough"]);
  assertEquals(client.state, "closed");
});

test("JsonRpcClient is closed by `await using`", async () => {
  const { rpc } = testServer();
  await using server = await serveHere(rpc);
  const kept = await (async () => {
    await using client = await connect<typeof rpc>(server.ws);
    assertEquals(await client.call("ping"), "pong");
    return client;
  })();
  assertEquals(kept.state, "closed");
});

test("close() lets the process end", async () => {
  const { rpc } = testServer();
  const everything = rpc.topic("clock", { schema: type<string>() });
  await using server = await serveHere(everything);
  const script = `
    import { connect } from ${JSON.stringify(import.meta.resolve("../../src/client/client.ts"))};
    for (const url of ${JSON.stringify([server.ws, server.url])}) {
      const client = await connect(url);
      if (await client.call("ping") !== "pong") throw new Error("no pong");
      if (url.startsWith("ws")) await client.subscribe("clock", () => {});
      client.call("never").catch(() => {});
      client.call("never", undefined, { timeoutMs: 0 }).catch(() => {});
      await client.close();
    }
    console.log("done");
  `;
  await using file = await scriptFile(script);
  const [program, ...flags] = (await runtime(runtimeHere)).command;
  // Where something kept the process alive, it would be killed, and this would reject.
  const { stdout } = await promisify(execFile)(program as string, [...flags, file.path], {
    timeout: 20_000,
  });
  assertEquals(stdout, "done\n");
});
