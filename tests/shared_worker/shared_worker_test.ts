/**
 * One connection for many tabs: here each tab is a MessageChannel, over a real socket.
 */
import { assertEquals, assertRejects, assertThrows } from "@std/assert";
import { test } from "node:test";
import { connect, JsonRpc, RpcConnectionError, RpcError } from "@x/jsonrpc";
import type { JsonRpcClient } from "@x/jsonrpc";
import { shareConnection, sharedWorker } from "@x/jsonrpc/shared_worker";
import type { Port, SharedConnectionOptions } from "@x/jsonrpc/shared_worker";
import { stream } from "@x/jsonrpc/stream";
import { deferred, until } from "../helpers/deferred.ts";
import { silentLog } from "../helpers/log.ts";
import { serveHere } from "../helpers/server.ts";

const QUICK = { reconnect: { minMs: 5, maxMs: 20 }, logger: silentLog() };

/** Serves a `JsonRpc`, shares a connection to it, and makes tabs. */
async function site(rpc: JsonRpc, options: SharedConnectionOptions = {}) {
  const server = await serveHere(rpc);
  const shared = shareConnection(server.ws, { ...QUICK, ...options });
  const clients: JsonRpcClient[] = [];
  const ports: (readonly [near: MessagePort, far: MessagePort])[] = [];
  const worker = () => {
    const { port1, port2 } = new MessageChannel();
    shared.attach(port2 as unknown as Port);
    ports.push([port1, port2]);
    return { port: port1 as unknown as Port };
  };
  const tab = async (): Promise<JsonRpcClient> => {
    const client = await connect(sharedWorker(worker), QUICK);
    clients.push(client);
    return client;
  };
  return {
    rpc,
    shared,
    server,
    ports,
    tab,
    tabs: (count: number) => Promise.all(Array.from({ length: count }, tab)),
    async [Symbol.asyncDispose]() {
      await Promise.all(clients.map((client) => client.close()));
      await shared.close();
      await server.stop();
    },
  };
}

function quiet() {
  return new JsonRpc({ logger: silentLog() });
}

test("ten tabs are one connection, and each gets the answers to its own calls", async () => {
  const rpc = quiet().method("echo", async ([value, ms]: [string, number]) => {
    await new Promise((resolve) => setTimeout(resolve, ms));
    return value;
  });
  await using here = await site(rpc);
  const tabs = await here.tabs(10);
  assertEquals(rpc.connections.size, 1);
  assertEquals(here.shared.tabs, 10);
  const answers = await Promise.all(tabs.flatMap((tab, index) => [
    tab.call("echo", [`${index} a`, 20 - index]),
    tab.batch((b) => [b.call("echo", [`${index} b`, 0]), b.call("echo", [`${index} c`, 3])]),
  ]));
  assertEquals(
    answers,
    tabs.flatMap((_, index) => [`${index} a`, [`${index} b`, `${index} c`]]),
  );
});

test("a topic is subscribed to once, and its events reach each tab that wants them", async () => {
  const begun: string[] = [];
  const ended: string[] = [];
  const rpc = quiet().topic("news").topic("sport").use({
    name: "watch",
    onSubscribe: (_, topic) => void begun.push(topic),
    onUnsubscribe: (_, topic) => void ended.push(topic),
  });
  await using here = await site(rpc);
  const [a, b, c] = await here.tabs(3) as [JsonRpcClient, JsonRpcClient, JsonRpcClient];
  const heard: string[] = [];
  const [first] = await Promise.all([
    a.subscribe("news", (data) => heard.push(`a ${data}`)),
    b.subscribe("news", (data) => heard.push(`b ${data}`), { recover: true }),
    c.subscribe("sport", (data) => heard.push(`c ${data}`)),
  ]);
  rpc.publish("news", 1);
  rpc.publish("sport", 2);
  await until(() => heard.length === 3);
  assertEquals(heard.sort(), ["a 1", "b 1", "c 2"]);
  assertEquals(begun.sort(), ["news", "sport"]);
  await first.unsubscribe();
  assertEquals(await a.call("get_subscriptions"), []);
  assertEquals(await b.call("get_subscriptions"), ["news"]);
  assertEquals(ended, []);
  await b.close();
  await until(() => ended.length === 1);
  assertEquals(ended, ["news"]);
});

test("a late tab gets the retained event, and others do not get it again", async () => {
  const rpc = quiet().topic("price", { retain: true });
  rpc.publish("price", 7);
  await using here = await site(rpc);
  const heard: string[] = [];
  const [a, b] = await here.tabs(2) as [JsonRpcClient, JsonRpcClient];
  await a.subscribe("price", (data) => heard.push(`a ${data}`));
  await until(() => heard.length === 1);
  await b.subscribe("price", (data) => heard.push(`b ${data}`));
  await until(() => heard.length === 2);
  rpc.publish("price", 8);
  await until(() => heard.length === 4);
  assertEquals(heard, ["a 7", "b 7", "a 8", "b 8"]);
});

