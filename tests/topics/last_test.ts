// `subscribe` with `last`: the newest kept events first, then what is new.

import { assert, assertEquals } from "@std/assert";
import { test } from "node:test";
import { JsonRpc } from "@x/jsonrpc";
import type { JsonRpcOptions } from "@x/jsonrpc";
import { memoryBroker } from "@x/jsonrpc/memory";
import type { Broker, BrokerHistory } from "../../src/brokers/broker.ts";
import { LateBroker } from "../helpers/brokers/late_broker.ts";
import { quietMoment, until } from "../helpers/deferred.ts";
import { EventReader } from "../helpers/event_reader.ts";
import { serveHere } from "../helpers/server.ts";
import { bareClient } from "../helpers/wire.ts";
import type { WireMessage, WirePeer } from "../helpers/wire.ts";

interface EventParams {
  readonly topic: string;
  readonly position: string;
  readonly time: number;
  readonly retained?: true;
  readonly data: unknown;
}

function serverOf(options: JsonRpcOptions = {}) {
  return new JsonRpc(options)
    .topic("chat", { history: { size: 100 } })
    .topic("long", { history: { size: 2000 } })
    .topic("both", { history: { size: 100 }, retain: true })
    .topic("state", { retain: true })
    .topic("quiet")
    .topic("room.*", { history: { size: 5 } });
}

/** Publishes numbers, and waits until the broker has them. */
async function publish(rpc: JsonRpc, topic: string, from: number, to: number): Promise<void> {
  for (let n = from; n <= to; n++) await rpc.publish(topic as never, n as never).position;
}

/** Subscribes and returns the answer: the next message. */
async function subscribe(wire: WirePeer, params: object): Promise<Record<string, unknown>> {
  wire.call("s", "subscribe", params);
  const { error, result } = await wire.next();
  assertEquals(error, undefined);
  return result as Record<string, unknown>;
}

/** Reads events, plain or with positions, as their data. `*` marks a retained one. */
async function data(wire: WirePeer, count: number): Promise<unknown[]> {
  return (await wire.some(count)).map(({ method, params }) => {
    if (method !== "rpc.message") return params;
    const { retained, data } = params as EventParams;
    return retained ? `${data}*` : data;
  });
}

const numbers = (from: number, to: number, mark = "") =>
  Array.from(
    { length: to - from + 1 },
    (_, index) => mark ? `${from + index}${mark}` : from + index,
  );

const BROKERS: Readonly<Record<string, () => Pick<JsonRpcOptions, "broker">>> = {
  "in memory": () => ({}),
  "on a broker that takes its time": () => ({ broker: new LateBroker() }),
};

