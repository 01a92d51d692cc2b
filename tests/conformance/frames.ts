/**
 * Bad WebSocket frames: binary, too long, invalid or broken off.
 */
import { assertEquals } from "@std/assert";
import type { Socket } from "node:net";
import { assertAlive, frame, frameSocket, RawSocket, TEXT } from "../helpers/raw_client.ts";
import { call, result } from "../helpers/messages.ts";
import {
  callOf,
  hostile,
  MAX_MESSAGE_BYTES,
  noConnectionIsLeft,
  noConnectionIsOpen,
  overWebSocket,
} from "./case.ts";

overWebSocket("answers -32700 to a binary frame", async (client) => {
  client.sendBytes(new TextEncoder().encode(JSON.stringify(call("ping", 1))));
  const { error, id } = await client.next();
  assertEquals([error?.code, error?.message, id], [-32700, "Parse error", null]);
});

overWebSocket("takes a message of exactly maxMessageBytes", async (client) => {
  assertEquals(await client.ask(callOf(MAX_MESSAGE_BYTES)), result(1, 1));
});

hostile("closes with 1009 when a message is over maxMessageBytes", async (url) => {
  for (const bytes of [MAX_MESSAGE_BYTES + 1, 4 * MAX_MESSAGE_BYTES]) {
    const client = await RawSocket.open(url);
    client.send(callOf(bytes));
    assertEquals((await client.closed()).code, 1009);
  }
});

// -- bare frames --

/** Opens a WebSocket for bare frames, and cuts it at the end. */
async function withSocket(url: string, run: (socket: Socket) => Promise<void>): Promise<void> {
  const socket = await frameSocket(url);
  try {
    await run(socket);
  } finally {
    socket.resetAndDestroy();
  }
}

const CONTINUATION = 0;
const RESERVED = 7;
const CLOSE = 8;
const PING = 9;

/** Frames that no correct client sends. */
const WRONG_FRAMES: Readonly<Record<string, Uint8Array>> = {
  "text that is not UTF-8": frame(TEXT, new Uint8Array([0xff, 0xfe, 0xc0, 0x80])),
  "a frame of a reserved kind": frame(RESERVED, "a"),
  "a continuation of nothing": frame(CONTINUATION, "a"),
  "a ping in fragments": frame(PING, "a", false),
  "a close with a wrong code": frame(CLOSE, new Uint8Array([0, 1])),
  "a frame that claims 2^62 bytes": new Uint8Array([0x81, 0xff, 0x40, 0, 0, 0, 0, 0, 0, 0, 1, 2]),
  "a frame without a mask": new Uint8Array([0x81, 2, 0x7b, 0x7d]),
  "bytes at random": crypto.getRandomValues(new Uint8Array(1_000)),
};

for (const [what, bytes] of Object.entries(WRONG_FRAMES)) {
  hostile(`survives ${what}`, (url) =>
    withSocket(url, async (socket) => {
      socket.write(bytes);
      await assertAlive(url);
    }));
}

hostile("survives a WebSocket that breaks off, at any byte", async (url) => {
  const whole = frame(TEXT, JSON.stringify(call("later", 1, [])));
  for (const length of [0, 1, 6, 20, whole.length]) {
    await withSocket(url, (socket) => {
      socket.write(whole.subarray(0, length));
      return Promise.resolve();
    });
  }
});

hostile("drops a peer that reads nothing", async (url) => {
  const asks = frame(TEXT, JSON.stringify(call("large", 1, [1_000_000])));
  await withSocket(url, async (socket) => {
    socket.pause();
    for (let count = 0; count < 60; count++) socket.write(asks);
    await noConnectionIsOpen(url);
  });
  await noConnectionIsLeft(url);
});
