/**
 * A server beside the routes of a Koa app.
 *
 *     deno run -A examples/koa_mount.ts
 *     node --import ./tools/node.ts examples/koa_mount.ts
 */
import process from "node:process";
import Koa from "koa";
import { JsonRpc } from "@x/jsonrpc";
import { requestHandler, upgradeHandler } from "@x/jsonrpc/node";

const hostname = "127.0.0.1";
const port = Number(process.env.PORT ?? 8080);

const rpc = new JsonRpc({ hosts: [`localhost:${port}`, `${hostname}:${port}`] })
  .method("ping", () => "pong");
const handle = requestHandler(rpc);

const app = new Koa();
app.use(async (context) => {
  if (context.path === "/") context.body = "The RPC server is at /rpc";
  if (context.path !== "/rpc") return;
  context.respond = false; // the handler answers by itself
  await handle(context.req, context.res);
});

const server = app.listen(
  port,
  hostname,
  () => console.log(`LISTENING http://${hostname}:${port}`),
);
server.on("upgrade", upgradeHandler(rpc, { path: "/rpc" }));
