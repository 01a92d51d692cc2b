/**
 * A server beside the routes of an Express app.
 *
 *     deno run -A examples/express_mount.ts
 *     node --import ./tools/node.ts examples/express_mount.ts
 */
import process from "node:process";
import express from "express";
import { JsonRpc } from "@x/jsonrpc";
import { requestHandler, upgradeHandler } from "@x/jsonrpc/node";

const hostname = "127.0.0.1";
const port = Number(process.env.PORT ?? 8080);

const rpc = new JsonRpc({ hosts: [`localhost:${port}`, `${hostname}:${port}`] })
  .method("ping", () => "pong");

const app = express();
app.use(express.json()); // the bodies that it has read are used as it gave them
app.get("/", (_request, response) => void response.send("The RPC server is at /rpc"));
app.use("/rpc", requestHandler(rpc));

const server = app.listen(
  port,
  hostname,
  () => console.log(`LISTENING http://${hostname}:${port}`),
);
server.on("upgrade", upgradeHandler(rpc, { path: "/rpc" }));
