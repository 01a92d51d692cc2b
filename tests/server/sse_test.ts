import {
  assert,
  assertEquals,
  assertMatch,
  assertRejects,
  assertStringIncludes,
} from "@std/assert";
import { test } from "node:test";
import { guard, JsonRpc, RpcConnectionError, RpcServerError } from "@x/jsonrpc";
import type { Connection, JsonRpcOptions } from "@x/jsonrpc";
import { rateLimit } from "@x/jsonrpc/rate_limit";
import { LateBroker } from "../helpers/brokers/late_broker.ts";
import { withChromium } from "../helpers/chromium.ts";
import { dial, rawRequest } from "../helpers/raw_client.ts";
import { EventReader } from "../helpers/event_reader.ts";
import { deferred, until } from "../helpers/deferred.ts";
import { silentLog } from "../helpers/log.ts";
import { serveHere } from "../helpers/server.ts";
import { freePort } from "../helpers/ports.ts";
import { needs } from "../helpers/needs.ts";

function serverOf(options: JsonRpcOptions = {}) {
  return new JsonRpc({ logger: silentLog(), ...options })
    .topic("clock", { history: { size: 100 } })
    .topic("last", { retain: true })
    .topic("secret", { guards: [guard(({ user }) => user === "ada")] })
    .topic("room.*", { history: { size: 100 } });
}

const BROKERS: Readonly<Record<string, () => JsonRpcOptions>> = {
  "in memory": () => ({}),
  "on a broker that takes its time": () => ({ broker: new LateBroker() }),
};

for (const [where, options] of Object.entries(BROKERS)) {
  test(`an event stream sends new events, with ids to recover from, ${where}`, async () => {
    const rpc = serverOf(options());
    await using server = await serveHere(rpc);
    const first = await EventReader.open(server.url, "topics=clock&topics=room.7&topics=clock");
    assertEquals(first.response.status, 200);
    await first.block();
    const quiet = first.lastEventId;
    const names = [...new URLSearchParams(quiet).keys()];
    assertEquals(names, ["clock", "room.7"]);
    rpc.publish("clock", 1);
    assertEquals(await first.next(), { event: "clock", data: "1", id: first.lastEventId });
    const heardOne = first.lastEventId;
    await first.leave();
    await until(() => rpc.connections.size === 0);
    await rpc.publish("room.7", { text: "line\nline" }).position;
    await rpc.publish("clock", 2).position;
    for (const [lastEventId, data] of [[quiet, ["1", "2"]], [heardOne, ["2"]]] as const) {
      const headers = { "last-event-id": lastEventId };
      const again = await EventReader.open(server.url, "topics=clock,room.7", headers);
      const events = await again.some(data.length + 1);
      assertEquals(events.filter(({ event }) => event === "clock").map(({ data }) => data), data);
      assertEquals(
        events.filter(({ event }) => event === "room.7").map(({ data }) => JSON.parse(data)),
        [{ text: "line\nline" }],
      );
      await again.leave();
    }
    const query = `topics=clock&lastEventId=${encodeURIComponent(heardOne)}`;
    const byQuery = await EventReader.open(server.url, query);
    assertEquals((await byQuery.next()).data, "2");
    await byQuery.leave();
  });
}

test("an event stream reports a gap, and then sends the retained event", async () => {
  const rpc = serverOf();
  await using server = await serveHere(rpc);
  for (const n of [1, 2, 3]) rpc.publish("last", n);
  const lastEventId = "last=elsewhere%3A1&clock=nonsense&other=x";
  const reader = await EventReader.open(server.url, "topics=last,clock,room.1", {
    "last-event-id": lastEventId,
  });
  const events = await reader.some(3);
  assertEquals(events.map(({ event, data }) => [event, data]), [
    ["gap", '{"topic":"last"}'],
    ["gap", '{"topic":"clock"}'],
    ["last", "3"],
  ]);
  await reader.leave();
});

