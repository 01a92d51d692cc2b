/**
 * Attacks through other carriers than WebSocket and POST: byte streams, ports, and dialects on either.
 * They must neither throw into the event loop, where nothing catches, nor cost memory without bound.
 */
import { assert, assertEquals } from "@std/assert";
import { test } from "node:test";
import { JsonRpc } from "@x/jsonrpc";
import type { JsonRpcOptions } from "@x/jsonrpc";
import { byteStream } from "@x/jsonrpc/byte_stream";
import { acp, lsp, mcp, withDialect } from "@x/jsonrpc/dialect";
import { messagePort } from "@x/jsonrpc/port";
import type { ExtensionPort } from "@x/jsonrpc/port";
import { connect } from "@x/jsonrpc/client";
import { linkedSockets } from "@x/jsonrpc/testing";
import { socketTransport } from "../../src/core/web_socket_channel.ts";
import { FrameReader } from "../../src/transports/framing.ts";
import { postedJson } from "../../src/transports/posted_json.ts";
import { heldMemory } from "../helpers/held_memory.ts";
import { until } from "../helpers/deferred.ts";
import { silentLog } from "../helpers/log.ts";
import { call, result } from "../helpers/messages.ts";
import { within } from "../helpers/raw_client.ts";
import { WirePeer } from "../helpers/wire.ts";

const encoder = new TextEncoder();
const DEEP = "[".repeat(100_000) + "]".repeat(100_000);

function serverOf(options: JsonRpcOptions = {}) {
  return new JsonRpc({ logger: silentLog(), ...options }).method("ping", () => "pong");
}

/** Bytes that the test writes one after the other, and a server that reads them. */
function pipeTo(rpc: JsonRpc, options: Parameters<typeof byteStream>[1] = {}) {
  const there = new TransformStream<Uint8Array<ArrayBuffer>, Uint8Array<ArrayBuffer>>();
  const back = new TransformStream<Uint8Array<ArrayBuffer>, Uint8Array<ArrayBuffer>>();
  rpc.attach(byteStream({ readable: there.readable, writable: back.writable }, options));
  return { writer: there.writable.getWriter(), reader: back.readable.getReader() };
}

test("a reader of byte streams keeps one buffer, however many bytes come one by one", () => {
  const reader = new FrameReader({ framing: "newline", maxMessageBytes: 1024 * 1024 });
  const byte = encoder.encode(" ");
  const before = heldMemory();
  for (let count = 0; count < 400_000; count++) for (const _ of reader.read(byte));
  const growth = heldMemory() - before;
  assert(growth < 64, `grew by ${growth.toFixed(0)} MiB`);
  const [frame] = reader.read(encoder.encode('\n{"a":1}\n'));
  assertEquals(frame, { kind: "message", text: '{"a":1}' });
});

test("a peer that sends lines of junk over a byte stream fills no log", async () => {
  const logger = silentLog();
  const rpc = serverOf();
  const { writer, reader } = pipeTo(rpc, { logger });
  await writer.write(
    encoder.encode("junk\n".repeat(50_000) + JSON.stringify(call("ping", 1)) + "\n"),
  );
  const { value } = await within(reader.read(), "an answer");
  assertEquals(JSON.parse(new TextDecoder().decode(value)), result(1, "pong"));
  assertEquals(logger.lines.length, 10);
  assertEquals(logger.lines[0], 'warn: Skipped a line that is no JSON: "junk"');
  await Promise.all([reader.cancel(), rpc.close({ drainMs: 0 })]);
});

test("what waits for a peer that does not show its framing counts as unread", async () => {
  const rpc = serverOf({ maxBufferedBytes: 100_000 });
  pipeTo(rpc, { framing: "detect" });
  for (let count = 0; count < 20; count++) {
    for (const connection of rpc.connections) connection.notify("news", ["x".repeat(10_000)]);
  }
  await until(() => rpc.connections.size === 0);
  await rpc.close({ drainMs: 0 });
});

/** A port that hands over objects as they are, without the time that engines need to clone some. */
function portTo(rpc: JsonRpc) {
  const listeners: ((message: unknown) => void)[] = [];
  const posted: unknown[] = [];
  const port: ExtensionPort = {
    postMessage: (message) => posted.push(message),
    disconnect() {},
    onMessage: { addListener: (listener) => listeners.push(listener) },
    onDisconnect: { addListener() {} },
  };
  rpc.attach(messagePort(port));
  const post = (message: unknown): void => listeners.forEach((listener) => listener(message));
  return { post, posted };
}

