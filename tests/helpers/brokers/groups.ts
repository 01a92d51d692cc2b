/**
 * Groups of engines in which one server takes over from another.
 */
import { createClient } from "redis";
import { until } from "../deferred.ts";
import { freePort } from "../ports.ts";
import { startEngine } from "./engine.ts";
import type { RunningEngine } from "./engine.ts";

// The master starts a replica's first copy without waiting for more replicas.
const AT_ONCE = ["--repl-diskless-sync-delay", "0"];

/** Servers that form one group; they end with it. */
export interface Group {
  readonly nodes: readonly RunningEngine[];
  [Symbol.asyncDispose](): Promise<void>;
}

/** A Redis with two replicas, and three sentinels that watch them. */
export interface SentinelGroup extends Group {
  /** The name by which the sentinels know it. */
  readonly name: string;
  readonly sentinels: readonly RunningEngine[];
  /** The master, as the sentinels see it. */
  master(): Promise<RunningEngine>;
}

/** Starts engines; ends those that started if one fails. */
async function startAll(starting: readonly Promise<RunningEngine>[]): Promise<RunningEngine[]> {
  const started = await Promise.allSettled(starting);
  const nodes = started.flatMap((each) => each.status === "fulfilled" ? each.value : []);
  const failed = started.find(({ status }) => status === "rejected");
  if (failed === undefined) return nodes;
  await endAll(nodes);
  throw (failed as PromiseRejectedResult).reason;
}

async function endAll(nodes: readonly RunningEngine[]): Promise<void> {
  await Promise.all(nodes.map((node) => node[Symbol.asyncDispose]()));
}

/** Sends a command to one Redis. */
export async function sendCommand(node: RunningEngine, ...command: string[]): Promise<unknown> {
  const socket = { host: "127.0.0.1", port: node.port, reconnectStrategy: false } as const;
  const client = createClient({ socket });
  client.on("error", () => {});
  await client.connect();
  try {
    return await client.sendCommand(command);
  } finally {
    client.destroy();
  }
}

// For so long a server may be busy before the others take it for dead. On a machine with much to do half a
// second was too short: they promoted a second replica over the first, which lost what that had accepted.
const DOWN_AFTER_MS = "2000";

/** Starts a master, its replicas and their sentinels. */
export async function startSentinels(): Promise<SentinelGroup> {
  const master = await startEngine("redis", AT_ONCE);
  const behind = [...AT_ONCE, "--replicaof", `127.0.0.1 ${master.port}`];
  const replicas = await startAll([1, 2].map(() => startEngine("redis", behind)));
  const nodes = [master, ...replicas];
  const info = async () => String(await sendCommand(master, "INFO", "replication"));
  await until(async () => (await info()).split("state=online").length === 3);
  // They would discover each other, but that takes a while.
  const ids = Array.from("123", (digit) => digit.repeat(40));
  const ports = await Promise.all(ids.map(() => freePort()));
  const sentinels = await startAll(ids.map((id, n) =>
    startEngine("sentinel", [
      ...[`sentinel myid ${id}`, `sentinel monitor news 127.0.0.1 ${master.port} 2`],
      ...[`sentinel down-after-milliseconds news ${DOWN_AFTER_MS}`],
      "sentinel failover-timeout news 3000",
      ...replicas.map(({ port }) => `sentinel known-replica news 127.0.0.1 ${port}`),
      ...ids.flatMap((other, m) =>
        m === n ? [] : [`sentinel known-sentinel news 127.0.0.1 ${ports[m]} ${other}`]
      ),
    ], ports[n])
  ));
  const [asked] = sentinels as [RunningEngine];
  await until(async () =>
    /status=ok,.*slaves=2,sentinels=3/.test(`${await sendCommand(asked, "INFO", "sentinel")}`)
  );
  return {
    name: "news",
    nodes,
    sentinels,
    async master() {
      const [, port] = await sendCommand(
        asked,
        "SENTINEL",
        "get-master-addr-by-name",
        "news",
      ) as string[];
      return nodes.find((node) => node.port === Number(port)) as RunningEngine;
    },
    [Symbol.asyncDispose]: () => endAll([...sentinels, ...nodes]),
  };
}

