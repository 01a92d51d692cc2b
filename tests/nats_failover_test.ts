/**
 * NATS of three servers, which keep a stream together and take over from each other.
 */
import { assertEquals } from "@std/assert";
import { test } from "node:test";
import { jetstreamManager } from "@nats-io/jetstream";
import { connect } from "@nats-io/transport-node";
import { natsBroker } from "@x/jsonrpc/nats";
import type { RunningEngine } from "./_kit/brokers/engine.ts";
import { startNatsCluster } from "./_kit/brokers/groups.ts";
import type { Group } from "./_kit/brokers/groups.ts";
import { brokerCases, dataOf, Heard, publishAll } from "./_kit/brokers/suite.ts";
import { silentLog } from "./_kit/local.ts";

const KEEP = { size: 10_000, ageMs: Infinity };

/** A broker that reaches all servers of a group, the first of them first. */
function brokerOf(nodes: readonly RunningEngine[], logger = silentLog()) {
  const servers = nodes.map(({ port }) => `127.0.0.1:${port}`);
  const connection = { noRandomize: true };
  return natsBroker({ servers, connection, logger, replicas: 3, publishTimeoutMs: 60_000 });
}

/** The server that leads the stream. */
async function leaderOf({ nodes }: Group): Promise<RunningEngine> {
  const connection = await connect({ servers: `127.0.0.1:${nodes[0]?.port}` });
  try {
    const { cluster } = await (await jetstreamManager(connection)).streams.info("jsonrpc");
    return nodes[Number(cluster?.leader?.slice(1))] as RunningEngine;
  } finally {
    await connection.close();
  }
}

test("natsBroker() does with a cluster what it does with one server", async () => {
  await using group = await startNatsCluster();
  if (group === undefined) return;
  const [one, two, three] = group.nodes as [RunningEngine, RunningEngine, RunningEngine];
  let made = 0;
  for (const { run } of brokerCases) {
    await run(() => brokerOf(made++ % 2 ? [one, two, three] : [three, two, one]));
  }
});

test("natsBroker() loses nothing when the server that leads its stream is killed", async () => {
  await using group = await startNatsCluster();
  if (group === undefined) return;
  const brokers = [brokerOf(group.nodes), brokerOf(group.nodes.toReversed())] as const;
  try {
    const topics = Array.from({ length: 8 }, (_, n) => `room.${n}`);
    const ears = topics.map(() => [new Heard(), new Heard()] as const);
    for (const [n, topic] of topics.entries()) {
      for (const [m, broker] of brokers.entries()) {
        await broker.subscribe(topic, KEEP, ears[n]?.[m as 0 | 1] as Heard);
      }
    }
    let wanted = true;
    // There is always something under way, whenever the server goes.
    const publishing = topics.map(async (topic, n) => {
      let count = 0;
      while (wanted || count < 100) {
        await publishAll(brokers[n % 2 as 0 | 1], topic, [count++], KEEP);
      }
      return count;
    });
    await Promise.all(ears.map(([heard]) => heard.some(20)));
    const leader = await leaderOf(group);
    await leader.kill();
    const { length } = (ears[0]?.[1] as Heard).events;
    await Promise.race([ears[0]?.[1].some(length + 20), Promise.all(publishing)]);
    await leader.start("with its data");
    wanted = false;
    const counts = await Promise.all(publishing);
    for (const [n, topic] of topics.entries()) {
      const all = Array.from({ length: counts[n] as number }, (_, index) => index);
      for (const heard of ears[n] ?? []) {
        await heard.some(all.length);
        assertEquals([heard.data, heard.gaps], [all, []]);
      }
      const { events } = await brokers[1].history(topic, KEEP, {});
      assertEquals(dataOf(events), all);
    }
  } finally {
    for (const broker of brokers) await broker.close();
  }
});