for (const [where, options] of Object.entries(BROKERS)) {
  test(`last sends the newest events after the answer, and then new ones, ${where}`, async () => {
    const rpc = serverOf(options());
    await publish(rpc, "chat", 1, 60);
    const wire = bareClient(rpc);
    assertEquals(await subscribe(wire, { topics: ["chat"], last: { chat: 50 } }), ["chat"]);
    await publish(rpc, "chat", 61, 62);
    assertEquals(await data(wire, 52), numbers(11, 62));
    wire.close();
    await rpc.close();
  });

  test(`last with recover marks kept events, and gives positions and times, ${where}`, async () => {
    const rpc = serverOf(options());
    const earliest = Date.now();
    await publish(rpc, "chat", 1, 5);
    const wire = bareClient(rpc);
    const params = { topics: ["chat"], recover: true, last: { chat: 3 } };
    const { positions, recovered } = await subscribe(wire, params);
    assertEquals(recovered, { chat: true });
    await publish(rpc, "chat", 6, 6);
    const events = (await wire.some(4)).map(({ params }) => params as EventParams);
    assertEquals(events.map(({ data, retained }) => [data, retained]), [
      [3, true],
      [4, true],
      [5, true],
      [6, undefined],
    ]);
    assert(events.every(({ time }) => time >= earliest && time <= Date.now()));
    assertEquals(new Set(events.map(({ position }) => position)).size, 4);
    // The position in the answer is that before the first of them, so that none is missed.
    const again = bareClient(rpc);
    await subscribe(again, { topics: ["chat"], recover: true, since: positions });
    assertEquals(await data(again, 4), [3, 4, 5, 6]);
    wire.close();
    again.close();
    await rpc.close();
  });

  test(`last gives way to since, as far as the history reaches, ${where}`, async () => {
    const rpc = serverOf(options());
    await publish(rpc, "room.7", 1, 1);
    const first = bareClient(rpc);
    const { positions } = await subscribe(first, { topics: ["room.7"], recover: true });
    await publish(rpc, "room.7", 2, 3);
    const params = {
      topics: ["room.7"],
      recover: true,
      since: positions,
      last: { "room.7": 2 },
    };
    const second = bareClient(rpc);
    assertEquals((await subscribe(second, params)).recovered, { "room.7": true });
    assertEquals(await data(second, 2), [2, 3]);
    await publish(rpc, "room.7", 4, 20);
    const third = bareClient(rpc);
    assertEquals((await subscribe(third, params)).recovered, { "room.7": false });
    assertEquals(await data(third, 2), ["19*", "20*"]);
    for (const wire of [first, second, third]) wire.close();
    await rpc.close();
  });

  test(`last asked for again sends the events once more and then goes on, ${where}`, async () => {
    const rpc = serverOf(options());
    await publish(rpc, "chat", 1, 3);
    const wire = bareClient(rpc);
    await subscribe(wire, { topics: ["chat"], recover: true });
    await publish(rpc, "chat", 4, 5);
    assertEquals(await data(wire, 2), [4, 5]);
    const params = { topics: ["chat"], recover: true, last: { chat: 4 } };
    await subscribe(wire, params);
    await publish(rpc, "chat", 6, 6);
    assertEquals(await data(wire, 5), ["2*", "3*", "4*", "5*", 6]);
    await subscribe(wire, { topics: ["chat"], last: { chat: 2 } });
    await publish(rpc, "chat", 7, 7);
    assertEquals(await data(wire, 3), [5, 6, 7]);
    await subscribe(wire, params);
    assertEquals(await data(wire, 4), numbers(4, 7, "*"));
    await quietMoment();
    wire.close();
    await rpc.close();
  });

  test(`last holds for each topic apart, and is 0 for those that are not named, ${where}`, async () => {
    const rpc = serverOf(options());
    for (const topic of ["chat", "both", "state", "quiet"]) await publish(rpc, topic, 1, 5);
    const wire = bareClient(rpc);
    const topics = ["chat", "both", "state", "quiet"];
    const last = { both: 2, state: 9, quiet: 9, nowhere: 3, chat: 0 };
    await subscribe(wire, { topics, last });
    const events = await wire.some(3);
    assertEquals(events.map(({ method, params }) => [method, params]), [
      ["both", 4],
      ["both", 5],
      ["state", 5],
    ]);
    wire.close();
    await rpc.close();
  });

  test(`last sends up to 1,024 events, as fast as the peer reads, ${where}`, async () => {
    const rpc = serverOf(options());
    await publish(rpc, "long", 1, 1500);
    for (const recover of [false, true]) {
      const wire = bareClient(rpc);
      await subscribe(wire, { topics: ["long"], recover, last: { long: 1e6 } });
      assertEquals(await data(wire, 1024), numbers(477, 1500, recover ? "*" : ""));
      wire.close();
    }
    await rpc.close();
  });
}

test("last is refused if it is not an object of whole numbers from 0", async () => {
  const wire = bareClient(serverOf());
  for (const last of [5, [5], "chat", { chat: -1 }, { chat: 1.5 }, { chat: "5" }, { chat: null }]) {
    wire.call(1, "subscribe", { topics: ["chat"], last });
    const { error } = await wire.next();
    assertEquals([error?.code, error?.data], [
      -32602,
      "Expected `last` to be an object of whole numbers",
    ]);
  }
  for (const last of [{}, null, undefined, { chat: 0 }]) {
    wire.call(1, "subscribe", { topics: ["chat"], last });
    assertEquals((await wire.next()).result, ["chat"]);
  }
  wire.close();
});

