// `onSubscribe` and `onUnsubscribe` of plugins: for every way in which a subscription begins and ends.

import { assertEquals } from "@std/assert";
import { test } from "node:test";
import { connect, guard, JsonRpc, loginRequired } from "@x/jsonrpc";
import type { JsonRpcOptions } from "@x/jsonrpc";
import { memoryBroker } from "@x/jsonrpc/memory";
import type { Plugin } from "@x/jsonrpc/plugin";
import { pair } from "../helpers/client.ts";
import { deferred, quietMoment, until } from "../helpers/deferred.ts";
import { silentLog } from "../helpers/log.ts";
import { serveHere } from "../helpers/server.ts";
import { bareClient } from "../helpers/wire.ts";

/** A server with a plugin that writes down what its hooks get. */
function recorded(options: JsonRpcOptions = {}) {
  const calls: string[] = [];
  const plugin: Plugin = {
    name: "recorder",
    onSubscribe: (connection, topic) => {
      calls.push(`+${topic} ${connection.subscriptions.has(topic)}`);
    },
    onUnsubscribe: (connection, topic, reason) => {
      calls.push(`-${topic} ${reason} ${connection.subscriptions.has(topic)}`);
    },
    onClose: () => void calls.push("close"),
  };
  const rpc = new JsonRpc({ logger: silentLog(), ...options })
    .user<{ name: string }>()
    .use(plugin)
    .topic("a", { history: { size: 10 } })
    .topic("b", { retain: true })
    .topic("room.*")
    .topic("users", { guards: [loginRequired] })
    .method("login", (_params, { connection }) => connection.login({ name: "ann" }))
    .method("logout", (_params, { connection }) => connection.logout())
    .method("leave", (_params, { connection }) => connection.close(4000));
  return { rpc, calls };
}

test("onSubscribe is called after the answer and before the first event, onUnsubscribe on unsubscribe", async () => {
  const { rpc, calls } = recorded();
  rpc.publish("b", "kept");
  const wire = bareClient(rpc);
  const order: string[] = [];
  rpc.use({
    name: "order",
    onSubscribe: (connection) => connection.notify("begun"),
  });
  wire.call(1, "subscribe", ["a", "b", "nowhere"]);
  for (let count = 0; count < 4; count++) {
    const { id, method } = await wire.next();
    order.push(method ?? `answer ${id}`);
  }
  assertEquals(order, ["answer 1", "begun", "begun", "b"]);
  wire.call(2, "unsubscribe", ["b", "nowhere"]);
  await wire.next();
  assertEquals(calls, ["+a true", "+b true", "-b call false"]);
  wire.close();
  await until(() => calls.includes("close"));
  assertEquals(calls.slice(3), ["-a close false", "close"]);
});

test("a second subscribe calls no hook, in whichever form it comes", async () => {
  const { rpc, calls } = recorded();
  const wire = bareClient(rpc);
  const forms = [
    ["a"],
    ["a"],
    { topics: ["a"], recover: true },
    { topics: ["a"], recover: true, last: { a: 3 } },
    { topics: ["a"], last: { a: 3 } },
    { topic: "a" },
  ];
  for (const params of forms) {
    wire.call(1, "subscribe", params);
    await wire.next();
  }
  assertEquals(calls, ["+a true"]);
  wire.close();
});

test("two calls for one topic in one batch count as one subscription", async () => {
  const { rpc, calls } = recorded();
  rpc.publish("b", "kept");
  const wire = bareClient(rpc);
  const call = (id: number, params: unknown) => ({
    jsonrpc: "2.0",
    method: "subscribe",
    params,
    id,
  });
  wire.send([call(1, ["b"]), call(2, { topics: ["b"], recover: true })]);
  await wire.next();
  // The retained event comes once, in the form that was asked for last.
  assertEquals((await wire.next()).method, "rpc.message");
  await quietMoment();
  assertEquals([wire.received.length, calls], [2, ["+b true"]]);
  wire.close();
});

test("onUnsubscribe says `forbidden` when the user may not have a topic any more", async () => {
  const { rpc, calls } = recorded();
  await using client = await pair(rpc);
  await client.call("login");
  await client.subscribe("users", () => {});
  await client.call("logout");
  assertEquals(calls, ["+users true", "-users forbidden false"]);
});

test("onUnsubscribe says `forbidden` when a new declaration has guards that refuse", async () => {
  const { rpc, calls } = recorded();
  await using client = await pair(rpc);
  await client.subscribe("room.7", () => {});
  await client.subscribe("room.8", () => {});
  rpc.topic("room.7", { guards: [guard(() => false)] });
  assertEquals(calls.slice(2), ["-room.7 forbidden false"]);
  rpc.topic("*.8", { guards: [guard(() => false)] });
  assertEquals(calls.slice(3), ["-room.8 forbidden false"]);
});

test("onUnsubscribe says `removed` when a topic is removed", async () => {
  const { rpc, calls } = recorded();
  await using client = await pair(rpc);
  await client.subscribe("a", () => {});
  await client.subscribe("room.7", () => {});
  rpc.removeTopic("a");
  rpc.removeTopic("room.*");
  assertEquals(calls.slice(2), ["-a removed false", "-room.7 removed false"]);
});