test("a late tab gets the kept events that it asks for with `last`", async () => {
  const rpc = quiet().topic("chat", { history: { size: 10 } });
  for (let line = 1; line <= 5; line++) rpc.publish("chat", line);
  await using here = await site(rpc);
  const heard: Record<string, unknown[]> = { a: [], b: [], c: [] };
  const [a, b, c] = await here.tabs(3) as [JsonRpcClient, JsonRpcClient, JsonRpcClient];
  await a.subscribe("chat", (line) => heard.a?.push(line), { last: 2 });
  await b.subscribe("chat", (line) => heard.b?.push(line), { last: 4 });
  rpc.publish("chat", 6);
  await c.subscribe("chat", (line) => heard.c?.push(line));
  rpc.publish("chat", 7);
  await until(() => Object.values(heard).every((lines) => lines.at(-1) === 7));
  assertEquals(heard, { a: [4, 5, 6, 7], b: [2, 3, 4, 5, 6, 7], c: [7] });
});

test("after a cut each tab recovers what it missed, over one new connection", async () => {
  const rpc = quiet().topic("chat", { history: { size: 100 } });
  await using here = await site(rpc);
  const tabs = await here.tabs(4);
  const heard: unknown[][] = tabs.map(() => []);
  let closed = 0;
  let gaps = 0;
  for (const [index, tab] of tabs.entries()) {
    tab.addEventListener("close", () => closed++);
    await tab.subscribe("chat", (line) => heard[index]?.push(line), {
      recover: true,
      onGap: () => gaps++,
    });
  }
  rpc.publish("chat", 1);
  await until(() => heard.every((lines) => lines.length === 1));
  for (const connection of rpc.connections) connection.close(4000, "Again");
  rpc.publish("chat", 2);
  await until(() => closed === 4);
  rpc.publish("chat", 3);
  await until(() => heard.every((lines) => lines.length === 3));
  rpc.publish("chat", 4);
  await until(() => heard.every((lines) => lines.length === 4));
  assertEquals(heard, tabs.map(() => [1, 2, 3, 4]));
  assertEquals([rpc.connections.size, gaps], [1, 0]);
});

test("a tab that comes back alone recovers what it missed, and others get nothing twice", async () => {
  const rpc = quiet().topic("chat", { history: { size: 100 } });
  await using here = await site(rpc);
  const [a, b] = await here.tabs(2) as [JsonRpcClient, JsonRpcClient];
  const heard: Record<string, unknown[]> = { a: [], b: [] };
  await a.subscribe("chat", (line) => heard.a?.push(line), { recover: true });
  await b.subscribe("chat", (line) => heard.b?.push(line), { recover: true });
  rpc.publish("chat", 1);
  await until(() => heard.a?.length === 1 && heard.b?.length === 1);
  const again = new Promise((resolve) => b.addEventListener("resubscribed", resolve));
  let closed = 0;
  b.addEventListener("close", () => closed++);
  // As a page that the browser puts aside tells the worker; the page notices when it is back.
  const [near] = here.ports[1] as readonly [MessagePort, MessagePort];
  const data = { "@x/jsonrpc shared": { kind: "closed", code: 1001, reason: "" } };
  near.postMessage(data);
  await until(() => here.shared.tabs === 1 || closed > 0);
  for (let line = 2; line <= 5; line++) rpc.publish("chat", line);
  await until(() => heard.a?.length === 5);
  near.dispatchEvent(new MessageEvent("message", { data }));
  await again;
  await until(() => heard.b?.length === 5);
  rpc.publish("chat", 6);
  await until(() => heard.a?.length === 6 && heard.b?.length === 6);
  assertEquals(heard, { a: [1, 2, 3, 4, 5, 6], b: [1, 2, 3, 4, 5, 6] });
});

test("a gap is told to each tab", async () => {
  const rpc = quiet().topic("chat", { history: { size: 1 } });
  await using here = await site(rpc);
  const tabs = await here.tabs(3);
  const gaps: number[] = [];
  let heard = 0;
  for (const [index, tab] of tabs.entries()) {
    await tab.subscribe("chat", () => heard++, { recover: true, onGap: () => gaps.push(index) });
  }
  rpc.publish("chat", 1);
  await until(() => heard === 3);
  for (const connection of rpc.connections) connection.close(4000, "Again");
  for (let line = 2; line <= 9; line++) rpc.publish("chat", line);
  await until(() => new Set(gaps).size === 3);
});