test("last leaves out events that are older than the history keeps them", async () => {
  const rpc = new JsonRpc().topic("old", { history: { size: 9, ageMs: 1 }, retain: true });
  rpc.publish("old", 1);
  rpc.publish("old", 2);
  rpc.publish("old", 3);
  const start = Date.now();
  await until(() => Date.now() > start + 2);
  const wire = bareClient(rpc);
  await subscribe(wire, { topics: ["old"], last: { old: 5 } });
  // The retained event has no age limit.
  assertEquals(await data(wire, 1), [3]);
  await quietMoment();
  assertEquals(wire.received.length, 2);
  wire.close();
});

test("last leaves no hole where the clocks of publishers differ", async () => {
  const memory = memoryBroker();
  const broker: Broker = {
    publish: (...all) => memory.publish(...all),
    subscribe: (...all) => memory.subscribe(...all),
    history: (...all) => {
      const history = memory.history(...all) as BrokerHistory;
      const events = history.events.map((event) =>
        event.data === "2" ? { ...event, at: 0 } : event
      );
      return { ...history, events };
    },
    close: () => memory.close(),
  };
  const rpc = new JsonRpc({ broker }).topic("news", { history: { size: 9, ageMs: 3_600_000 } });
  for (const n of [1, 2, 3, 4]) rpc.publish("news", n);
  const wire = bareClient(rpc);
  await subscribe(wire, { topics: ["news"], last: { news: 9 } });
  assertEquals(await data(wire, 2), [3, 4]);
  wire.close();
});

test("kept events wait for a peer that reads slowly, and close no connection", async () => {
  const rpc = new JsonRpc({ maxBufferedBytes: 20_000 }).topic("big", { history: { size: 50 } });
  for (let n = 0; n < 50; n++) rpc.publish("big", { n, text: "x".repeat(2000) });
  await using server = await serveHere(rpc);
  for (const recover of [false, true]) {
    const socket = new WebSocket(server.ws);
    const received: WireMessage[] = [];
    let closed = false;
    socket.addEventListener("message", ({ data }) => void received.push(JSON.parse(data)));
    socket.addEventListener("close", () => closed = true);
    await new Promise((resolve) => socket.addEventListener("open", resolve));
    const params = { topics: ["big"], recover, last: { big: 50 } };
    socket.send(JSON.stringify({ jsonrpc: "2.0", method: "subscribe", params, id: 1 }));
    await until(() => closed || received.length === 51);
    const events = received.slice(1).map(({ params }) =>
      recover ? (params as EventParams).data : params
    );
    assertEquals(events.map((event) => (event as { n: number }).n), numbers(0, 49));
    socket.close();
  }
});

test("an event stream begins with the last events if it asks for them, and recovers after that", async () => {
  const rpc = serverOf();
  await publish(rpc, "chat", 1, 9);
  await publish(rpc, "room.7", 1, 9);
  await using server = await serveHere(rpc);
  const query = "topics=chat,room.7&last=2";
  const events = await EventReader.open(server.url, query);
  const first = await events.some(4);
  assertEquals(first.map(({ event, data }) => [event, data]), [
    ["chat", "8"],
    ["chat", "9"],
    ["room.7", "8"],
    ["room.7", "9"],
  ]);
  await events.leave();
  await publish(rpc, "chat", 10, 10);
  const again = await EventReader.open(server.url, query, { "last-event-id": events.lastEventId });
  assertEquals((await again.some(1)).map(({ event, data }) => [event, data]), [["chat", "10"]]);
  await again.leave();
  for (const last of ["-1", "x", "1.5", ""]) {
    const headers = { accept: "text/event-stream" };
    const response = await fetch(`${server.url}/?topics=chat&last=${last}`, { headers });
    assertEquals(response.status, 400);
    await response.text();
  }
});
