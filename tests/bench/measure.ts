/**
 * What the load client is asked, and what it measures.
 */
import { readFileSync } from "node:fs";

/** What to do to which server. */
export interface Job {
  readonly kind: "calls" | "fanOut" | "idle" | "many" | "posts";
  readonly port: number;
  readonly pid: number;
  /** How long it is measured, after a warm-up. */
  readonly ms: number;
  readonly warmMs: number;
  readonly dialect: string;
  readonly method: string;
  readonly connections: number;
  /** Calls of one connection under way; events of a burst; topics of one connection. */
  readonly window: number;
}

/** What was measured. */
export interface Outcome {
  /** Calls that were answered, or events that were delivered. */
  readonly count: number;
  readonly ms: number;
  /** Milliseconds of the server process, user and system; NaN where there is no /proc. */
  readonly cpuMs: number;
  /** The middle of what each took alone, where it was alone. */
  readonly p50Ms: number;
  /** Bytes of the server for each connection. */
  readonly bytes: number;
}

/** A stop-watch that reads the time of the server too. */
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

/** What lies in the middle. */
export function middle(values: number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  const half = sorted.length >> 1;
  if (sorted.length % 2 === 1) return sorted[half] as number;
  return ((sorted[half - 1] ?? NaN) + (sorted[half] ?? NaN)) / 2;
}

/** Measures for so long, and on while a machine that is busy with other things lets nothing happen. */
export async function measured(job: Job, count: () => number): Promise<Outcome> {
  const before = count();
  const watch = new Watch(job.pid);
  for (let turn = 0; turn < PATIENCE && count() === before; turn++) await pause(job.ms);
  if (count() === before) throw new Error("Nothing was answered");
  return watch.stop(count() - before);
}

const PATIENCE = 20;

/** Resolves after this long. */
export function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

function cpuMs(pid: number): number {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, "latin1");
    const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
    return (Number(fields[11]) + Number(fields[12])) * 10; // hundredths of a second on every Linux
  } catch {
    return NaN;
  }
}

/** What a process holds in memory; NaN where there is no /proc. */
export function residentBytes(pid: number): number {
  try {
    const [, kilobytes] = /^VmRSS:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, "latin1")) ??
      [];
    return Number(kilobytes) * 1024;
  } catch {
    return NaN;
  }
}
