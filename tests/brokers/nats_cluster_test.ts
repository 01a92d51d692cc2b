/**
 * NATS of three servers, which keep a stream together.
 */
import { assertEquals } from "@std/assert";
import { test } from "node:test";
import { natsBroker } from "@x/jsonrpc/nats";
import type { RunningEngine } from "../helpers/brokers/engine.ts";
import { startNatsCluster } from "../helpers/brokers/groups.ts";
import { brokerCases } from "./broker_cases.ts";
import { silentLog } from "../helpers/log.ts";
import { checkRun } from "../helpers/brokers/check_run.ts";
import { startStore } from "../helpers/brokers/stores.ts";
import { needs } from "../helpers/needs.ts";

test(
  "natsBroker() loses nothing when the server that leads its stream is killed, three times",
  await needs("nats-server"),
  async () => {
    await using store = await startStore("nats-cluster");
    const result = await checkRun(store, { events: 3_000, faults: ["kill", "kill", "kill"] });
    const { silent, twice, disorder, falseClaims, undead } = result;
    const found = { silent, twice, disorder, falseClaims, undead };
    assertEquals(found, { silent: 0, twice: 0, disorder: 0, falseClaims: 0, undead: 0 });
  },
);

/** A broker that reaches all servers of a group, the first of them first. */
function brokerOf(nodes: readonly RunningEngine[], logger = silentLog()) {
  const servers = nodes.map(({ port }) => `127.0.0.1:${port}`);
  const connection = { noRandomize: true };
  return natsBroker({ servers, connection, logger, replicas: 3, publishTimeoutMs: 60_000 });
}

test(
  "natsBroker() does with a cluster what it does with one server",
  await needs("nats-server"),
  async () => {
    await using group = await startNatsCluster();
    const [one, two, three] = group.nodes as [RunningEngine, RunningEngine, RunningEngine];
    let made = 0;
    for (const { run } of brokerCases) {
      await run(() => brokerOf(made++ % 2 ? [one, two, three] : [three, two, one]));
    }
  },
);
