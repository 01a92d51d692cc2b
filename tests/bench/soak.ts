/**
 * Publishes many events through an engine to clients that are disconnected at random and go on at another
 * server, while servers are killed and replaced. Prints what each client has lost, heard twice or out of
 * order.
 *
 *     deno run -A tests/bench/soak.ts redis|nats [EVENTS]
 *
 * The publisher never runs so far ahead that history would not reach back: what is counted is what is lost
 * within it.
 */
import process from "node:process";
import { natsBroker } from "@x/jsonrpc/nats";
import { redisBroker } from "@x/jsonrpc/redis";
import type { Broker } from "../../src/brokers/broker.ts";
import { startEngine } from "../helpers/brokers/engine.ts";
import type { EngineName } from "../helpers/brokers/engine.ts";
import { RoamingClient } from "../helpers/brokers/roaming_client.ts";
import type { RuntimeName } from "../helpers/runtimes.ts";
import { spawnServer } from "../helpers/spawn_server.ts";
import type { SpawnedServer } from "../helpers/spawn_server.ts";

const TOPICS = ["room.0", "room.1", "room.2", "room.3"];
const RUNTIMES: readonly RuntimeName[] = ["deno", "bun", "node"];
/** What tests/programs/cluster_node.ts keeps of each. */
const KEEP = { size: 20_000, ageMs: Infinity };
/** How far the slowest client may be behind in a topic. */
const MAX_BEHIND = 10_000;
const IN_FLIGHT = 500;
const STAY_MS = [200, 2_000] as const;
const KILLS = 4;
const PATIENCE_MS = 120_000;

/** Looks at what one client hears of one topic. */
class Ledger {
  /** The highest number heard, and one more. */
  next = 0;
  duplicated = 0;
  reordered = 0;
  #distinct = 0;
  readonly #seen: Uint8Array;

  constructor(events: number) {
    this.#seen = new Uint8Array(events);
  }

  hear(n: number): void {
    if (this.#seen[n] === 1) {
      this.duplicated++;
      return;
    }
    this.#seen[n] = 1;
    this.#distinct++;
    if (n < this.next) this.reordered++;
    this.next = Math.max(this.next, n + 1);
  }

  lost(events: number): number {
    return events - this.#distinct;
  }
}

/** A client that hears two of the topics, and moves about until it is told to stop. */
class Guest {
  readonly ledgers: ReadonlyMap<string, Ledger>;
  readonly mover: RoamingClient;
  moves = 0;

  constructor(topics: readonly string[], events: number) {
    this.ledgers = new Map(topics.map((topic) => [topic, new Ledger(events)]));
    this.mover = new RoamingClient(
      topics,
      (topic, data) => this.ledgers.get(topic)?.hear(Number(data)),
    );
  }

  async roam(nodes: readonly SpawnedServer[], isOver: () => boolean): Promise<void> {
    while (!isOver()) {
      await this.#settle(nodes);
      const [least, most] = STAY_MS;
      const end = performance.now() + least + Math.random() * (most - least);
      // Also where its server is killed it moves on.
      while (!isOver() && this.mover.isOpen && performance.now() < end) await sleep(20);
      if (!isOver()) this.mover.leave();
    }
    if (!this.mover.isOpen) await this.#settle(nodes);
  }

  async #settle(nodes: readonly SpawnedServer[]): Promise<void> {
    for (;;) {
      const { url } = nodes[Math.floor(Math.random() * nodes.length)] as SpawnedServer;
      try {
        await this.mover.move(url);
        this.moves++;
        return;
      } catch {
        await sleep(20); // that server is being replaced
      }
    }
  }
}

