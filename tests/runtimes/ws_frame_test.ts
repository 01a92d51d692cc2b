import { assertEquals } from "@std/assert";
import { Buffer } from "node:buffer";
import { test } from "node:test";
import { connect, JsonRpc } from "@x/jsonrpc";
import { serve } from "@x/jsonrpc/node";
import { SharedText } from "../../src/core/channel.ts";
import { FrameJoiner, joinFrames, sharedFrame } from "../../src/runtimes/node/ws_frame.ts";

// Payloads around each size at which the header of a frame grows (RFC 6455, section 5.2).
const SIZES = [0, 1, 125, 126, 127, 65_535, 65_536, 65_537];

test("joinFrames() writes the header that each size needs", () => {
  const headers = SIZES.map((size) => {
    const frame = joinFrames(["a".repeat(size)]);
    return [...frame.subarray(0, frame.length - size)];
  });
  assertEquals(headers, [
    [0x81, 0],
    [0x81, 1],
    [0x81, 125],
    [0x81, 126, 0, 126],
    [0x81, 126, 0, 127],
    [0x81, 126, 0xff, 0xff],
    [0x81, 127, 0, 0, 0, 0, 0, 1, 0, 0],
    [0x81, 127, 0, 0, 0, 0, 0, 1, 0, 1],
  ]);
});

test("joinFrames() puts strings and shared texts one behind the other", () => {
  const shared = new SharedText("ü");
  const frames = [joinFrames(["a"]), sharedFrame(shared), joinFrames(["€"])];
  assertEquals(joinFrames(["a", shared, "€"]), Buffer.concat(frames));
});

test("sharedFrame() frames a text once", () => {
  const shared = new SharedText("event");
  assertEquals(sharedFrame(shared) === sharedFrame(shared), true);
});

test("FrameJoiner.join() gives the same buffer for the same messages, and only for them", () => {
  const joiner = new FrameJoiner();
  const [first, second] = [new SharedText("first"), new SharedText("second")];
  const joined = joiner.join([first, second]);
  assertEquals(joiner.join([first, second]) === joined, true);
  for (const other of [[second, first], [first], [first, second, "answer"], [first, "second"]]) {
    assertEquals(joiner.join(other), joinFrames(other));
  }
  assertEquals(joined, joinFrames([first, second]));
});

test("FrameJoiner.clear() forgets what was joined last", () => {
  const joiner = new FrameJoiner();
  const messages = [new SharedText("first"), "second"];
  const joined = joiner.join(messages);
  joiner.clear();
  assertEquals(joiner.join(messages) === joined, false);
});

test("a client of ./node receives texts of all sizes in order, alone and many in one turn", async () => {
  const texts = SIZES.flatMap((size) => ["a".repeat(size), "ü".repeat(size), "💬".repeat(size)]);
  const rpc = new JsonRpc()
    .method("echo", ([text]: [string]) => text)
    .topic("texts");
  const server = await serve(rpc, { port: 0, hostname: "127.0.0.1" });
  const client = await connect<typeof rpc>(server.url.replace("http", "ws"));
  try {
    const received: unknown[] = [];
    await client.subscribe("texts", (text) => received.push(text));
    for (const text of texts) rpc.publish("texts", text);
    assertEquals(await Promise.all(texts.map((text) => client.call("echo", [text]))), texts);
    assertEquals(received, texts);
    for (const text of texts) assertEquals(await client.call("echo", [text]), text);
  } finally {
    await client.close();
    await server.close();
  }
});
