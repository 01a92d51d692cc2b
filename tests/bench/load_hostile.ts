/**
 * Measures the calls of a client that behaves well, alone and among strangers that do not. Both times
 * alternate, so that a machine that is busy for a while slows both.
 */
import { Worker } from "node:worker_threads";
import { BareSocket, frame } from "./bare_socket.ts";
import { DIALECTS } from "./dialects.ts";
import type { Dialect } from "./dialects.ts";
import type { Job, Outcome } from "./measure.ts";
import { pause, rest, Watch } from "./measure.ts";

/** Runs one job. Rejects if an answer is wrong. */
export async function runHostile(job: Job): Promise<Outcome> {
  const strangers = new Worker(new URL("./strangers.ts", import.meta.url), {
    workerData: { port: job.port, how: job.strangers },
  });
  const caller = await WellBehaved.connect(job);
  await caller.call(job.warmMs);
  const watch = new Watch(job.pid);
  const laps: { quiet: number[]; hostile: number[] } = { quiet: [], hostile: [] };
  for (let turn = 0; turn < TURNS && !caller.isLost; turn++) {
    laps.quiet.push(...await caller.call(job.ms));
    strangers.postMessage(true);
    await pause(SETTLE_MS);
    laps.hostile.push(...await caller.call(job.ms));
    strangers.postMessage(false);
    // What they have left behind is no part of the quiet.
    await rest(job.pid);
  }
  caller.end();
  await strangers.terminate();
  const outcome = watch.stop(laps.hostile.length, laps.hostile);
  return { ...outcome, quietP99Ms: p99(laps.quiet), hostileP99Ms: p99(laps.hostile) };
}

function p99(laps: readonly number[]): number {
  return laps.toSorted((a, b) => a - b)[Math.floor(laps.length * 0.99)] ?? NaN;
}

class WellBehaved {
  /** Whether an answer did not come in time: no further one is waited for. */
  isLost = false;
  readonly #socket: BareSocket;
  readonly #dialect: Dialect;
  readonly #method: string;

  private constructor(socket: BareSocket, { dialect, method }: Job) {
    this.#socket = socket;
    this.#dialect = DIALECTS[dialect] as Dialect;
    this.#method = method;
  }

  static async connect(job: Job): Promise<WellBehaved> {
    return new WellBehaved(await BareSocket.open(job.port), job);
  }

  /** Calls for some time, one call after the other; gives how long each took. */
  async call(ms: number): Promise<number[]> {
    const laps: number[] = [];
    for (const end = performance.now() + ms; performance.now() < end;) {
      const begin = performance.now();
      const answer = await Promise.race([this.#ask(), pause(LOST_MS)]);
      laps.push(performance.now() - begin);
      if (answer === undefined) {
        this.isLost = true;
        return laps;
      }
      const { result } = this.#dialect.decode(answer);
      if (result !== 3) throw new Error(`Expected 3, got ${result}`);
      // As a person's program would: a client that calls at once would be the heaviest load itself.
      await pause(1);
    }
    return laps;
  }

  end(): void {
    this.#socket.end();
  }

  #ask(): Promise<string> {
    return new Promise((resolve) => {
      this.#socket.ontext = (bytes, start, end) => resolve(bytes.toString("utf8", start, end));
      this.#socket.write(frame(this.#dialect.encode(1, this.#method, { a: 1, b: 2 })));
    });
  }
}

const TURNS = 4;
// Some servers answer nobody as long as strangers flood. What is lost counts as answered after this time.
const LOST_MS = 15_000;
// How long strangers may take to connect.
const SETTLE_MS = 500;
