/**
 * Many peers that each keep within their limits, and together would take all memory.
 */
import { assert, assertEquals } from "@std/assert";
import type { Socket } from "node:net";
import { setTimeout as delay } from "node:timers/promises";
import { call } from "../helpers/messages.ts";
import {
  assertStatus,
  dial,
  frame,
  frameSocket,
  rawPost,
  rawResponse,
  RawSocket,
  rawUpgrade,
  requestText,
  TEXT,
  within,
} from "../helpers/raw_client.ts";
import { answersAgain, assertAnswers, assertBounded, attack } from "./attack.ts";

const MIB = 1024 * 1024;
const SMALL = { maxTotalBytes: 32 * MIB };

await attack(
  "1,200 POSTs that never end cost much less than their bodies",
  SMALL,
  async (server) => {
    const headers = { "content-type": "application/json", "content-length": `${MIB}` };
    const head = requestText(server.url, {}, { method: "POST", headers });
    const body = "x".repeat(MIB - 1);
    const sockets: Socket[] = [];
    // Without the budget they cost 1,200 to 1,530. The rest is what runtimes buffer: Bun's node:http reads on
    // while a busy machine does not come to its handlers.
    await assertBounded(server, server.isBunNode ? 1100 : 700, async () => {
      for (let count = 0; count < 1200; count++) {
        const socket = await dial(server.url);
        socket.on("error", () => {}).resume();
        socket.write(head + body);
        sockets.push(socket);
      }
      await assertAnswers(server);
      await delay(1000);
    });
    for (const socket of sockets) socket.destroy();
    await assertAnswers(server);
  },
);

await attack(
  "300 peers that ask, never read and leave cost less than 500 MiB",
  SMALL,
  async (server) => {
    const sockets: Socket[] = [];
    // They ask for 1,800 MB. What they leave unread is bounded, and what they have left is not answered.
    await assertBounded(server, 500, async () => {
      for (let count = 0; count < 300; count++) {
        const socket = await frameSocket(server.url).catch(() => undefined);
        // Refused: all memory is in use.
        if (socket === undefined) break;
        sockets.push(socket.pause());
      }
      for (let round = 0; round < 6; round++) {
        for (const socket of sockets) {
          socket.write(frame(TEXT, JSON.stringify(call("large", round, [1_000_000]))));
        }
        await delay(100);
      }
      await delay(1000);
      for (const socket of sockets) socket.destroy();
      await answersAgain(server);
    });
  },
);

await attack(
  "peers that subscribe to 200,000 names cost less than 160 MiB",
  SMALL,
  async (server) => {
    let refused = 0;
    const lines: RawSocket[] = [];
    await assertBounded(server, 160, async () => {
      for (let peer = 0; peer < 200; peer++) {
        const names = Array.from({ length: 1000 }, (_, n) => `room.${peer}-${n}`.padEnd(200, "x"));
        const line = await RawSocket.open(server.url).catch(() => undefined);
        if (line === undefined) {
          refused++;
          continue;
        }
        lines.push(line);
        const { error } = await line.ask(call("subscribe", 1, names));
        if (error !== undefined) {
          assertEquals(error.code, -32009);
          refused++;
        }
      }
    });
    assert(refused > 0);
    // A peer that was there before is still answered.
    assertEquals((await lines[0]?.ask(call("ping", 2)))?.result, "pong");
    for (const line of lines) line.disconnect();
    await answersAgain(server);
  },
);

await attack("a body that trickles is answered 408, and its connection is closed", {
  bodyTimeoutMs: 500,
}, async (server) => {
  for (const length of ["100", "100000"]) {
    const socket = await dial(server.url);
    const headers = { "content-type": "application/json", "content-length": length };
    const answer = rawResponse(socket);
    socket.write(requestText(server.url, {}, { method: "POST", headers }) + '{"jsonrpc"');
    assertStatus(await within(answer, "an answer"), 408);
    // Deno's own server keeps the connection, whatever it is told.
    if (server.isDenoServe) socket.destroy();
    else await within(new Promise((resolve) => socket.once("close", resolve)), "its end");
  }
  await assertAnswers(server);
});

await attack("maxPerAddress counts WebSockets and POSTs of one address", {
  maxPerAddress: 2,
}, async (server) => {
  const lines = [await RawSocket.open(server.url), await RawSocket.open(server.url)];
  assertStatus(await rawUpgrade(server.url), 503);
  assertStatus(await rawPost(server.url, JSON.stringify(call("ping", 1))), 503);
  for (const line of lines) line.disconnect();
  await answersAgain(server);
});

await attack("maxPerAddress counts clients behind a trusted proxy apart, and believes no others", {
  maxPerAddress: 1,
  trustedProxies: ["127.0.0.1"],
}, async (server) => {
  const from = (forwarded: string) =>
    rawPost(server.url, JSON.stringify(call("wait", 1, [300])), {
      "x-forwarded-for": forwarded,
    });
  const two = await Promise.all([from("203.0.113.1"), from("203.0.113.2")]);
  assertEquals(two.map(({ status }) => status), [200, 200]);
  // The first of these two addresses may be forged: only the last is what the proxy has seen.
  const same = await Promise.all([
    from("203.0.113.8, 203.0.113.3"),
    from("203.0.113.9, 203.0.113.3"),
  ]);
  assertEquals(same.map(({ status }) => status).sort(), [200, 503]);
  // Some proxies add the port, which is another one for each connection.
  for (
    const pair of [
      ["203.0.113.4:50001", "203.0.113.4:50002"],
      ["[2001:db8::1]:50001", "[2001:db8::2]:50002"],
      ["2001:db8:1::1", "[2001:db8:1::1]"],
    ]
  ) {
    const ports = await Promise.all(pair.map(from));
    assertEquals(ports.map(({ status }) => status).sort(), [200, 503], pair.join());
  }
});