test("no hook is called for a subscription that never begins", async () => {
  const { rpc, calls } = recorded({
    broker: {
      ...memoryBroker(),
      subscribe: () => Promise.reject(new Error("broken")),
      history: () => Promise.reject(new Error("broken")),
      publish: () => ({ epoch: "e", offset: 1 }),
      close: () => {},
    },
  });
  const wire = bareClient(rpc);
  wire.call(1, "subscribe", ["a"]);
  assertEquals((await wire.next()).error?.message, "Broker unavailable");
  wire.close();
  await until(() => calls.length > 0);
  assertEquals(calls, ["close"]);
});

test("onUnsubscribe says `error` when a subscription is given up because the broker fails", async () => {
  const memory = memoryBroker();
  let broken = false;
  const { rpc, calls } = recorded({
    broker: {
      publish: (...args) => memory.publish(...args),
      subscribe: (...args) => memory.subscribe(...args),
      history: (...args) => broken ? Promise.reject(new Error("broken")) : memory.history(...args),
      close: () => memory.close(),
    },
  });
  rpc.use((request, next) => {
    // Answers before the broker has: the subscription then fails after its answer.
    if (request.method !== "subscribe" || !broken) return next();
    void Promise.resolve(next()).catch(() => {});
    return ["b"];
  });
  const wire = bareClient(rpc);
  wire.call(1, "subscribe", ["b"]);
  await wire.next();
  broken = true;
  wire.call(2, "subscribe", { topics: ["b"], recover: true, last: { b: 1 } });
  await wire.next();
  await until(() => calls.length === 2);
  assertEquals(calls, ["+b true", "-b error false"]);
  wire.close();
});

test("a connection that ends while the broker is asked calls no hook", async () => {
  const memory = memoryBroker();
  const lock = deferred();
  const { rpc, calls } = recorded({
    broker: {
      publish: (...args) => memory.publish(...args),
      subscribe: (...args) => lock.promise.then(() => memory.subscribe(...args)),
      history: (...args) => memory.history(...args),
      close: () => memory.close(),
    },
  });
  const wire = bareClient(rpc);
  wire.call(1, "subscribe", ["a"]);
  await quietMoment();
  wire.close();
  await until(() => calls.length > 0);
  lock.resolve();
  await quietMoment();
  assertEquals(calls, ["close"]);
});

test("a plugin may end a subscription or the connection as it begins", async () => {
  for (const end of ["close", "logout"] as const) {
    const { rpc, calls } = recorded();
    rpc.publish("b", "kept");
    rpc.topic("kept", { retain: true, guards: [loginRequired] });
    rpc.publish("kept" as "a", "kept");
    rpc.use({
      name: "ender",
      onSubscribe: (connection) => end === "close" ? connection.close() : connection.logout(),
    });
    const wire = bareClient(rpc);
    wire.call(1, "login");
    await wire.next();
    wire.call(2, "subscribe", ["kept"]);
    assertEquals((await wire.next()).result, ["kept"]);
    await quietMoment();
    const reason = end === "close" ? "close" : "forbidden";
    assertEquals(calls.slice(0, 2), ["+kept true", `-kept ${reason} false`]);
    assertEquals(wire.received.length, 2, "no event follows");
    wire.close();
  }
});

test("a hook that throws is logged, and the subscription holds", async () => {
  const logger = silentLog();
  const { rpc, calls } = recorded({ logger });
  rpc.use({
    name: "broken",
    onSubscribe: () => {
      throw new Error("broken hook");
    },
    onUnsubscribe: () => Promise.reject(new Error("broken later")) as never,
  });
  await using client = await pair(rpc);
  const received: unknown[] = [];
  await client.subscribe("a", (data) => received.push(data));
  rpc.publish("a", 1);
  await client.getTopics();
  await client.unsubscribe("a");
  await quietMoment();
  assertEquals([received, calls], [[1], ["+a true", "-a call false"]]);
  assertEquals(logger.lines.map((line) => /(on\w+) of plugin "broken" failed/.exec(line)?.[1]), [
    "onSubscribe",
    "onUnsubscribe",
  ]);
});

test("each subscription that began ends once, over real sockets, event streams and the server's end", async () => {
  const { rpc, calls } = recorded();
  await using server = await serveHere(rpc);
  const client = await connect<typeof rpc>(server.ws, { reconnect: false });
  await client.subscribe("a", () => {});
  await client.call("leave").catch(() => {});
  await until(() => calls.includes("close"));
  assertEquals(calls.splice(0), ["+a true", "-a close false", "close"]);

  const aborter = new AbortController();
  const stream = await fetch(`${server.url}/?topics=a,room.7`, {
    headers: { accept: "text/event-stream" },
    signal: aborter.signal,
  });
  await until(() => calls.length === 2);
  aborter.abort();
  await stream.text().catch(() => {});
  rpc.publish("a", 1);
  await until(() => {
    rpc.publish("a", 1);
    return calls.includes("close");
  });
  assertEquals(calls.splice(0), [
    "+a true",
    "+room.7 true",
    "-a close false",
    "-room.7 close false",
    "close",
  ]);

  const last = await connect<typeof rpc>(server.ws, { reconnect: false });
  await last.subscribe("room.7", () => {});
  await rpc.close();
  assertEquals(calls, ["+room.7 true", "-room.7 close false", "close"]);
});
