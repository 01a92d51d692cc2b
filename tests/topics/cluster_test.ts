/**
 * Servers on all runtimes that share topics through one engine, and clients that move between them.
 */
import { assertEquals } from "@std/assert";
import process from "node:process";
import { test } from "node:test";
import { startEngine } from "../helpers/brokers/engine.ts";
import type { EngineName, RunningEngine } from "../helpers/brokers/engine.ts";
import { RoamingClient } from "../helpers/brokers/roaming_client.ts";
import { until } from "../helpers/deferred.ts";
import type { RuntimeName } from "../helpers/runtimes.ts";
import { spawnServer } from "../helpers/spawn_server.ts";
import type { SpawnedServer } from "../helpers/spawn_server.ts";
import { needs } from "../helpers/needs.ts";

const RUNTIMES: readonly RuntimeName[] = ["deno", "bun", "node"];

for (const name of ["redis", "nats"] as const) {
  const needed = await needs(`${name}-server`, ...RUNTIMES);
  test(
    `behind ${name}, every event reaches every client of every server once, in one order`,
    needed,
    async () => {
      await withCluster(name, async ({ nodes }) => {
        const clients = nodes.flatMap(() => [newMover(), newMover()]);
        await Promise.all(clients.map((client, n) => client.move(urlOf(nodes, n))));
        const topics = ["room.a", "room.b"];
        const publishing = nodes.flatMap((_, n) =>
          topics.map((topic) => (clients[n] as RoamingClient).call("publish", [topic, 0, 300]))
        );
        await Promise.all(publishing);
        const total = nodes.length * topics.length * 300;
        await until(() => clients.every(({ count }) => count >= total));
        const [first, ...others] = clients as [RoamingClient, ...RoamingClient[]];
        for (const { received } of others) assertEquals(received, first.received);
        for (const topic of topics) assertWhole(first.received.get(topic), nodes.length, 300);
        for (const client of clients) client.leave();
      });
    },
  );

  test(
    `behind ${name}, a server is killed and its clients lose nothing at another`,
    needed,
    async () => {
      await withCluster(name, async ({ nodes }) => {
        const clients = [newMover(), newMover(), newMover(), newMover()];
        const publisher = new RoamingClient([]);
        const [doomed, second, third] = nodes as [SpawnedServer, SpawnedServer, SpawnedServer];
        await Promise.all(clients.map((client) => client.move(doomed.url)));
        await publisher.move(second.url);
        const publishing = (async () => {
          for (let n = 0; n < 1000; n += 50) {
            await publisher.call("publish", ["room.a", n, n + 50]);
          }
        })();
        await until(() => clients.every(({ count }) => count >= 200));
        process.kill(doomed.pid, "SIGKILL");
        await until(() => clients.every(({ isOpen }) => !isOpen));
        const rest = [second, third].flatMap(({ url }) => [url, url]);
        await Promise.all(clients.map((client, n) => client.move(rest[n] as string)));
        await publishing;
        await until(() => clients.every(({ count }) => count >= 1000));
        for (const { gaps, received } of clients) {
          assertEquals(gaps, []);
          assertWhole(received.get("room.a"), 1, 1000);
        }
        for (const client of [...clients, publisher]) client.leave();
      });
    },
  );

  test(
    `behind ${name}, the engine is killed and comes back: clients go on, or are told`,
    needed,
    async () => {
      await withCluster(name, async ({ nodes, engine }) => {
        const clients = nodes.map(() => newMover());
        await Promise.all(clients.map((client, n) => client.move(urlOf(nodes, n))));
        const [publisher] = clients as [RoamingClient];
        await publisher.call("publish", ["room.a", 0, 100]);
        await until(() => clients.every(({ count }) => count === 100));

        await engine.kill();
        const waiting = publisher.call("publish", ["room.a", 100, 200]).catch((error) => error);
        await engine.start("with its data");
        // What was under way when the engine went may be in the topic or not: Redis cannot be asked.
        await waiting;
        await publisher.call("publish", ["room.b", 0, 1]);
        await until(() => clients.every(({ received }) => received.get("room.b")?.length === 1));
        await until(() => clients.every(({ count }) => count === publisher.count));
        for (const { gaps, received } of clients) {
          assertEquals([gaps, received], [[], publisher.received]);
          const numbers = received.get("room.a")?.map((text) =>
            Number(String(text).split(" ")[1])
          ) ??
            [];
          assertEquals(numbers.toSorted((a, b) => a - b), numbers);
          assertEquals(new Set(numbers).size, numbers.length);
        }

        await engine.kill();
        await engine.start("without its data");
        await until(() => clients.every(({ gaps }) => gaps.length === 2));
        await publisher.call("publish", ["room.a", 200, 250]);
        await until(() =>
          clients.every(({ received }) => endsWith(received.get("room.a"), 200, 250))
        );
        for (const { gaps } of clients) assertEquals(gaps.toSorted(), ["room.a", "room.b"]);
        for (const client of clients) client.leave();
      });
    },
  );

  test(
    `behind ${name}, a client that was away for longer than history is told`,
    needed,
    async () => {
      await withCluster(name, async ({ nodes }) => {
        const [client, publisher] = [
          new RoamingClient(["short.a", "room.a"]),
          new RoamingClient([]),
        ];
        await client.move(urlOf(nodes, 0));
        await publisher.move(urlOf(nodes, 1));
        for (const topic of ["short.a", "room.a"]) await publisher.call("publish", [topic, 0, 3]);
        await until(() => client.count === 6);
        client.leave();
        for (const topic of ["short.a", "room.a"]) await publisher.call("publish", [topic, 3, 300]);
        await client.move(urlOf(nodes, 2));
        assertEquals(client.gaps, ["short.a"]);
        await until(() => client.received.get("room.a")?.length === 300);
        assertEquals(client.received.get("short.a")?.length, 3);
        await publisher.call("publish", ["short.a", 300, 302]);
        await until(() => endsWith(client.received.get("short.a"), 300, 302));
        for (const each of [client, publisher]) each.leave();
      });
    },
  );
}

