// `subscribe(topic, handler, { last })`, what a handler gets beside the data, and handlers that come late.

import { assert, assertEquals, assertRejects } from "@std/assert";
import { test } from "node:test";
import { connect, JsonRpc } from "@x/jsonrpc";
import type { EventInfo } from "@x/jsonrpc/client";
import { memoryBroker } from "@x/jsonrpc/memory";
import { LateBroker } from "../helpers/brokers/late_broker.ts";
import { pair } from "../helpers/client.ts";
import { cuttableProxy } from "../helpers/cuttable_proxy.ts";
import { quietMoment, until } from "../helpers/deferred.ts";
import { scripted } from "../helpers/scripted_server.ts";
import { serveHere } from "../helpers/server.ts";
import type { WireMessage, WirePeer } from "../helpers/wire.ts";

function serverOf(broker = memoryBroker()) {
  return new JsonRpc({ broker })
    .topic("chat", { history: { size: 100 } })
    .topic("state", { retain: true })
    .topic("plain");
}

/** A handler that writes down data, `*` for a retained event. */
function writer() {
  const lines: string[] = [];
  const handle = (data: unknown, { retained }: EventInfo) => {
    lines.push(`${data}${retained ? "*" : ""}`);
  };
  return { lines, handle, onGap: () => lines.push("gap") };
}

test("last gives the newest events first, then new ones, and says of each what is known", async () => {
  for (const broker of [memoryBroker(), new LateBroker()]) {
    const rpc = serverOf(broker);
    const earliest = Date.now();
    for (let n = 1; n <= 60; n++) await rpc.publish("chat", n).position;
    await using client = await pair(rpc);
    const events: [unknown, EventInfo][] = [];
    await client.subscribe("chat", (data, info) => events.push([data, info]), { last: 50 });
    const { position } = rpc.publish("chat", 61);
    await until(() => events.length === 51);
    assertEquals(events.map(([data]) => data), Array.from({ length: 51 }, (_, n) => n + 11));
    assertEquals(events.filter(([, { retained }]) => retained).length, 50);
    const latest = Date.now();
    assert(events.every(([, { time = 0 }]) => time >= earliest && time <= latest));
    const [, info] = events.at(-1) as [unknown, EventInfo];
    assertEquals(info, {
      topic: "chat",
      position: await position,
      retained: false,
      time: info.time,
    });
  }
});

test("a handler knows of a plain event its topic, and of one with recover all", async () => {
  const rpc = serverOf();
  rpc.publish("state", "kept");
  await using client = await pair(rpc);
  const infos: EventInfo[] = [];
  await client.subscribe("plain", (_data, info) => infos.push(info));
  await client.subscribe("state", (_data, info) => infos.push(info), { recover: true });
  rpc.publish("plain", 1);
  rpc.publish("state", 1);
  await client.getTopics();
  assertEquals(infos.map(({ topic, retained }) => [topic, retained]), [
    ["state", true],
    ["plain", undefined],
    ["state", false],
  ]);
});

test("last is refused if it is not a whole number from 0", async () => {
  await using client = await pair(serverOf());
  for (const last of [-1, 1.5, NaN, "5" as never, Infinity]) {
    await assertRejects(() => client.subscribe("chat", () => {}, { last }), RangeError, "`last`");
  }
  assertEquals(await client.getSubscriptions(), []);
});

test("a loop over a topic takes last", async () => {
  const rpc = serverOf();
  for (let n = 1; n <= 5; n++) rpc.publish("chat", n);
  await using client = await pair(rpc);
  const read: unknown[] = [];
  for await (const data of client.topic("chat", { last: 2 })) {
    read.push(data);
    if (read.length === 2) rpc.publish("chat", 6);
    if (read.length === 3) break;
  }
  assertEquals(read, [4, 5, 6]);
});

for (const first of ["plain", "recover", "last"] as const) {
  test(`a handler that joins late gets its kept events alone, beside one with ${first}`, async () => {
    for (const broker of [memoryBroker(), new LateBroker()]) {
      const rpc = serverOf(broker);
      for (let n = 1; n <= 5; n++) await rpc.publish("chat", n).position;
      await using client = await pair(rpc);
      const early = writer();
      const late = writer();
      const later = writer();
      await client.subscribe("chat", early.handle, {
        recover: first === "recover",
        last: first === "last" ? 1 : 0,
        onGap: early.onGap,
      });
      await rpc.publish("chat", 6).position;
      await until(() => early.lines.includes("6"));
      await client.subscribe("chat", late.handle, { last: 3, onGap: late.onGap });
      await rpc.publish("chat", 7).position;
      await until(() => late.lines.includes("7"));
      await client.subscribe("chat", later.handle, { last: 9, onGap: later.onGap });
      await rpc.publish("chat", 8).position;
      await until(() => later.lines.includes("8"));
      await client.getTopics();
      assertEquals(early.lines, [...first === "last" ? ["5*"] : [], "6", "7", "8"]);
      assertEquals(late.lines, ["4*", "5*", "6*", "7", "8"]);
      assertEquals(later.lines, ["1*", "2*", "3*", "4*", "5*", "6*", "7*", "8"]);
    }
  });
}