test("an event stream may have topics of any name", async () => {
  const odd = [
    "error",
    "open",
    "gap",
    "message",
    "a b",
    "ä€😀",
    "a\r\nid: 5",
    "a&b=c%",
    "__proto__",
  ];
  const rpc = odd.reduce((rpc, name) => rpc.topic(name, { history: { size: 9 } }), new JsonRpc());
  await using server = await serveHere(rpc);
  const query = odd.map((name) => `topics=${encodeURIComponent(name)}`).join("&");
  const first = await EventReader.open(server.url, query);
  await first.block();
  for (const name of odd) rpc.publish(name as never, name as never);
  const events = await first.some(odd.length);
  assertEquals(events.map(({ data }) => JSON.parse(data)), odd);
  assertEquals(events.map(({ event }) => event), [
    ...["topic:error", "topic:open", "topic:gap", "message", "a b", "ä€😀"],
    ...["a%0D%0Aid: 5", "a&b=c%", "__proto__"],
  ]);
  await first.leave();
  for (const name of odd) rpc.publish(name as never, "again" as never);
  const headers = { "last-event-id": first.lastEventId };
  const second = await EventReader.open(server.url, query, headers);
  assertEquals((await second.some(odd.length)).map(({ data }) => data), odd.map(() => '"again"'));
  await second.leave();
});

test("an event stream accepts commas in names when `topics` is repeated", async () => {
  const rpc = new JsonRpc().topic("a,b").topic("a").topic("b");
  await using server = await serveHere(rpc);
  const queries = {
    "topics=a,b": ["a", "b"],
    "topics=a%2Cb": ["a", "b"],
    "topics=a,b&topics=": ["a,b"],
    "topics=a%2Cb&topics=b": ["a,b", "b"],
  };
  for (const [query, topics] of Object.entries(queries)) {
    const reader = await EventReader.open(server.url, query);
    await reader.block();
    assertEquals([...new URLSearchParams(reader.lastEventId).keys()], topics);
    await reader.leave();
  }
});

test("an event stream carries notifications of any name, and no name breaks its format", async () => {
  const rpc = serverOf();
  await using server = await serveHere(rpc);
  const reader = await EventReader.open(server.url, "topics=clock");
  await reader.block();
  const [connection] = rpc.connections;
  connection?.notify("a\ndata: forged\n\n", []);
  const { event, data } = await reader.next();
  assertEquals([event, data], ["a%0Adata: forged%0A%0A", "[]"]);
  await reader.leave();
});

test("an event stream has as many topics as fit into its ids", async () => {
  const rpc = serverOf();
  await using server = await serveHere(rpc);
  const query = (count: number) =>
    `topics=${Array.from({ length: count }, (_, n) => `room.${"x".repeat(50)}${n}`)}`;
  const reader = await EventReader.open(server.url, query(30));
  assertEquals(reader.response.status, 200);
  await reader.block();
  // What a proxy takes as one header, as a rule, is 8 KiB.
  const headers = { "last-event-id": reader.lastEventId };
  assertEquals((await EventReader.open(server.url, query(30), headers)).response.status, 200);
  const refused = await EventReader.open(server.url, query(100));
  assertEquals(refused.response.status, 400);
  assertStringIncludes(await refused.text(), "4096");
  await until(() => rpc.connections.size === 2);
  for (const connection of rpc.connections) connection.close();
  await until(() => rpc.connections.size === 0);
});

const PRETTY = '{\n  "a": 1,\r\n  "b": 2\r}';

test("an event stream keeps data of several lines together, and sends null for no data", async () => {
  const broker = new LateBroker();
  const rpc = serverOf({ broker });
  await using server = await serveHere(rpc);
  const reader = await EventReader.open(server.url, "topics=clock");
  await reader.block();
  // Published by somebody who writes JSON in another way.
  await broker.publish("clock", PRETTY, { size: 100, ageMs: Infinity });
  rpc.publish("clock");
  const [pretty, none] = await reader.some(2);
  assertEquals([JSON.parse(pretty?.data ?? ""), none?.data], [{ a: 1, b: 2 }, "null"]);
  await reader.leave();
});

const REFUSED: Readonly<Record<string, readonly [query: string, status: number]>> = {
  "no topic": ["topics=", 400],
  "only commas": ["topics=,,", 400],
  "more topics than maxSubscriptions": ["topics=room.1,room.2,room.3,room.4", 400],
  "an unknown topic": ["topics=clock,nowhere", 404],
  "a forbidden topic": ["topics=clock,secret", 404],
  "a topic that middleware refuses": ["topics=room.refused", 403],
};

