/**
 * The server of the pages in this folder.
 *
 *     deno run -A examples/vite/server.ts     # in one terminal
 *     npm install && npm run dev              # in this folder, in another; open /react.html, /vue.html or /svelte.html
 */
import process from "node:process";
import { JsonRpc } from "@x/jsonrpc";
import { serve } from "@x/jsonrpc/node";

const rpc = new JsonRpc()
  .method("add", ([a, b]: [number, number]) => a + b)
  .topic("clock", { retain: true });

setInterval(() => rpc.publish("clock", new Date().toLocaleTimeString()), 1000);
const port = Number(process.env.PORT ?? 8000);
const { url } = await serve(rpc, { port, hostname: "127.0.0.1" });
console.log(`LISTENING ${url}`);
