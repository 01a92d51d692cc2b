/**
 * Memory of this process that is in use, without garbage.
 */
import process from "node:process";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";

/** MiB that this process holds after a collection of its garbage. */
export function heldMemory(): number {
  collect();
  const { heapUsed, external } = process.memoryUsage();
  // Bun counts as used what objects hold outside the heap.
  return (heapUsed + (bun === undefined ? external : 0)) / 1024 / 1024;
}

const { Bun: bun } = globalThis as { readonly Bun?: { gc(force: boolean): void } };
const collect = bun === undefined ? collector() : () => bun.gc(true);

/** V8's collector, which programs cannot call unless they ask for it. */
function collector(): () => void {
  setFlagsFromString("--expose-gc");
  return runInNewContext("gc") as () => void;
}
