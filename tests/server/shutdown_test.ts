/**
 * How a server shuts down: running calls finish, new ones are refused, and every call is settled.
 */
import { assert, assertEquals, assertMatch, assertThrows } from "@std/assert";
import { test } from "node:test";
import { connect, JsonRpc } from "@x/jsonrpc";
import type { CloseOptions, JsonRpcOptions, RpcRequest } from "@x/jsonrpc";
import { serve } from "@x/jsonrpc/node";
import { rawPost, rawRequest, RawSocket, rawUpgrade, UPGRADE } from "../helpers/raw_client.ts";
import { deferred, quietMoment, unsettled, until } from "../helpers/deferred.ts";
import { silentLog } from "../helpers/log.ts";
import { serveHere, serveOnNode } from "../helpers/server.ts";
import type { LocalServer } from "../helpers/server.ts";
import { bareClient } from "../helpers/wire.ts";
import { call, notice, result } from "../helpers/messages.ts";

/** What a call is answered once the server closes. */
function refused(id: number) {
  const error = { code: -32009, message: "Server busy: closing", data: { retry: true } };
  return { jsonrpc: "2.0", error, id };
}

/** A server, and a promise that its method `wait` waits for. */
function testServer(options: JsonRpcOptions = {}) {
  const logger = silentLog();
  const held = deferred();
  const begun: RpcRequest[] = [];
  const rpc = new JsonRpc({ logger, ...options })
    .method("ping", () => "pong")
    .method("wait", async (_params: unknown, request) => {
      begun.push(request);
      await held.promise;
      return "waited";
    });
  return { rpc, logger, held, begun };
}

/** A server whose POSTs are not ended by the kit before the test has ended them. */
function served(rpc: JsonRpc): Promise<LocalServer> {
  return serveHere({ fetch: rpc.fetch, websocket: rpc.websocket });
}

async function post(url: string, body: object): Promise<Response> {
  const init = { method: "POST", headers: { "content-type": "application/json" } };
  return await fetch(url, { ...init, body: JSON.stringify(body) });
}

// -- on open connections --

for (
  const [what, start] of Object.entries({
    "the runtime's own server": served,
    "./node": serveOnNode,
  })
) {
  test(`close() lets calls finish, refuses new ones, then closes with 1012, on ${what}`, async () => {
    const { rpc, held, begun } = testServer();
    await using server = await start(rpc as unknown as JsonRpc);
    const line = await RawSocket.open(server.url);
    line.send(call("wait", 1), call("wait", 2));
    await until(() => begun.length === 2);
    const closing = rpc.close({ drainMs: 60_000 });
    assertEquals(await line.ask(call("ping", 3)), refused(3));
    assertEquals(await line.ask(call("nobody knows this", 4)), refused(4));
    assertEquals(await unsettled([closing]), [0]);
    held.resolve();
    assertEquals(await line.some(2), [result(1, "waited"), result(2, "waited")]);
    const { code, reason } = await line.closed();
    assertEquals(code, 1012);
    assertMatch(reason, /^retry-after=\d+$/);
    await closing;
    assertEquals(rpc.connections.size, 0);
  });
}

test("close() closes a connection without calls at once, while others still drain", async () => {
  const { rpc, held, begun } = testServer();
  await using server = await served(rpc as unknown as JsonRpc);
  const [idle, busy] = [await RawSocket.open(server.url), await RawSocket.open(server.url)];
  busy.send(call("wait", 1));
  await until(() => begun.length === 1);
  const closing = rpc.close({ drainMs: 60_000 });
  assertEquals((await idle.closed()).code, 1012);
  await until(() => rpc.connections.size === 1);
  assertEquals(begun[0]?.signal.aborted, false);
  held.resolve();
  assertEquals(await busy.next(), result(1, "waited"));
  assertEquals((await busy.closed()).code, 1012);
  await closing;
});

test("close() refuses each entry of a batch, and drops notifications with a line in the log", async () => {
  const { rpc, held, begun, logger } = testServer();
  const wire = bareClient(rpc);
  wire.call(1, "wait");
  await until(() => begun.length === 1);
  const closing = rpc.close({ drainMs: 60_000 });
  wire.send([call("ping", 2), notice("wait"), call("wait", 3)]);
  assertEquals(await wire.next() as unknown, [refused(2), refused(3)]);
  assertEquals([begun.length, logger.text], [
    1,
    'debug: Notification "wait" dropped: the server is closing',
  ]);
  held.resolve();
  await closing;
});

