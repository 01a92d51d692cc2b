import { execFile } from "node:child_process";
import { test } from "node:test";
import { promisify } from "node:util";
import {
  assert,
  assertEquals,
  assertRejects,
  assertStringIncludes,
  assertThrows,
} from "@std/assert";
import { connect, JsonRpc, JsonRpcClient, RpcConnectionError, type } from "@x/jsonrpc";
import type { StandardSocket } from "@x/jsonrpc";
import { linkedSockets } from "@x/jsonrpc/testing";
import { cuttableProxy } from "../helpers/cuttable_proxy.ts";
import { deferred, quietMoment, unsettled, until } from "../helpers/deferred.ts";
import { scriptFile } from "../helpers/script_file.ts";
import { serveHere } from "../helpers/server.ts";
import { freePort } from "../helpers/ports.ts";
import { runtime, runtimeHere } from "../helpers/runtimes.ts";
import { eventsOf, scripted } from "../helpers/scripted_server.ts";
import { skipUnless } from "../helpers/needs.ts";

const globalEvents = skipUnless(
  typeof globalThis.dispatchEvent === "function",
  "Node has no global events",
);

/** Comes back at once. */
const AT_ONCE = { reconnect: { minMs: 0, maxMs: 0 } };

function testServer() {
  return new JsonRpc()
    .method("ping", () => "pong")
    .method("never", () => new Promise<string>(() => {}))
    .topic("clock", { schema: type<number>() })
    .topic("news", { schema: type<string>() });
}

// -- coming back --

test("JsonRpcClient comes back when its server was restarted on the same port", async () => {
  const first = testServer();
  const before = await serveHere(first);
  await using client = await connect<typeof first>(before.ws, AT_ONCE);
  const events = eventsOf(client as unknown as JsonRpcClient);
  const received: number[] = [];
  await client.subscribe("clock", (time) => received.push(time));
  await before.stop();
  await until(() => client.state !== "open");
  const second = testServer();
  await using _after = await serveHere(second, Number(new URL(before.url).port));
  assertEquals(await client.call("ping"), "pong");
  await until(() => events.includes("resubscribed clock"));
  second.publish("clock", 1);
  await client.call("ping");
  assertEquals([received, client.state], [[1], "open"]);
  assertStringIncludes(events[0] as string, "close 1001");
  assertEquals(events[1], "reconnecting 1");
});

test("JsonRpcClient receives each event once when its connection is cut a hundred times", async () => {
  const rpc = testServer();
  await using server = await serveHere(rpc);
  await using between = await cuttableProxy(server);
  await using client = await connect<typeof rpc>(between.ws, AT_ONCE);
  const received: unknown[] = [];
  let restored = 0;
  client.addEventListener("resubscribed", () => restored++);
  await client.subscribe("clock", (time) => received.push(time));
  await client.subscribe("clock", (time) => received.push(time));
  await client.subscribe("news", (text) => received.push(text));
  const expected: unknown[] = [];
  for (let round = 1; round <= 100; round++) {
    between.cut();
    await until(() => restored === round);
    rpc.publish("clock", round);
    rpc.publish("news", `round ${round}`);
    expected.push(round, round, `round ${round}`);
    await until(() => received.length >= expected.length);
  }
  await client.call("ping");
  assertEquals(received, expected);
  assertEquals((await client.getSubscriptions()).toSorted(), ["clock", "news"]);
  await until(() => rpc.connections.size === 1);
  assertEquals([...rpc.subscribers(["clock"])].length, 1);
});

test("JsonRpcClient moves over when its server drains, and loses no call", async () => {
  const held = deferred<string>();
  const makeServer = (name: string) =>
    new JsonRpc()
      .method("whoAreYou", () => name)
      .method("wait", () => held.promise)
      .topic("news", { schema: type<string>() });
  const [old, next] = [makeServer("old"), makeServer("next")];
  await using first = await serveHere(old);
  await using second = await serveHere(next);
  let url = first.ws;
  await using client = await connect<typeof old>(() => url, AT_ONCE);
  const received: string[] = [];
  await client.subscribe("news", (text) => received.push(text));
  const underWay = client.call("wait");
  assertEquals(await client.call("whoAreYou"), "old");
  const resubscribed = new Promise((resolve) => client.addEventListener("resubscribed", resolve));
  const drained = old.close({ drainMs: 15_000, retryAfterMs: 1 });
  url = second.ws;
  const refused = [client.call("whoAreYou"), client.batch((b) => [b.call("whoAreYou")])];
  assertEquals(await unsettled(refused), [0, 1]);
  held.resolve("done");
  assertEquals(await underWay, "done");
  assertEquals(await Promise.all(refused), ["next", ["next"]]);
  await drained;
  await resubscribed;
  next.publish("news", "hello");
  await client.call("whoAreYou");
  assertEquals(received, ["hello"]);
});