test("a call can be cancelled and report progress, and one of a tab that is gone is cancelled", async () => {
  const aborted: string[] = [];
  const started = deferred();
  const rpc = quiet().method("work", async ([name]: [string], request) => {
    request.progress(`${name} 1`);
    request.signal.addEventListener("abort", () => aborted.push(name));
    started.resolve();
    await new Promise((resolve) => request.signal.addEventListener("abort", resolve));
  });
  await using here = await site(rpc);
  const [a, b] = await here.tabs(2) as [JsonRpcClient, JsonRpcClient];
  const progress: unknown[] = [];
  const controller = new AbortController();
  const call = a.call("work", ["a"], {
    onProgress: (value) => progress.push(value),
    signal: controller.signal,
  });
  const other = b.call("work", ["b"]);
  other.catch(() => {});
  await until(() => progress.length === 1);
  controller.abort(new Error("Enough"));
  await assertRejects(() => call, Error, "Enough");
  await until(() => aborted.includes("a"));
  await started.promise;
  await b.close();
  await until(() => aborted.includes("b"));
  assertEquals(progress, ["a 1"]);
  assertEquals(rpc.stats().calls, 0);
});

test("streams of two tabs do not mix, and stop when a tab leaves the loop", async () => {
  let ended = 0;
  const rpc = quiet().method("count", async function* ([from]: [number]) {
    try {
      for (let i = from;; i++) yield i;
    } finally {
      ended++;
    }
  });
  await using here = await site(rpc);
  const tabs = await here.tabs(3);
  const read = await Promise.all(tabs.map(async (tab, index) => {
    const items: unknown[] = [];
    for await (const item of stream(tab, "count", [1000 * index], { credit: 4 })) {
      if (items.push(item) === 20) break;
    }
    return items;
  }));
  assertEquals(
    read,
    tabs.map((_, index) => Array.from({ length: 20 }, (_, i) => 1000 * index + i)),
  );
  await until(() => ended === 3);
});

test("a subscription by id belongs to its tab, and ends with it", async () => {
  let ended = 0;
  const names = { unsubscribe: "tick_unsubscribe", notification: "tick" };
  const rpc = quiet().stream("tick_subscribe", names, async function* ([name]: [string]) {
    try {
      for (let i = 0;; i++) {
        yield `${name} ${i}`;
        await new Promise((resolve) => setTimeout(resolve, 2));
      }
    } finally {
      ended++;
    }
  });
  await using here = await site(rpc, { streams: { tick_subscribe: names } });
  const [a, b] = await here.tabs(2) as [JsonRpcClient, JsonRpcClient];
  const seen: string[] = [];
  const reading = (async () => {
    for await (const item of stream(b, "tick_subscribe", ["b"], names)) seen.push(item as string);
  })();
  for await (const item of stream(a, "tick_subscribe", ["a"], names)) {
    if (item === "a 5") break;
    assertEquals((item as string)[0], "a");
  }
  await until(() => ended === 1 && seen.length > 3);
  assertEquals(seen.every((item) => item.startsWith("b ")), true);
  await b.close();
  await assertRejects(() => reading, RpcConnectionError);
  await until(() => ended === 2);
});

test("a call of the server goes to the tab that was active last and has the method", async () => {
  const rpc = quiet().method("touch", () => true)
    .method("ask", async (_params: unknown, request) => await request.call("who"));
  await using here = await site(rpc);
  const [a, b, c] = await here.tabs(3) as [JsonRpcClient, JsonRpcClient, JsonRpcClient];
  a.method("who", () => "a");
  b.method("who", () => "b");
  assertEquals(await a.call("ask"), "a");
  assertEquals(await b.call("ask"), "b");
  assertEquals(await c.call("ask"), "b"); // c has no such method
  await b.close();
  assertEquals(await c.call("ask"), "a");
  await a.close();
  await assertRejects(() => c.call("ask"), RpcError);
});

test("a notification of the server reaches all tabs", async () => {
  const rpc = quiet();
  await using here = await site(rpc);
  const tabs = await here.tabs(3);
  const heard: unknown[] = [];
  for (const tab of tabs) tab.method("hello", ([name]: [string]) => void heard.push(name));
  for (const connection of rpc.connections) connection.notify("hello", ["all"]);
  await until(() => heard.length === 3);
});

test("the last tab that closes leaves no connection, and the next one opens another", async () => {
  const rpc = quiet().method("ping", () => "pong");
  await using here = await site(rpc);
  const [a, b] = await here.tabs(2) as [JsonRpcClient, JsonRpcClient];
  await a.close();
  assertEquals(await b.call("ping"), "pong");
  await b.close();
  await until(() => rpc.connections.size === 0);
  const c = await here.tab();
  assertEquals(await c.call("ping"), "pong");
});

