/**
 * Clients choose the Host header and the target of a request. None of both may end the process, or keep the
 * server from answering others.
 */
import { assertEquals } from "@std/assert";
import { once } from "node:events";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { test } from "node:test";
import { WebSocketServer } from "ws";
import { JsonRpc } from "@x/jsonrpc";
import { requestHandler, upgradeHandler } from "@x/jsonrpc/node";
import { linkedSockets } from "@x/jsonrpc/testing";
import { silentLog } from "../helpers/log.ts";
import {
  assertAlive,
  dial,
  RawSocket,
  requestText,
  UPGRADE,
  within,
} from "../helpers/raw_client.ts";
import { serveHere, serveOnNode } from "../helpers/server.ts";

interface Served extends AsyncDisposable {
  readonly url: string;
}

async function listen(rpc: JsonRpc, server: ReturnType<typeof createServer>): Promise<Served> {
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    async [Symbol.asyncDispose]() {
      await rpc.close();
      server.closeAllConnections();
      server.close();
    },
  };
}

const DOORS: Readonly<Record<string, (rpc: JsonRpc) => Promise<Served>>> = {
  "its own server": serveHere,
  "./node": serveOnNode,
  "the handlers for node:http": (rpc) => {
    const server = createServer(requestHandler(rpc));
    server.on("upgrade", upgradeHandler(rpc));
    return listen(rpc, server);
  },
  // As docs/transports.md shows it: nobody looks at the promise.
  "the sockets of ws": (rpc) => {
    const server = createServer(requestHandler(rpc));
    const sockets = new WebSocketServer({ server });
    sockets.on("connection", (socket, request) => void rpc.attach(socket, { request }));
    return listen(rpc, server);
  },
};

const HOSTS = [
  "a@b",
  "a:b@c",
  "@",
  "a b",
  "a/b?c",
  "a:b:c",
  "[::",
  "#",
  "?",
  "\\",
  "%",
  "%zz",
  "é",
  "",
];
const TARGETS = [
  "http://a@b/",
  "http://a:b@c/",
  "http://[",
  "http://",
  "http:a@b",
  "//a@b/",
  "a",
  "*",
  "?",
  "/%",
];

for (const [door, serve] of Object.entries(DOORS)) {
  for (const method of ["GET", "POST"]) {
    test(`${door} goes on after a ${method} with an odd Host header or target`, async () => {
      const rpc = new JsonRpc({ logger: silentLog() }).method("ping", () => "pong");
      await using server = await serve(rpc);
      const odd = [
        ...HOSTS.map((host) => ({ method, headers: { host } })),
        ...TARGETS.map((path) => ({ method, path })),
      ];
      for (const request of odd) {
        const socket = await dial(server.url);
        const usual = method === "GET" ? UPGRADE : { "content-length": "0", connection: "close" };
        socket.write(requestText(server.url, usual, request));
        // A refusal or a WebSocket: an answer of any kind.
        await within(
          new Promise((resolve) => socket.once("data", resolve).once("close", resolve)),
          "an answer",
        );
        socket.destroy();
      }
      await assertAlive(server.url);
      const socket = await RawSocket.open(server.url);
      await socket.leave();
    });
  }
}

test("attach() with a request whose URL and Host make no URL checks the peer all the same", async () => {
  const rpc = new JsonRpc({ logger: silentLog() });
  const attach = (headers: Record<string, string>) =>
    rpc.attach(linkedSockets()[1], { request: { url: "/", headers: { host: "a b", ...headers } } });
  assertEquals(await attach({ origin: "http://a" }), false);
  assertEquals(await attach({}), true);
  assertEquals([...rpc.connections].map(({ handshake }) => handshake.url), [""]);
  await rpc.close();
});