test("JsonRpcClient tells of each step", async () => {
  const { client, events, wire } = scripted();
  const states = [client.state];
  for (const event of ["close", "reconnecting", "open"] as const) {
    client.addEventListener(event, () => states.push(client.state));
  }
  await client.connect();
  (await wire(0)).close(1001, "going away");
  await wire(1);
  await until(() => client.state === "open");
  await client.close();
  assertEquals(events, [
    "open",
    "close 1001 going away",
    "reconnecting 1",
    "open",
    "close 1000 final",
  ]);
  assertEquals(states, ["idle", "open", "waiting", "waiting", "open", "closed"]);
});

test("JsonRpcClient counts attempts up until one succeeds and a message has come", async () => {
  const script = scripted();
  const { client, events, wire } = script;
  await client.connect();
  script.refuse = 3;
  (await wire(0)).close(1001);
  (await wire(1)).close(1001); // of no use: nothing was said
  const useful = await wire(2);
  await until(() => client.state === "open");
  useful.send({ jsonrpc: "2.0", method: "hello" });
  await quietMoment();
  useful.close(1001);
  await wire(3);
  await until(() => client.state === "open");
  const attempts = events.filter((event) => event.startsWith("reconnecting"));
  assertEquals(attempts, [1, 2, 3, 4, 5, 1].map((n) => `reconnecting ${n}`));
  await client.close();
});

test("JsonRpcClient gives up after maxAttempts, and says so to those who wait", async () => {
  const script = scripted({ reconnect: { minMs: 0, maxMs: 0, maxAttempts: 2 } });
  const { client, events, wire } = script;
  await client.connect();
  script.refuse = Infinity;
  const failures: Promise<RpcConnectionError>[] = [];
  client.addEventListener("close", ({ final }) => {
    if (!final) failures.push(client.call("ping").then(() => Promise.reject(), (error) => error));
  });
  (await wire(0)).close(1001);
  await until(() => client.state === "closed");
  const [error] = await Promise.all(failures);
  assertStringIncludes(error?.message as string, "2 attempts");
  assertEquals(error?.outcome, "unsent");
  assertEquals(events.at(-1), "close 1006 gave up after 2 attempts final");
});

for (
  const [what, options] of [["is told not to", { reconnect: false }], ["has no URL", {}]] as const
) {
  test(`JsonRpcClient does not come back when it ${what}`, async () => {
    const rpc = testServer();
    await using server = await serveHere(rpc);
    const target = what === "has no URL" ? new WebSocket(server.ws) : server.ws;
    await using client = await connect(target, options);
    const events = eventsOf(client);
    await until(() => rpc.connections.size === 1);
    for (const connection of rpc.connections) connection.close(4000, "enough");
    await until(() => client.state === "closed");
    assertEquals(events, ["close 4000 enough final"]);
    await assertRejects(() => client.call("ping"), RpcConnectionError, "closed");
  });
}

test("JsonRpcClient stays away when the server ends the connection with 1000", async () => {
  const { client, events, wire } = scripted();
  await client.connect();
  (await wire(0)).close(1000, "done");
  await until(() => client.state === "closed");
  assertEquals(events, ["open", "close 1000 done final"]);
});

test("new JsonRpcClient() throws RangeError when a bound makes no sense", () => {
  for (
    const options of [{ maxQueued: 0 }, { maxQueuedMs: -1 }, { heartbeatMs: NaN }, {
      connectMs: 1.5,
    }, {
      reconnect: { minMs: -1 },
    }, { reconnect: { maxAttempts: 0 } }]
  ) {
    const [name = ""] = Object.keys(options.reconnect ?? options);
    assertThrows(() => new JsonRpcClient("ws://x", options), RangeError, `\`${name}\``);
  }
});