function sleep(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

/** Publishes numbers to each topic, no faster than the slowest client hears them. */
async function publishAll(
  broker: Broker,
  events: number,
  behind: (topic: string) => number,
): Promise<void> {
  await Promise.all(TOPICS.map(async (topic) => {
    for (let n = 0; n < events; n += IN_FLIGHT) {
      while (n - behind(topic) > MAX_BEHIND) await sleep(5);
      const numbers = Array.from({ length: Math.min(IN_FLIGHT, events - n) }, (_, i) => n + i);
      await Promise.all(numbers.map((number) => broker.publish(topic, `${number}`, KEEP)));
    }
  }));
}

/** Kills a server now and then, with SIGKILL, and starts another in its place. */
async function killNow(nodes: SpawnedServer[], n: number, args: readonly string[]): Promise<void> {
  const at = n % nodes.length;
  const old = nodes[at] as SpawnedServer;
  process.kill(old.pid, "SIGKILL");
  nodes[at] = await startNode(RUNTIMES[at] as RuntimeName, args);
  await old.stop();
}

function startNode(runtime: RuntimeName, args: readonly string[]): Promise<SpawnedServer> {
  return spawnServer(runtime, "tests/programs/cluster_node.ts", [...args, runtime]);
}

async function soak(name: EngineName, events: number): Promise<boolean> {
  await using engine = await startEngine(name);
  if (engine === undefined) return false;
  const args = [name, String(engine.port)];
  const nodes = await Promise.all(RUNTIMES.map((runtime) => startNode(runtime, args)));
  const broker = name === "redis"
    ? redisBroker({ url: engine.url, publishTimeoutMs: PATIENCE_MS })
    : natsBroker({ servers: `127.0.0.1:${engine.port}`, publishTimeoutMs: PATIENCE_MS });
  const each = Math.ceil(events / TOPICS.length);
  const guests = TOPICS.map((topic, n) =>
    new Guest([topic, TOPICS[(n + 1) % TOPICS.length] as string], each)
  );
  let over = false;
  const roaming = guests.map((guest) => guest.roam(nodes, () => over));
  const behind = (topic: string) =>
    Math.min(...guests.map(({ ledgers }) => ledgers.get(topic)?.next ?? Infinity));
  while (!guests.every(({ moves }) => moves > 0)) await sleep(20);
  const start = performance.now();
  const publishing = publishAll(broker, each, behind);
  const slowest = () => Math.min(...TOPICS.map(behind));
  for (let n = 1; n <= KILLS; n++) {
    while (slowest() < each * n / (KILLS + 1)) await sleep(50);
    await killNow(nodes, n, args);
    console.log(`${name}: ${Math.round(slowest() * TOPICS.length / 1000)} thousand events`);
  }
  await publishing;
  const last = performance.now() + PATIENCE_MS;
  while (slowest() < each && performance.now() < last) await sleep(50);
  over = true;
  await Promise.all(roaming);
  const seconds = (performance.now() - start) / 1000;
  report(name, each, guests, seconds);
  for (const { mover } of guests) mover.leave();
  await broker.close();
  await Promise.all(nodes.map((node) => node.stop()));
  return sumOf(guests, each).every((count) => count === 0);
}

function report(name: string, each: number, guests: readonly Guest[], seconds: number): void {
  const published = each * TOPICS.length;
  const moves = guests.reduce((sum, guest) => sum + guest.moves, 0);
  const [lost, duplicated, reordered, gaps] = sumOf(guests, each);
  console.log(
    `${name}: ${published} events published, ${
      published * 2
    } to be heard by ${guests.length} clients ` +
      `that moved ${moves} times between 3 servers, ${KILLS} of which were killed; ${
        seconds.toFixed(0)
      } s`,
  );
  console.log(
    `${name}: lost ${lost}, duplicated ${duplicated}, reordered ${reordered}, gaps told ${gaps}`,
  );
}

function sumOf(guests: readonly Guest[], each: number): [number, number, number, number] {
  const ledgers = guests.flatMap((guest) => [...guest.ledgers.values()]);
  return [
    ledgers.reduce((sum, ledger) => sum + ledger.lost(each), 0),
    ledgers.reduce((sum, { duplicated }) => sum + duplicated, 0),
    ledgers.reduce((sum, { reordered }) => sum + reordered, 0),
    guests.reduce((sum, { mover }) => sum + mover.gaps.length, 0),
  ];
}

const [name, events = "1000000"] = process.argv.slice(2);
if ((name !== "redis" && name !== "nats") || !(Number(events) > 0)) {
  console.error("Expected: redis or nats, and how many events");
  process.exit(2);
}
process.exit(await soak(name, Number(events)) ? 0 : 1);
