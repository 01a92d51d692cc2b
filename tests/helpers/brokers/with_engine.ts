/**
 * A broker on an engine of its own, and a second client that looks at what the engine holds. All end
 * with the test.
 */
import { connect } from "@nats-io/transport-node";
import type { NatsConnection } from "@nats-io/transport-node";
import { createClient } from "redis";
import { natsBroker } from "@x/jsonrpc/nats";
import { redisBroker } from "@x/jsonrpc/redis";
import type { Broker } from "../../../src/brokers/broker.ts";
import { until } from "../deferred.ts";
import { silentLog } from "../log.ts";
import { freePort } from "../ports.ts";
import { startEngine } from "./engine.ts";

/** What a test gets of a Redis. */
export interface WatchedRedis {
  readonly broker: Broker;
  readonly url: string;
  /** Sends a command of the test's own. */
  raw(...command: string[]): Promise<unknown>;
  /** Makes a broker of one more process; it ends with the test. */
  another(options?: { readonly maxIdleTopics?: number }): Broker;
}

/** What a test gets of a NATS. */
export interface WatchedNats {
  readonly broker: Broker;
  readonly raw: NatsConnection;
  /** Where the server tells of itself. */
  readonly monitor: string;
  /** Makes a broker of one more process; it ends with the test. */
  another(): Broker;
}

const LONG_MS = 20_000;

/** Gives a test a Redis of its own: one server, or a cluster of one. */
export async function withRedis(
  use: (redis: WatchedRedis) => Promise<void>,
  kind: "server" | "cluster" = "server",
): Promise<void> {
  const isCluster = kind === "cluster";
  const bus = isCluster ? String(await freePort()) : "";
  const args = isCluster ? ["--cluster-enabled", "yes", "--cluster-port", bus] : [];
  await using engine = await startEngine("redis", args);
  const { url } = engine;
  const client = createClient({ url, commandOptions: { timeout: 0 } });
  await client.connect();
  const raw = (...command: string[]): Promise<unknown> => client.sendCommand(command);
  if (isCluster) {
    await raw("CLUSTER", "ADDSLOTSRANGE", "0", "16383");
    await until(async () => /cluster_state:ok/.test(`${await raw("CLUSTER", "INFO")}`));
  }
  const place = isCluster ? { cluster: { rootNodes: [{ url }] } } : { url };
  const made: Broker[] = [];
  const another: WatchedRedis["another"] = (more) => {
    const options = { ...place, logger: silentLog(), publishTimeoutMs: LONG_MS, ...more };
    made.push(redisBroker(options));
    return made.at(-1) as Broker;
  };
  try {
    await use({ broker: another(), url, raw, another });
  } finally {
    for (const broker of made) await broker.close();
    client.destroy();
  }
}

/** Gives a test a NATS of its own. */
export async function withNats(use: (nats: WatchedNats) => Promise<void>): Promise<void> {
  const port = await freePort();
  await using engine = await startEngine("nats", ["-m", String(port)]);
  const servers = `127.0.0.1:${engine.port}`;
  const raw = await connect({ servers, name: "the test" });
  const made: Broker[] = [];
  const another = (): Broker => {
    made.push(natsBroker({ servers, logger: silentLog(), publishTimeoutMs: LONG_MS }));
    return made.at(-1) as Broker;
  };
  try {
    await use({ broker: another(), raw, monitor: `http://127.0.0.1:${port}`, another });
  } finally {
    for (const broker of made) await broker.close();
    await raw.close();
  }
}