test("close() still passes cancels and the answers to calls of the server", async () => {
  const { rpc, begun } = testServer();
  const asked = new JsonRpc({ logger: silentLog() });
  asked.method("ask", async (_params: unknown, request) => {
    begun.push(request);
    return [await request.call("question", [1]), await request.call("question", [2])];
  });
  const wire = bareClient(asked);
  wire.call(1, "ask");
  const { id } = await wire.next();
  const closing = asked.close({ drainMs: 60_000 });
  wire.send(result(id as number, "first"));
  const second = await wire.next();
  assertEquals(second.params, [2]);
  wire.send(result(second.id as number, "second"));
  assertEquals(await wire.next() as unknown, result(1, ["first", "second"]));
  await closing;

  const other = bareClient(rpc);
  other.call(1, "wait");
  await until(() => begun.length === 2);
  void rpc.close({ drainMs: 60_000 });
  other.send(notice("$/cancelRequest", { id: 1 }));
  assertEquals((await other.next()).error?.code, -32800);
  await rpc.close();
});

test("close() waits for calls of the server to its clients", async () => {
  const { rpc } = testServer();
  const wire = bareClient(rpc);
  const [connection] = rpc.connections;
  const answer = connection?.call("question");
  const { id } = await wire.next();
  const closing = rpc.close({ drainMs: 60_000 });
  wire.call(7, "ping");
  assertEquals(await wire.next() as unknown, refused(7));
  wire.send(result(id as number, "late, not lost"));
  assertEquals(await answer, "late, not lost");
  await closing;
});

test("close() answers the call that started it", async () => {
  const { rpc } = testServer();
  let closing: Promise<void> | undefined;
  rpc.method("shutDown", () => {
    closing = rpc.close({ drainMs: 60_000 });
    return "closing";
  });
  const wire = bareClient(rpc);
  wire.call(1, "shutDown");
  assertEquals(await wire.next() as unknown, result(1, "closing"));
  await closing;
});

test("close() has not run a call that is unanswered when 1012 arrives", async () => {
  let ran = 0;
  const rpc = new JsonRpc({ logger: silentLog() }).method("note", () => ++ran);
  // Not Deno's own server: it drops a peer that says anything after the close, and that tells nothing.
  await using server = await serveOnNode(rpc as unknown as JsonRpc);
  const line = await RawSocket.open(server.url);
  let closing: Promise<void> | undefined;
  for (let id = 1; id <= 300; id++) {
    line.send(call("note", id));
    if (id === 150) closing = until(() => ran > 0).then(() => rpc.close({ drainMs: 60_000 }));
    if (id % 50 === 0) await new Promise((resolve) => setTimeout(resolve));
  }
  assertEquals((await line.closed()).code, 1012);
  await closing;
  let answered = 0;
  for (let message = line.unread(); message !== undefined; message = line.unread()) {
    if ("result" in message) answered++;
  }
  assertEquals(answered, ran);
});

test("close() spreads the times at which clients may come back", async () => {
  const { rpc } = testServer();
  await using server = await served(rpc as unknown as JsonRpc);
  const lines = await Promise.all(Array.from({ length: 30 }, () => RawSocket.open(server.url)));
  await rpc.close({ drainMs: 60_000, retryAfterMs: 5000 });
  const closings = await Promise.all(lines.map((line) => line.closed()));
  const times = closings.map(({ reason }) => Number(reason.replace("retry-after=", "")));
  assert(times.every((time) => time >= 5000 && time <= 10_000), times.join());
  assert(new Set(times).size > 10, times.join());
});

// -- new requests --

test("close() refuses a WebSocket whose handshake was under way with 503", async () => {
  const { rpc, held, begun } = testServer();
  const entry = deferred();
  let asked = 0;
  rpc.use({
    name: "test",
    handshake: ({ url }) => url.endsWith("/late") ? (asked++, entry.promise) : undefined,
  });
  await using server = await served(rpc as unknown as JsonRpc);
  const line = await RawSocket.open(server.url);
  line.send(call("wait", 1));
  await until(() => begun.length === 1);
  const late = rawRequest(server.url, { path: "/late", headers: UPGRADE });
  await until(() => asked === 1);
  const closing = rpc.close({ drainMs: 60_000 });
  entry.resolve();
  assertEquals((await late).status, 503);
  assertEquals(rpc.connections.size, 1);
  held.resolve();
  await closing;
});

