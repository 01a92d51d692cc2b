/**
 * A server on Bun.
 *
 *     bun examples/ping_bun.ts
 */
import { JsonRpc } from "@x/jsonrpc";

const rpc = new JsonRpc().method("ping", () => "pong");

const { port } = Bun.serve({
  port: Number(Bun.env.PORT ?? 8080),
  fetch: rpc.fetch,
  websocket: rpc.websocket,
});
console.log(`LISTENING http://127.0.0.1:${port}`);

/** The part of Bun that this file uses; in your project the package `@types/bun` declares it. */
declare const Bun: {
  serve(options: { port: number; fetch: unknown; websocket: unknown }): { port: number };
  env: Record<string, string | undefined>;
};
