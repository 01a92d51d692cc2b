/**
 * A topic, its publisher, and two clients that subscribe to it. A client that subscribes later gets
 * the last event at once.
 *
 *     deno run -A examples/clock.ts
 */
import process from "node:process";
import { connect, JsonRpc, type } from "@x/jsonrpc";
import { serve } from "@x/jsonrpc/node";

const hostname = "127.0.0.1";
const port = Number(process.env.PORT ?? 8080);

const rpc = new JsonRpc({ hosts: [`localhost:${port}`, `${hostname}:${port}`] })
  .topic("clock", { retain: true, schema: type<string>() });

setInterval(() => rpc.publish("clock", new Date().toISOString()), 1000);

const server = await serve(rpc, { port, hostname });
console.log(`LISTENING ${server.url}`);

// The clients; in your project they are other programs.
for (const name of ["kitchen", "cellar"]) {
  const client = await connect<typeof rpc>(`ws://${hostname}:${port}`);
  await client.subscribe("clock", (time) => console.log(name, time));
}