// -- the first attempt --

test("connect() rejects when its first attempt fails, and leaves nothing behind", async () => {
  const port = await freePort();
  const error = await assertRejects(() => connect(`ws://127.0.0.1:${port}`), RpcConnectionError);
  assertEquals(error.outcome, "unsent");
});

test("JsonRpcClient goes on trying when a failing socket says error and never close", async () => {
  // As Node 22's does.
  function makeFailing(): StandardSocket {
    const events = new EventTarget();
    queueMicrotask(() => events.dispatchEvent(new Event("error")));
    const { addEventListener } = events;
    return {
      readyState: 0,
      bufferedAmount: 0,
      send() {},
      close() {},
      addEventListener: addEventListener.bind(events) as StandardSocket["addEventListener"],
    };
  }
  const ends: StandardSocket[] = [];
  function WebSocket(): StandardSocket {
    if (ends.length > 0 && made++ < 2) return makeFailing();
    const [near, far] = linkedSockets();
    ends.push(far);
    return near;
  }
  let made = 0;
  const { client, events } = scripted({
    WebSocket: WebSocket as unknown as new (url: string) => StandardSocket,
  });
  await client.connect();
  ends[0]?.close(1001);
  await until(() => ends.length === 2 && client.state === "open");
  assertEquals(events, [
    "open",
    ...["close 1001", "reconnecting 1", "reconnecting 2", "reconnecting 3"],
    "open",
  ]);
  await client.close();
});

test("client.connect() may be tried again when it failed", async () => {
  const port = await freePort();
  await using client = new JsonRpcClient(`ws://127.0.0.1:${port}`);
  const events = eventsOf(client);
  await assertRejects(() => client.connect(), RpcConnectionError);
  await assertRejects(() => client.call("ping"), RpcConnectionError);
  assertEquals([client.state, events], ["idle", []]);
  await using _server = await serveHere(testServer(), port);
  assertEquals(await client.call("ping"), "pong");
  assertEquals(events, ["open"]);
});

test("client.connect() makes the next attempt at once when the client waits", async () => {
  const { client, wire } = scripted({ reconnect: { minMs: 1e9, maxMs: 1e9 } });
  await client.connect();
  (await wire(0)).close(1001);
  await until(() => client.state === "waiting");
  await client.connect();
  assertEquals(client.state, "open");
  await client.close();
});

test("client.connect() rejects when the server takes longer than connectMs", async () => {
  const held = deferred();
  await using server = await serveHere(
    new JsonRpc().use({ name: "test", handshake: () => held.promise }),
  );
  await using client = new JsonRpcClient(server.ws, { connectMs: 50 });
  await assertRejects(() => client.connect(), RpcConnectionError, "50 ms");
  assertEquals(client.state, "idle");
  held.resolve();
});

// -- what the server says at the end --

for (const code of [1012, 1013]) {
  test(`JsonRpcClient waits as long as the server asks for with ${code}`, async () => {
    const { client, wire } = scripted();
    await client.connect();
    const waits = new Promise<number>((resolve) =>
      client.addEventListener("reconnecting", ({ delayMs }) => resolve(delayMs))
    );
    (await wire(0)).close(code, "restarting; retry-after=123456");
    assertEquals(await waits, 123456);
    assertEquals(client.state, "waiting");
    await client.close();
  });
}

test("JsonRpcClient stays away no longer than an hour, whatever the server asks for", async () => {
  const { client, wire } = scripted();
  await client.connect();
  const waits = new Promise<number>((resolve) =>
    client.addEventListener("reconnecting", ({ delayMs }) => resolve(delayMs))
  );
  (await wire(0)).close(1012, `retry-after=${"9".repeat(30)}`);
  assertEquals(await waits, 3_600_000);
  await client.close();
});

test("JsonRpcClient adds a wait of its own to the server's, so that not all come at once", async () => {
  const delays = new Set<number>();
  for (let n = 0; n < 5; n++) {
    const { client, wire } = scripted({ reconnect: { minMs: 1000 } });
    await client.connect();
    client.addEventListener("reconnecting", ({ delayMs }) => delays.add(delayMs));
    (await wire(0)).close(1012, "retry-after=5000");
    await until(() => client.state === "waiting");
    await client.close();
  }
  assertEquals(delays.size, 5);
  for (const delay of delays) assert(delay >= 5000 && delay <= 6000, `waits ${delay}`);
});

