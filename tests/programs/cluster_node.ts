/**
 * A server of a cluster: it shares its topics with others through Redis or NATS.
 *
 *     deno run -A tests/programs/cluster_node.ts redis|nats PORT|OPTIONS NAME
 *
 * OPTIONS are those of the broker, as JSON.
 */
import process from "node:process";
import { JsonRpc } from "@x/jsonrpc";
import { natsBroker } from "@x/jsonrpc/nats";
import { redisBroker } from "@x/jsonrpc/redis";
import { serveHere } from "../helpers/server.ts";
import { exitWithParent } from "../helpers/exit_with_parent.ts";

const [engine, where = "", name] = process.argv.slice(2);
const options = /^\d+$/.test(where) ? undefined : JSON.parse(where);
const broker = engine === "redis"
  ? redisBroker(options ?? { url: `redis://127.0.0.1:${where}` })
  : natsBroker(options ?? { servers: `127.0.0.1:${where}` });

const rpc = new JsonRpc({ broker, maxBufferedBytes: 64 * 1024 * 1024 })
  .topic("room.*", { history: { size: 20_000 } })
  .topic("short.*", { history: { size: 5 } })
  .method("ping", () => "pong")
  // Publishes as fast as it can, and answers when the broker has accepted everything.
  .method("publish", async ([topic, from, to]: [`room.${string}`, number, number]) => {
    const positions: Promise<string>[] = [];
    for (let n = from; n < to; n++) positions.push(rpc.publish(topic, `${name} ${n}`).position);
    await Promise.all(positions);
    return "published";
  });

exitWithParent();
const { url } = await serveHere(rpc);
console.log(`LISTENING ${url}`);