test("close() refuses new WebSockets and POSTs with 503 and retry-after while it drains", async () => {
  const { rpc, held, begun } = testServer();
  await using server = await served(rpc as unknown as JsonRpc);
  const line = await RawSocket.open(server.url);
  line.send(call("wait", 1));
  await until(() => begun.length === 1);
  const closing = rpc.close({ drainMs: 60_000, retryAfterMs: 3000 });
  const body = JSON.stringify(call("ping", 2));
  for (const response of [await rawUpgrade(server.url), await rawPost(server.url, body)]) {
    assertEquals(response.status, 503);
    assert(["3", "4", "5", "6"].includes(response.headers.get("retry-after") ?? ""));
    assertEquals(JSON.parse(response.body), { ...refused(0), id: null });
  }
  assertThrows(() => bareClient(rpc), TypeError, "Cannot attach");
  held.resolve();
  await closing;
});

for (
  const [what, start] of Object.entries({
    "the runtime's own server": served,
    "./node": serveOnNode,
  })
) {
  test(`close() waits for POSTs under way, on ${what}`, async () => {
    const { rpc, held, begun } = testServer();
    await using server = await start(rpc as unknown as JsonRpc);
    const answer = post(server.url, [call("wait", 1), call("ping", 2)]);
    await until(() => begun.length === 1);
    const closing = rpc.close({ drainMs: 60_000 });
    assertEquals(await unsettled([closing]), [0]);
    held.resolve();
    assertEquals(await (await answer).json(), [result(1, "waited"), result(2, "pong")]);
    await closing;
  });
}

// -- at the end of the drain --

test("close() ends what is left at drainMs: with 1001, with 503, and by aborting signals", async () => {
  const { rpc, begun } = testServer();
  await using server = await served(rpc as unknown as JsonRpc);
  const line = await RawSocket.open(server.url);
  for (let id = 1; id <= 10; id++) line.send(call("wait", id));
  const posted = post(server.url, call("wait", 11));
  await until(() => begun.length === 11);
  const signals = begun.map(({ signal }) => signal);
  await rpc.close({ drainMs: 50 });
  assertEquals(await line.closed(), { code: 1001, reason: "The server is closing" });
  const response = await posted;
  assertEquals([response.status, await response.text()], [503, "The server is closing"]);
  assertEquals(signals.map(({ aborted }) => aborted), Array(11).fill(true));
});

test("close() runs nothing for a POST whose body is incomplete at drainMs", async () => {
  const { rpc, begun } = testServer();
  const { readable, writable } = new TransformStream<Uint8Array>();
  const writer = writable.getWriter();
  const headers = { "content-type": "application/json" };
  // `duplex` is needed for a stream; not all types know it.
  const init = { method: "POST", headers, body: readable, duplex: "half" } as RequestInit;
  const answer = Promise.resolve(rpc.fetch(new Request("http://rpc.example/", init)));
  await rpc.close({ drainMs: 10 });
  // Answered by now, although the body has not come to its end.
  const { status, headers: answered } = await answer;
  assertEquals([status, answered.get("connection")], [503, "close"]);
  // What comes of it all the same runs nothing.
  writer.write(new TextEncoder().encode(JSON.stringify(call("wait", 1)))).catch(() => {});
  writer.close().catch(() => {});
  await quietMoment();
  assertEquals(begun.length, 0);
});

const shortened: Readonly<Record<string, readonly (CloseOptions | undefined)[]>> = {
  "without options": [{ drainMs: Infinity }, undefined],
  "with less": [{ drainMs: Infinity }, { drainMs: 10 }],
  "with more, in vain": [{ drainMs: 10 }, { drainMs: Infinity }],
};

for (const [how, calls] of Object.entries(shortened)) {
  test(`close() can be called again ${how}, and the earliest end holds`, async () => {
    const { rpc, begun } = testServer();
    const wire = bareClient(rpc);
    wire.call(1, "wait");
    await until(() => begun.length === 1);
    await Promise.all(calls.map((options) => rpc.close(options)));
    assertEquals([rpc.connections.size, begun[0]?.signal.aborted], [0, true]);
  });
}

test("close() disposes plugins once, after the drain", async () => {
  const { rpc, held, begun } = testServer();
  const seen: string[] = [];
  rpc.use({
    name: "test",
    onClose: () => void seen.push("ended"),
    dispose: () => void seen.push("closed"),
  });
  const wire = bareClient(rpc);
  wire.call(1, "wait");
  await until(() => begun.length === 1);
  const closing = [rpc.close({ drainMs: 60_000 }), rpc.close({ drainMs: 60_000 })];
  assertEquals(await unsettled(closing), [0, 1]);
  assertEquals(seen, []);
  held.resolve();
  await Promise.all(closing);
  assertEquals(seen, ["ended", "closed"]);
});