const MEET_AGAIN_MS = 4_000;

/** A cluster of Redis: three masters, each with one replica. */
export interface RedisCluster extends Group {
  /** The master of a key now, as a node that is alive sees it. */
  masterOf(key: string, asked: RunningEngine): Promise<RunningEngine>;
}

/** Starts a cluster. */
export async function startRedisCluster(): Promise<RedisCluster> {
  const buses = await Promise.all(Array.from({ length: 6 }, () => freePort()));
  const nodes = await startAll(buses.map((bus) =>
    startEngine("redis", [
      ...["--cluster-enabled", "yes", "--cluster-port", String(bus)],
      ...["--cluster-node-timeout", DOWN_AFTER_MS, ...AT_ONCE],
      ...["--cluster-replica-validity-factor", "0"],
    ])
  ));
  const [first] = nodes as [RunningEngine];
  const bounds = [0, 5461, 10923, 16384];
  for (const [n, node] of nodes.entries()) {
    await sendCommand(node, "CLUSTER", "SET-CONFIG-EPOCH", String(n + 1));
    if (n < 3) {
      const [from, to] = [bounds[n] as number, bounds[n + 1] as number];
      await sendCommand(node, "CLUSTER", "ADDSLOTSRANGE", String(from), String(to - 1));
    }
  }
  const info = async (node: RunningEngine) => String(await sendCommand(node, "CLUSTER", "INFO"));
  const knowsAll = async (node: RunningEngine) => /cluster_known_nodes:6/.test(await info(node));
  let metAt = -Infinity;
  await until(async () => {
    // A node that is busy misses its introduction, which is not tried again by itself.
    if (performance.now() - metAt > MEET_AGAIN_MS) {
      for (const [n, { port }] of nodes.entries()) {
        if (n === 0) continue;
        await sendCommand(first, "CLUSTER", "MEET", "127.0.0.1", String(port), String(buses[n]));
      }
      metAt = performance.now();
    }
    for (const node of nodes) if (!await knowsAll(node)) return false;
    return true;
  });
  for (const n of [0, 1, 2]) {
    const id = String(await sendCommand(nodes[n] as RunningEngine, "CLUSTER", "MYID"));
    await until(() =>
      sendCommand(nodes[n + 3] as RunningEngine, "CLUSTER", "REPLICATE", id).then(
        () => true,
        () => false,
      )
    );
  }
  for (const node of nodes) await until(async () => /cluster_state:ok/.test(await info(node)));
  for (const n of [3, 4, 5]) {
    const replication = () => sendCommand(nodes[n] as RunningEngine, "INFO", "replication");
    await until(async () => /master_link_status:up/.test(String(await replication())));
  }
  return {
    nodes,
    async masterOf(key, asked) {
      const slot = Number(await sendCommand(asked, "CLUSTER", "KEYSLOT", key));
      const all = await sendCommand(asked, "CLUSTER", "SLOTS") as [
        number,
        number,
        [string, number],
      ][];
      const [, , [, port]] = all.find(([from, to]) => from <= slot && slot <= to) as typeof all[0];
      return nodes.find((node) => node.port === port) as RunningEngine;
    },
    [Symbol.asyncDispose]: () => endAll(nodes),
  };
}

/** Starts a cluster of three NATS. */
export async function startNatsCluster(): Promise<Group> {
  const routes = await Promise.all([1, 2, 3].map(() => freePort()));
  const all = routes.map((port) => `nats://127.0.0.1:${port}`);
  const nodes = await startAll(all.map((own, n) =>
    startEngine("nats", [
      ...["-n", `n${n}`, "--cluster_name", "c", "--cluster", own, "--routes", all.join(",")],
    ])
  ));
  return { nodes, [Symbol.asyncDispose]: () => endAll(nodes) };
}
