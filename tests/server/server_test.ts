import { test } from "node:test";
import {
  assert,
  assertEquals,
  assertInstanceOf,
  assertRejects,
  assertStrictEquals,
  assertThrows,
} from "@std/assert";
import { connect, JsonRpc, RpcConnectionError } from "@x/jsonrpc";
import { DEFAULT_LIMITS } from "../../src/protocol/limits.ts";
import type { Connection, JsonRpcClient, Limits } from "@x/jsonrpc";
import type { ClientCloseEvent } from "@x/jsonrpc/client";
import type { HandshakeCheck } from "@x/jsonrpc/plugin";
import { linkedSockets } from "@x/jsonrpc/testing";
import { frameSocket, rawPost, rawRequest, rawUpgrade, UPGRADE } from "../helpers/raw_client.ts";
import { pair } from "../helpers/client.ts";
import { cuttableProxy } from "../helpers/cuttable_proxy.ts";
import { deferred, quietMoment, until } from "../helpers/deferred.ts";
import { silentLog } from "../helpers/log.ts";
import { serveHere } from "../helpers/server.ts";
import type { LocalServer } from "../helpers/server.ts";
import { needs } from "../helpers/needs.ts";

// Deno makes a WebSocket of any request.
const notOnDeno = await needs("not on deno");

function testServer(options: Partial<Limits> = {}) {
  return new JsonRpc({ logger: silentLog(), ...options })
    .method("ping", () => "pong")
    .method("wait", () => new Promise<string>(() => {}));
}

/** How a client's connection ends. */
function closeOf(client: JsonRpcClient): Promise<string> {
  return new Promise((resolve) => {
    client.addEventListener("close", (event) => {
      const { code, reason } = event as ClientCloseEvent;
      resolve(`${code} ${reason}`);
    }, { once: true });
  });
}

/** Whether a server still has a place for a client that does all right. */
async function hasPlace(server: LocalServer): Promise<boolean> {
  const client = await connect(server.ws).catch(() => undefined);
  const answer = await client?.call("ping");
  await client?.close();
  return answer === "pong";
}

/** Waits until a server has a free slot: it may free one a moment after the peer has seen the close. */
async function placeComesBack(server: LocalServer): Promise<void> {
  await until(() => hasPlace(server));
}

// -- upgrades --

test("fetch(), handleUpgrade() and websocket work when they are destructured", async () => {
  const { fetch, handleUpgrade, websocket } = testServer();
  const app = {
    websocket,
    fetch(request: Request, host: unknown) {
      const isUpgrade = request.headers.has("upgrade");
      return isUpgrade ? handleUpgrade(request, host) : fetch(request, host);
    },
  };
  await using server = await serveHere(app);
  for (const url of [server.ws, server.url]) {
    await using client = await connect(url);
    assertEquals(await client.call("ping"), "pong");
  }
});

test("websocket is the same record each time", () => {
  const rpc = new JsonRpc();
  assertStrictEquals(rpc.websocket, rpc.websocket);
});

const wrongUpgrades: Readonly<
  Record<string, readonly [changes: Record<string, string>, status: number]>
> = {
  "upgrade": [{ "upgrade": "h2c" }, 426],
  "no upgrade": [{ "upgrade": "" }, 426],
  "an old version": [{ "sec-websocket-version": "8" }, 426],
  "no version": [{ "sec-websocket-version": "" }, 426],
  "a short key": [{ "sec-websocket-key": "c2hvcnQ=" }, 400],
  "no key": [{ "sec-websocket-key": "" }, 400],
};

for (const [what, [changes, status]] of Object.entries(wrongUpgrades)) {
  test(`handleUpgrade() answers ${status} when the request has ${what}`, async () => {
    const headers = { ...UPGRADE, ...changes };
    const request = new Request("http://rpc.example/", { headers });
    const response = await testServer().handleUpgrade(request);
    assertEquals(response.status, status);
    if (what.includes("upgrade")) assertEquals(response.headers.get("upgrade"), "websocket");
    if (what.includes("version")) assertEquals(response.headers.get("sec-websocket-version"), "13");
  });
}

test("fetch() answers a GET whose Upgrade header names another protocol", async () => {
  const rpc = testServer().method("now", { get: true }, () => "noon");
  await using server = await serveHere(rpc);
  for (const upgrade of ["h2c", "TLS/1.2"]) {
    const { status, body } = await rawRequest(server.url, {
      path: "/?method=now&id=1",
      headers: { connection: "Upgrade", upgrade },
    });
    assertEquals([status, body.includes('"noon"')], [200, true]);
  }
});

