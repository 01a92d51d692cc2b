/**
 * A server beside what a server of `node:http` answers already.
 *
 *     deno run -A examples/http_mount.ts
 *     node --import ./tools/node.ts examples/http_mount.ts
 */
import { createServer } from "node:http";
import process from "node:process";
import { JsonRpc } from "@x/jsonrpc";
import { requestHandler, upgradeHandler } from "@x/jsonrpc/node";

const hostname = "127.0.0.1";
const port = Number(process.env.PORT ?? 8080);

const rpc = new JsonRpc({ hosts: [`localhost:${port}`, `${hostname}:${port}`] })
  .method("ping", () => "pong");
const handle = requestHandler(rpc);

const server = createServer((request, response) => {
  if (request.url?.startsWith("/rpc")) return void handle(request, response);
  response.end("The RPC server is at /rpc");
});
server.on("upgrade", upgradeHandler(rpc, { path: "/rpc" }));
server.listen(port, hostname, () => console.log(`LISTENING http://${hostname}:${port}`));
