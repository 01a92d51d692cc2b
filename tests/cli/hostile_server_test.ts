/**
 * Commands against servers that are none: what they get is bytes that the test has chosen.
 */
import { assert, assertEquals, assertMatch } from "@std/assert";
import { Buffer } from "node:buffer";
import { spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { createServer } from "node:net";
import type { AddressInfo, Socket } from "node:net";
import { test } from "node:test";
import { JsonRpc } from "@x/jsonrpc";
import { until } from "../helpers/deferred.ts";
import { silentLog } from "../helpers/log.ts";
import { runtime, runtimeHere } from "../helpers/runtimes.ts";
import { serveHere } from "../helpers/server.ts";
import { hostOf, PROGRAM, run, start } from "./command_line.ts";

const GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/** Listens on TCP, and hands over each connection with its request, once that is complete. */
async function listen(answer: (socket: Socket, head: string) => void) {
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    sockets.add(socket);
    socket.on("error", () => {});
    let head = "";
    let isWhole = false;
    socket.on("data", (chunk: unknown) => {
      if (isWhole) return;
      head += chunk;
      const end = head.indexOf("\r\n\r\n") + 4;
      const length = Number(/^content-length: *(\d+)/im.exec(head)?.[1] ?? 0);
      isWhole = end > 3 && head.length >= end + length;
      if (isWhole) answer(socket, head);
    });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    host: `127.0.0.1:${(server.address() as AddressInfo).port}`,
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.destroy();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

/** Answers an upgrade. */
function accept(socket: Socket, head: string): void {
  const key = /^sec-websocket-key: *(\S+)/im.exec(head)?.[1];
  const hash = createHash("sha1").update(`${key}${GUID}`).digest("base64");
  const protocol = /^sec-websocket-protocol:/im.test(head)
    ? "sec-websocket-protocol: jsonrpc"
    : "x: y";
  socket.write(
    `HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\n` +
      `sec-websocket-accept: ${hash}\r\n${protocol}\r\n\r\n`,
  );
}

function frame(opcode: number, data: string | Uint8Array): Uint8Array {
  const body = Buffer.from(data as string);
  const head = Buffer.alloc(body.length < 126 ? 2 : 10);
  head[0] = 0x80 | opcode;
  head[1] = body.length < 126 ? body.length : 127;
  if (body.length >= 126) head.writeBigUInt64BE(BigInt(body.length), 2);
  return Buffer.concat([head, body]);
}

function closing(code: number, reason: string): Uint8Array {
  return frame(8, Buffer.concat([Buffer.from([code >> 8, code & 255]), Buffer.from(reason)]));
}

test("jsonrpc bridge shows a close reason in one line, without escapes and without its token", async () => {
  await using server = await listen((socket, head) => {
    accept(socket, head);
    socket.end(closing(4000, "\x1b[2J\nError: s3cr3t-token \u202e"));
  });
  const { code, err, out } = await (await start(
    ["bridge", server.host, "--token", "s3cr3t-token"],
    null,
  )).ended;
  assertEquals([code, out], [3, ""]);
  const reason = "4000 \\u001b[2J\\nError: *** \\u202e";
  assertEquals(err, `The connection to ws://${server.host} has ended (${reason})\n`);
});

test("jsonrpc bridge gives up a server that does not answer the upgrade, and one that refuses it", async () => {
  let redirected = 0;
  await using other = await listen((socket) => {
    redirected++;
    socket.destroy();
  });
  const answers = [
    "",
    "HTTP/1.1 401 Unauthorized\r\ncontent-length: 0\r\n\r\n",
    `HTTP/1.1 302 Found\r\nlocation: ws://${other.host}/\r\ncontent-length: 0\r\n\r\n`,
  ];
  await Promise.all(answers.map(async (answer) => {
    await using server = await listen((socket) => void socket.write(answer));
    const args = ["bridge", server.host, "--timeout", "0.5", "--token", "s3cr3t-token"];
    const { code, err, out } = await (await start(args, null)).ended;
    assertEquals([code, out], [3, ""]);
    assertMatch(err, /^The connection to ws:\/\/[\d.:]+ has ended \(\d+.*\)\n$/);
    assert(!err.includes("s3cr3t"), err);
  }));
  assertEquals(redirected, 0);
});

test("jsonrpc bridge has printed all that it got when it ends", async () => {
  const event = JSON.stringify({
    jsonrpc: "2.0",
    method: "event",
    params: ["x".repeat(4_000_000)],
  });
  await using server = await listen((socket, head) => {
    accept(socket, head);
    for (let count = 0; count < 4; count++) socket.write(frame(1, event));
    socket.end(closing(1001, ""));
  });
  const { code, out } = await (await start(["bridge", server.host], null)).ended;
  assertEquals(code, 3);
  assert(out === `${event}\n`.repeat(4), `${out.length} characters`);
});

test("jsonrpc bridge ends if nobody reads what it prints", async () => {
  await using server = await listen((socket, head) => {
    accept(socket, head);
    socket.end(Buffer.concat([frame(1, `["${"x".repeat(4_000_000)}"]`), closing(4000, "")]));
  });
  // Deno waits in each write until it is read.
  const { command: [program, ...flags] } = await runtime(
    runtimeHere === "deno" ? "node" : runtimeHere,
  );
  const args = [...flags, PROGRAM, "bridge", server.host, "--timeout", "0.5"];
  // A pipe whose end in this process is never read.
  const child = spawn(program, args, { stdio: ["pipe", "pipe", "ignore"] });
  child.stdout?.pause();
  assertEquals(await new Promise((resolve) => child.once("exit", resolve)), 3);
  child.stdout?.destroy();
});

test("jsonrpc prints JSON whatever characters a result has, and names in one line each", async () => {
  const text = "\x7f\x9b2J\u2028\u200f\u202e";
  const rpc = new JsonRpc({ logger: silentLog() })
    .method("odd", () => text)
    .method("a\nforged", { summary: "b\n\x1b[2Jforged" }, () => 1)
    .topic("c\nforged");
  await using server = await serveHere(rpc);
  const [plain, json, methods, topics] = await Promise.all([
    run("call", hostOf(server), "odd"),
    run("call", hostOf(server), "odd", "--json"),
    run("methods", hostOf(server)),
    run("topics", hostOf(server)),
  ]);
  for (const { out } of [plain, json] as const) {
    assertEquals(JSON.parse(out), text);
    assert(!/[\x7f-\x9f\u2028\u200f\u202e]/.test(out), out);
  }
  const lines = `${methods!.out}${topics!.out}`.split("\n");
  assertEquals(lines.filter((line) => line.startsWith("forged")), []);
  assert(lines.includes("a\\nforged()  b\\n\\u001b[2Jforged"), lines.join("\n"));
});

test("jsonrpc methods prints a summary that is no text", async () => {
  const methods = [{ name: "odd", summary: { toString: 1, valueOf: 2 } }];
  const rpc = new JsonRpc().use({
    name: "other",
    middleware: ({ method }, next) => method === "rpc.discover" ? { methods } : next(),
  });
  await using server = await serveHere(rpc);
  const { code, out } = await run("methods", hostOf(server));
  assertEquals([code, out], [0, 'odd()  {"toString":1,"valueOf":2}\n']);
});

test("jsonrpc says so if what a server says of itself is no list", async () => {
  const answers = { "rpc.discover": null, get_topics: { a: 1 } };
  await using server = await listen((socket, head) => {
    const { method, id } = JSON.parse(/\{.*\}/s.exec(head)?.[0] ?? "{}");
    const body = JSON.stringify({
      jsonrpc: "2.0",
      id,
      result: answers[method as "get_topics"] ?? null,
    });
    socket.end(
      `HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: ${body.length}\r\n\r\n${body}`,
    );
  });
  const noDocument = "This server answers rpc.discover with no OpenRPC document\n";
  const noNames = "This server answers get_topics with something else than names\n";
  for (
    const [command, said] of [["methods", noDocument], ["types", noDocument], ["topics", noNames]]
  ) {
    const { code, err } = await run(command as string, `http://${server.host}`);
    assertEquals([code, err], [1, said]);
  }
});

test("jsonrpc trace follows no redirection, and hands it to the client", async () => {
  let redirected = 0;
  await using other = await listen((socket) => {
    redirected++;
    socket.end("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n");
  });
  await using server = await listen((socket) =>
    void socket.end(
      `HTTP/1.1 307 X\r\nlocation: http://${other.host}/\r\ncontent-length: 0\r\n\r\n`,
    )
  );
  const running = await start(["trace", `http://${server.host}`, "--port", "0"], null);
  try {
    await until(() => running.err().includes("Listening on"));
    const [, own = ""] = /Listening on (\S+):/.exec(running.err()) ?? [];
    const headers = { "content-type": "application/json", "x-key": "hunter2" };
    const init = { method: "POST", headers, body: "{}", redirect: "manual" } as const;
    const { status, headers: got } = await fetch(own, init);
    assertEquals([status, got.get("location"), redirected], [307, `http://${other.host}/`, 0]);
  } finally {
    running.interrupt();
  }
  await running.ended;
});