interface Cluster {
  readonly engine: RunningEngine;
  readonly nodes: readonly SpawnedServer[];
}

/** Starts an engine and a server on each runtime; all end with the test. */
async function withCluster(
  name: EngineName,
  use: (cluster: Cluster) => Promise<void>,
): Promise<void> {
  await using engine = await startEngine(name);
  const starting = RUNTIMES.map((each) =>
    spawnServer(each, "tests/programs/cluster_node.ts", [name, String(engine.port), each])
  );
  const started = await Promise.allSettled(starting);
  const nodes = started.flatMap((each) => each.status === "fulfilled" ? [each.value] : []);
  try {
    assertEquals(started.filter(({ status }) => status === "rejected"), []);
    await use({ engine, nodes });
  } catch (error) {
    for (const node of nodes) console.error(node.output());
    throw error;
  } finally {
    await Promise.all(nodes.map((node) => node.stop()));
  }
}

function newMover(): RoamingClient {
  return new RoamingClient(["room.a", "room.b"]);
}

function urlOf(nodes: readonly SpawnedServer[], n: number): string {
  return (nodes[n % nodes.length] as SpawnedServer).url;
}

/** Makes sure that what was received is all that each server published, each in its order. */
function assertWhole(got: readonly unknown[] = [], publishers: number, count: number): void {
  const next = new Map<string, number>();
  for (const event of got) {
    const [name = "", number] = String(event).split(" ");
    assertEquals(Number(number), next.get(name) ?? 0, `after ${got.length} events`);
    next.set(name, Number(number) + 1);
  }
  assertEquals([...next.values()], Array(publishers).fill(count));
}

function endsWith(got: readonly unknown[] = [], from: number, to: number): boolean {
  const numbers = got.slice(from - to).map((event) => Number(String(event).split(" ")[1]));
  return numbers.every((number, index) => number === from + index) && numbers.length === to - from;
}
