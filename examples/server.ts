/**
 * Methods, a topic, a method that calls its caller, and a page that uses them. Set `PORT` for another
 * port than 8080.
 *
 *     deno task start
 *     bun examples/server.ts
 *     node --import ./tools/node.ts examples/server.ts
 *
 * (`--import` only teaches Node the module's name inside this repository.)
 */
import process from "node:process";
import { JsonRpc, RpcInvalidParamsError, type } from "@x/jsonrpc";
import { serve } from "@x/jsonrpc/node";
import { page } from "./page.ts";

const hostname = "127.0.0.1";
const port = Number(process.env.PORT ?? 8080);

export const rpc = new JsonRpc({ hosts: [`localhost:${port}`, `${hostname}:${port}`] })
  .method("ping", () => "pong")
  .method("add", { names: ["a", "b"] }, ({ a, b }: { a: number; b: number }) => {
    if (typeof a === "number" && typeof b === "number") return a + b;
    throw new RpcInvalidParamsError({ data: "Expected two numbers, `a` and `b`" });
  })
  .method("format_disk", async (_, request) => {
    const sure = await request.confirm("Really format the disk?");
    return sure ? "formatted" : "kept as it is";
  })
  .topic("clock", { retain: true, schema: type<string>() })
  .use(await page("page.html"));

setInterval(() => rpc.publish("clock", new Date().toISOString()), 1000);

// Each runtime has its own server; your program needs only the line for yours.
const { fetch, websocket } = rpc;
if ("Deno" in globalThis) Deno.serve({ port, hostname, onListen() {} }, fetch);
else if ("Bun" in globalThis) Bun.serve({ port, hostname, fetch, websocket });
else await serve(rpc, { port, hostname });

const host = `${hostname}:${port}`;
console.log(`LISTENING http://${host}

Open http://${host} in a browser, or call a method from here:
  curl -H 'content-type: application/json' http://${host} \\
    -d '{"jsonrpc": "2.0", "method": "add", "params": [1, 2], "id": 1}'

Subscribe to the clock, and answer a question of the server:
  npx -y deno run -A examples/client.ts ws://${host}

From a program, or a browser's console:
  const socket = new WebSocket("ws://${host}");
  socket.onmessage = ({ data }) => console.log(data);
  socket.onopen = () => socket.send('{"jsonrpc":"2.0","method":"subscribe","params":["clock"],"id":1}');

End it with Ctrl+C.`);

/** The part of Bun that this file uses; in your project the package `@types/bun` declares it. */
declare const Bun: { serve(options: object): unknown };
