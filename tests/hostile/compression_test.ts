/**
 * A compressed frame that is short on the wire and long in memory. No server agrees to compression, so
 * that a peer that compresses all the same is closed before anything is inflated.
 */
import { assert, assertEquals } from "@std/assert";
import { Buffer } from "node:buffer";
import { deflateRawSync } from "node:zlib";
import {
  assertStatus,
  dial,
  rawResponse,
  requestText,
  UPGRADE,
  within,
} from "../helpers/raw_client.ts";
import { assertAnswers, assertBounded, attack } from "./attack.ts";

const COMPRESSED_TEXT = 0x80 | 0x40 | 1; // FIN, RSV1, text: RFC 7692, section 6

/** A client's frame of 64 MiB of spaces, compressed. Its mask is all zeros. */
function bomb(): Uint8Array {
  const payload = deflateRawSync(Buffer.alloc(64 * 1024 * 1024, " "));
  assert(payload.length > 125 && payload.length < 1024 * 1024);
  const head = Buffer.alloc(14);
  head[0] = COMPRESSED_TEXT;
  head[1] = 0x80 | 127;
  head.writeBigUInt64BE(BigInt(payload.length), 2);
  return Buffer.concat([head, payload]);
}

await attack(
  "a compressed frame is refused before it is inflated, although the peer offers compression",
  {},
  async (server) => {
    const socket = await dial(server.url);
    socket.on("error", () => {});
    const offer = { ...UPGRADE, "sec-websocket-extensions": "permessage-deflate" };
    socket.write(requestText(server.url, offer, {}));
    const response = assertStatus(await within(rawResponse(socket), "a response"), 101);
    assertEquals(response.headers.get("sec-websocket-extensions"), null);
    const closed = new Promise((resolve) => socket.once("close", resolve));
    await assertBounded(server, 48, async () => {
      socket.write(bomb());
      // A server that only begins to close waits for this side.
      socket.once("end", () => socket.destroy());
      await within(closed, "the end of the connection");
      await assertAnswers(server);
    });
  },
);
