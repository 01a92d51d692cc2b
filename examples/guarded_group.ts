/**
 * A group of methods behind one guard: for callers that it refuses the whole group does not exist.
 *
 *     deno run -A examples/guarded_group.ts
 */
import process from "node:process";
import { connect, guard, JsonRpc } from "@x/jsonrpc";
import { serve } from "@x/jsonrpc/node";

const hostname = "127.0.0.1";
const port = Number(process.env.PORT ?? 8080);

const valve = {
  open: () => "open",
  shut: () => "shut",
};

// A guard may look at everything that is known of the caller; this one reads a header of the handshake.
const maintenance = guard(({ connection }) => connection.handshake.headers.get("x-key") === "42");

const rpc = new JsonRpc({ hosts: [`localhost:${port}`, `${hostname}:${port}`] })
  .method("ping", () => "pong")
  .addMethods("valve", valve, { use: [maintenance] });

const server = await serve(rpc, { port, hostname });
console.log(`LISTENING ${server.url}`);

for (const [who, headers] of [["stranger", {}], ["mechanic", { "x-key": "42" }]] as const) {
  const client = await connect<typeof rpc>(server.url, { headers });
  const valves = (await client.getMethods()).filter((name) => name.startsWith("valve."));
  const answer = await client.call("valve.open").catch((error) => error.message);
  console.log(`${who}: ${valves.length} valve methods, open: ${answer}`);
}
