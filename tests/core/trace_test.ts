import { assert, assertEquals } from "@std/assert";
import { test } from "node:test";
import { connect, JsonRpc } from "@x/jsonrpc";
import { testClient } from "@x/jsonrpc/testing";
import { trace } from "@x/jsonrpc/trace";
import type { TraceFrame } from "@x/jsonrpc/trace";
import { SharedText } from "../../src/core/channel.ts";
import type { Channel, Receiver } from "../../src/core/channel.ts";
import { maskSecrets } from "../../src/core/trace.ts";
import { until } from "../helpers/deferred.ts";
import { EventReader } from "../helpers/event_reader.ts";
import { silentLog } from "../helpers/log.ts";
import { serveHere, serveOnNode } from "../helpers/server.ts";

/** A trace that keeps its frames. */
function recorded() {
  const frames: TraceFrame[] = [];
  const texts = () => frames.map(({ direction, text }) => `${direction} ${text}`);
  return { frames, texts, trace: trace((frame) => frames.push(frame)) };
}

function testServer(options: ConstructorParameters<typeof JsonRpc>[0]) {
  return new JsonRpc({ logger: silentLog(), ...options })
    .method("add", ([a, b]: [number, number]) => a + b)
    .topic("news");
}

const CALL = '{"jsonrpc":"2.0","method":"add","params":[1,2],"id":1}';
const ANSWER = '{"jsonrpc":"2.0","result":3,"id":1}';

for (
  const [name, start] of Object.entries({ "its own server": serveHere, "./node": serveOnNode })
) {
  test(`trace has both directions of both ends over WebSocket and POST, on ${name}`, async () => {
    const [atServer, atClient] = [recorded(), recorded()];
    await using server = await start(testServer({ trace: atServer.trace }));
    for (const [index, url] of [server.ws, server.url].entries()) {
      await using client = await connect(url, { trace: atClient.trace });
      assertEquals(await client.call("add", [1, 2]), 3);
      assertEquals(atClient.texts().slice(2 * index), [`out ${CALL}`, `in ${ANSWER}`]);
      await until(() => atServer.frames.length === 2 * (index + 1));
      assertEquals(atServer.texts().slice(2 * index), [`in ${CALL}`, `out ${ANSWER}`]);
      assertEquals(atServer.frames.at(-1)?.connection, index + 1);
    }
    const { bytes, time } = atServer.frames[0] as TraceFrame;
    assertEquals(bytes, CALL.length);
    assert(Math.abs(Date.now() - time) < 60_000);
  });
}

test("trace has notifications, events, event streams and calls of the server", async () => {
  const { texts, trace } = recorded();
  const rpc = testServer({ trace });
  await using server = await serveHere(rpc);
  await using client = await connect(server.ws);
  client.method("hello", () => "hi");
  await client.subscribe("news", () => {});
  const reader = await EventReader.open(server.url, "topics=news");
  rpc.publish("news", "A");
  const [connection] = rpc.connections;
  assertEquals(await connection?.call("hello"), "hi");
  connection?.notify("bye");
  await until(() => texts().some((text) => text.includes('"bye"')));
  const all = texts().join("\n");
  assert(all.includes('out {"jsonrpc":"2.0","method":"news","params":"A"}'), all);
  assert(all.includes('"method":"rpc.message","params":{"topic":"news","position":'), all);
  assert(all.includes('in {"jsonrpc":"2.0","result":"hi"'), all);
  await reader.leave();
});

test("a traced channel writes the texts of a turn together, as it would without a trace", () => {
  const { texts, trace } = recorded();
  const writes: unknown[] = [];
  const carrier: Channel = {
    ...{ bufferedAmount: 0, corksReceive: true, countsWholeTurns: true, halfCloses: true },
    send: (message) => writes.push(message),
    sendAll: (messages) => writes.push(messages),
    defer: (queue) => queue.flush(),
    close() {},
  };
  const receiver: Receiver = { receive() {}, markAlive() {}, closed() {} };
  let channel = carrier;
  trace.open(carrier, (traced) => {
    channel = traced;
    return receiver;
  });
  const { corksReceive, countsWholeTurns, halfCloses } = channel;
  assertEquals([corksReceive, countsWholeTurns, halfCloses], [true, true, true]);
  const messages = ["a", new SharedText("b")];
  channel.defer?.({ flush: () => channel.sendAll?.(messages) });
  assertEquals(writes, [messages]);
  assertEquals(texts(), ["out a", "out b"]);
});

test("trace(console) writes a line for each frame", async () => {
  const log = silentLog();
  await using client = await testClient(testServer({ trace: trace(log) }));
  assertEquals(await client.call("add", [1, 2]), 3);
  assertEquals(log.lines, [`debug: ← #1 54 B ${CALL}`, `debug: → #1 35 B ${ANSWER}`]);
});

test("a trace that throws harms neither side", async () => {
  const failing = trace({
    debug() {
      throw new Error("the disk is full");
    },
  });
  // It is reported to the console.
  await using client = await testClient(testServer({ trace: failing }));
  assertEquals(await client.call("add", [1, 2]), 3);
});

test("trace numbers connections, and goes on over a reconnect of the client", async () => {
  const { frames, trace } = recorded();
  const rpc = testServer({});
  await using client = await testClient(rpc, { trace, logger: silentLog() });
  await client.call("add", [1, 2]);
  const [first] = rpc.connections;
  first?.close(1012);
  await until(() => [...rpc.connections].some((each) => each !== first));
  await client.call("add", [1, 2]);
  assertEquals([...new Set(frames.map(({ connection }) => connection))], [1, 2]);
});

test("trace masks secrets, unless it is asked not to", async () => {
  const params = { username: "ada", password: "s3cret" };
  for (const secrets of [false, true]) {
    const texts: string[] = [];
    const rpc = new JsonRpc({ trace: trace(({ text }) => texts.push(text), { secrets }) })
      .method("login", (_params: object) => ({ token: "abc" }));
    await using client = await testClient(rpc);
    await client.call("login", params);
    assertEquals(texts.join().includes("s3cret"), secrets);
    assertEquals(texts.join().includes("abc"), secrets);
    assert(texts.join().includes("ada"));
  }
});

test("maskSecrets() masks by name, by method and by the look of a token, and nothing else", () => {
  const masked = [
    ['{"accessToken":"a","user":"b"}', '{"accessToken":"***","user":"b"}'],
    ['{"a":[{"old_password":"a","n":1}]}', '{"a":[{"old_password":"***","n":1}]}'],
    ['{"method":"login","params":["ada","a"]}', '{"method":"login","params":["***","***"]}'],
    ['[{"method":"set_password","params":["a"]}]', '[{"method":"set_password","params":["***"]}]'],
    ['{"result":"eyJhbGciOiJub25lIn0.e30."}', '{"result":"***"}'],
    ['{"result":"WyJhbm4iLDEsIngiXQ.c2ln"}', '{"result":"***"}'],
    [
      '{"method":"rpc.login","params":{"method":"enter","params":["ada",{"pin":1}]}}',
      '{"method":"rpc.login","params":{"method":"enter","params":"***"}}',
    ],
    ['{"method":"rpc.login","params":{}}', '{"method":"rpc.login","params":{}}'],
    ['{"password":"a"', "(not JSON, and may hold a secret)"],
  ] as const;
  for (const [text, expected] of masked) assertEquals(maskSecrets(text), expected);
  for (const text of ['{ "a":  1 }', "not JSON", '{"method":"add","params":[1,2]}']) {
    assertEquals(maskSecrets(text), text);
  }
});
