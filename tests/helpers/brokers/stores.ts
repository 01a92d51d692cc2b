/**
 * What brokers keep their events in, and what can happen to it, for the checker.
 */
import { jetstreamManager } from "@nats-io/jetstream";
import { connect } from "@nats-io/transport-node";
import { memoryBroker } from "@x/jsonrpc/memory";
import { natsBroker } from "@x/jsonrpc/nats";
import type { NatsBrokerOptions } from "@x/jsonrpc/nats";
import { redisBroker } from "@x/jsonrpc/redis";
import type { RedisBrokerOptions } from "@x/jsonrpc/redis";
import type { Broker } from "../../../src/brokers/broker.ts";
import { until } from "../deferred.ts";
import { silentLog } from "../log.ts";
import { startEngine } from "./engine.ts";
import type { RunningEngine } from "./engine.ts";
import { sendCommand, startNatsCluster, startRedisCluster, startSentinels } from "./groups.ts";

/** A kind of store. */
export type StoreKind =
  | "memory"
  | "redis"
  | "redis-sentinel"
  | "redis-cluster"
  | "nats"
  | "nats-cluster";

/** What can happen to a store. */
export type FaultName = "kill" | "freeze" | "lose-data" | "cut-off" | "clock-behind";

/** What a server in another process needs to reach a store. */
export type StoreTarget =
  | { readonly redis: RedisBrokerOptions }
  | { readonly nats: NatsBrokerOptions };

/** A running store. */
export interface Store {
  /** Where it is; `undefined` if it is in this process. */
  readonly target: StoreTarget | undefined;
  /** Whether it goes on without the server that was hit. */
  readonly takesOver: boolean;
  /** Makes a broker on it. */
  make(): Broker;
  /** Hits the server that matters to a topic; resolves to what repairs it. */
  hit(fault: FaultName, topic: string): Promise<() => Promise<void>>;
  [Symbol.asyncDispose](): Promise<void>;
}

/** How a store is started. */
export interface StoreOptions {
  /** As of `redisBroker()`. */
  readonly waitReplicas?: number;
}

const TIMEOUT_MS = 60_000;
const FREEZE_MS = 8_000;

/** Starts a store. */
export function startStore(kind: StoreKind, options: StoreOptions = {}): Promise<Store> {
  switch (kind) {
    case "memory":
      return Promise.resolve(memoryStore());
    case "redis":
    case "nats":
      return singleStore(kind);
    case "redis-sentinel":
      return sentinelStore(options);
    case "redis-cluster":
      return redisClusterStore(options);
    case "nats-cluster":
      return natsClusterStore();
  }
}

/** Makes a broker on a store that runs elsewhere. */
export function brokerOf(target: StoreTarget): Broker {
  const more = { logger: silentLog(), publishTimeoutMs: TIMEOUT_MS };
  return "redis" in target
    ? redisBroker({ ...more, ...target.redis })
    : natsBroker({ ...more, ...target.nats });
}

function memoryStore(): Store {
  const broker = memoryBroker();
  return {
    target: undefined,
    takesOver: false,
    make: () => broker,
    hit: () => Promise.reject(new Error("nothing can happen to memory")),
    async [Symbol.asyncDispose]() {},
  };
}

async function singleStore(kind: "redis" | "nats"): Promise<Store> {
  const engine = await startEngine(kind);
  const target: StoreTarget = kind === "redis"
    ? { redis: { url: engine.url } }
    : { nats: { servers: `127.0.0.1:${engine.port}` } };
  return {
    target,
    takesOver: false,
    make: () => brokerOf(target),
    hit: (fault) => hitServer(fault, engine),
    [Symbol.asyncDispose]: () => engine[Symbol.asyncDispose](),
  };
}

/** Kills a server, or stops it for a while; the repair starts it again. */
async function hitServer(fault: FaultName, server: RunningEngine): Promise<() => Promise<void>> {
  if (fault === "freeze") {
    await server.freeze();
    await new Promise((resolve) => setTimeout(resolve, FREEZE_MS));
    server.thaw();
    return async () => {};
  }
  await server.kill();
  return () => server.start(fault === "lose-data" ? "without its data" : "with its data");
}

