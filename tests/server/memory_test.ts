/**
 * Memory after a great many calls, connections and POSTs, in a process of its own: as much as before.
 *
 * Runs a part of it; `MEMORY_TEST=full` runs 1,000,000 calls, 10,000 connections and 50,000 POSTs.
 */
import { assert, assertEquals } from "@std/assert";
import { execFile } from "node:child_process";
import process from "node:process";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import type { Findings } from "../programs/memory_probe.ts";
import { runtime, runtimeHere } from "../helpers/runtimes.ts";
import type { Runtime } from "../helpers/runtimes.ts";

/** How to have the garbage collector at hand. Bun always has it. */
const GC_FLAGS = { deno: ["--v8-flags=--expose-gc"], node: ["--expose-gc"], bun: [] };

/** Bytes that may be more at the end: no object per call or connection fits into that. */
const MARGIN = 1024 * 1024;

const isFull = process.env.MEMORY_TEST === "full";

const workloads: Readonly<Record<string, readonly [what: string, part: number, full: number]>> = {
  calls: ["calls through one connection", 200_000, 1_000_000],
  drops: ["clients that subscribe and vanish", 2_000, 10_000],
  posts: ["POSTs", 2_000, 50_000],
};

for (const [name, [what, part, full]] of Object.entries(workloads)) {
  const times = isFull ? full : part;
  test(`memory is the same after ${times} ${what}`, async () => {
    const here = await runtime(runtimeHere);
    const { heap, left } = await run(here as Runtime, name, times);
    for (const [thing, count] of Object.entries(left)) assertEquals(count, 0, thing);
    const growth = middle(heap.slice(-3)) - middle(heap.slice(2, 5));
    if (isFull) console.log(`${runtimeHere}: ${what}: ${growth} bytes more; heap ${heap}`);
    assert(growth < MARGIN, `${growth} bytes more after ${times} ${what}: ${heap}`);
  });
}

async function run({ name, command }: Runtime, work: string, times: number): Promise<Findings> {
  const [program, ...flags] = command;
  const file = fileURLToPath(new URL("../programs/memory_probe.ts", import.meta.url));
  const args = [...flags, ...GC_FLAGS[name], file, work, `${times}`];
  const { stdout } = await promisify(execFile)(program, args);
  return JSON.parse(stdout.trim().split("\n").at(-1) as string);
}

/** The middle one of three. */
function middle(numbers: readonly number[]): number {
  return [...numbers].sort((a, b) => a - b)[1] as number;
}
