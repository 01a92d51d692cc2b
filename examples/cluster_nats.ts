/**
 * Two servers that share a topic through NATS, and two clients. One server is killed: its client goes
 * on at the other, and has lost nothing.
 *
 *     deno run -A examples/cluster_nats.ts
 *
 * It starts its own NATS; the program `nats-server` has to be installed.
 */
import process from "node:process";
import { JsonRpc, type } from "@x/jsonrpc";
import { natsBroker } from "@x/jsonrpc/nats";
import { serve } from "@x/jsonrpc/node";
import { play } from "./cluster.ts";

// This file is both: the example and, with the port of NATS as its argument, each of its servers.
const [nats] = process.argv.slice(2);
if (nats === undefined) await play(import.meta.filename ?? "", "nats-server", natsArguments);
else await startServer(`127.0.0.1:${nats}`);

async function startServer(servers: string): Promise<void> {
  const rpc = new JsonRpc({ broker: natsBroker({ servers }) })
    .topic("news", { history: { size: 1000 }, schema: type<number>() })
    .method("publish", ([news]: [number]): Promise<string> => rpc.publish("news", news).position);
  const server = await serve(rpc, { hostname: "127.0.0.1", port: 0 });
  console.log(`LISTENING ${server.url}`);
}

function natsArguments(port: number, folder: string): string[] {
  return ["-a", "127.0.0.1", "-p", `${port}`, "-js", "-sd", folder];
}
