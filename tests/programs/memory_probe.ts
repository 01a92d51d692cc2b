/**
 * A server and its clients in one process that does one thing many times, and prints how much memory was in use
 * in between. Needs the garbage collector: `--expose-gc` on Deno and Node.
 *
 * Arguments: what to do, and how often.
 */
import process from "node:process";
import { connect, JsonRpc } from "@x/jsonrpc";
import { memoryBroker } from "../../src/brokers/memory.ts";
import { call } from "../helpers/messages.ts";
import { dial, frame, requestText, TEXT, UPGRADE } from "../helpers/raw_client.ts";
import { until } from "../helpers/deferred.ts";
import { serveHere } from "../helpers/server.ts";
import type { LocalServer } from "../helpers/server.ts";
import { exitWithParent } from "../helpers/exit_with_parent.ts";

/** The findings, which are the last line on stdout. */
export interface Findings {
  /** Bytes in use after each tenth of the work and a garbage collection. */
  readonly heap: readonly number[];
  /** Counts that should be zero: connections, subscribers and calls that are left. */
  readonly left: Readonly<Record<string, number>>;
}

interface Collectors {
  readonly gc?: () => void;
  readonly Bun?: { gc(force: boolean): void };
}

const { gc, Bun } = globalThis as Collectors;
const POINTS = 10;

/** Gives the bytes in use after repeated garbage collections. */
async function heapUsed(): Promise<number> {
  for (let round = 0; round < 3; round++) {
    await new Promise((resolve) => setTimeout(resolve, 20));
    if (Bun !== undefined) Bun.gc(true);
    else gc?.();
  }
  if (Bun === undefined) return process.memoryUsage().heapUsed;
  const jsc: string = "bun:jsc";
  return (await import(jsc) as { heapStats(): { heapSize: number } }).heapStats().heapSize;
}

/** Does the work in tenths, and measures the memory after each. */
async function measured(times: number, work: (count: number) => Promise<void>): Promise<number[]> {
  const heap: number[] = [];
  for (let point = 0; point < POINTS; point++) {
    await work(times / POINTS);
    heap.push(await heapUsed());
  }
  return heap;
}

/** Makes calls through one connection, some hundred at a time. */
async function calls(times: number, server: LocalServer): Promise<Findings> {
  const client = await connect(server.ws);
  let wrong = 0;
  const heap = await measured(times, async (count) => {
    for (let done = 0; done < count; done += WAVE) {
      const wave = Array.from({ length: WAVE }, (_, n) => client.call(NAMES[n % 2] as string, [n]));
      const answers = await Promise.all(wave) as [number][];
      wrong += answers.filter(([answer], n) => answer !== n).length;
    }
  });
  await client.close();
  return { heap, left: { wrong } };
}

const WAVE = 250;
const NAMES = ["echo", "later"];

/** Opens connections that subscribe to a topic of their own and vanish without a close frame. */
async function drops(times: number, server: LocalServer): Promise<Findings> {
  let next = 0;
  const heap = await measured(times, async (count) => {
    for (let done = 0; done < count; done += CROWD) {
      await Promise.all(Array.from({ length: CROWD }, () => drop(server.url, `room.${next++}`)));
    }
    await until(() => rpc.connections.size === 0);
  });
  const topics = ["news", ...Array.from({ length: times }, (_, n) => `room.${n}` as const)];
  return {
    heap,
    left: {
      connections: rpc.connections.size,
      subscribers: [...rpc.subscribers(topics)].length,
      reached: rpc.publish("news", "is anyone there?").deliveries,
    },
  };
}

const CROWD = 50;

async function drop(url: string, topic: string): Promise<void> {
  const socket = await dial(url);
  const bytes = new Promise<void>((resolve) => {
    let text = "";
    socket.on("data", (chunk: Uint8Array) => {
      text += new TextDecoder().decode(chunk);
      if (text.includes(`"${topic}"`)) resolve();
    });
  });
  socket.write(requestText(url, UPGRADE, {}));
  socket.write(frame(TEXT, JSON.stringify(call("subscribe", 1, [topic, "news"]))));
  await bytes;
  socket.resetAndDestroy();
}

/** Makes POSTs, some at a time. */
async function posts(times: number, server: LocalServer): Promise<Findings> {
  const client = await connect(server.url);
  const heap = await measured(times, async (count) => {
    for (let done = 0; done < count; done += CROWD) {
      await Promise.all(Array.from({ length: CROWD }, (_, n) => client.call("echo", [n])));
    }
  });
  await client.close();
  return { heap, left: {} };
}

// Without a heartbeat, since Deno keeps a vanished socket until its idle timer ends.
const rpc = new JsonRpc({
  logger: { ...console, debug() {}, info() {}, warn() {} },
  heartbeatMs: 0,
  // The server remembers this many names of topics; the default of 10,000 would hide a leak.
  broker: memoryBroker({ maxIdleTopics: 100 }),
})
  .method("echo", (params: unknown) => params)
  .method("later", async (params: unknown) => await Promise.resolve(params))
  .topic("news")
  .topic("room.*");

exitWithParent();
const [what = "", times] = process.argv.slice(2);
const work = { calls, drops, posts }[what];
if (work === undefined) throw new TypeError(`Expected calls, drops or posts, got ${what}`);
const server = await serveHere(rpc);
const findings = await work(Number(times), server);
await server.stop();
console.log(JSON.stringify(findings));
process.exit();
