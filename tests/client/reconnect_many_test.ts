/**
 * Many clients lose their server at the same moment: they come back, but not all at once.
 */
import { assert, assertEquals } from "@std/assert";
import process from "node:process";
import { test } from "node:test";
import { connect } from "@x/jsonrpc";
import type { JsonRpcClient } from "@x/jsonrpc";
import { Post } from "../helpers/raw_client.ts";
import { until } from "../helpers/deferred.ts";
import { silentLog } from "../helpers/log.ts";
import { runtimeHere } from "../helpers/runtimes.ts";
import { call } from "../helpers/messages.ts";
import { spawnServer } from "../helpers/spawn_server.ts";

const CLIENTS = 200;
const MIN_MS = 200;
const MAX_MS = 2000;
const TARGET = "tests/programs/conformance_server.ts";

/** A client that is subscribed to one topic, and a record of what happened to it. */
class Watched {
  readonly delays: number[] = [];
  readonly received: unknown[] = [];
  resubscribed = 0;
  readonly client: JsonRpcClient;

  private constructor(client: JsonRpcClient) {
    this.client = client;
    client.addEventListener("reconnecting", ({ attempt, delayMs }) => {
      assertEquals(attempt, this.delays.push(delayMs));
    });
    client.addEventListener("resubscribed", () => this.resubscribed++);
  }

  static async open(url: string): Promise<Watched> {
    const reconnect = { minMs: MIN_MS, maxMs: MAX_MS };
    const client = await connect(url, { reconnect, logger: silentLog() });
    const watched = new Watched(client as unknown as JsonRpcClient);
    await client.subscribe("news", (event) => void watched.received.push(event));
    return watched;
  }
}

/** How many numbers from 0 to `end` lie in each tenth of it. */
function tenths(numbers: readonly number[], end: number): number[] {
  const counts = Array(10).fill(0);
  for (const each of numbers) counts[Math.min(9, Math.floor((each / end) * 10))]++;
  return counts;
}

test("200 clients whose server was killed come back one by one, each with its topic once", async () => {
  const first = await spawnServer(runtimeHere, TARGET);
  const ws = first.url.replace("http", "ws");
  const all = await Promise.all(Array.from({ length: CLIENTS }, () => Watched.open(ws)));
  process.kill(first.pid, "SIGKILL");
  await first.stop();
  await until(() => all.every(({ delays }) => delays.length > 0));
  const second = await spawnServer(runtimeHere, TARGET, [], { PORT: new URL(first.url).port });
  try {
    await until(() => all.every(({ resubscribed }) => resubscribed === 1));
    const post = new Post(second.url);
    assertEquals((await post.ask(call("open", 1))).result, CLIENTS);
    await post.ask(call("publish", 1, ["news", "we are back"]));
    await until(() => all.every(({ received }) => received.length > 0));
    assertEquals(all.map(({ received }) => received), all.map(() => ["we are back"]));
  } finally {
    await Promise.all(all.map(({ client }) => client.close()));
    await second.stop();
  }
  for (const { delays } of all) {
    for (const [n, delay] of delays.entries()) {
      assert(delay >= 0 && delay <= Math.min(MAX_MS, MIN_MS * 2 ** n), `wait ${n}: ${delay} ms`);
    }
  }
  // Full jitter: 20 in each tenth on average. That one holds none, or 60, happens in none of 10^7 runs.
  const spread = tenths(all.map(({ delays }) => delays[0] as number), MIN_MS);
  assert(spread.every((count) => count > 0 && count < 60), `first waits: ${spread}`);
});
