/**
 * A server that can be replaced while clients use it: on SIGTERM it lets calls finish, refuses new ones,
 * says to each client when to reconnect, and ends by itself. Runs on Deno, Bun and Node.
 *
 *     deno run -A examples/graceful.ts
 *     bun examples/graceful.ts
 *     node --import ./tools/node.ts examples/graceful.ts
 */
import process from "node:process";
import { JsonRpc } from "@x/jsonrpc";
import { serve } from "@x/jsonrpc/node";

const rpc = new JsonRpc()
  .method("ping", () => "pong")
  .method("count", async ([to]: [number], request) => {
    for (let step = 1; step <= to; step++) {
      await new Promise((resolve) => setTimeout(resolve, 100));
      request.progress(step);
    }
    return to;
  });

const hostname = "127.0.0.1";
const port = Number(process.env.PORT ?? 8080);
const stopListening = await listen();
console.log(`LISTENING http://${hostname}:${port}`);

process.once("SIGTERM", async () => {
  console.log("SIGTERM: draining");
  // Longer than the longest call, and shorter than your supervisor waits between SIGTERM and SIGKILL.
  await rpc.close({ drainMs: 20_000, retryAfterMs: 500 });
  await stopListening();
  console.log("drained");
});

// Each runtime has its own server; your program needs only the line for yours.
async function listen(): Promise<() => Promise<void>> {
  const { fetch, websocket } = rpc;
  if ("Deno" in globalThis) {
    const server = Deno.serve({ port, hostname, onListen() {} }, fetch);
    return () => server.shutdown();
  }
  if ("Bun" in globalThis) {
    const server = Bun.serve({ port, hostname, fetch, websocket });
    return () => server.stop();
  }
  const server = await serve(rpc, { port, hostname });
  return () => server.close();
}

/** The part of Bun that this file uses; in your project the package `@types/bun` declares it. */
declare const Bun: { serve(options: object): { stop(): Promise<void> } };
