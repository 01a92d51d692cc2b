import { assertEquals } from "@std/assert";
import { test } from "node:test";
import { JsonRpc } from "@x/jsonrpc";
import { rateLimit } from "@x/jsonrpc/rate_limit";
import { deferred, until } from "../helpers/deferred.ts";
import { silentLog } from "../helpers/log.ts";
import { call } from "../helpers/messages.ts";
import type { Message } from "../helpers/messages.ts";
import { Post, RawSocket } from "../helpers/raw_client.ts";
import type { RawClient } from "../helpers/raw_client.ts";
import { serveHere } from "../helpers/server.ts";

const WAYS: Readonly<Record<string, (url: string) => Promise<RawClient>>> = {
  WebSocket: (url) => RawSocket.open(url),
  POST: (url) => Promise.resolve(new Post(url)),
};

function batch(length: number, method: string): unknown[] {
  return Array.from({ length }, (_, id) => call(method, id));
}

/** Sends a batch, and gives the codes of its answers, `undefined` for a result, each with its count. */
async function codes(client: RawClient, messages: unknown[]): Promise<Map<unknown, number>> {
  const answers = await client.ask(messages) as unknown as Message[];
  const counts = new Map<unknown, number>();
  for (const { error } of answers) {
    const code = (error as { code?: number } | undefined)?.code;
    counts.set(code, (counts.get(code) ?? 0) + 1);
  }
  return counts;
}

for (const [way, open] of Object.entries(WAYS)) {
  test(`a batch may have 1,000 entries over ${way}, synchronous or not, and no more`, async () => {
    const rpc = new JsonRpc({ logger: silentLog() })
      .method("ping", () => "pong")
      .method("later", () => new Promise<number>((resolve) => setTimeout(resolve, 1, 1)));
    await using server = await serveHere(rpc);
    const client = await open(server.url);
    assertEquals(await codes(client, batch(1000, "ping")), new Map([[undefined, 1000]]));
    assertEquals(await codes(client, batch(1000, "later")), new Map([[undefined, 1000]]));
    const refusal = await client.ask(batch(1001, "ping"));
    assertEquals((refusal.error as { code: number }).code, -32010);
    await client.leave();
  });

  test(`each of 1,000 entries of a batch counts for other limits over ${way}`, async () => {
    const rpc = new JsonRpc({ logger: silentLog(), maxInFlight: 40, maxMessageBytes: 300_000 })
      .method("ping", () => "pong")
      .method("limited", { use: [rateLimit({ perSecond: 0.001, burst: 7 })] }, () => 1)
      .method("later", () => new Promise<number>((resolve) => setTimeout(resolve, 1, 1)))
      .method("long", () => "x".repeat(400));
    await using server = await serveHere(rpc);
    const client = await open(server.url);
    const limited = new Map([[undefined, 7], [-32005, 993]]);
    assertEquals(await codes(client, batch(1000, "limited")), limited);
    const busy = new Map([[undefined, 40], [-32009, 960]]);
    assertEquals(await codes(client, batch(1000, "later")), busy);
    const tooLong = await client.ask(batch(1000, "long"));
    assertEquals((tooLong.error as { code: number }).code, -32011);
    await client.leave();
  });

  test(`answers that wait for the rest of their batch count for maxTotalBytes, over ${way}`, async () => {
    const release = deferred();
    let waiting = 0;
    const rpc = new JsonRpc({ logger: silentLog(), maxTotalBytes: 4_000_000 })
      .method("ping", () => "pong")
      .method("slow", () => (waiting++, release.promise))
      .method("long", () => "x".repeat(500_000));
    await using server = await serveHere(rpc);
    // One slow entry each keeps a long answer waiting: 100 bytes in, 500,000 kept.
    const clients = await Promise.all(Array.from({ length: 12 }, () => open(server.url)));
    const answers: Promise<Map<unknown, number>>[] = [];
    for (const client of clients) {
      answers.push(codes(client, [call("slow", 1), call("long", 2)]));
      await until(() => waiting === answers.length);
    }
    release.resolve();
    const counts = await Promise.all(answers);
    const whole = counts.filter((each) => each.get(undefined) === 2).length;
    const refused = counts.filter((each) => each.get(-32009) === 1).length;
    // Each counts 1,000,000 bytes, an estimate.
    assertEquals([whole, refused], [4, 8]);
    // What waited is released.
    assertEquals(await codes(clients[0] as RawClient, batch(2, "long")), new Map([[undefined, 2]]));
    await Promise.all(clients.map((each) => each.leave()));
  });
}
