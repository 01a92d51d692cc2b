/**
 * A server on Deno.
 *
 *     deno run -A examples/ping_deno.ts
 */
import { JsonRpc } from "@x/jsonrpc";

const rpc = new JsonRpc().method("ping", () => "pong");

Deno.serve({ port: Number(Deno.env.get("PORT") ?? 8080), onListen: announce }, rpc.fetch);

function announce({ port }: { port: number }): void {
  console.log(`LISTENING http://127.0.0.1:${port}`);
}