for (const [what, [query, status]] of Object.entries(REFUSED)) {
  test(`an event stream of ${what} is answered ${status}, and uses no slot`, async () => {
    const broker = new LateBroker(async (asked) => {
      await Promise.resolve();
      if (asked === "subscribe" && query.includes("down")) throw new Error("Connection refused");
    });
    const rpc = serverOf({ broker, maxSubscriptions: 3 }).use(({ params }, next) => {
      if (JSON.stringify(params).includes("refused")) throw new RpcServerError(-32050, "Not today");
      return next();
    });
    await using server = await serveHere(rpc);
    const reader = await EventReader.open(server.url, query);
    assertEquals(reader.response.status, status);
    await reader.text();
    await until(() => rpc.connections.size === 0 && broker.sinks.size === 0);
  });
}

/** Makes sure that an EventSource would come back: after another status than 200 it never does. */
async function assertComesBack(url: string, query = "topics=clock"): Promise<void> {
  const headers = { accept: "text/event-stream" };
  const response = await fetch(`${url}/?${query}`, { headers });
  assertEquals(response.status, 200);
  assertEquals(response.headers.get("content-type"), "text/event-stream");
  assertMatch(await response.text(), /^retry: [1-9]\d+\n\n$/);
}

test("an event stream that a rate limit refuses ends at once, and says when to come back", async () => {
  const rpc = serverOf().use(rateLimit({ perSecond: 0.01, burst: 1 }));
  await using server = await serveHere(rpc);
  const first = await EventReader.open(server.url, "topics=clock");
  assertEquals(first.response.status, 200);
  const headers = { accept: "text/event-stream" };
  const second = await fetch(`${server.url}/?topics=clock`, { headers });
  const [, ms] = /^retry: (\d+)\n\n$/.exec(await second.text()) ?? [];
  // One call is allowed in 100 seconds, and most of them are left.
  assert(second.status === 200 && Number(ms) > 50_000, `${second.status} ${ms}`);
  await first.leave();
});

test("an event stream whose broker is unavailable ends at once, and says when to come back", async () => {
  const broker = new LateBroker(async (asked) => {
    await Promise.resolve();
    if (asked === "subscribe") throw new Error("Connection refused");
  });
  const rpc = serverOf({ broker });
  await using server = await serveHere(rpc);
  await assertComesBack(server.url, "topics=room.down");
  await until(() => rpc.connections.size === 0);
});

test("an event stream of a server that is full ends at once, and says when to come back", async () => {
  const rpc = serverOf({ maxConnections: 1 });
  await using server = await serveHere(rpc);
  const reader = await EventReader.open(server.url, "topics=clock");
  await assertComesBack(server.url);
  await reader.leave();
});

test("a GET of topics that does not ask for an event stream gets none", async () => {
  await using server = await serveHere(serverOf());
  const response = await fetch(`${server.url}/?topics=clock`);
  assertEquals(response.status, 405);
  await response.body?.cancel();
});

test("an event stream has to pass the same checks as a WebSocket", async () => {
  const rpc = serverOf({ origins: ["https://app.example"], maxConnections: 1 })
    .use({
      name: "test",
      async handshake(handshake) {
        await Promise.resolve();
        if (handshake.headers.get("authorization") === "Bearer ada") handshake.user = "ada";
        if (handshake.headers.has("x-blocked")) return new Response("Blocked", { status: 402 });
      },
    });
  await using server = await serveHere(rpc);
  const ask = (headers: Record<string, string>) =>
    rawRequest(server.url, {
      path: "/?topics=secret",
      headers: { accept: "text/event-stream", connection: "close", ...headers },
    });
  assertEquals((await ask({ origin: "https://evil.example" })).status, 403);
  assertEquals((await ask({ "x-blocked": "1" })).status, 402);
  const stranger = await ask({ origin: "https://app.example" });
  assertEquals(stranger.status, 404);
  assertEquals(stranger.headers.get("access-control-allow-origin")?.trim(), "https://app.example");
  const headers = { authorization: "Bearer ada" };
  const ada = await EventReader.open(server.url, "topics=secret", headers);
  assertEquals(ada.response.status, 200);
  assertEquals([...rpc.connections].map(({ user }) => user), ["ada"]);
  await ada.leave();
  await until(() => rpc.connections.size === 0);
});

