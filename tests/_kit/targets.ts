/**
 * The servers that suites run against: each runtime's own, and `./node` where it is not the own one.
 */
import type { RuntimeName } from "./runtimes.ts";

/** A way to serve, as arguments of `target.ts`. */
export interface Target {
  readonly label: string;
  readonly runtime: RuntimeName;
  readonly args: readonly string[];
}

/** All ways that are promised. */
export const targets: readonly Target[] = [
  { label: "deno", runtime: "deno", args: [] },
  { label: "bun", runtime: "bun", args: [] },
  { label: "node", runtime: "node", args: [] },
  { label: "deno through ./node", runtime: "deno", args: ["--node-door"] },
  { label: "bun through ./node", runtime: "bun", args: ["--node-door"] },
];