for (const code of [1008, 4401]) {
  test(`JsonRpcClient stays away after ${code} when it has nothing new to show`, async () => {
    const { client, events, wire } = scripted({ token: "old" });
    await client.connect();
    (await wire(0)).close(code, "no");
    await until(() => client.state === "closed");
    assertEquals(events, ["open", `close ${code} no final`]);
  });

  test(`JsonRpcClient asks for another token after ${code}, once in a row`, async () => {
    let asked = 0;
    const script = scripted({ token: () => `token${++asked}` });
    await script.client.connect();
    (await script.wire(0)).close(code, "no");
    (await script.wire(1)).close(code, "still no");
    await until(() => script.client.state === "closed");
    assertEquals(script.asked.map(([_url, ...protocols]) => protocols), [
      ["jsonrpc", "bearer.token1"],
      ["jsonrpc", "bearer.token2"],
    ]);
    assertEquals(script.events.at(-1), `close ${code} still no final`);
  });
}

test("JsonRpcClient goes on asking for tokens that expire after some use", async () => {
  const { client, wire } = scripted({ token: () => Promise.resolve("short") });
  await client.connect();
  for (let round = 0; round < 5; round++) {
    const end = await wire(round);
    await until(() => client.state === "open");
    end.send({ jsonrpc: "2.0", method: "hello" });
    await quietMoment();
    end.close(4401, "expired");
  }
  await wire(5);
  await client.close();
});

// -- where to, and as whom --

test("JsonRpcClient asks a function for its URL before each attempt", async () => {
  let asked = 0;
  const script = scripted({}, () => Promise.resolve(`ws://host${++asked}.example/`));
  await script.client.connect();
  (await script.wire(0)).close(1001);
  await script.wire(1);
  assertEquals(script.asked, [["ws://host1.example/"], ["ws://host2.example/"]]);
  await script.client.close();
});

test("JsonRpcClient goes on trying when a function for its token fails later", async () => {
  const answers = ["first", new Error("no network"), "second"];
  const script = scripted({
    token: () => {
      const answer = answers.shift() as string | Error;
      if (answer instanceof Error) throw answer;
      return answer;
    },
  });
  await script.client.connect();
  (await script.wire(0)).close(1001);
  await script.wire(1);
  assertEquals(script.asked.map(([, , bearer]) => bearer), ["bearer.first", "bearer.second"]);
  await script.client.close();
});

test("client.connect() rejects with the cause when a function for the URL or token fails", async () => {
  for (
    const [options, target, cause] of [
      [{ token: () => Promise.reject(new Error("mine")) }, "ws://scripted.example", "mine"],
      [{}, () => Promise.reject(new Error("mine")), "mine"],
      [{}, () => "ftp://mine", "expected a ws: or http: URL"],
    ] as const
  ) {
    const { client } = scripted(options, target);
    const error = await assertRejects(() => client.connect(), RpcConnectionError);
    assertStringIncludes((error.cause as Error).message, cause);
    assertEquals(client.state, "idle");
  }
});

test("call() over HTTP asks a function for its token before each POST", async () => {
  let asked = 0;
  const rpc = new JsonRpc().method(
    "token",
    (_params: unknown, { connection }) => connection.handshake.headers.get("authorization"),
  );
  await using server = await serveHere(rpc);
  await using client = await connect<typeof rpc>(server.url, {
    token: () => Promise.resolve(`t${++asked}`),
  });
  assertEquals(await client.call("token"), "Bearer t1");
  assertEquals(await client.call("token"), "Bearer t2");
});

test("prepare runs on each connection before all else", async () => {
  const seen: string[] = [];
  const rpc = new JsonRpc()
    .user<{ name: string }>()
    .method("login", async ([name]: [string], request) => {
      await quietMoment();
      request.connection.login({ name });
      return true;
    })
    .method("whoami", (_params: unknown, { user }) => user?.name)
    .topic("mine", { schema: type<string>() });
  await using server = await serveHere(rpc);
  await using client: JsonRpcClient = new JsonRpcClient(server.ws, {
    ...AT_ONCE,
    prepare: async (connection) => {
      await connection.call("login", ["ada"]);
      seen.push(client.state);
    },
  });
  const events = eventsOf(client);
  assertEquals(await client.call("whoami"), "ada");
  for (const connection of rpc.connections) connection.close(4000);
  await until(() => events.includes("close 4000"));
  assertEquals(await client.call("whoami"), "ada");
  assertEquals(seen, ["connecting", "connecting"]);
});

