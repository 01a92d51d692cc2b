/**
 * Two servers that share a topic through Redis, and two clients. One server is killed: its client goes
 * on at the other, and has lost nothing.
 *
 *     deno run -A examples/cluster_redis.ts
 *
 * It starts its own Redis; the program `redis-server` has to be installed.
 */
import process from "node:process";
import { JsonRpc, type } from "@x/jsonrpc";
import { serve } from "@x/jsonrpc/node";
import { redisBroker } from "@x/jsonrpc/redis";
import { play } from "./cluster.ts";

// This file is both: the example and, with the port of Redis as its argument, each of its servers.
const [redis] = process.argv.slice(2);
if (redis === undefined) await play(import.meta.filename ?? "", "redis-server", redisArguments);
else await startServer(`redis://127.0.0.1:${redis}`);

async function startServer(url: string): Promise<void> {
  const rpc = new JsonRpc({ broker: redisBroker({ url }) })
    .topic("news", { history: { size: 1000 }, schema: type<number>() })
    .method("publish", ([news]: [number]): Promise<string> => rpc.publish("news", news).position);
  const server = await serve(rpc, { hostname: "127.0.0.1", port: 0 });
  console.log(`LISTENING ${server.url}`);
}

function redisArguments(port: number, folder: string): string[] {
  return ["--port", `${port}`, "--bind", "127.0.0.1", "--dir", folder, "--save", ""];
}