test("a tab may have no more subscriptions and calls than its limits", async () => {
  const rpc = quiet().topic("room.*").method("wait", () => new Promise(() => {}));
  await using here = await site(rpc, { maxSubscriptions: 2, maxInFlight: 2 });
  const [a, b] = await here.tabs(2) as [JsonRpcClient, JsonRpcClient];
  await a.subscribe("room.1", () => {});
  await a.subscribe("room.2", () => {});
  await assertRejects(() => a.subscribe("room.3", () => {}), RpcError, "2 a tab");
  await b.subscribe("room.3", () => {});
  const calls = [b.call("wait"), b.call("wait"), b.call("wait")];
  for (const call of calls) call.catch(() => {});
  await assertRejects(() => calls[2] as Promise<unknown>, RpcError, "maxInFlight");
});

test("a topic that does not exist is refused to each tab, and one that is removed ends in each", async () => {
  const rpc = quiet();
  const removal = rpc.register(() => rpc.topic("news"));
  await using here = await site(rpc);
  const tabs = await here.tabs(2);
  const lost: unknown[] = [];
  for (const tab of tabs) {
    await assertRejects(() => tab.subscribe("nothing", () => {}), RpcError, "no such topic");
    await tab.subscribe("news", () => {}, { onError: (error) => lost.push(error) });
  }
  removal();
  await until(() => lost.length === 2);
});

test("a server that cannot be reached is named in the error of each tab", async () => {
  const shared = shareConnection("ws://127.0.0.1:9", QUICK);
  const worker = () => {
    const { port1, port2 } = new MessageChannel();
    shared.attach(port2 as unknown as Port);
    return { port: port1 as unknown as Port };
  };
  await Promise.all([1, 2].map(() =>
    assertRejects(
      () => connect(sharedWorker(worker), QUICK),
      RpcConnectionError,
      "Cannot connect to ws://127.0.0.1:9",
    )
  ));
  await shared.close();
});

test("a tab that reads all it gets is not let go, however little may be unread", async () => {
  const rpc = quiet().topic("news");
  await using here = await site(rpc, { maxBufferedBytes: 10_000 });
  const tab = await here.tab();
  const closes: number[] = [];
  tab.addEventListener("close", ({ code }) => closes.push(code));
  let heard = 0;
  await tab.subscribe("news", () => heard++);
  for (let n = 1; n <= 30; n++) {
    rpc.publish("news", "x".repeat(10_000));
    await until(() => heard === n || closes.length > 0);
  }
  assertEquals([closes, heard], [[], 30]);
});

test("a tab that gives no sign of life is given up", async () => {
  const rpc = quiet().topic("news");
  await using here = await site(rpc, { tabHeartbeatMs: 20 });
  await here.tab();
  const { port1, port2 } = new MessageChannel();
  here.shared.attach(port2 as unknown as Port);
  port1.postMessage({ "@x/jsonrpc shared": { kind: "hello" } }); // and nothing more
  port1.postMessage('{"jsonrpc":"2.0","method":"subscribe","params":["news"],"id":1}');
  await until(() => here.shared.tabs === 2);
  await until(() => here.shared.tabs === 1);
  port1.close();
});

test("a target without a connection is refused, and so is a browser without shared workers", async () => {
  assertThrows(() => shareConnection("http://localhost/rpc"), TypeError, "Cannot share HTTP POST");
  assertThrows(() => shareConnection("ws://localhost", { maxSubscriptions: -1 }), RangeError);
  const none = sharedWorker(() => {
    throw new ReferenceError("SharedWorker is not defined");
  });
  await assertRejects(() => connect(none), RpcConnectionError, "pass the option `url`");
});

test("without shared workers a tab connects by itself", async () => {
  const rpc = quiet().method("ping", () => "pong");
  await using server = await serveHere(rpc);
  const none = () => {
    throw new ReferenceError("SharedWorker is not defined");
  };
  const client = await connect<typeof rpc>(sharedWorker(none, { url: server.ws }));
  assertEquals(await client.call("ping"), "pong");
  await client.close();
});

test("a hundred tabs that come back at once miss nothing", async () => {
  const rpc = quiet().topic("chat", { history: { size: 100 }, retain: true });
  await using here = await site(rpc);
  const tabs = await here.tabs(100);
  const heard: unknown[][] = tabs.map(() => []);
  await Promise.all(
    tabs.map((tab, index) =>
      tab.subscribe("chat", (line) => heard[index]?.push(line), { recover: index % 2 === 0 })
    ),
  );
  rpc.publish("chat", 1);
  await until(() => heard.every((lines) => lines.length === 1));
  for (const connection of rpc.connections) connection.close(4000, "Again");
  rpc.publish("chat", 2);
  await until(() => heard.every((lines) => lines.at(-1) === 2));
  for (let line = 3; line <= 20; line++) rpc.publish("chat", line);
  await until(() => heard.every((lines) => lines.at(-1) === 20));
  const all = Array.from({ length: 20 }, (_, index) => index + 1);
  assertEquals(heard, tabs.map(() => all));
  assertEquals(rpc.connections.size, 1);
});