for (const name of ["drainMs", "retryAfterMs"]) {
  test(`close() throws RangeError when ${name} is wrong, and goes on`, async () => {
    const { rpc } = testServer();
    for (const value of [-1, NaN, "soon"]) {
      const start = `Expected \`${name}\` to be a number from 0, got \`${value}\``;
      assertThrows(() => rpc.close({ [name]: value }), RangeError, start);
    }
    const wire = bareClient(rpc);
    wire.call(1, "ping");
    assertEquals(await wire.next() as unknown, result(1, "pong"));
    await rpc.close();
  });
}

// -- ./node --

test("serve().close() with drainMs drains the JsonRpc behind it, POSTs too", async () => {
  const { rpc, held, begun } = testServer();
  const server = await serve(rpc, { hostname: "127.0.0.1", port: 0 });
  const line = await RawSocket.open(server.url);
  line.send(call("wait", 1));
  const posted = post(server.url, call("wait", 2));
  await until(() => begun.length === 2);
  const closing = server.close({ drainMs: 60_000 });
  assertEquals(await line.ask(call("ping", 3)), refused(3));
  held.resolve();
  assertEquals(await line.next(), result(1, "waited"));
  assertEquals((await line.closed()).code, 1012);
  assertEquals(await (await posted).json(), result(2, "waited"));
  await closing;
});

test("serve().close() with drainMs resolves although requests of the app never end", async () => {
  let asked = false;
  const app = { fetch: () => (asked = true, new Promise<Response>(() => {})) };
  const server = await serve(app, { hostname: "127.0.0.1", port: 0 });
  const hanging = fetch(server.url).then(() => "answered", () => "cut off");
  await until(() => asked);
  await server.close({ drainMs: 10 });
  assertEquals(await hanging, "cut off");
});

test("serve().close() without options does not close the JsonRpc", async () => {
  const { rpc } = testServer();
  await using kept = await serveOnNode(rpc);
  const gone = await serve(rpc, { hostname: "127.0.0.1", port: 0 });
  await gone.close();
  await using client = await connect<typeof rpc>(kept.ws);
  assertEquals(await client.call("ping"), "pong");
});

test("a client loses no call when its server drains and another takes the port", async () => {
  const old = testServer();
  const server = await serve(old.rpc, { hostname: "127.0.0.1", port: 0 });
  const client = await connect<typeof old.rpc>(server.url.replace("http", "ws"));
  const running = client.call("wait");
  await until(() => old.begun.length === 1);
  const closing = server.close({ drainMs: 60_000, retryAfterMs: 20 });
  // Refused by the old server, sent again to the new one.
  const refused = client.call("ping");
  // Its line in the log tells that the call before it has come, too.
  client.notify("ping");
  await until(() => old.logger.text.includes("dropped"));
  assertEquals(await unsettled([running, refused]), [0, 1]);
  old.held.resolve();
  assertEquals(await running, "waited");
  await closing;
  const heir = new JsonRpc({ logger: silentLog() }).method("ping", () => "pong of the new one");
  await using _new = await serve(heir, { hostname: "127.0.0.1", port: server.port });
  assertEquals(await refused, "pong of the new one");
  await client.close();
});

test("a client runs each of its calls once, whenever its server drains", async () => {
  const runs: number[] = [];
  const [old, next] = [1, 2].map(() =>
    new JsonRpc({ logger: silentLog() }).method("note", ([n]: [number]) => {
      runs.push(n);
      return n;
    })
  ) as unknown as [JsonRpc, JsonRpc];
  await using first = await serveOnNode(old);
  await using second = await serveOnNode(next);
  let url = first.ws;
  await using client = await connect(() => url, {
    reconnect: { minMs: 0, maxMs: 0 },
  });
  const calls: Promise<unknown>[] = [];
  let closing: Promise<void> | undefined;
  for (let n = 0; n < 300; n++) {
    if (n % 10 === 0) await new Promise((resolve) => setTimeout(resolve));
    calls.push(client.call("note", [n]));
    if (n === 105) {
      url = second.ws;
      closing = old.close({ drainMs: 60_000, retryAfterMs: 1 });
    }
  }
  const expected = Array.from({ length: 300 }, (_, n) => n);
  assertEquals(await Promise.all(calls), expected);
  assertEquals(runs.toSorted((a, b) => a - b), expected);
  await closing;
});
