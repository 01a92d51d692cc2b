/**
 * Requests that say one thing to a check and another to what runs, and requests that never end.
 */
import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { test } from "node:test";
import { guard, JsonRpc } from "@x/jsonrpc";
import { linkedSockets } from "@x/jsonrpc/testing";
import { until } from "../helpers/deferred.ts";
import { silentLog } from "../helpers/log.ts";
import { call } from "../helpers/messages.ts";
import { dial, rawRequest, RawSocket, requestText, within } from "../helpers/raw_client.ts";
import { serveHere, serveOnNode } from "../helpers/server.ts";
import { WirePeer } from "../helpers/wire.ts";
import { attack } from "./attack.ts";

const IMAGE = { "sec-fetch-site": "cross-site", "sec-fetch-mode": "no-cors" };

await attack(
  "a page of another site calls no GET method by an escaped name",
  {},
  async ({ url }) => {
    for (const query of ["method=ping", "%6dethod=ping", "m%65thod=ping", "x=1&%6D%65thod=ping"]) {
      const { status, body } = await rawRequest(url, { path: `/?${query}&id=1`, headers: IMAGE });
      assertEquals([status, body], [403, "Origin not allowed"], query);
      // From elsewhere it is a call like any other, which no cache may keep.
      const other = await rawRequest(url, { path: `/?${query}&id=1` });
      assertStringIncludes(other.body, '"pong"');
      assertEquals(other.headers.get("cache-control")?.trim(), "no-store");
    }
    for (const query of ["topics=news", "%74opics=news"]) {
      const headers = { ...IMAGE, accept: "text/event-stream" };
      assertEquals((await rawRequest(url, { path: `/?${query}`, headers })).status, 403, query);
    }
  },
);

for (
  const [name, serve] of [["this runtime's server", serveHere], ["./node", serveOnNode]] as const
) {
  test(`a refused POST that trickles holds up no end of a server, on ${name}`, async () => {
    const rpc = new JsonRpc({ logger: silentLog() });
    const server = await serve(rpc);
    const socket = await dial(server.url);
    socket.on("error", () => {}).resume();
    const headers = { "content-type": "text/plain", "content-length": "1000000" };
    socket.write(requestText(server.url, {}, { method: "POST", headers }));
    const trickle = setInterval(() => socket.destroyed || socket.write("x"), 100);
    await new Promise((resolve) => setTimeout(resolve, 300));
    try {
      await within(server.stop(), "the end of the server");
    } finally {
      clearInterval(trickle);
      socket.destroy();
    }
  });

  test(`connection.close() with a code that may not be sent closes all the same, on ${name}`, async () => {
    for (const code of [1005, 1006, 1015, 0, 999, 1004, 2000, 5000, NaN, 1000.5]) {
      const rpc = new JsonRpc({ logger: silentLog() });
      await using server = await serve(rpc);
      const socket = new WebSocket(server.ws);
      const closed = new Promise<number>((resolve) => {
        socket.addEventListener("close", (event) => resolve(event.code));
      });
      await until(() => rpc.connections.size === 1);
      for (const connection of rpc.connections) connection.close(code, "so");
      assertEquals(await within(closed, "a close"), code === 1005 ? 1000 : 1011);
    }
  });
}

test("a guard that throws for 1,024 topics of one call is logged ten times", async () => {
  const logger = silentLog();
  let asked = 0;
  const rpc = new JsonRpc({ logger }).topic("room.*", {
    guards: [guard(() => {
      asked++;
      throw new Error("no database");
    })],
  });
  const [near, far] = linkedSockets();
  const peer = new WirePeer(near);
  rpc.attach(far);
  const names = (count: number) => Array.from({ length: count }, (_, n) => `room.${n}`);
  peer.send(call("subscribe", 1, names(15_000)));
  assertEquals((await peer.next()).error?.code, -32006);
  assertEquals(asked, 0);
  peer.send(call("subscribe", 2, names(1024)));
  assertEquals((await peer.next()).result, []);
  assertEquals(asked, 1024);
  // The debug level says of each refusal why, and has a bound of its own.
  // The error of each guard, and for each refusal why, have bounds of their own.
  const levels = logger.lines.map((line) => line.slice(0, line.indexOf(":")));
  assertEquals(levels.filter((level) => level === "error").length, 10);
  assertEquals(levels.filter((level) => level === "debug").length, 20);
  assertEquals(levels.length, 30);
  await rpc.close();
});

test("a log shows control characters and reversed text of peers escaped", async () => {
  const logger = silentLog();
  const rpc = new JsonRpc({ logger, origins: [] }).method("fail", () => {
    throw new Error("\u009b31m \u202e gnirts\u001b[2J");
  });
  const [near, far] = linkedSockets();
  const peer = new WirePeer(near);
  rpc.attach(far);
  peer.send(call("fail", 1));
  await peer.next();
  await rpc.fetch(new Request("http://x/", { method: "POST", headers: { origin: "\u009b2J" } }));
  // deno-lint-ignore no-control-regex -- those are what it is about
  assert(!/[\x00-\x08\x0b-\x1f\x7f-\x9f\u202e]/.test(logger.text), logger.text);
  assertStringIncludes(logger.text, "\\u{9b}");
  await rpc.close();
});

await attack(
  "a peer that sends only garbage is closed, one that errs now and then is not",
  {},
  async (server) => {
    const line = await RawSocket.open(server.url);
    for (let round = 0; round < 3; round++) {
      for (let count = 0; count < 90; count++) {
        assertEquals(
          (await line.ask("{")).error?.code,
          -32700,
        );
      }
      assertEquals((await line.ask(call("ping", round))).result, "pong");
    }
    const closed = line.closed();
    line.send(...Array(101).fill("nonsense"));
    const { code, reason } = await closed;
    assertEquals([code, reason], [1008, "Over 100 messages in a row are no JSON"]);
  },
);

test("an event stream looks into the positions of a request once, however many topics it names", async () => {
  const rpc = new JsonRpc({ logger: silentLog() }).topic("news");
  const names = Array.from({ length: 2000 }, (_, index) => index.toString(36));
  const headers = { accept: "text/event-stream", "last-event-id": names.join("&") };
  const { get, has } = URLSearchParams.prototype;
  let looks = 0;
  // Each of them reads all positions.
  Object.assign(URLSearchParams.prototype, {
    get(this: URLSearchParams, name: string) {
      looks++;
      return get.call(this, name);
    },
    has(this: URLSearchParams, name: string) {
      looks++;
      return has.call(this, name);
    },
  });
  try {
    const url = `http://127.0.0.1/?topics=${names}`;
    const response = await rpc.fetch(new Request(url, { headers }));
    assertEquals(response.status, 400);
  } finally {
    Object.assign(URLSearchParams.prototype, { get, has });
  }
  assert(looks < 20, `${looks} looks`);
  await rpc.close({ drainMs: 0 });
});