test("client.connect() rejects when prepare fails", async () => {
  const { client, wires } = scripted({
    prepare: () => Promise.reject(new Error("wrong password")),
  });
  const error = await assertRejects(() => client.connect(), RpcConnectionError, "wrong password");
  assertStringIncludes((error.cause as Error).message, "wrong password");
  assertEquals([client.state, wires.length], ["idle", 1]);
});

test("client.connect() rejects when prepare closes the connection, whatever the server says", async () => {
  class Silent {
    readyState = 1;
    readonly bufferedAmount = 0;
    send(): void {}
    addEventListener(): void {}
    close(): void {
      this.readyState = 2;
    }
  }
  const client = new JsonRpcClient("ws://scripted.example", {
    WebSocket: Silent,
    prepare: (connection) => connection.close(),
  });
  await assertRejects(() => client.connect(), RpcConnectionError, "prepare");
  assertEquals(client.state, "idle");
});

test("JsonRpcClient asks only once for an answer that is over its maxMessageBytes", async () => {
  let asked = 0;
  const rpc = new JsonRpc().method("big", () => {
    asked++;
    return "x".repeat(2000);
  });
  await using server = await serveHere(rpc);
  await using client = await connect<typeof rpc>(server.ws, { ...AT_ONCE, maxMessageBytes: 1000 });
  const call = client.call("big", undefined, { idempotent: true, timeoutMs: 5000 });
  const error = await assertRejects(() => call, RpcConnectionError, "maxMessageBytes");
  assertEquals([error.outcome, asked], ["unknown", 1]);
});

// -- one socket at a time --

test("JsonRpcClient ignores what an earlier socket still says", async () => {
  const sockets = [linkedSockets(), linkedSockets()];
  let made = 0;
  class Zombie {
    constructor() {
      return sockets[made++]?.[0] as never;
    }
  }
  const client = new JsonRpcClient("ws://scripted.example", {
    ...AT_ONCE,
    heartbeatMs: 20,
    WebSocket: Zombie as never,
  });
  const received: unknown[] = [];
  client.method("news", (params) => void received.push(params));
  await client.connect();
  const old = sockets[0]?.[1];
  // It answers no ping and no close: it is only slow, and will talk later.
  const late: string[] = [];
  old?.addEventListener("message", ({ data }) => late.push(data as string));
  await until(() => made === 2);
  await until(() => client.state === "open");
  const call = client.call("ask");
  let asked: { id?: number } = {};
  sockets[1]?.[1].addEventListener("message", ({ data }) => {
    const message = JSON.parse(data as string);
    if (message.method === "ask") asked = message;
    else sockets[1]?.[1].send(JSON.stringify({ jsonrpc: "2.0", result: null, id: message.id }));
  });
  await until(() => asked.id !== undefined);
  const near = sockets[0]?.[0] as unknown as { readyState: number };
  near.readyState = 1; // as a socket that was never told of its end
  old?.send(JSON.stringify({ jsonrpc: "2.0", result: "old", id: asked.id }));
  old?.send(JSON.stringify({ jsonrpc: "2.0", method: "news", params: ["old"] }));
  await quietMoment();
  old?.close(1001);
  await quietMoment();
  assertEquals(client.state, "open");
  sockets[1]?.[1].send(JSON.stringify({ jsonrpc: "2.0", result: "new", id: asked.id }));
  assertEquals(await call, "new");
  assertEquals(received, []);
  await client.close();
});

// -- silence --

test("heartbeatMs keeps a connection that answers, with an error too", async () => {
  const { client, events, wire } = scripted({ heartbeatMs: 10 });
  await client.connect();
  const end = await wire(0);
  for (let round = 0; round < 3; round++) {
    const { method, id } = await end.next();
    assertEquals(method, "rpc.ping");
    end.send({ jsonrpc: "2.0", error: { code: -32601, message: "Method not found" }, id });
  }
  assertEquals(events, ["open"]);
  await client.close();
});