test("an event stream is a connection: it can be notified and revoked, but not called", async () => {
  const rpc = serverOf();
  await using server = await serveHere(rpc);
  const reader = await EventReader.open(server.url, "topics=clock,last");
  await reader.block();
  const connection = [...rpc.connections][0] as Connection;
  assertEquals([...connection.subscriptions], ["clock", "last"]);
  assertEquals([...rpc.subscribers(["clock"])], [connection]);
  connection.notify("note", ["said"]);
  assertEquals(await reader.next(), { event: "note", data: '["said"]', id: reader.lastEventId });
  const error = await assertRejects(() => connection.call("ask"), RpcConnectionError);
  assertStringIncludes((error as Error).message, "reads an event stream");
  rpc.removeTopic("last");
  assertEquals((await reader.next()).event, "rpc.removed");
  assertEquals(rpc.revoke((each) => each === connection), 1);
  await reader.ended();
  assertEquals([rpc.connections.size, rpc.publish("clock", 1).deliveries], [0, 0]);
});

test("an event stream loses a topic when its user loses the right to it", async () => {
  const rpc = serverOf()
    .use({ name: "test", handshake: (handshake) => void (handshake.user = "ada") });
  await using server = await serveHere(rpc);
  const reader = await EventReader.open(server.url, "topics=clock,secret");
  rpc.publish("secret", 1);
  assertEquals((await reader.next()).data, "1");
  for (const connection of rpc.connections) connection.logout();
  rpc.publish("secret", 2);
  rpc.publish("clock", 3);
  assertEquals((await reader.next()).data, "3");
  await reader.leave();
});

for (const how of ["logout", "removeTopic"]) {
  test(`an event stream that has lost all its topics by ${how} is closed`, async () => {
    const rpc = serverOf({ broker: new LateBroker() })
      .use({ name: "test", handshake: (handshake) => void (handshake.user = "ada") });
    await using server = await serveHere(rpc);
    const reader = await EventReader.open(server.url, "topics=secret");
    await reader.block();
    if (how === "removeTopic") {
      rpc.removeTopic("secret");
      assertEquals((await reader.next()).event, "rpc.removed");
    } else for (const connection of rpc.connections) connection.logout();
    await reader.ended();
    await until(() => rpc.connections.size === 0);
  });
}

test("an event stream whose topics are lost before it is answered is answered 404", async () => {
  const held = deferred();
  const rpc = serverOf({
    broker: new LateBroker((what) => what === "subscribe" ? held.promise : Promise.resolve()),
  })
    .use({ name: "test", handshake: (handshake) => void (handshake.user = "ada") });
  await using server = await serveHere(rpc);
  const opening = EventReader.open(server.url, "topics=secret");
  await until(() => rpc.connections.size === 1);
  for (const connection of rpc.connections) connection.logout();
  held.resolve();
  const { response } = await opening;
  assertEquals(response.status, 404);
  await response.body?.cancel().catch(() => {});
  await until(() => rpc.connections.size === 0);
});

test("an event stream sends a comment at each heartbeat", async () => {
  const rpc = serverOf({ heartbeatMs: 20 });
  await using server = await serveHere(rpc);
  const reader = await EventReader.open(server.url, "topics=clock");
  await reader.block();
  for (let n = 0; n < 5; n++) assertEquals(await reader.block(), ["message", undefined]);
  rpc.publish("clock", "still there");
  assertEquals((await reader.next()).data, '"still there"');
  await reader.leave();
});

test("an event stream whose reader does not read is closed, and others miss nothing", async () => {
  const rpc = serverOf({ maxBufferedBytes: 200_000 }).topic("load");
  await using server = await serveHere(rpc);
  const socket = await dial(server.url);
  socket.pause();
  socket.write("GET /?topics=load HTTP/1.1\r\nhost: x\r\naccept: text/event-stream\r\n\r\n");
  await until(() => rpc.connections.size === 1);
  const [slow] = rpc.connections;
  const reader = await EventReader.open(server.url, "topics=load");
  let sent = 0;
  let most = 0;
  while (slow?.isOpen && sent < 2000) {
    rpc.publish("load", `${sent++} ${"x".repeat(50_000)}`);
    most = Math.max(most, slow.bufferedAmount);
    assertStringIncludes((await reader.next()).data, `"${sent - 1} `);
  }
  assert(!slow?.isOpen && most < 300_000, `${sent} sent, ${most} waiting`);
  socket.destroy();
  await reader.leave();
  await until(() => rpc.connections.size === 0);
});

