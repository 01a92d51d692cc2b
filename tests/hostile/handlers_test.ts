/**
 * Attacks on servers of `node:http` that others have made, and that this module is mounted in.
 */
import { assertEquals } from "@std/assert";
import { createServer } from "node:http";
import type { IncomingMessage, Server } from "node:http";
import type { AddressInfo, Socket } from "node:net";
import process from "node:process";
import { after, test } from "node:test";
import { JsonRpc } from "@x/jsonrpc";
import { requestHandler, upgradeHandler } from "@x/jsonrpc/node";
import { silentLog } from "../helpers/log.ts";
import { call } from "../helpers/messages.ts";
import {
  assertStatus,
  dial,
  Post,
  rawPost,
  rawResponse,
  RawSocket,
  requestText,
  UPGRADE,
  within,
} from "../helpers/raw_client.ts";

const rpc = new JsonRpc({ logger: silentLog() }).method("ping", () => "pong");
const DEEP = "[".repeat(50_000) + "]".repeat(50_000);

// What reaches the event loop ends a process whose author has not asked for these.
const uncaught: unknown[] = [];
for (const name of ["uncaughtException", "unhandledRejection"] as const) {
  process.on(name, (error: unknown) => void uncaught.push(error));
}
after(() => rpc.close());

async function listening(server: Server): Promise<string> {
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", () => resolve()));
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

async function end(server: Server): Promise<void> {
  server.closeAllConnections?.();
  await new Promise((resolve) => server.close(resolve));
  assertEquals(uncaught, []);
}

test("a deep body that a framework has parsed is a parse error, and ends no process", async () => {
  const handle = requestHandler(rpc);
  const server = createServer((request, response) => {
    // As `express.json()` does it: the handler is called after the body was read.
    let text = "";
    request.on("data", (chunk) => text += chunk).on("end", () => {
      (request as IncomingMessage & { body: unknown }).body = JSON.parse(text);
      setTimeout(() => void handle(request, response));
    });
  });
  const url = await listening(server);
  const params = `{"jsonrpc":"2.0","method":"ping","id":1,"params":${DEEP}}`;
  for (const body of [params, DEEP]) {
    const answer = await within(rawPost(url, body), "an answer");
    assertEquals(JSON.parse(assertStatus(answer, 200).body).error.code, -32700);
  }
  assertEquals((await new Post(url).ask(call("ping", 1))).result, "pong");
  await end(server);
});

/** Sends an upgrade and gives the connection. */
async function upgrade(url: string, path: string, protocol: string): Promise<Socket> {
  const socket = await dial(url);
  socket.on("error", () => {});
  socket.write(requestText(url, { ...UPGRADE, upgrade: protocol }, { path }));
  return socket;
}

test("upgrades that upgradeHandler() does not take are refused if nobody else takes them", async () => {
  const server = createServer(requestHandler(rpc));
  server.on("upgrade", upgradeHandler(rpc, { path: "/one" }));
  server.on("upgrade", upgradeHandler(rpc, { path: "/two" }));
  const url = await listening(server);
  const cases = [["/three", "websocket", 404], ["/one", "h2c", 426], ["//one", "websocket", 404]];
  for (const [path, protocol, status] of cases as [string, string, number][]) {
    const socket = await upgrade(url, path, protocol);
    const closed = new Promise((resolve) => socket.once("close", resolve));
    assertStatus(await within(rawResponse(socket), "a response"), status);
    socket.end();
    await within(closed, "the end of the connection");
  }
  for (const path of ["/one", "/two"]) {
    const line = await RawSocket.open(`${url}${path}`);
    assertEquals((await line.ask(call("ping", 1))).result, "pong");
    line.disconnect();
  }
  await end(server);
});

test("a client that resets an upgrade that upgradeHandler() has left to others ends no process", async () => {
  const server = createServer(requestHandler(rpc));
  server.on("upgrade", upgradeHandler(rpc, { path: "/one" }));
  // Somebody else's, who takes his time.
  const taken = new Promise<Socket>((resolve) => {
    server.on("upgrade", (_request: IncomingMessage, socket: Socket) => resolve(socket));
  });
  const url = await listening(server);
  const client = await upgrade(url, "/other", "websocket");
  const closed = new Promise((resolve) => void taken.then((socket) => socket.on("close", resolve)));
  const socket = await within(taken, "the upgrade");
  assertEquals(socket.destroyed, false);
  // Bun has no `resetAndDestroy`.
  if (typeof client.resetAndDestroy === "function") client.resetAndDestroy();
  else (client as Socket).destroy();
  socket.resume();
  await within(closed, "the end of the connection");
  await end(server);
});