test("heartbeatMs drops a server that is silent, and the client comes back", async () => {
  const { client, events, wire } = scripted({ heartbeatMs: 10 });
  await client.connect();
  assertEquals((await (await wire(0)).next()).method, "rpc.ping");
  await wire(1);
  assertEquals(events.slice(0, 3), [
    "open",
    "close 1006 No answer to a ping within 10 ms",
    "reconnecting 1",
  ]);
  await client.close();
});

// -- a page that wakes up --

test("JsonRpcClient tries at once when the browser goes online", globalEvents, async () => {
  const { client, wire, wires } = scripted({ reconnect: { minMs: 1e9, maxMs: 1e9 } });
  await client.connect();
  (await wire(0)).close(1001);
  await until(() => client.state === "waiting");
  globalThis.dispatchEvent(new Event("online"));
  await wire(1);
  await until(() => client.state === "open");
  globalThis.dispatchEvent(new Event("online"));
  (await wire(1)).close(1012, "retry-after=1000000");
  await until(() => client.state === "waiting");
  globalThis.dispatchEvent(new Event("online")); // the server's word holds
  await quietMoment();
  assertEquals(wires.length, 2);
  await client.close();
  globalThis.dispatchEvent(new Event("online"));
  await quietMoment();
  assertEquals([wires.length, client.state], [2, "closed"]);
});

test(
  "JsonRpcClient stops listening to the browser when a handler of the end tried in vain",
  globalEvents,
  async () => {
    const script = scripted({ reconnect: { minMs: 1e9, maxMs: 1e9 } });
    const { client, wire, wires } = script;
    await client.connect();
    const tried = deferred<unknown>();
    client.addEventListener("close", () => {
      script.refuse = 1;
      tried.resolve(client.connect().catch((error) => error));
    }, { once: true });
    (await wire(0)).close(1001);
    assert(await tried.promise instanceof RpcConnectionError);
    globalThis.dispatchEvent(new Event("online"));
    await until(() => client.state === "open");
    await client.close();
    globalThis.dispatchEvent(new Event("online"));
    await quietMoment();
    assertEquals([wires.length, client.state], [2, "closed"]);
  },
);

// -- the end --

test("close() ends a client that waits, and all that waits for it", async () => {
  const { client, events, wire } = scripted({ reconnect: { minMs: 1e9, maxMs: 1e9 } });
  await client.connect();
  (await wire(0)).close(1001);
  await until(() => client.state === "waiting");
  const call = client.call("ping").catch(({ outcome }) => outcome);
  await client.close();
  assertEquals(await call, "unsent");
  assertEquals(events.slice(-1), ["close 1000 final"]);
});

for (const event of ["close", "reconnecting", "open"] as const) {
  test(`close() may be called by a handler of "${event}"`, async () => {
    const { client, wire } = scripted();
    await client.connect();
    client.addEventListener(event, () => void client.close());
    (await wire(0)).close(1001);
    await until(() => client.state === "closed");
    await assertRejects(() => client.call("ping"), RpcConnectionError, "closed");
  });
}

test("close() resolves for all who wait for it", async () => {
  await using server = await serveHere(testServer());
  const client = await connect(server.ws);
  let gone = false;
  client.addEventListener("close", () => gone = true);
  void client.close();
  await client.close();
  assert(gone);
});

test("JsonRpcClient that waits keeps its process alive", async () => {
  const rpc = testServer();
  const first = await serveHere(rpc);
  const script = `
    import { connect } from ${JSON.stringify(import.meta.resolve("../../src/client/client.ts"))};
    const client = await connect(${JSON.stringify(first.ws)}, { reconnect: { maxMs: 300 } });
    client.addEventListener("close", async ({ final }) => {
      if (final) return;
      console.log(await client.call("ping"));
      await client.close();
    });
  `;
  await using file = await scriptFile(script);
  const [program, ...flags] = (await runtime(runtimeHere)).command;
  const running = promisify(execFile)(program as string, [...flags, file.path], {
    timeout: 20_000,
  });
  await until(() => rpc.connections.size === 1);
  await first.stop();
  await using _second = await serveHere(testServer(), Number(new URL(first.url).port));
  assertEquals((await running).stdout, "pong\n");
});
