/**
 * What is measured, and against which contenders.
 */
import type { RuntimeName } from "../helpers/runtimes.ts";
import type { Job, Outcome, Strangers } from "./measure.ts";
import type { Peers } from "./peers.ts";
import type { Runner } from "./program.ts";

/** One kind of work that servers do. */
export interface Workload {
  /** Its name for `--only`; the part before the first dash is its group. */
  readonly name: string;
  /** Its name in tables. */
  readonly title: string;
  readonly job: Omit<Job, "port" | "pid" | "ms" | "warmMs" | "dialect">;
  /** The contenders that do it beside the module. */
  readonly contenders: readonly string[];
  /** The figures to show, the most telling one first. */
  readonly figures: readonly (keyof typeof FIGURES)[];
  /** Whether other libraries take part. */
  readonly peers?: boolean;
  /** Whether each round needs a new server. */
  readonly fresh?: boolean;
  /** Whether it runs only if it is named. */
  readonly optional?: boolean;
}

/** One figure of an outcome. */
export interface Figure {
  readonly title: string;
  readonly unit: string;
  /** Whether more is better. */
  readonly more: boolean;
  readonly of: (outcome: Outcome) => number;
  /** Whether the table shows its value, and no ratio to the first contender. */
  readonly absolute?: boolean;
}

/** By name. */
export const FIGURES = {
  rate: {
    title: "rate",
    unit: "thousand/s",
    more: true,
    of: ({ count, ms }) => count / ms,
  },
  cpu: {
    title: "CPU",
    unit: "µs each",
    more: false,
    of: ({ count, cpuMs }) => cpuMs * 1000 / count,
  },
  p50: { title: "p50", unit: "ms", more: false, of: ({ p50Ms }) => p50Ms },
  memory: {
    title: "memory",
    unit: "KiB each",
    more: false,
    of: ({ bytes }) => bytes / 1024,
  },
  hostile: {
    title: "p99 among strangers / p99 alone",
    unit: "×",
    more: false,
    of: ({ quietP99Ms = NaN, hostileP99Ms = NaN }) => hostileP99Ms / quietP99Ms,
    absolute: true,
  },
  quietP99: {
    title: "p99 alone",
    unit: "ms",
    more: false,
    of: ({ quietP99Ms = NaN }) => quietP99Ms,
    absolute: true,
  },
  hostileP99: {
    title: "p99 among strangers",
    unit: "ms",
    more: false,
    of: ({ hostileP99Ms = NaN }) => hostileP99Ms,
    absolute: true,
  },
} as const satisfies Record<string, Figure>;

function calls(method: string, connections: number, window: number): Workload["job"] {
  return { kind: "calls", method, connections, window };
}

function hostile(strangers: Strangers): Workload["job"] {
  return { kind: "hostile", method: "add", connections: 1, window: 1, strangers };
}

const PLAIN = ["raw", "floor"];
const FLOOR = ["floor"];

/** All workloads of servers, in the order of the tables. */
export const WORKLOADS: readonly Workload[] = [
  {
    name: "calls-1x1",
    title: "1 connection, 1 call at a time",
    job: calls("add", 1, 1),
    contenders: PLAIN,
    peers: true,
    figures: ["p50", "cpu"],
  },
  {
    name: "calls-1x100",
    title: "1 connection, 100 calls under way",
    job: calls("add", 1, 100),
    contenders: PLAIN,
    peers: true,
    figures: ["cpu", "rate"],
  },
  {
    name: "calls-32x16",
    title: "32 connections, 16 calls under way each",
    job: calls("add", 32, 16),
    contenders: PLAIN,
    peers: true,
    figures: ["cpu", "rate"],
  },
  {
    name: "calls-timer",
    title: "the same, handlers wait for a timer",
    job: calls("wait", 32, 16),
    contenders: FLOOR,
    peers: true,
    figures: ["cpu", "rate"],
  },
  {
    name: "calls-io",
    title: "the same, handlers wait for the disk",
    job: calls("io", 32, 16),
    contenders: FLOOR,
    figures: ["cpu", "rate"],
  },
  {
    name: "payload-echo",
    title: "echo of 10 KB, 32 connections",
    job: calls("echo", 32, 2),
    contenders: FLOOR,
    figures: ["cpu", "rate"],
  },
  {
    name: "payload-batch",
    title: "batches of 100, 32 connections",
    job: calls("batch", 32, 2),
    contenders: FLOOR,
    figures: ["cpu", "rate"],
  },
  {
    name: "events-burst",
    title: "100 events at once to 1,000 subscribers",
    job: { kind: "fanOut", method: "burst", connections: 1000, window: 100 },
    contenders: ["loop", "publish"],
    figures: ["rate", "cpu"],
  },
  {
    name: "events-single",
    title: "1 event to 1,000 subscribers, until the last subscriber has it",
    job: { kind: "fanOut", method: "burst", connections: 1000, window: 1 },
    contenders: ["loop", "publish"],
    figures: ["cpu", "p50"],
  },
  {
    name: "posts",
    title: "HTTP POST, 64 kept connections",
    job: { kind: "posts", method: "add", connections: 64, window: 1 },
    contenders: FLOOR,
    figures: ["cpu", "rate"],
  },
  {
    name: "idle",
    title: "9,000 idle connections",
    job: { kind: "idle", method: "add", connections: 9000, window: 1 },
    contenders: FLOOR,
    figures: ["memory"],
    fresh: true,
  },
  {
    name: "many",
    title: "10,000 connections with 10 topics of their own each; 1 event to one of 100,000 topics",
    job: { kind: "many", method: "publish", connections: 9999, window: 10 },
    contenders: [],
    figures: ["rate", "memory", "p50"],
    fresh: true,
    optional: true,
  },
  {
    name: "hostile-wait",
    title: "calls of one client, among 50 strangers that send anything",
    job: hostile("wait"),
    contenders: [],
    figures: ["hostile", "quietP99", "hostileP99"],
    fresh: true,
    optional: true,
  },
  {
    name: "hostile-flood",
    title: "the same, strangers wait for nothing",
    job: hostile("flood"),
    contenders: ["raw"],
    figures: ["hostile", "quietP99", "hostileP99"],
    fresh: true,
    optional: true,
  },
  {
    name: "hostile-posts",
    title: "the same, POSTs",
    job: hostile("posts"),
    contenders: ["raw"],
    figures: ["hostile", "quietP99", "hostileP99"],
    fresh: true,
    optional: true,
  },
];

/** One program that takes part. */
export interface Contender {
  /** Its name in tables. */
  readonly title: string;
  readonly runtime: Runner;
  /** The file and its arguments. */
  readonly args: readonly string[];
  readonly dialect: string;
}

const SERVER = "tests/bench/server.ts";

/** The contenders of a workload on a runtime; the others are measured by the first. */
export function contendersOf(
  workload: Workload,
  runtime: RuntimeName,
  peers: Peers | undefined,
): Contender[] {
  const names = workload.contenders.filter((name) => name !== "publish" || runtime === "bun");
  const plain = names.toReversed().map((name) => ({
    title: name,
    runtime,
    args: [SERVER, name],
    dialect: name === "raw" ? "raw" : "jsonRpc",
  }));
  const ours = { title: "@x/jsonrpc", runtime, args: [SERVER, "ours"], dialect: "jsonRpc" };
  const throughNode = {
    ...ours,
    title: "@x/jsonrpc through ./node",
    args: [SERVER, "through-node"],
  };
  const others = workload.peers ? peers?.on(runtime) ?? [] : [];
  return [...plain, ours, ...(runtime === "deno" ? [throughNode] : []), ...others];
}
