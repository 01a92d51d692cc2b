/**
 * Beside the other routes of a Hono app, under its middleware, on each runtime.
 *
 *     deno run -A examples/hono_mount.ts
 *     bun examples/hono_mount.ts
 *     node --import ./tools/node.ts examples/hono_mount.ts
 *
 * (`--import` only teaches Node the module's name inside this repository.)
 */
import process from "node:process";
import { Hono } from "hono";
import { JsonRpc } from "@x/jsonrpc";
import { serve } from "@x/jsonrpc/node";

const hostname = "127.0.0.1";
const port = Number(process.env.PORT ?? 8080);

const rpc = new JsonRpc({ hosts: [`localhost:${port}`, `${hostname}:${port}`] })
  .method("ping", () => "pong");

const app = new Hono();
// Sets its header when the response is there: `rpc.fetch` makes one of its own.
app.use(async (c, next) => {
  await next();
  c.header("x-served-by", "hono");
});
app.get("/", (c) => c.text("The RPC server is at /rpc"));
// `c.env` is what the runtime passes beside the request: it makes the WebSocket.
app.all("/rpc", (c) => rpc.fetch(c.req.raw, c.env));

// Each runtime has its own server; your program needs only the line for yours.
const { fetch } = app;
if ("Deno" in globalThis) Deno.serve({ port, hostname, onListen() {} }, fetch);
else if ("Bun" in globalThis) Bun.serve({ port, hostname, fetch, websocket: rpc.websocket });
else await serve(app, { port, hostname });
console.log(`LISTENING http://${hostname}:${port}`);

/** The part of Bun that this file uses; in your project the package `@types/bun` declares it. */
declare const Bun: { serve(options: object): unknown };
