/**
 * Engines of several servers that take over from each other.
 */
import { createClient } from "redis";
import { until } from "../deferred.ts";
import { freePort } from "../ports.ts";
import { startEngine } from "./engine.ts";
import type { RunningEngine } from "./engine.ts";

// A replica gets its first copy as soon as it asks for one.
const AT_ONCE = ["--repl-diskless-sync-delay", "0"];

/** Servers that belong together; they end with the group. */
export interface Group {
  readonly nodes: readonly RunningEngine[];
  [Symbol.asyncDispose](): Promise<void>;
}

/** A Redis with two replicas, and three sentinels that look after them. */
export interface SentinelGroup extends Group {
  /** What the sentinels call it. */
  readonly name: string;
  readonly sentinels: readonly RunningEngine[];
  /** Who is the master, as most of them think. */
  master(): Promise<RunningEngine>;
}

/** Starts some; the ones already started end where one does not start. */
async function startAll(
  starting: readonly Promise<RunningEngine | undefined>[],
): Promise<RunningEngine[]> {
  const started = await Promise.allSettled(starting);
  const nodes = started.flatMap((each) => each.status === "fulfilled" ? each.value ?? [] : []);
  if (nodes.length === starting.length) return nodes;
  await endAll(nodes);
  const [failed] = started.filter(({ status }) => status === "rejected");
  if (failed) throw (failed as PromiseRejectedResult).reason;
  return [];
}

async function endAll(nodes: readonly RunningEngine[]): Promise<void> {
  await Promise.all(nodes.map((node) => node[Symbol.asyncDispose]()));
}

/** Says something to one Redis. */
export async function tell(node: RunningEngine, ...command: string[]): Promise<unknown> {
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

/** Starts a master, its replicas and their sentinels; `undefined`, loudly, where there is none. */
export async function startSentinels(): Promise<SentinelGroup | undefined> {
  const [master] = await startAll([startEngine("redis", AT_ONCE)]);
  if (master === undefined) return undefined;
  const behind = [...AT_ONCE, "--replicaof", `127.0.0.1 ${master.port}`];
  const replicas = await startAll([1, 2].map(() => startEngine("redis", behind)));
  const nodes = [master, ...replicas];
  const info = async () => String(await tell(master, "INFO", "replication"));
  await until(async () => (await info()).split("state=online").length === 3);
  // They would find out about each other, but that takes them a while.
  const ids = Array.from("123", (digit) => digit.repeat(40));
  const ports = await Promise.all(ids.map(() => freePort()));
  const sentinels = await startAll(ids.map((id, n) =>
    startEngine("sentinel", [
      ...[`sentinel myid ${id}`, `sentinel monitor news 127.0.0.1 ${master.port} 2`],
      ...["sentinel down-after-milliseconds news 500", "sentinel failover-timeout news 3000"],
      ...replicas.map(({ port }) => `sentinel known-replica news 127.0.0.1 ${port}`),
      ...ids.flatMap((other, m) =>
        m === n ? [] : [`sentinel known-sentinel news 127.0.0.1 ${ports[m]} ${other}`]
      ),
    ], ports[n])
  ));
  const [asked] = sentinels as [RunningEngine];
  await until(async () =>
    /status=ok,.*slaves=2,sentinels=3/.test(`${await tell(asked, "INFO", "sentinel")}`)
  );
  return {
    name: "news",
    nodes,
    sentinels,
    async master() {
      const [, port] = await tell(asked, "SENTINEL", "get-master-addr-by-name", "news") as string[];
      return nodes.find((node) => node.port === Number(port)) as RunningEngine;
    },
    [Symbol.asyncDispose]: () => endAll([...sentinels, ...nodes]),
  };
}

/** A cluster of Redis: three masters, each with one replica. */
export interface RedisCluster extends Group {
  /** Who is the master of a key now, as one says that is alive. */
  masterOf(key: string, asked: RunningEngine): Promise<RunningEngine>;
}

/** Starts a cluster; `undefined`, loudly, where there is none. */
export async function startRedisCluster(): Promise<RedisCluster | undefined> {
  const buses = await Promise.all(Array.from({ length: 6 }, () => freePort()));
  const nodes = await startAll(buses.map((bus) =>
    startEngine("redis", [
      ...["--cluster-enabled", "yes", "--cluster-port", String(bus)],
      ...["--cluster-node-timeout", "1000", ...AT_ONCE],
      ...["--cluster-replica-validity-factor", "0"],
    ])
  ));
  const [first] = nodes;
  if (first === undefined) return undefined;
  const bounds = [0, 5461, 10923, 16384];
  for (const [n, node] of nodes.entries()) {
    await tell(node, "CLUSTER", "SET-CONFIG-EPOCH", String(n + 1));
    if (n < 3) {
      const [from, to] = [bounds[n] as number, bounds[n + 1] as number];
      await tell(node, "CLUSTER", "ADDSLOTSRANGE", String(from), String(to - 1));
    }
    if (n > 0) {
      await tell(first, "CLUSTER", "MEET", "127.0.0.1", String(node.port), String(buses[n]));
    }
  }
  const info = async (node: RunningEngine) => String(await tell(node, "CLUSTER", "INFO"));
  for (const node of nodes) {
    await until(async () => /cluster_known_nodes:6/.test(await info(node)));
  }
  for (const n of [0, 1, 2]) {
    const id = String(await tell(nodes[n] as RunningEngine, "CLUSTER", "MYID"));
    await until(() =>
      tell(nodes[n + 3] as RunningEngine, "CLUSTER", "REPLICATE", id).then(() => true, () => false)
    );
  }
  for (const node of nodes) await until(async () => /cluster_state:ok/.test(await info(node)));
  for (const n of [3, 4, 5]) {
    const replication = () => tell(nodes[n] as RunningEngine, "INFO", "replication");
    await until(async () => /master_link_status:up/.test(String(await replication())));
  }
  return {
    nodes,
    async masterOf(key, asked) {
      const slot = Number(await tell(asked, "CLUSTER", "KEYSLOT", key));
      const all = await tell(asked, "CLUSTER", "SLOTS") as [number, number, [string, number]][];
      const [, , [, port]] = all.find(([from, to]) => from <= slot && slot <= to) as typeof all[0];
      return nodes.find((node) => node.port === port) as RunningEngine;
    },
    [Symbol.asyncDispose]: () => endAll(nodes),
  };
}

/** Starts a cluster of three NATS; `undefined`, loudly, where there is none. */
export async function startNatsCluster(): Promise<Group | undefined> {
  const routes = await Promise.all([1, 2, 3].map(() => freePort()));
  const all = routes.map((port) => `nats://127.0.0.1:${port}`);
  const nodes = await startAll(all.map((own, n) =>
    startEngine("nats", [
      ...["-n", `n${n}`, "--cluster_name", "c", "--cluster", own, "--routes", all.join(",")],
    ])
  ));
  if (nodes.length === 0) return undefined;
  return { nodes, [Symbol.asyncDispose]: () => endAll(nodes) };
}
