/**
 * Events from other programs: a program with the permission publishes by a POST, and every program that
 * can read a response can subscribe.
 *
 *     deno run -A examples/publish.ts
 *     curl -N 'http://127.0.0.1:8080/?topics=alarms' -H 'accept: text/event-stream'
 *     curl http://127.0.0.1:8080 -H 'authorization: Bearer secret' -H 'content-type: application/json' \
 *       -d '{"jsonrpc":"2.0","method":"publish","params":["alarms","Water in the cellar"],"id":1}'
 *
 * With Redis or NATS between the processes, a program publishes without a server of its own:
 *
 *     const rpc = new JsonRpc({ broker: redisBroker({ url }) }).topic("alarms", { history });
 *     await rpc.publish("alarms", "Water in the cellar").position; // resolves when Redis has it
 */
import process from "node:process";
import { JsonRpc, permissionRequired } from "@x/jsonrpc";
import { serve } from "@x/jsonrpc/node";

const hostname = "127.0.0.1";
const port = Number(process.env.PORT ?? 8080);

const rpc = new JsonRpc({ hosts: [`localhost:${port}`, `${hostname}:${port}`] })
  .use({
    name: "publish",
    // In a program of yours: `jwt`, `passwd` or `session`.
    handshake(handshake) {
      const known = handshake.headers.get("authorization") === "Bearer secret";
      if (known) handshake.user = { permissions: ["publish"] };
    },
  })
  .topic("alarms", { retain: true, history: { size: 1000, ageMs: 24 * 3_600_000 } })
  .method(
    "publish",
    { use: [permissionRequired("publish")], names: ["topic", "data"] },
    ({ topic, data }: { topic: "alarms"; data: unknown }): Promise<string> =>
      rpc.publish(topic, data).position,
  );

const server = await serve(rpc, { port, hostname });
console.log(`LISTENING ${server.url}`);
