/**
 * Peers that are gone without a close: every server drops them, and drops no others.
 */
import { assert, assertEquals } from "@std/assert";
import type { Socket } from "node:net";
import { test } from "node:test";
import { connect, JsonRpc } from "@x/jsonrpc";
import type { Connection, Limits } from "@x/jsonrpc";
import { frame, frameSocket, TEXT, within } from "../helpers/raw_client.ts";
import { until } from "../helpers/deferred.ts";
import { silentLog } from "../helpers/log.ts";
import { runtimeHere } from "../helpers/runtimes.ts";
import { serveHere, serveOnNode } from "../helpers/server.ts";
import { call } from "../helpers/messages.ts";
import { skipUnless } from "../helpers/needs.ts";

/** Servers that ping by themselves as often as they are told, in this runtime. */
const starts = {
  "serve() of ./node": serveOnNode,
  "the runtime's own server": serveHere,
};

function testServer(options: Partial<Limits> = {}) {
  return new JsonRpc({ logger: silentLog(), heartbeatMs: 300, ...options })
    .method("ping", () => "pong")
    .method("large", ([length]: [number]) => "x".repeat(length));
}

/** The end of a raw socket. */
function ended(socket: Socket): Promise<unknown> {
  return within(new Promise((resolve) => socket.once("close", resolve)), "the end of a connection");
}

/** The pings that a raw socket gets: each a frame of two bytes that holds nothing. */
function countPings(socket: Socket, onPing: () => void): void {
  socket.on("data", (bytes: Uint8Array) => {
    for (let at = 0; at + 1 < bytes.length; at++) {
      if (bytes[at] === 0x89 && bytes[at + 1] === 0) onPing();
    }
  });
}

const PONG = 10;

for (const [what, start] of Object.entries(starts)) {
  const isDenoServe = runtimeHere === "deno" && start === serveHere;
  const ownHeartbeat = skipUnless(
    !isDenoServe,
    "Deno's own server decides itself when a peer is gone",
  );

  test(`heartbeatMs may be longer than a timer can be, and no peer is pinged meanwhile, on ${what}`, async () => {
    const rpc = testServer({ heartbeatMs: 2 ** 31 });
    await using server = await start(rpc as unknown as JsonRpc);
    const silent = await frameSocket(server.url);
    let pings = 0;
    countPings(silent, () => pings++);
    for (let n = 0; n < 3; n++) {
      await new Promise((resolve) => setTimeout(resolve, 5));
      const answered = new Promise((resolve) => silent.once("data", resolve));
      silent.write(frame(TEXT, JSON.stringify(call("ping", n))));
      await within(answered, "an answer");
    }
    assertEquals([pings, rpc.connections.size], [0, 1]);
    silent.destroy();
  });

  test(`heartbeatMs drops a silent peer within two heartbeats, on ${what}`, async () => {
    const rpc = testServer();
    await using server = await start(rpc as unknown as JsonRpc);
    await using client = await connect<typeof rpc>(server.ws);
    const silent = await frameSocket(server.url);
    const end = ended(silent);
    const [, connection] = rpc.connections;
    const { signal } = connection as Connection<null>;
    let pings = 0;
    countPings(silent, () => pings++);
    await end;
    await until(() => rpc.connections.size === 1);
    assert(signal.aborted);
    // There is one with each heartbeat.
    assert(pings <= 2, `${pings} pings`);
    assertEquals(await client.call("ping"), "pong");
  });

  test(`heartbeatMs keeps a peer that answers pings or is busy, on ${what}`, async () => {
    const rpc = testServer({ heartbeatMs: 200 });
    await using server = await start(rpc as unknown as JsonRpc);
    const [idle, busy] = [await frameSocket(server.url), await frameSocket(server.url)];
    let pings = 0;
    countPings(idle, () => {
      pings++;
      idle.write(frame(PONG, ""));
    });
    busy.resume();
    const talk = setInterval(() => busy.write(frame(TEXT, JSON.stringify(call("ping", 1)))), 50);
    // Those that are silent tell that the time has come, and again.
    for (let round = 0; round < 3; round++) await ended((await frameSocket(server.url)).resume());
    await until(() => pings >= 4 && rpc.connections.size === 2);
    clearInterval(talk);
    assertEquals([idle.closed, busy.closed], [false, false]);
    idle.destroy();
    busy.destroy();
  });

  test(`heartbeatMs drops a silent peer that has left much unread, on ${what}`, async () => {
    const rpc = testServer({ maxBufferedBytes: 100_000_000 });
    await using server = await start(rpc as unknown as JsonRpc);
    const deaf = (await frameSocket(server.url)).pause();
    const [connection] = rpc.connections;
    const { signal } = connection as Connection<null>;
    for (let id = 0; id < 20; id++) {
      deaf.write(frame(TEXT, JSON.stringify(call("large", id, [1_000_000]))));
    }
    await until(() => signal.aborted);
    // Deno's own server cannot cut it off: its place is taken until TCP gives it up.
    if (isDenoServe) deaf.destroy();
    await until(() => rpc.connections.size === 0);
    deaf.destroy();
  });

  test(
    `heartbeatMs drops no peer because the process itself was busy, on ${what}`,
    ownHeartbeat,
    async () => {
      const rpc = testServer({ heartbeatMs: 100 });
      await using server = await start(rpc as unknown as JsonRpc);
      await using client = await connect<typeof rpc>(server.ws);
      await client.call("ping");
      const [connection] = rpc.connections;
      for (let round = 0; round < 8; round++) {
        // A part of a heartbeat more each time, so that it hits each moment of it.
        await new Promise((resolve) => setTimeout(resolve, 100 + 13 * round));
        const until = performance.now() + 350;
        while (performance.now() < until);
      }
      assertEquals(await client.call("ping"), "pong");
      assert(connection?.isOpen);
    },
  );
}
