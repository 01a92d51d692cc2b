/**
 * A server on Node. It also runs on Bun and on Deno, where it is faster than `Deno.serve`.
 *
 *     node --import ./tools/node.ts examples/ping_node.ts
 *
 * (`--import` only teaches Node the module's name inside this repository.)
 */
import process from "node:process";
import { JsonRpc } from "@x/jsonrpc";
import { serve } from "@x/jsonrpc/node";

const rpc = new JsonRpc().method("ping", () => "pong");

const server = await serve(rpc, { port: Number(process.env.PORT ?? 8080) });
console.log(`LISTENING http://127.0.0.1:${server.port}`);

process.once("SIGTERM", async () => {
  await rpc.close();
  await server.close();
  process.exit();
});