async function sentinelStore({ waitReplicas = 0 }: StoreOptions): Promise<Store> {
  const group = await startSentinels();
  const { name, sentinels } = group;
  const sentinelRootNodes = sentinels.map(({ port }) => ({ host: "127.0.0.1", port }));
  const target = { redis: { sentinel: { name, sentinelRootNodes }, waitReplicas } };
  const settled = () => until(async () => await replicasOf(await group.master()) === 2);
  return {
    target,
    takesOver: true,
    make: () => brokerOf(target),
    async hit(fault) {
      await settled(); // or there would be nobody to take over
      const master = await group.master();
      if (fault === "clock-behind") await setAhead(master);
      if (fault === "cut-off" || fault === "clock-behind") return cutOff(group.nodes, master);
      const repair = await hitServer(fault, master);
      await until(async () => await group.master() !== master);
      return async () => {
        await repair();
        await settled();
      };
    },
    [Symbol.asyncDispose]: () => group[Symbol.asyncDispose](),
  };
}

/** Moves topics an hour ahead: then the next master's clock is behind, and gives lost offsets again. */
async function setAhead(master: RunningEngine): Promise<void> {
  const keys = await sendCommand(master, "KEYS", "jsonrpc:*:place") as string[];
  for (const key of keys) await sendCommand(master, "HINCRBY", key, "offset", "3600000000");
  // The replicas have to have it before they are cut off.
  await until(async () => Number(await sendCommand(master, "WAIT", "2", "1000")) === 2);
}

/** Lets the replicas fall behind, and then kills the master: what it has accepted meanwhile is lost. */
async function cutOff(
  nodes: readonly RunningEngine[],
  master: RunningEngine,
): Promise<() => Promise<void>> {
  const replicas = nodes.filter((node) => node !== master);
  for (const replica of replicas) await replica.freeze();
  // Or they would find what follows in their sockets.
  await sendCommand(master, "CLIENT", "KILL", "TYPE", "replica");
  await new Promise((resolve) => setTimeout(resolve, 300));
  await master.kill();
  for (const replica of replicas) replica.thaw();
  return () => master.start("with its data");
}

async function replicasOf(master: RunningEngine): Promise<number> {
  const info = await sendCommand(master, "INFO", "replication").catch(() => "");
  return String(info).split("state=online").length - 1;
}

async function redisClusterStore({ waitReplicas = 0 }: StoreOptions): Promise<Store> {
  const group = await startRedisCluster();
  const rootNodes = group.nodes.slice(0, 3).map(({ url }) => ({ url }));
  const target = { redis: { cluster: { rootNodes }, waitReplicas } };
  const alive = new Set(group.nodes);
  return {
    target,
    takesOver: true,
    make: () => brokerOf(target),
    async hit(fault, topic) {
      const masterOf = async () => {
        const key = `jsonrpc:{${topic}}`;
        return await group.masterOf(key, [...alive][0] as RunningEngine);
      };
      await until(async () => await replicasOf(await masterOf()) === 1);
      const master = await masterOf();
      alive.delete(master);
      const repair = await hitServer(fault, master);
      await until(async () => await masterOf() !== master);
      return async () => {
        await repair();
        alive.add(master);
      };
    },
    [Symbol.asyncDispose]: () => group[Symbol.asyncDispose](),
  };
}

async function natsClusterStore(): Promise<Store> {
  const group = await startNatsCluster();
  const servers = group.nodes.map(({ port }) => `127.0.0.1:${port}`);
  const target = { nats: { servers, replicas: 3 } };
  let made = 0;
  return {
    target,
    takesOver: true,
    // Each is connected to another server first.
    make() {
      const n = made++ % servers.length;
      const own = [...servers.slice(n), ...servers.slice(0, n)];
      return brokerOf({
        nats: { ...target.nats, servers: own, connection: { noRandomize: true } },
      });
    },
    async hit(fault) {
      return hitServer(fault, await leaderOf(group.nodes, servers));
    },
    [Symbol.asyncDispose]: () => group[Symbol.asyncDispose](),
  };
}

/**
 * The server that leads the stream, once all others are there and have caught up. With one that has only just
 * been started again there would be two that are down, and the rest may have no leader for minutes.
 */
async function leaderOf(
  nodes: readonly RunningEngine[],
  servers: string[],
): Promise<RunningEngine> {
  const connection = await connect({ servers });
  try {
    const manager = await jetstreamManager(connection, { checkAPI: false });
    let leader: RunningEngine | undefined;
    await until(async () => {
      const info = await manager.streams.info("jsonrpc").catch(() => undefined);
      const { leader: name, replicas = [] } = info?.cluster ?? {};
      leader = nodes[Number(name?.slice(1))];
      const others = replicas.filter(({ current, offline }) => current && offline !== true);
      return leader !== undefined && others.length === nodes.length - 1;
    });
    return leader as RunningEngine;
  } finally {
    await connection.close();
  }
}
