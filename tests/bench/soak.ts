/**
 * Publishes many events through a store while its servers are killed, stopped and started again, and so are
 * servers of ours on all runtimes, between which clients move at random. Prints what the checker finds: what
 * was lost without a gap, received twice or out of order.
 *
 *     deno run -A tests/bench/soak.ts KIND [EVENTS] [FAULTS] [WAIT_REPLICAS]
 *
 * KIND: memory, redis, redis-sentinel, redis-cluster, nats or nats-cluster. FAULTS: kill, freeze (8 seconds),
 * lose-data (one server only), cut-off and clock-behind (redis-sentinel only), with commas.
 */
import process from "node:process";
import { checkRun } from "../helpers/brokers/check_run.ts";
import type { Checker, ListenerRecord } from "../helpers/brokers/checker.ts";
import { RoamingClient } from "../helpers/brokers/roaming_client.ts";
import { startStore } from "../helpers/brokers/stores.ts";
import type { FaultName, StoreKind, StoreTarget } from "../helpers/brokers/stores.ts";
import type { RuntimeName } from "../helpers/runtimes.ts";
import { spawnServer } from "../helpers/spawn_server.ts";
import type { SpawnedServer } from "../helpers/spawn_server.ts";

const KINDS = ["memory", "redis", "redis-sentinel", "redis-cluster", "nats", "nats-cluster"];
const FAULTS = ["kill", "freeze", "lose-data", "cut-off", "clock-behind"];
const RUNTIMES: readonly RuntimeName[] = ["deno", "bun", "node"];
const STAY_MS = [200, 2_000] as const;

/** Servers of ours, and clients that move between them until it ends. */
class Fleet {
  kills = 0;
  moves = 0;
  readonly #args: readonly string[];
  readonly #servers: SpawnedServer[] = [];
  readonly #roaming: Promise<void>[] = [];
  #isOver = false;

  constructor(target: StoreTarget) {
    const [[name, options]] = Object.entries(target) as [[string, unknown]];
    this.#args = [name, JSON.stringify(options)];
  }

  /** Starts a server on each runtime, and a client for each two topics. */
  async begin(checker: Checker, topics: readonly string[]): Promise<void> {
    this.#servers.push(...await Promise.all(RUNTIMES.map((runtime) => this.#start(runtime))));
    for (const [n, topic] of topics.entries()) {
      const own = [topic, topics[(n + 1) % topics.length] as string];
      const records = new Map(own.map((each) => [each, checker.listener(each)]));
      const client = clientOf(records);
      await this.#settle(client);
      this.#roaming.push(this.#roam(client));
    }
  }

  /** Kills a server and starts another in its place. */
  async killOne(): Promise<void> {
    const n = this.kills++ % this.#servers.length;
    const old = this.#servers[n] as SpawnedServer;
    process.kill(old.pid, "SIGKILL");
    await old.stop();
    this.#servers[n] = await this.#start(RUNTIMES[n] as RuntimeName);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#isOver = true;
    await Promise.allSettled(this.#roaming);
    await Promise.all(this.#servers.map((server) => server.stop()));
  }

  #start(runtime: RuntimeName): Promise<SpawnedServer> {
    return spawnServer(runtime, "tests/programs/cluster_node.ts", [...this.#args, runtime]);
  }

  async #roam(client: RoamingClient): Promise<void> {
    while (!this.#isOver) {
      const [least, most] = STAY_MS;
      const end = performance.now() + least + Math.random() * (most - least);
      while (!this.#isOver && client.isOpen && performance.now() < end) await sleep(20);
      if (!this.#isOver) await this.#settle(client);
    }
    client.leave();
  }

  async #settle(client: RoamingClient): Promise<void> {
    while (!this.#isOver) {
      const { url } = this
        .#servers[Math.floor(Math.random() * this.#servers.length)] as SpawnedServer;
      try {
        await client.move(url);
        this.moves++;
        return;
      } catch {
        await sleep(20); // that server is being replaced
      }
    }
  }
}

function clientOf(records: ReadonlyMap<string, ListenerRecord>): RoamingClient {
  return new RoamingClient(
    [...records.keys()],
    (topic, data, position) =>
      records.get(topic)?.receive(Number(data), position.slice(0, position.lastIndexOf(":"))),
    (topic) => records.get(topic)?.gap(),
  );
}

function sleep(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

async function soak(
  kind: StoreKind,
  events: number,
  faults: readonly FaultName[],
  waitReplicas: number,
): Promise<boolean> {
  const start = performance.now();
  await using store = await startStore(kind, { waitReplicas });
  await using fleet = store.target === undefined ? undefined : new Fleet(store.target);
  const result = await checkRun(store, {
    events,
    faults,
    ...(fleet && {
      begin: (checker, topics) => fleet.begin(checker, topics),
      meanwhile: () => fleet.killOne(),
    }),
  });
  const seconds = ((performance.now() - start) / 1000).toFixed(0);
  console.log(
    `${kind}: ${faults.length} faults, ${
      fleet?.kills ?? 0
    } servers of ours killed, clients moved ` +
      `${fleet?.moves ?? 0} times, ${seconds} s`,
  );
  console.log(`${kind}: ${JSON.stringify(result)}`);
  const { silent, twice, disorder, falseClaims, undead } = result;
  return [silent, twice, disorder, falseClaims, undead].every((count) => count === 0);
}

const [kind = "", events = "100000", faults, waitReplicas = "0"] = process.argv.slice(2);
const named = faults?.split(",") ?? (kind === "memory" ? [] : ["kill", "kill", "kill"]);
if (
  !KINDS.includes(kind) || !(Number(events) > 0) || !named.every((each) => FAULTS.includes(each))
) {
  console.error(`Expected: ${KINDS.join(", ")}; how many events; some of ${FAULTS.join(",")}`);
  process.exit(2);
}
const isGood = await soak(
  kind as StoreKind,
  Number(events),
  named as FaultName[],
  Number(waitReplicas),
);
process.exit(isGood ? 0 : 1);
