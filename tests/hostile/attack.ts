/**
 * What the attacks have in common: a server in a process of its own, whose memory is measured, and
 * connections that ignore every convention.
 */
import { assert, assertEquals } from "@std/assert";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import type { JsonRpcOptions } from "@x/jsonrpc";
import { call, result } from "../helpers/messages.ts";
import { needs } from "../helpers/needs.ts";
import { Post, RawSocket } from "../helpers/raw_client.ts";
import { spawnServer } from "../helpers/spawn_server.ts";
import type { SpawnedServer } from "../helpers/spawn_server.ts";
import { targets } from "../helpers/targets.ts";

/** A server under attack. */
export interface Attacked extends SpawnedServer {
  /** Whether it is Deno's own server, which cannot terminate a connection. */
  readonly isDenoServe: boolean;
  /** Whether it is Bun's `node:http`. */
  readonly isBunNode: boolean;
}

/**
 * Adds a test on each runtime and way to serve.
 *
 * @param title What the attack does, and what holds.
 * @param options The server's options.
 * @param run The attack. Afterwards the server still has to answer others.
 */
export async function attack(
  title: string,
  options: JsonRpcOptions,
  run: (server: Attacked) => Promise<void>,
): Promise<void> {
  for (const { label, runtime, args } of targets) {
    const needed = await needs(runtime);
    test(`${label}: ${title}`, needed, async () => {
      const env = { ...NO_SLACK, RPC_OPTIONS: JSON.stringify(options) };
      const server = await spawnServer(runtime, "tests/programs/hostile_server.ts", args, env);
      try {
        const isBunNode = label === "bun through ./node";
        await run({ ...server, isDenoServe: label === "deno", isBunNode });
      } finally {
        await server.stop();
      }
    });
  }
}

/** Makes sure that a server answers somebody else, over WebSocket and POST. */
export async function assertAnswers({ url }: SpawnedServer): Promise<void> {
  const line = await RawSocket.open(url);
  assertEquals(await line.ask(call("ping", 1)), result(1, "pong"));
  line.disconnect();
  assertEquals(await new Post(url).ask(call("ping", 2)), result(2, "pong"));
}

/** Waits until a server answers others again: what an attack has left may take it a while to clear away. */
export async function answersAgain(server: SpawnedServer): Promise<void> {
  for (const end = performance.now() + PATIENCE_MS; performance.now() < end;) {
    if (await assertAnswers(server).then(() => true, () => false)) return;
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  await assertAnswers(server);
}

/** MiB of memory that a server holds; 0 on systems without /proc. */
export function memoryOf({ pid }: Pick<SpawnedServer, "pid">): number {
  try {
    const [, kib] = /VmRSS:\s*(\d+) kB/.exec(readFileSync(`/proc/${pid}/status`, "utf8")) ?? [];
    return Number(kib) / 1024;
  } catch {
    return 0;
  }
}

/**
 * Runs an attack and makes sure that a server needs no more than some MiB more at any time.
 *
 * @param server The server.
 * @param mib How much more it may need.
 * @param run The attack.
 */
export async function assertBounded(
  server: Pick<SpawnedServer, "pid">,
  mib: number,
  run: () => Promise<void>,
): Promise<void> {
  const before = memoryOf(server);
  let most = before;
  const timer = setInterval(() => most = Math.max(most, memoryOf(server)), 20);
  try {
    await run();
  } finally {
    clearInterval(timer);
  }
  const growth = Math.max(most, memoryOf(server)) - before;
  assert(growth < mib, `grew by ${growth.toFixed(0)} MiB, expected less than ${mib}`);
}

/**
 * What makes the memory of a process what it holds, and not what its allocator keeps for later or its
 * garbage collector has not come to yet: on a machine with much memory both take their time.
 */
const NO_SLACK = {
  // V8: what a server holds has to fit, or it ends.
  NODE_OPTIONS: "--max-old-space-size=256",
  DENO_V8_FLAGS: "--max-old-space-size=256",
  // JavaScriptCore takes this for the memory of the machine.
  BUN_JSC_forceRAMSize: `${512 * 1024 * 1024}`,
  // The allocators of Bun and of Linux give back at once what was freed.
  MIMALLOC_PURGE_DELAY: "0",
  MALLOC_ARENA_MAX: "2",
  MALLOC_MMAP_THRESHOLD_: `${128 * 1024}`,
  MALLOC_TRIM_THRESHOLD_: `${128 * 1024}`,
};

// Machines that run tests are busy.
const PATIENCE_MS = 30_000;
