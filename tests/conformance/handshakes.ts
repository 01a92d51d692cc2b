/**
 * WebSocket handshakes: which are accepted, with which subprotocol, and how many.
 */
import { assert, assertEquals } from "@std/assert";
import {
  assertPong,
  assertStatus,
  frameSocket,
  Post,
  rawPost,
  RawSocket,
  rawUpgrade,
} from "../helpers/raw_client.ts";
import type { RawRequest } from "../helpers/raw_client.ts";
import { call } from "../helpers/messages.ts";
import { hostile, MAX_CONNECTIONS, newKey, noConnectionIsLeft, notedOf } from "./case.ts";

const SWITCHING = 101;

hostile("opens a WebSocket, and names no subprotocol when none was offered", async (url) => {
  const { headers } = assertStatus(await rawUpgrade(url), SWITCHING);
  assertEquals(headers.get("sec-websocket-accept"), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
  assertEquals(headers.get("sec-websocket-protocol"), null);
});

/** The offered subprotocols, and the chosen one. */
const OFFERS: readonly (readonly [offered: string, chosen: string | null])[] = [
  ["jsonrpc", "jsonrpc"],
  ["jsonrpc, bearer.token", "jsonrpc"],
  ["bearer.token, jsonrpc", "jsonrpc"],
  ["bearer.token,jsonrpc", "jsonrpc"],
  ["a, jsonrpc ,b", "jsonrpc"],
  ["bearer.token", null],
  ["graphql, bearer.token", null],
  ["JSONRPC, jsonrpc2", null],
];

for (const [offered, chosen] of OFFERS) {
  hostile(`answers an offer of the subprotocols "${offered}" with ${chosen}`, async (url) => {
    const response = await rawUpgrade(url, { "sec-websocket-protocol": offered });
    const { headers } = assertStatus(response, SWITCHING);
    assertEquals(headers.get("sec-websocket-protocol"), chosen);
  });
}

hostile("talks to a client that offers jsonrpc and a token", async (url) => {
  const client = await RawSocket.open(url, ["jsonrpc", "bearer.token"]);
  assertEquals(client.protocol, "jsonrpc");
  await client.leave();
});

hostile("refuses every version of the WebSocket protocol except 13, and names it", async (url) => {
  for (const version of [undefined, "", "8", "12", "14", "13, 8", "x"]) {
    const response = await rawUpgrade(url, { "sec-websocket-version": version });
    const { headers } = assertStatus(response, 426);
    assertEquals(headers.get("sec-websocket-version"), "13");
  }
});

hostile("refuses a key that is not 16 bytes in base64", async (url) => {
  const keys = [undefined, "", "short", "dGhlIHNhbXBsZSBub25jZQ", "a".repeat(24), "é".repeat(24)];
  for (const key of keys) assertStatus(await rawUpgrade(url, { "sec-websocket-key": key }), 400);
});

hostile("refuses an Upgrade header without `Connection: Upgrade`", async (url) => {
  for (const connection of [undefined, "", "close", "keep-alive", "upgraded"]) {
    const { status } = await rawUpgrade(url, { connection });
    assert(status >= 400 && status < 500, `${connection}: ${status}`);
  }
  assertStatus(await rawUpgrade(url, { connection: "keep-alive, Upgrade" }), SWITCHING);
});

// -- counting connections --

hostile("gives the places of refused WebSockets back", async (url) => {
  const wrong: RawRequest["headers"][] = [
    { "sec-websocket-version": "8" },
    { "sec-websocket-key": "short" },
    { origin: "https://foreign.example" },
    { connection: "close" },
  ];
  for (const headers of wrong) {
    const asked = Array.from({ length: MAX_CONNECTIONS + 10 }, () => rawUpgrade(url, headers));
    const statuses = new Set((await Promise.all(asked)).map(({ status }) => status));
    assert(!statuses.has(SWITCHING) && !statuses.has(503), [...statuses].join());
  }
});

hostile("gives the places of closed WebSockets back", async (url) => {
  for (let round = 0; round < 5; round++) {
    const clients = await Promise.all(Array.from({ length: 50 }, () => RawSocket.open(url)));
    await Promise.all(clients.map((client) => client.leave()));
    await noConnectionIsLeft(url);
  }
});

hostile("gives the places of peers back that vanish without a close frame", async (url) => {
  for (let round = 0; round < 5; round++) {
    const sockets = await Promise.all(Array.from({ length: 50 }, () => frameSocket(url)));
    for (const socket of sockets) socket.resetAndDestroy();
    await noConnectionIsLeft(url);
  }
});

hostile(
  "takes 200 connections, answers one more with 503, and accepts one again later",
  async (url) => {
    await noConnectionIsLeft(url);
    const opening = Array.from({ length: MAX_CONNECTIONS }, () => RawSocket.open(url));
    const clients = await Promise.all(opening);
    try {
      assertStatus(await rawUpgrade(url), 503);
      await clients[0]!.assertSilent();
      await new Post(url).leave();
      await Promise.all(clients.map((client) => client.leave()));
      await noConnectionIsLeft(url);
    } finally {
      clients.forEach((client) => client.disconnect());
    }
  },
);

// -- origins --

function foreignOrigins(url: string): string[] {
  const { host, origin } = new URL(url);
  return [
    ...["https://foreign.example", "http://localhost", "http://127.0.0.1", "http://127.0.0.1:1"],
    ...["http://127.0.0.1.foreign.example", "http://foreign.example#127.0.0.1", "127.0.0.1"],
    ...[`${origin}0`, `http://foreign.example@${host}x`, "file://", "null", "*"],
  ];
}

/** The server's own, also behind a proxy that speaks TLS. */
function ownOrigins(url: string): string[] {
  const { host } = new URL(url);
  return [`http://${host}`, `https://${host}`];
}

hostile("refuses pages of foreign origins with 403, over WebSocket and POST", async (url) => {
  const key = newKey();
  for (const origin of foreignOrigins(url)) {
    assertStatus(await rawUpgrade(url, { origin }), 403);
    assertStatus(await rawPost(url, JSON.stringify(call("note", 1, [key])), { origin }), 403);
  }
  assertEquals(await notedOf(new Post(url), key), 0);
});

hostile("refuses an origin that is an empty text", async (url) => {
  assertStatus(await rawUpgrade(url, { origin: "" }), 403);
});

hostile(
  "accepts pages of its own origin and clients without one, over WebSocket and POST",
  async (url) => {
    for (const origin of [...ownOrigins(url), undefined]) {
      assertStatus(await rawUpgrade(url, { origin }), SWITCHING);
      assertPong(await rawPost(url, JSON.stringify(call("ping", 1)), { origin }));
    }
  },
);
