/**
 * The whole module in one server: methods, a topic, a method that asks its caller back.
 *
 *     deno task start
 */
import process from "node:process";
import { JsonRpc, RpcInvalidParamsError, type } from "@x/jsonrpc";

const port = Number(process.env.PORT ?? 8080);

export const rpc = new JsonRpc({ hosts: [`localhost:${port}`, `127.0.0.1:${port}`] })
  .method("ping", () => "pong")
  .method("add", { names: ["a", "b"] }, ({ a, b }: { a: number; b: number }) => {
    if (typeof a === "number" && typeof b === "number") return a + b;
    throw new RpcInvalidParamsError({ data: "Expected two numbers, `a` and `b`" });
  })
  .method("format_disk", async (_params: unknown, request) => {
    const sure = await request.confirm("Really format the disk?");
    return sure ? "formatted" : "kept as it is";
  })
  .topic("clock", { state: true, schema: type<string>() });

setInterval(() => rpc.notify("clock", new Date().toISOString()), 1000);

Deno.serve({ port, hostname: "127.0.0.1", onListen: explain }, rpc.fetch);

function explain(): void {
  const host = `127.0.0.1:${port}`;
  console.log(`LISTENING http://${host}

Call a method:
  curl -H 'content-type: application/json' http://${host} \\
    -d '{"jsonrpc": "2.0", "method": "add", "params": [1, 2], "id": 1}'

Hear the clock, and be asked back:
  deno run -A examples/client.ts ws://${host}

From a program, or a browser's console:
  const socket = new WebSocket("ws://${host}");
  socket.onmessage = ({ data }) => console.log(data);
  socket.onopen = () => socket.send('{"jsonrpc":"2.0","method":"subscribe","params":["clock"],"id":1}');

End it with Ctrl+C.`);
}
