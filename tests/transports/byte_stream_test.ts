/**
 * JSON-RPC over streams of bytes: web streams, TCP and Unix sockets.
 */
import { assert, assertEquals, assertRejects } from "@std/assert";
import { rm } from "node:fs/promises";
import { connect as connectTcp, createServer } from "node:net";
import type { AddressInfo, Server, Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { connect, JsonRpc, RpcConnectionError } from "@x/jsonrpc";
import type { JsonRpcOptions } from "@x/jsonrpc";
import { byteStream } from "@x/jsonrpc/byte_stream";
import type { ByteStream, ByteStreamOptions } from "@x/jsonrpc/byte_stream";
import { until } from "../helpers/deferred.ts";
import { silentLog } from "../helpers/log.ts";

/** Two ends of a pipe made of web streams. */
function pipe(): [ByteStream, ByteStream] {
  const [there, back] = [passThrough(), passThrough()];
  return [
    { readable: back.readable, writable: there.writable },
    { readable: there.readable, writable: back.writable },
  ];
}

function passThrough(): TransformStream<Uint8Array<ArrayBuffer>, Uint8Array<ArrayBuffer>> {
  return new TransformStream(undefined, { highWaterMark: 16 }, { highWaterMark: 16 });
}

function serverOf(options: JsonRpcOptions = {}) {
  return new JsonRpc({ logger: silentLog(), ...options })
    .method("add", ([a, b]: [number, number]) => a + b)
    .method("echo", (params: unknown) => params)
    .method("ask", async ([question]: [string], request) => await request.confirm(question))
    .method("big", ([length]: [number]) => "x".repeat(length))
    .method("leave", (_params: unknown, { connection }) => connection.close(4000, "Enough"))
    .topic("news");
}

function both(socket: Socket): ByteStream {
  return { readable: socket, writable: socket };
}

async function listening(server: Server, path?: string): Promise<Server> {
  await new Promise<void>((resolve) =>
    path === undefined ? server.listen(0, "127.0.0.1", resolve) : server.listen(path, resolve)
  );
  return server;
}

for (const framing of ["newline", "content-length"] as const) {
  const options: ByteStreamOptions = { framing };

  test(`byteStream() carries calls both ways, batches and events over web streams: ${framing}`, async () => {
    const rpc = serverOf();
    const [near, far] = pipe();
    rpc.attach(byteStream(far, { framing: "detect" }));
    const client = await connect<typeof rpc>(byteStream(near, options));
    client.method("confirm", ({ message }: { message: string }) => message === "Sure?");
    assertEquals(await client.call("add", [1, 2]), 3);
    assertEquals(await client.call("ask", ["Sure?"]), true);
    assertEquals(await client.batch((b) => [b.call("add", [1, 1]), b.call("add", [2, 2])]), [2, 4]);
    assertEquals(await client.call("echo", { text: "ä\n€ 😀" }), { text: "ä\n€ 😀" });
    const events: unknown[] = [];
    await client.subscribe("news", (event) => events.push(event));
    rpc.publish("news", { a: 1 });
    await until(() => events.length === 1);
    await client.close();
    await until(() => rpc.connections.size === 0);
    await rpc.close();
  });

  test(`byteStream() carries calls over TCP, and each end notices that the other has gone: ${framing}`, async () => {
    const rpc = serverOf();
    const tcp = await listening(createServer((socket) => {
      rpc.attach(byteStream(both(socket), { framing: "detect" }));
    }));
    const { port } = tcp.address() as AddressInfo;
    for (let round = 0; round < 2; round++) {
      const socket = connectTcp(port, "127.0.0.1");
      const client = await connect<typeof rpc>(byteStream(both(socket), options));
      assertEquals(await client.call("add", [round, 2]), round + 2);
      const sent = "y".repeat(700_000);
      assertEquals(await client.call("echo", [sent]), [sent]);
      if (round === 0) {
        await assertRejects(() => client.call("leave"), RpcConnectionError);
      }
      await client.close();
      await until(() => rpc.connections.size === 0);
    }
    await rpc.close();
    await new Promise((resolve) => tcp.close(resolve));
  });
}

test("byteStream() carries calls over a Unix socket", async () => {
  const path = join(tmpdir(), `jsonrpc-${crypto.randomUUID()}.sock`);
  const rpc = serverOf();
  const listener = await listening(
    createServer((socket) => rpc.attach(byteStream(both(socket)))),
    path,
  );
  const client = await connect<typeof rpc>(byteStream(both(connectTcp(path))));
  assertEquals(await client.call("add", [1, 2]), 3);
  await client.close();
  await rpc.close();
  await new Promise((resolve) => listener.close(resolve));
  await rm(path, { force: true });
});

test("byteStream() over TCP runs nothing that a page posts to its port, and ends the connection", async () => {
  const called: unknown[] = [];
  const rpc = new JsonRpc({ logger: silentLog() }).method(
    "note",
    (params: [string]) => void called.push(params),
  );
  const logger = silentLog();
  const listener = await listening(createServer((socket) => {
    rpc.attach(byteStream(both(socket), { logger }));
  }));
  const { port } = listener.address() as AddressInfo;
  const body = '\n{"jsonrpc":"2.0","method":"note","params":["forged"]}\n';
  for (const path of ["", ":"]) {
    await assertRejects(() => fetch(`http://127.0.0.1:${port}/${path}`, { method: "POST", body }));
  }
  const client = await connect<typeof rpc>(byteStream(both(connectTcp(port, "127.0.0.1"))));
  await client.call("note", ["honest"]);
  assertEquals(called, [["honest"]]);
  await client.close();
  await rpc.close();
  await new Promise((resolve) => listener.close(resolve));
});

test("byteStream() lets short messages over TCP go out at once", async () => {
  const rpc = serverOf();
  const set: boolean[] = [];
  const listener = await listening(createServer((socket) => {
    const setNoDelay = socket.setNoDelay.bind(socket);
    socket.setNoDelay = (noDelay = true) => {
      set.push(noDelay);
      return setNoDelay(noDelay);
    };
    rpc.attach(byteStream(both(socket)));
  }));
  const { port } = listener.address() as AddressInfo;
  const client = await connect<typeof rpc>(byteStream(both(connectTcp(port, "127.0.0.1"))));
  assertEquals(await client.call("add", [1, 2]), 3);
  assertEquals(set, [true]);
  await client.close();
  await rpc.close();
  await new Promise((resolve) => listener.close(resolve));
});

test("byteStream() logs and skips lines that are no JSON, and answers invalid messages", async () => {
  const logger = silentLog();
  const rpc = serverOf();
  const [near, far] = pipe();
  rpc.attach(byteStream(far, { logger }));
  const writer = near.writable as WritableStream<Uint8Array<ArrayBuffer>>;
  const lines = (near.readable as ReadableStream<Uint8Array>).getReader();
  const input = writer.getWriter();
  await input.write(new TextEncoder().encode(
    'Listening…\n{"jsonrpc":"2.0","method":"add","params":[1,2],"id":1}\n{broken\n',
  ));
  const decoder = new TextDecoder();
  let text = "";
  while (text.split("\n").length < 3) text += decoder.decode((await lines.read()).value);
  const [answer, error] = text.split("\n").map((line) => line && JSON.parse(line));
  assertEquals(answer, { jsonrpc: "2.0", result: 3, id: 1 });
  assertEquals(error.error.code, -32700);
  assert(logger.text.includes("Listening"), logger.text);
  await input.close();
  await until(() => rpc.connections.size === 0);
  await rpc.close();
});

test("byteStream() refuses a message over maxMessageBytes without keeping it", async () => {
  const rpc = serverOf({ maxMessageBytes: 1000 });
  const [near, far] = pipe();
  rpc.attach(byteStream(far, { logger: silentLog() }));
  let reason = "";
  const closed = new Promise<void>((resolve) => {
    for (const connection of rpc.connections) {
      connection.signal.addEventListener("abort", () => resolve());
    }
  });
  const input = (near.writable as WritableStream<Uint8Array<ArrayBuffer>>).getWriter();
  const chunk = new TextEncoder().encode(`{"a":"${"b".repeat(900)}`);
  for (let sent = 0; sent < 3 && reason === ""; sent++) {
    await input.write(chunk).catch((error) => reason = String(error));
  }
  await closed;
  assertEquals(rpc.connections.size, 0);
  await rpc.close();
});

test("byteStream() stops reading from a peer that reads nothing, and closes it in the end", async () => {
  const rpc = serverOf({ maxBufferedBytes: 3_000_000 });
  const tcp = await listening(createServer((socket) => {
    rpc.attach(byteStream(both(socket), { logger: silentLog() }));
  }));
  const { port } = tcp.address() as AddressInfo;
  const socket = connectTcp(port, "127.0.0.1").pause();
  socket.on("error", () => {});
  for (let id = 0; id < 200; id++) {
    socket.write(`{"jsonrpc":"2.0","method":"big","params":[500000],"id":${id}}\n`);
  }
  await until(() => rpc.connections.size === 1);
  await until(() => {
    const [connection] = rpc.connections;
    return connection === undefined || connection.bufferedAmount > 1_000_000;
  });
  for (const connection of rpc.connections) {
    assert(connection.bufferedAmount < 4_000_000, `${connection.bufferedAmount}`);
  }
  socket.destroy();
  await until(() => rpc.connections.size === 0);
  await rpc.close();
  await new Promise((resolve) => tcp.close(resolve));
});

test("byteStream() is for one connection, and says so", async () => {
  const [near] = pipe();
  const transport = byteStream(near, { name: "the pipe" });
  const client = await connect(transport);
  await client.close();
  const error = await assertRejects(() => connect(transport), RpcConnectionError);
  assert(error.message.includes("the pipe"), error.message);
});
