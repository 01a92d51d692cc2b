/**
 * 50 strangers send anything at all, by WebSocket and POST: a client that behaves well is answered all
 * the while. A failure shows its seed.
 */
import { assertEquals } from "@std/assert";
import { test } from "node:test";
import fc from "fast-check";
import { connect, JsonRpc } from "@x/jsonrpc";
import { linkedSockets } from "@x/jsonrpc/testing";
import { until } from "../helpers/deferred.ts";
import { silentLog } from "../helpers/log.ts";
import { anyFrame } from "../helpers/random_frames.ts";
import { bareClient } from "../helpers/wire.ts";

const STRANGERS = 50;

const asksForMuch = fc.constantFrom(
  '{"jsonrpc":"2.0","method":"long","id":1}',
  `[${Array(50).fill('{"jsonrpc":"2.0","method":"long","id":1}').join()}]`,
  `{"jsonrpc":"2.0","method":"never","params":["${"x".repeat(200_000)}"],"id":2}`,
  '{"jsonrpc":"2.0","method":"subscribe","params":["room.1","room.2"],"id":3}',
);
const step = fc.record({
  stranger: fc.nat(STRANGERS - 1),
  text: fc.oneof(anyFrame, asksForMuch),
  how: fc.constantFrom("socket", "socket", "post", "leave"),
});

test("whatever 50 strangers send, a client that behaves well is answered", async () => {
  const steps = fc.array(step, { minLength: 20, maxLength: 200 });
  await fc.assert(
    fc.asyncProperty(steps, async (steps) => {
      const rpc = new JsonRpc({ logger: silentLog(), maxTotalBytes: 4 * 1024 * 1024 })
        .method("ping", () => "pong")
        .method("long", () => "x".repeat(100_000))
        .method("never", () => new Promise<string>(() => {}))
        .topic("room.*");
      const [near, far] = linkedSockets();
      rpc.attach(far);
      const client = await connect<typeof rpc>(near, { timeoutMs: 20_000 });
      const strangers = Array.from({ length: STRANGERS }, () => bareClient(rpc));
      const posts: Promise<unknown>[] = [];
      for (const { stranger, text, how } of steps) {
        if (how === "leave") strangers[stranger]?.close();
        else if (how === "socket") strangers[stranger]?.send(text);
        else if (!text.includes("never")) posts.push(post(rpc, text));
        if (stranger === 0) assertEquals(await client.call("ping"), "pong");
      }
      await Promise.all(posts);
      assertEquals(await client.call("ping"), "pong");
      for (const stranger of strangers) stranger.close();
      await until(() => rpc.connections.size === 1);
      // What the strangers held is free again: a call with long params is not refused.
      assertEquals(await client.call("ping", ["x".repeat(100_000)] as never), "pong");
      await client.close();
      await rpc.close({ drainMs: 0 });
    }),
    { numRuns: 20 },
  );
});

async function post(rpc: Pick<JsonRpc, "fetch">, body: string): Promise<void> {
  const headers = { "content-type": "application/json" };
  const response = await rpc.fetch(new Request("http://x/", { method: "POST", body, headers }));
  await response.text();
}
