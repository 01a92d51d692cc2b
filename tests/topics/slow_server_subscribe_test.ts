/**
 * Subscribers that the server has subscribed with `connection.subscribe()`, and that read too slowly: each policy does
 * what it does for a client that has subscribed by itself.
 */
import { assertEquals, assertRejects } from "@std/assert";
import { test } from "node:test";
import { JsonRpc } from "@x/jsonrpc";
import type { Connection, TopicOptions } from "@x/jsonrpc";
import { linkedSockets } from "@x/jsonrpc/testing";
import { quietMoment, until } from "../helpers/deferred.ts";
import { silentLog } from "../helpers/log.ts";
import { WirePeer } from "../helpers/wire.ts";

const MARK = 1000;

/** A server with two topics, and a peer that can be made to believe that it does not read. */
function slowPeer(options: TopicOptions) {
  const dropped: [topic: string, count: number][] = [];
  const closed: unknown[] = [];
  const rpc = new JsonRpc({ maxBufferedBytes: 2 * MARK, logger: silentLog() })
    .use({
      name: "test",
      onDrop: (_connection, topic, count) => void dropped.push([topic, count]),
    })
    .topic("a", options)
    .topic("b", options);
  const [near, far] = linkedSockets();
  const wire = new WirePeer(near);
  near.addEventListener("close", ({ code }) => void closed.push(code));
  const slow: { bufferedAmount: number } = far;
  rpc.attach(far);
  const [connection] = rpc.connections;
  const data = () =>
    wire.received.map((text) => JSON.parse(text)).filter(({ method }) => method !== undefined)
      .map(({ method, params }) => [method, params]);
  return {
    rpc,
    wire,
    connection: connection as unknown as Connection,
    dropped,
    closed,
    data,
    unread: (bytes: number) => void (slow.bufferedAmount = bytes),
    publish(topic: "a" | "b", from: number, to: number) {
      for (let n = from; n < to; n++) rpc.publish(topic, n);
    },
  };
}

function events(topic: string, from: number, to: number): unknown[] {
  return Array.from({ length: to - from }, (_, index) => [topic, from + index]);
}

test("connection.subscribe(): slowConsumer close closes with 1013 past maxBufferedBytes", async () => {
  const { connection, closed, data, unread, publish } = slowPeer({ slowConsumer: "close" });
  await connection.subscribe("a");
  unread(MARK + 1);
  publish("a", 0, 3);
  await quietMoment();
  assertEquals(data(), events("a", 0, 3));
  unread(2 * MARK + 1);
  publish("a", 3, 6);
  await until(() => closed.length === 1);
  assertEquals([closed, connection.isOpen, connection.dropped], [[1013], false, 0]);
  await assertRejects(() => connection.subscribe("b"), Error, "closed");
});

const HELD: Readonly<Record<string, readonly [from: number, to: number]>> = {
  "drop-oldest": [36, 100],
  "drop-newest": [0, 64],
  latest: [99, 100],
};

for (const [slowConsumer, [from, to]] of Object.entries(HELD)) {
  const options = { slowConsumer, retain: true, history: { size: 200 } } as TopicOptions;

  test(`connection.subscribe(): slowConsumer ${slowConsumer} holds events back until the peer reads`, async () => {
    const { rpc, connection, data, dropped, unread, publish, wire } = slowPeer(options);
    await connection.subscribe(["a", "b"]);
    publish("a", -2, 0);
    unread(MARK);
    publish("a", 0, 100);
    publish("b", 0, 1);
    await quietMoment();
    assertEquals(data(), events("a", -2, 0));
    assertEquals(connection.dropped, 100 - (to - from));
    assertEquals(new Set(dropped.map(([topic]) => topic)), new Set(["a"]));
    unread(0);
    await until(() => data().length === 3 + to - from);
    publish("a", 100, 102);
    await quietMoment();
    const ofA = data().filter((event) => (event as unknown[])[0] === "a");
    assertEquals(ofA, [...events("a", -2, 0), ...events("a", from, to), ...events("a", 100, 102)]);
    wire.close();
    await rpc.close();
  });

  test(`connection.subscribe(): a slow peer gets kept events as after its own subscribe, by ${slowConsumer}`, async () => {
    const seen: unknown[] = [];
    for (const by of ["the server", "the peer"]) {
      const { rpc, connection, data, unread, publish, wire } = slowPeer(options);
      publish("a", 0, 100);
      unread(MARK);
      if (by === "the server") await connection.subscribe("a", { last: 100 });
      else wire.call("s", "subscribe", { topics: ["a"], last: { a: 100 } });
      await until(() => connection.subscriptions.has("a"));
      publish("a", 100, 103);
      await quietMoment();
      assertEquals(data(), []);
      unread(0);
      await until(() => data().length > 0);
      await quietMoment();
      seen.push([data(), connection.dropped]);
      wire.close();
      await rpc.close();
    }
    assertEquals(seen[0], seen[1]);
    assertEquals(
      seen[0],
      slowConsumer === "latest" ? [events("a", 102, 103), 102] : [
        events("a", 0, 103),
        0,
      ],
    );
  });

  test(`connection.unsubscribe(): what ${slowConsumer} holds back does not come later`, async () => {
    const { rpc, connection, data, unread, publish, wire } = slowPeer(options);
    await connection.subscribe(["a", "b"]);
    unread(MARK);
    publish("a", 0, 10);
    publish("b", 0, 1);
    await connection.unsubscribe("a");
    unread(0);
    await until(() => data().length > 0);
    await quietMoment();
    assertEquals(data(), events("b", 0, 1));
    assertEquals([...connection.subscriptions], ["b"]);
    wire.close();
    await rpc.close();
  });
}