test(
  "handleUpgrade() throws TypeError when the runtime has no WebSockets for servers",
  notOnDeno,
  () => {
    const request = new Request("http://rpc.example/", { headers: UPGRADE });
    const rpc = testServer({ maxConnections: 1 });
    for (const host of [undefined, {}, 1]) {
      assertThrows(() => rpc.handleUpgrade(request, host), TypeError, "Cannot upgrade");
    }
    const [, far] = linkedSockets();
    rpc.attach(far);
  },
);

test("fetch() answers 405 with Allow when it is asked for a page", async () => {
  await using server = await serveHere(testServer());
  for (const method of ["GET", "PUT", "DELETE", "HEAD", "PATCH"]) {
    const response = await fetch(server.url, { method });
    assertEquals([response.status, response.headers.get("allow")], [405, "POST"]);
    await response.body?.cancel();
  }
});

// -- options --

for (const name of Object.keys(DEFAULT_LIMITS) as (keyof Limits)[]) {
  test(`new JsonRpc() throws RangeError when ${name} is wrong`, () => {
    for (const value of [-1, 1.5, NaN, -Infinity, "1000", null]) {
      const make = () => new JsonRpc({ [name]: value });
      // Like `undefined`, null is no value at all: the default holds.
      if (value === null) assertEquals(make().limits[name], DEFAULT_LIMITS[name]);
      else assertThrows(make, RangeError, `Expected \`${name}\` to be a whole number`);
    }
    const least = name.endsWith("Ms") ? 0 : 1;
    assertEquals(new JsonRpc({ [name]: least }).limits[name], least);
    assertEquals(new JsonRpc({ [name]: Infinity }).limits[name], Infinity);
  });
}

test("new JsonRpc() accepts frozen options and writes to none", async () => {
  const options = Object.freeze({
    logger: Object.freeze(silentLog()),
    origins: Object.freeze(["http://a.example"]),
    hosts: undefined as never,
    protocols: Object.freeze(["v1"]),
    maxBatch: 7,
  });
  const rpc = new JsonRpc(options)
    .method(
      "ping",
      Object.freeze({ names: Object.freeze(["a"]), use: Object.freeze([]) }),
      () => "pong",
    )
    .topic("clock", Object.freeze({ retain: Object.freeze({ maxAgeMs: 1000 }) }));
  assertEquals([rpc.limits.maxBatch, rpc.limits.maxDepth], [7, DEFAULT_LIMITS.maxDepth]);
  assert(Object.isFrozen(rpc.limits));
  await using client = await pair(rpc);
  assertEquals(await client.call("ping"), "pong");
});

// -- attach() --

test("attach() uses any socket, with the handshake it is given", async () => {
  const rpc = new JsonRpc().method("who", (_params: unknown, { user, connection }) => {
    const { url, headers, remoteAddress } = connection.handshake;
    return [user, url, headers.get("x-a"), remoteAddress];
  });
  const [near, far] = linkedSockets();
  const headers = new Headers({ "x-a": "1" });
  rpc.attach(far, { user: "ada", url: "http://any/", headers, remoteAddress: "::1" });
  await using client = await connect<typeof rpc>(near);
  assertEquals(await client.call("who") as unknown, ["ada", "http://any/", "1", "::1"]);
  await using stranger = await pair(rpc);
  assertEquals(await stranger.call("who") as unknown, [null, "", null, null]);
});

test("handshake.headers stays the same while a connection is open", async () => {
  const told: [string, string][][] = [];
  const { promise: opened, resolve } = Promise.withResolvers<Connection>();
  const rpc = testServer().use({
    name: "test",
    handshake: ({ headers }) => void told.push([...headers]),
    onOpen: resolve,
  });
  await using server = await serveHere(rpc);
  const headers = {
    ...UPGRADE,
    cookie: "a=1; b=c:d",
    "x-empty": "",
    "x-name": "caf\u00e9, t\u00e9",
  };
  const { status } = await rawRequest(server.ws, { headers, encoding: "latin1" });
  assertEquals(status, 101);
  const { handshake } = await opened;
  assertEquals([...handshake.headers], told[0]);
  assertEquals(handshake.headers.get("cookie"), "a=1; b=c:d");
  assertStrictEquals(handshake.headers, handshake.headers);
});

test("attach() throws TypeError when the server is closed or full", async () => {
  const rpc = testServer({ maxConnections: 1 });
  await using _client = await pair(rpc);
  assertThrows(() => rpc.attach(linkedSockets()[0]), TypeError, "Cannot attach");
  await rpc.close();
  assertThrows(() => rpc.attach(linkedSockets()[0]), TypeError, "Cannot attach");
});

test("attach() frees its slot when the socket never opens, or is closed already", async () => {
  const rpc = testServer({ maxConnections: 1 });
  await using nowhere = await serveHere({ fetch: () => new Response("no") });
  const refused = new WebSocket(nowhere.ws);
  rpc.attach(refused);
  await new Promise((resolve) => refused.addEventListener("close", resolve));
  const [closed] = linkedSockets();
  closed.close();
  await quietMoment();
  rpc.attach(closed);
  await quietMoment();
  await using client = await pair(rpc);
  assertEquals(await client.call("ping"), "pong");
});

