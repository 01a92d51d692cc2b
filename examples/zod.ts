/**
 * Params and results described by zod: the server checks them, and both sides know their types.
 *
 *     deno run -A examples/zod.ts
 */
import process from "node:process";
import { z } from "zod";
import { connect, JsonRpc, RpcInvalidParamsError } from "@x/jsonrpc";
import { serve } from "@x/jsonrpc/node";

const hostname = "127.0.0.1";
const port = Number(process.env.PORT ?? 8080);

const Order = z.object({ item: z.string().min(1), count: z.number().int().positive() });

const rpc = new JsonRpc({ hosts: [`localhost:${port}`, `${hostname}:${port}`] })
  .method(
    "order",
    { params: Order, result: z.string() },
    ({ item, count }) => `${count} × ${item}`,
  );

const server = await serve(rpc, { port, hostname });
console.log(`LISTENING ${server.url}`);

const client = await connect<typeof rpc>(server.url.replace("http", "ws"));
console.log("by name:", await client.call("order", { item: "tea", count: 2 }));
try {
  await client.call("order", { item: "", count: 0.5 });
} catch (error) {
  if (!(error instanceof RpcInvalidParamsError)) throw error;
  const issues = error.data as { path: string[]; message: string }[];
  for (const { path, message } of issues) console.log(`${path.join(".")}: ${message}`);
}
await client.close();
