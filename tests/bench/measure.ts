/**
 * The jobs of the load client, and what it measures.
 */
import { readFileSync } from "node:fs";

/** One job: what to do with which server. */
export interface Job {
  readonly kind: "calls" | "fanOut" | "hostile" | "idle" | "many" | "posts";
  readonly port: number;
  readonly pid: number;
  /** How long to measure, after the warm-up. */
  readonly ms: number;
  readonly warmMs: number;
  readonly dialect: string;
  readonly method: string;
  readonly connections: number;
  /** Calls in flight on one connection; events of a burst; topics of one connection. */
  readonly window: number;
  /** What strangers do meanwhile. */
  readonly strangers?: Strangers;
}

/**
 * How strangers behave: they wait for an answer before each step, or send as fast as their connections take
 * it, messages over WebSockets or POSTs.
 */
export type Strangers = "flood" | "posts" | "wait";

/** The result of a job. */
export interface Outcome {
  /** Answered calls, or delivered events. */
  readonly count: number;
  readonly ms: number;
  /** CPU time of the server process, user and system; NaN if there is no /proc. */
  readonly cpuMs: number;
  /** The median latency, if only one was in flight at a time. */
  readonly p50Ms: number;
  /** Memory of the server for each connection. */
  readonly bytes: number;
  /** The 99th percentile of latencies of a client that is alone. */
  readonly quietP99Ms?: number;
  /** The same among strangers that send anything. */
  readonly hostileP99Ms?: number;
}

/** A stop-watch that also reads the CPU time of the server. */
export class Watch {
  readonly #pid: number;
  readonly #start: number = performance.now();
  readonly #cpu: number;

  constructor(pid: number) {
    this.#pid = pid;
    this.#cpu = cpuMs(pid);
  }

  stop(count: number, laps: number[] = []): Outcome {
    const ms = performance.now() - this.#start;
    const cpu = cpuMs(this.#pid) - this.#cpu;
    return { count, ms, cpuMs: cpu, p50Ms: middle(laps), bytes: NaN };
  }
}

/** The median. */
export function middle(values: number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  const half = sorted.length >> 1;
  if (sorted.length % 2 === 1) return sorted[half] as number;
  return ((sorted[half - 1] ?? NaN) + (sorted[half] ?? NaN)) / 2;
}

/** Measures for `job.ms`; goes on if nothing was answered meanwhile, since the machine may be busy. */
export async function measured(job: Job, count: () => number): Promise<Outcome> {
  const before = count();
  const watch = new Watch(job.pid);
  for (let turn = 0; turn < PATIENCE && count() === before; turn++) await pause(job.ms);
  if (count() === before) throw new Error("Nothing was answered");
  return watch.stop(count() - before);
}

const PATIENCE = 20;

/** Resolves after a time. */
export function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

/** Resolves when a process has next to nothing to do any more; in time if that does not happen. */
export async function rest(pid: number): Promise<void> {
  for (let turn = 0; turn < REST_TURNS; turn++) {
    const before = cpuMs(pid);
    await pause(REST_MS);
    if (!(cpuMs(pid) - before > REST_MS / 4)) return;
  }
}

const REST_TURNS = 100;
const REST_MS = 200;

function cpuMs(pid: number): number {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, "latin1");
    const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
    return (Number(fields[11]) + Number(fields[12])) * 10; // hundredths of a second on every Linux
  } catch {
    return NaN;
  }
}

/** The resident memory of a process; NaN if there is no /proc. */
export function residentBytes(pid: number): number {
  try {
    const [, kilobytes] = /^VmRSS:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, "latin1")) ??
      [];
    return Number(kilobytes) * 1024;
  } catch {
    return NaN;
  }
}