test("several handlers that join at once each get their own kept events, in order", async () => {
  for (const broker of [memoryBroker(), new LateBroker()]) {
    const rpc = serverOf(broker);
    for (let n = 1; n <= 9; n++) await rpc.publish("chat", n).position;
    await using client = await pair(rpc);
    const counts = [2, 0, 5, 1, 9, 3];
    const writers = counts.map(() => writer());
    const joining = writers.map(({ handle, onGap }, index) =>
      client.subscribe("chat", handle, { last: counts[index], onGap })
    );
    for (let n = 10; n <= 20; n++) await rpc.publish("chat", n).position;
    await Promise.all(joining);
    await rpc.publish("chat", 21).position;
    await until(() => writers.every(({ lines }) => lines.includes("21")));
    for (const [index, { lines }] of writers.entries()) {
      const received = lines.map((line) => Number.parseInt(line));
      // Each event once and in order, without a hole, from its own beginning.
      assertEquals(received, received.map((_, at) => (received[0] as number) + at), lines.join());
      const kept = lines.filter((line) => line.endsWith("*")).length;
      if (counts[index] === 0) assert(kept <= 2, lines.join());
      else assertEquals(received.length >= (counts[index] as number), true);
    }
  }
});

test("a handler that joins late on a quiet topic, or without kept events, simply goes on", async () => {
  const rpc = serverOf();
  await using client = await pair(rpc);
  for (const topic of ["chat", "plain"] as const) {
    const [early, late] = [writer(), writer()];
    await client.subscribe(topic, early.handle, { recover: true, onGap: early.onGap });
    await client.subscribe(topic, late.handle, { last: 5, onGap: late.onGap });
    rpc.publish(topic, 1);
    await client.getTopics();
    assertEquals([early.lines, late.lines], [["1"], ["1"]]);
  }
});

test("a client with last goes on after a reconnect, without the kept events again", async () => {
  const rpc = serverOf();
  for (let n = 1; n <= 5; n++) rpc.publish("chat", n);
  await using server = await serveHere(rpc);
  await using proxy = await cuttableProxy(server);
  await using client = await connect<typeof rpc>(proxy.ws, { reconnect: { minMs: 1, maxMs: 1 } });
  const { lines, handle, onGap } = writer();
  await client.subscribe("chat", handle, { last: 2, onGap });
  await until(() => lines.length === 2);
  proxy.cut();
  rpc.publish("chat", 6);
  await until(() => lines.includes("6"));
  rpc.publish("chat", 7);
  await until(() => lines.includes("7"));
  assertEquals(lines, ["4*", "5*", "6", "7"]);
});

function answer(wire: WirePeer, { id }: WireMessage, position: string, recovered = true): void {
  const result = {
    subscriptions: ["news"],
    positions: { news: position },
    recovered: { news: recovered },
  };
  wire.send({ jsonrpc: "2.0", result, id });
}

function event(wire: WirePeer, position: string, data: unknown, retained?: true): void {
  const params = { topic: "news", position, data, retained };
  wire.send({ jsonrpc: "2.0", method: "rpc.message", params });
}

test("a late handler whose kept events a reconnect cuts off is told of a gap, the others are not", async () => {
  const { client, wire } = scripted();
  await client.connect();
  const server = await wire(0);
  const [early, late] = [writer(), writer()];
  const first = client.subscribe("news", early.handle, { recover: true, onGap: early.onGap });
  answer(server, await server.next(), "p3");
  await first;
  const second = client.subscribe("news", late.handle, { last: 3, onGap: late.onGap });
  const asked = await server.next();
  assertEquals(asked.params, { topics: ["news"], recover: true, last: { news: 3 } });
  event(server, "p4", 4);
  answer(server, asked, "p1");
  await second;
  event(server, "p2", 2, true);
  await until(() => late.lines.length === 1);
  server.close(1001);
  const next = await wire(1);
  const again = await next.next();
  assertEquals(again.params, {
    topics: ["news"],
    recover: true,
    since: { news: "p4" },
    last: { news: 3 },
  });
  answer(next, again, "p4");
  event(next, "p5", 5);
  await until(() => late.lines.includes("5"));
  assertEquals(early.lines, ["4", "5"]);
  assertEquals(late.lines, ["2*", "gap", "5"]);
  await client.close();
});

test("a late join for which the server has lost its place tells the others of a gap", async () => {
  const { client, wire } = scripted();
  await client.connect();
  const server = await wire(0);
  const [early, late] = [writer(), writer()];
  const first = client.subscribe("news", early.handle, { recover: true, onGap: early.onGap });
  answer(server, await server.next(), "a:3");
  await first;
  const second = client.subscribe("news", late.handle, { last: 3, onGap: late.onGap });
  answer(server, await server.next(), "b:0", false);
  await second;
  event(server, "b:1", 1, true);
  event(server, "b:2", 2);
  await until(() => late.lines.includes("2"));
  assertEquals(early.lines, ["gap", "2"]);
  assertEquals(late.lines, ["1*", "2"]);
  await client.close();
});

test("a handler that is added while an event is delivered gets the next event first", async () => {
  for (const options of [{}, { recover: true }]) {
    const rpc = serverOf();
    await using client = await pair(rpc);
    let calls = 0;
    const again = (): void => {
      calls++;
      if (calls < 1000) void client.subscribe("plain", again, options);
    };
    await client.subscribe("plain", again, options);
    rpc.publish("plain", 1);
    await client.getTopics();
    assertEquals(calls, 1);
    rpc.publish("plain", 2);
    await client.getTopics();
    assertEquals(calls, 3);
  }
});

test("a handler that is added while a gap is told is not told of it", async () => {
  const { client, wire } = scripted();
  await client.connect();
  const server = await wire(0);
  let gaps = 0;
  const onGap = (): void => {
    if (++gaps < 1000) void client.subscribe("news", () => {}, { recover: true, onGap });
  };
  const subscribing = client.subscribe("news", () => {}, { recover: true, onGap });
  answer(server, await server.next(), "p1");
  await subscribing;
  server.send({
    jsonrpc: "2.0",
    method: "rpc.message",
    params: { topic: "news", position: "p9", gap: true },
  });
  await until(() => gaps > 0);
  await quietMoment();
  assertEquals(gaps, 1);
  await client.close();
});