// -- connections --

test("connections are those that are open", async () => {
  const rpc = testServer();
  await using server = await serveHere(rpc);
  assertEquals([rpc.connections.size, [...rpc.connections]], [0, []]);
  const clients = await Promise.all([1, 2, 3].map(() => connect(server.ws)));
  await until(() => rpc.connections.size === 3);
  const open = [...rpc.connections];
  assertEquals(open.map(({ isOpen, user }) => [isOpen, user]), Array(3).fill([true, null]));
  assertEquals(new Set(open.map(({ id }) => id)).size, 3);
  open[0]?.close();
  assertEquals([...rpc.connections].includes(open[0] as Connection<null>), false);
  await until(() => rpc.connections.size === 2);
  await Promise.all(clients.map((client) => client.close()));
  await until(() => rpc.connections.size === 0);
});

test("connection.close() sends code and reason, cut to what fits a frame", async () => {
  const rpc = testServer();
  await using server = await serveHere(rpc);
  await using client = await connect(server.ws);
  await until(() => rpc.connections.size === 1);
  const closed = closeOf(client);
  for (const connection of rpc.connections) {
    connection.close(4000, "ä".repeat(100));
    connection.close(4001, "twice");
  }
  assertEquals(await closed, `4000 ${"ä".repeat(61)}`);
});

test("connection.close() still sends what was sent before", async () => {
  const rpc = testServer().method("bye", (_params: unknown, { connection }) => {
    connection.notify("note", ["last words"]);
    connection.close(4000);
    return "nobody receives this";
  });
  await using server = await serveHere(rpc);
  await using client = await connect<typeof rpc>(server.ws);
  const received: unknown[] = [];
  client.method("note", (params) => received.push(params));
  const closed = closeOf(client as unknown as JsonRpcClient);
  await assertRejects(() => client.call("bye"), RpcConnectionError);
  assertEquals([await closed, received], ["4000 ", [["last words"]]]);
});

// -- close() --

test("close() closes all clients with 1001, rejects what they wait for, and resolves", async () => {
  const rpc = testServer();
  await using server = await serveHere(rpc);
  const clients = await Promise.all([1, 2, 3].map(() => connect<typeof rpc>(server.ws)));
  const ends = clients.map((client) => closeOf(client as unknown as JsonRpcClient));
  const waiting = clients.map((client) => client.call("wait").catch(({ outcome }) => outcome));
  await clients[2]?.call("ping");
  await rpc.close();
  assertEquals(rpc.connections.size, 0);
  assertEquals(await Promise.all(ends), Array(3).fill("1001 The server is closing"));
  assertEquals(await Promise.all(waiting), Array(3).fill("unknown"));
  await Promise.all(clients.map((client) => client.close()));
});

test("close() answers 503 to WebSockets and POSTs", async () => {
  const rpc = testServer();
  await using server = await serveHere({ fetch: rpc.fetch, websocket: rpc.websocket });
  await rpc.close();
  const [upgrade, post] = await Promise.all([rawUpgrade(server.url), rawPost(server.url, "{}")]);
  assertEquals([upgrade.status, post.status], [503, 503]);
});

test("close() may be called twice, and at the same time", async () => {
  let closes = 0;
  const rpc = testServer().use({ name: "test", dispose: () => void closes++ });
  await using _client = await pair(rpc);
  const closing = [rpc.close(), rpc.close()];
  await Promise.all(closing);
  await rpc.close();
  assertEquals([rpc.connections.size, closes], [0, 1]);
});

test("request.signal aborts when the handler itself ends the connection, however early", async () => {
  const aborted: unknown[] = [];
  const rpc = new JsonRpc().method("leave", async (_params: unknown, { signal, connection }) => {
    connection.close();
    await new Promise<void>((resolve) => {
      if (signal.aborted) resolve();
      else signal.addEventListener("abort", () => resolve());
    });
    aborted.push(signal.reason.outcome);
  });
  await using server = await serveHere(rpc);
  const client = await connect(server.ws, { reconnect: false });
  await assertRejects(() => client.call("leave"), RpcConnectionError);
  await until(() => aborted.length > 0);
  assertEquals(aborted, ["unknown"]);
  await client.close();
});

test("close() aborts the signals of handlers that still run", async () => {
  let aborted = false;
  const rpc = testServer().method(
    "heed",
    (_params: unknown, { signal }) =>
      new Promise<void>((resolve) => {
        signal.addEventListener("abort", () => resolve(void (aborted = true)));
      }),
  );
  await using client = await pair(rpc);
  const call = client.call("heed").catch(() => {});
  await quietMoment();
  await rpc.close();
  await call;
  assert(aborted);
});