test("an event stream counts unread events in bytes of UTF-8, and sends them whole", async () => {
  const rpc = serverOf().topic("load");
  const headers = { accept: "text/event-stream" };
  const response = await rpc.fetch(new Request("http://x/?topics=load", { headers }));
  const reader = (response.body as ReadableStream<Uint8Array>).getReader();
  await reader.read(); // the id
  const [connection] = rpc.connections;
  const events = Array.from({ length: 100 }, (_, n) => `${n} ä€😀${"ß".repeat(5000)}`);
  for (const event of events) rpc.publish("load", event);
  const waiting = connection?.bufferedAmount;
  let [text, bytes] = ["", 0];
  const decoder = new TextDecoder();
  while (bytes < (waiting ?? 0)) {
    const { value } = await reader.read();
    bytes += value?.length ?? 0;
    text += decoder.decode(value, { stream: true });
  }
  assertEquals([connection?.bufferedAmount, bytes], [0, waiting]);
  const data = text.split("\n").filter((line) => line.startsWith("data: "));
  assertEquals(data.map((line) => JSON.parse(line.slice(6))), events);
  await reader.cancel();
  await rpc.close();
});

test("close() ends event streams after what was sent, and accepts none", async () => {
  const rpc = serverOf();
  await using server = await serveHere(rpc);
  const readers = await Promise.all(
    [1, 2, 3].map(() => EventReader.open(server.url, "topics=clock")),
  );
  rpc.publish("clock", "last words");
  const closing = rpc.close({ drainMs: 5000 });
  await assertComesBack(server.url);
  for (const reader of readers) {
    assertEquals((await reader.next()).data, '"last words"');
    await reader.ended();
  }
  await closing;
  assertEquals(rpc.connections.size, 0);
});

const PAGE = `<!doctype html><title>Events</title><ul></ul><script>
const source = new EventSource(URL_HERE, { withCredentials: true });
function show(text) {
  const item = document.createElement("li");
  item.textContent = text;
  document.querySelector("ul").append(item);
}
source.addEventListener("open", () => show("open"));
source.addEventListener("clock", ({ data }) => show("clock " + JSON.parse(data).n));
source.addEventListener("room.7", ({ data }) => show("room " + JSON.parse(data)));
source.addEventListener("gap", ({ data }) => show("gap " + data));
</script>`;

test(
  "a browser's EventSource of another origin receives events, and recovers when its connection was cut",
  await needs("chromium"),
  async () => {
    const port = await freePort();
    const origin = `http://localhost:${port}`;
    const rpc = serverOf({ origins: [origin] });
    await using server = await serveHere(rpc);
    // By another name of the host, it is another origin.
    const url = JSON.stringify(`${server.url}/?topics=clock,room.7`);
    const { serve } = await import("@x/jsonrpc/node");
    const site = await serve({
      fetch: () =>
        new Response(PAGE.replace("URL_HERE", url), { headers: { "content-type": "text/html" } }),
    }, { port, hostname: "localhost" });
    try {
      await withChromium(async (visit) => {
        const page = await visit(origin);
        const shown = async (...texts: string[]) => {
          await page.getByRole("listitem").nth(texts.length - 1).waitFor();
          assertEquals(await page.getByRole("listitem").allTextContents(), texts);
        };
        await shown("open");
        rpc.publish("clock", { n: 1 });
        rpc.publish("room.7", "hello");
        await shown("open", "clock 1", "room hello");
        assertEquals(rpc.revoke(() => true), 1);
        for (const n of [2, 3]) rpc.publish("clock", { n });
        await shown("open", "clock 1", "room hello", "open", "clock 2", "clock 3");
        rpc.publish("clock", { n: 4 });
        await shown("open", "clock 1", "room hello", "open", "clock 2", "clock 3", "clock 4");
        await page.close();
        await until(() => rpc.connections.size === 0);
      });
    } finally {
      await site.close();
    }
  },
);
