/**
 * The end of a server of `node:http` that the program has made itself, with `requestHandler` and `upgradeHandler`.
 */
import { assertEquals } from "@std/assert";
import { once } from "node:events";
import { createServer } from "node:http";
import { connect as connectTcp } from "node:net";
import type { AddressInfo, Socket } from "node:net";
import { test } from "node:test";
import { connect, JsonRpc } from "@x/jsonrpc";
import { requestHandler, upgradeHandler } from "@x/jsonrpc/node";
import { deferred, until } from "../helpers/deferred.ts";
import { silentLog } from "../helpers/log.ts";

const upgrade =
  "GET / HTTP/1.1\r\nhost: localhost\r\nupgrade: websocket\r\nconnection: Upgrade\r\n" +
  "sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
const post = (method: string, headers = "") => {
  const body = `{"jsonrpc":"2.0","method":"${method}","id":1}`;
  return "POST / HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n" +
    `${headers}content-length: ${body.length}\r\n\r\n${body}`;
};

async function ownServer() {
  let calls = 0;
  let checks = 0;
  const rpc = new JsonRpc({ logger: silentLog() })
    .method("ping", () => "pong")
    .method("wait", (_params: unknown, { signal }) => {
      calls++;
      return new Promise((_resolve, reject) => {
        signal.addEventListener("abort", () => reject(signal.reason));
      });
    })
    .use({
      name: "slow",
      handshake({ headers }) {
        if (!headers.has("x-slow")) return undefined;
        checks++;
        return new Promise<undefined>(() => {});
      },
    });
  const handle = requestHandler(rpc);
  const server = createServer((request, response) => void handle(request, response));
  server.on("upgrade", upgradeHandler(rpc));
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  const sockets: Socket[] = [];
  return {
    rpc,
    server,
    port,
    counts: () => [calls, checks],
    /** Opens a connection, sends a text, and tells what comes back. */
    async send(text: string) {
      const socket = connectTcp(port, "127.0.0.1");
      sockets.push(socket);
      socket.on("error", () => {});
      const seen = { text: "", closed: deferred<void>() };
      socket.setEncoding("utf8");
      socket.on("data", (chunk: unknown) => seen.text += chunk);
      socket.once("close", () => seen.closed.resolve());
      await once(socket, "connect");
      if (text !== "") socket.write(text);
      return seen;
    },
    stop: () => sockets.forEach((socket) => socket.destroy()),
  };
}

for (const order of ["the rpc first", "the server first", "both at once"] as const) {
  test(`a server of node:http with all kinds of connections ends: ${order}`, async () => {
    const { rpc, server, port, counts, send, stop } = await ownServer();
    const client = await connect<typeof rpc>(`ws://127.0.0.1:${port}`, { reconnect: false });
    const call = client.call("wait").catch(() => "failed");
    await send(""); // a reserve connection, as browsers open it
    const idle = await send(post("ping"));
    await until(() => idle.text.includes("pong"));
    await send(upgrade); // half an upgrade
    await send(post("ping").slice(0, -5)); // half a body
    await send(post("wait"));
    await send(post("wait", "x-slow: 1\r\n"));
    await send(`${upgrade}x-slow: 1\r\n\r\n`);
    await until(() => counts().join() === "2,2");
    const ended = deferred<void>();
    const closeServer = () => void server.close(() => ended.resolve());
    if (order !== "the rpc first") closeServer();
    const closed = rpc.close();
    if (order === "the rpc first") closed.then(closeServer);
    await closed;
    server.closeAllConnections();
    await ended.promise;
    assertEquals(await call, "failed");
    await client.close();
    stop();
  });
}

test("close() refuses a peer whose check never ends, and a body that never comes to its end", async () => {
  const { rpc, server, counts, send, stop } = await ownServer();
  const asked = [
    await send(`${upgrade}x-slow: 1\r\n\r\n`),
    await send(post("wait", "x-slow: 1\r\n")),
    await send(post("wait").slice(0, -5)),
  ];
  await until(() => counts()[1] === 2);
  // The body has no sign of its own: what is sent after it has arrived no sooner.
  const later = await send(post("ping"));
  await until(() => later.text.includes("pong"));
  await rpc.close();
  for (const seen of asked) await until(() => seen.text.startsWith("HTTP/1.1 503 "));
  assertEquals(counts(), [0, 2]);
  stop();
  await new Promise<void>((resolve) => {
    server.close(() => resolve());
    server.closeAllConnections();
  });
});