/** Values that can be posted, and what the other end gets. */
const POSTED: Readonly<Record<string, { readonly make: () => unknown; readonly code: number }>> = {
  "a BigInt": { make: () => ({ ...call("ping", 1), params: [1n] }), code: -32700 },
  "a cycle of params": {
    make: () => {
      const message: Record<string, unknown> = { ...call("ping", 1) };
      message.params = [message];
      return message;
    },
    code: -32700,
  },
  "a cycle of arrays within a batch": {
    make: () => {
      const batch: unknown[] = [call("ping", 1)];
      batch.push(batch);
      return batch;
    },
    code: -32700,
  },
  "200 million holes": {
    make: () => ({ ...call("ping", 1), params: Array(200_000_000) }),
    code: 1009,
  },
  "four billion holes in a batch": {
    make: () => {
      const batch: unknown[] = [call("ping", 1)];
      batch.length = 2 ** 32 - 1;
      return batch;
    },
    code: 1009,
  },
  "one object in a billion places": {
    make: () => {
      let value: unknown = ["x".repeat(100)];
      for (let level = 0; level < 30; level++) value = [value, value];
      return { ...call("ping", 1), params: [value] };
    },
    code: 1009,
  },
  "an array of bytes": {
    make: () => ({ ...call("ping", 1), params: [new Uint8Array(10_000_000)] }),
    code: -32700,
  },
  "a long text": {
    make: () => ({ ...call("ping", 1), params: ["x".repeat(2_000_000)] }),
    code: 1009,
  },
};

for (const [name, { make, code }] of Object.entries(POSTED)) {
  test(`a port to which ${name} is posted answers or closes`, async () => {
    const rpc = serverOf();
    const { post, posted } = portTo(rpc);
    post(make());
    const [got] = posted;
    const { error } = typeof got === "string" ? JSON.parse(got) : { error: undefined };
    assertEquals(error?.code ?? (got as Record<string, unknown>)["@x/jsonrpc close"], code);
    await rpc.close({ drainMs: 0 });
  });
}

test("a BigInt that comes through a MessageChannel is answered", async () => {
  const { port1, port2 } = new MessageChannel();
  const rpc = serverOf();
  rpc.attach(messagePort(port1));
  const answer = new Promise<string>((resolve) => port2.onmessage = ({ data }) => resolve(data));
  port2.postMessage({ ...call("ping", 1), params: [1n] });
  assertEquals(JSON.parse(await within(answer, "an answer")).error.code, -32700);
  port2.close();
  await rpc.close({ drainMs: 0 });
});

test("a port whose close is no text ends all the same", async () => {
  for (const reason of [{ toString: 1, valueOf: 1 }, Array(10), 5n, "x".repeat(1_000_000)]) {
    const { port1, port2 } = new MessageChannel();
    const logger = silentLog();
    const rpc = serverOf({ logger });
    rpc.attach(messagePort(port1));
    port2.postMessage({ "@x/jsonrpc close": 1000, reason });
    await until(() => rpc.connections.size === 0);
    assert(logger.text.length < 10_000);
    port2.close();
    await rpc.close();
  }
});

test("a getter that throws within an object that was not cloned ends nothing", async () => {
  const rpc = serverOf();
  const { post, posted } = portTo(rpc);
  const params = {
    toJSON() {
      throw new Error("no");
    },
  };
  post({ ...call("ping", 1), params });
  assertEquals(JSON.parse(String(posted[0])).error.code, -32700);
  await rpc.close();
});

test("postedJson() encodes what JSON.stringify does", () => {
  const values = [
    { a: [1, "ä", null, true, undefined], b: new Date(0) },
    [],
    {},
    [[[{}]]],
    Array(3),
  ];
  for (const value of values) {
    assertEquals(postedJson(value, 100), { text: JSON.stringify(value) });
  }
  assertEquals(postedJson(JSON.parse("[".repeat(2000) + "]".repeat(2000)), 1e6), {
    failed: "not JSON",
  });
});

for (const [name, dialect] of Object.entries({ lsp, mcp, acp })) {
  test(`a cancel whose id is 100,000 levels deep is refused: ${name}`, async () => {
    const [near, far] = linkedSockets();
    const peer = new WirePeer(near);
    const rpc = serverOf({ dialect });
    rpc.attach(far);
    const { method, id } = dialect.cancel;
    peer.send(`{"jsonrpc":"2.0","method":"${method}","params":{"${id}":${DEEP}}}`);
    assertEquals((await peer.next()).error?.code, -32700);
    // A client with a dialect has the same reader.
    const [one, other] = linkedSockets();
    const server = new WirePeer(other);
    const transport = socketTransport(one);
    const client = await connect(withDialect(transport, dialect), { logger: silentLog() });
    server.send(`{"jsonrpc":"2.0","method":"${method}","params":{"${id}":${DEEP}}}`);
    assertEquals((await server.next()).error?.code, -32700);
    const answer = client.call("ping");
    assertEquals((await server.next()).method, "ping");
    server.send(result(1, "pong"));
    assertEquals(await answer, "pong");
    await client.close();
    await rpc.close();
  });

  if (dialect.progress === undefined) continue;
  test(`a peer whose calls are never answered by id leaves no tokens: ${name}`, async () => {
    const [near, far] = linkedSockets();
    const peer = new WirePeer(near);
    const rpc = serverOf({ dialect, logger: silentLog() });
    rpc.attach(far);
    const token = "x".repeat(900_000);
    const params = name === "lsp" ? { workDoneToken: token } : { _meta: { progressToken: token } };
    const before = heldMemory();
    // A call whose id is an object is answered with id null.
    for (let index = 0; index < 150; index++) {
      peer.send(JSON.stringify({ ...call("ping", {}), params }).replace("xxx", `${index}`));
      assertEquals((await peer.next()).error?.code, -32600);
    }
    const growth = heldMemory() - before;
    assert(growth < 100, `grew by ${growth.toFixed(0)} MiB`);
    await rpc.close();
  });
}
