import { assertEquals } from "@std/assert";
import { test } from "node:test";
import { setTimeout as delay } from "node:timers/promises";
import { JsonRpc } from "@x/jsonrpc";
import { rawUpgrade } from "../helpers/raw_client.ts";
import { needs } from "../helpers/needs.ts";

interface BunGlobal {
  serve(options: object): { readonly port: number; stop(force: boolean): Promise<void> };
}

test(
  "Bun.serve cuts no call and no handshake that takes longer than its idleTimeout",
  await needs("on bun"),
  async () => {
    const { Bun } = globalThis as unknown as { Bun: BunGlobal };
    const rpc = new JsonRpc().method("slow", { get: true }, () => delay(9000, "done"))
      .method("fast", () => "done")
      .use({
        name: "slow check",
        handshake: ({ headers }) => headers.has("x-slow") ? delay(9000, undefined) : undefined,
      });
    const server = Bun.serve({
      port: 0,
      idleTimeout: 1,
      fetch: rpc.fetch,
      websocket: rpc.websocket,
    });
    const url = `http://127.0.0.1:${server.port}/`;
    const headers = { "content-type": "application/json" };
    const body = '{"jsonrpc":"2.0","method":"slow","id":1}';
    const upgrade = rawUpgrade(url, { "x-slow": "1" });
    const answers = await Promise.all([
      fetch(`${url}?method=slow&id=1`),
      fetch(url, { method: "POST", headers, body }),
      fetch(url, {
        method: "POST",
        headers: { ...headers, "x-slow": "1" },
        body: body.replace("slow", "fast"),
      }),
    ]);
    for (const answer of answers) assertEquals((await answer.json()).result, "done");
    assertEquals((await upgrade).status, 101);
    await rpc.close();
    await server.stop(true);
  },
);