test("close() refuses peers whose handshake is still under way", async () => {
  const held = deferred();
  let asked = false;
  const rpc = testServer().use({ name: "test", handshake: () => (asked = true, held.promise) });
  await using server = await serveHere({ fetch: rpc.fetch, websocket: rpc.websocket });
  const connecting = connect(server.ws).then(() => "in", (error) => error);
  await until(() => asked);
  const closing = rpc.close();
  held.resolve();
  await closing;
  assertInstanceOf(await connecting, RpcConnectionError);
});

test("close() is not held up by a peer that does not answer", async () => {
  const rpc = testServer();
  await using server = await serveHere(rpc);
  const silent = await frameSocket(server.url);
  await until(() => rpc.connections.size === 1);
  await rpc.close();
  silent.destroy();
});

test("JsonRpc is closed by `await using`", async () => {
  const ends: Promise<string>[] = [];
  {
    await using rpc = testServer();
    ends.push(closeOf(await pair(rpc) as unknown as JsonRpcClient));
  }
  // The standard client socket is not one of those that may say 1001; linked ones may.
  assertEquals(await ends[0], "1001 The server is closing");
});

test("revoke() closes the connections that the predicate names with 1008", async () => {
  const rpc = testServer();
  const ends = await Promise.all(["ada", "bob", "ada"].map(async (user) => {
    const [near, far] = linkedSockets();
    rpc.attach(far, { user });
    return { user, end: closeOf(await connect(near)) };
  }));
  assertEquals(rpc.revoke(({ user }) => user as unknown === "ada"), 2);
  await quietMoment();
  const [left] = rpc.connections;
  assertEquals(left?.user as unknown, "bob");
  await rpc.close();
  const codes = ends.map(async ({ user, end }) => `${user} ${(await end).slice(0, 4)}`);
  assertEquals(await Promise.all(codes), ["ada 1008", "bob 1001", "ada 1008"]);
});

// -- maxConnections --

test("maxConnections refuses one more with 503, and frees the slot of a peer that left", async () => {
  const rpc = testServer({ maxConnections: 2 });
  await using server = await serveHere(rpc);
  const first = await connect(server.ws);
  await using _second = await connect(server.ws);
  const { status, body } = await rawUpgrade(server.url);
  assertEquals([status, body], [503, "Server full: 2 connections are open (maxConnections)"]);
  await using posting = await connect(server.url);
  assertEquals(await posting.call("ping"), "pong");
  await first.close();
  await placeComesBack(server);
  await placeComesBack(server);
});

const failingHandshakes: Readonly<Record<string, HandshakeCheck>> = {
  "refuses": () => new Response("no", { status: 401 }),
  "refuses later": async () => await quietMoment().then(() => new Response("no", { status: 401 })),
  "throws": () => {
    throw new Error("broken");
  },
  "rejects": async () => {
    await quietMoment();
    throw new Error("broken");
  },
};

for (const [what, handshake] of Object.entries(failingHandshakes)) {
  test(`maxConnections frees the slot when a handshake check ${what}`, async () => {
    let strict = true;
    const rpc = testServer({ maxConnections: 1 })
      .use({ name: "test", handshake: (peer, log) => strict ? handshake(peer, log) : undefined });
    await using server = await serveHere(rpc);
    for (let round = 0; round < 3; round++) assertEquals(await hasPlace(server), false);
    strict = false;
    await placeComesBack(server);
  });
}

const wrongRequests: Readonly<Record<string, Readonly<Record<string, string | undefined>>>> = {
  "has no Connection header": { connection: undefined },
  "wants to close": { connection: "close" },
  "has no key": { "sec-websocket-key": undefined },
  "has another version": { "sec-websocket-version": "8" },
  "offers strange protocols": { "sec-websocket-protocol": ', ,;"' },
};

for (const [what, headers] of Object.entries(wrongRequests)) {
  test(`maxConnections frees the slot when the request ${what}`, async () => {
    const rpc = testServer({ maxConnections: 1 });
    await using server = await serveHere(rpc);
    for (let round = 0; round < 3; round++) {
      const { status } = await rawUpgrade(server.url, headers);
      assert(status >= 400, `${status}`);
    }
    await placeComesBack(server);
  });
}

test("maxConnections frees the slot when the client leaves during its handshake", async () => {
  const held = deferred();
  let asked = 0;
  const rpc = testServer({ maxConnections: 1 })
    .use({ name: "test", handshake: () => ++asked === 1 ? held.promise : undefined });
  await using server = await serveHere(rpc);
  await using between = await cuttableProxy(server);
  const leaving = rawUpgrade(between.url).catch(() => {});
  await until(() => asked === 1);
  between.cut();
  await leaving;
  held.resolve();
  await placeComesBack(server);
});
