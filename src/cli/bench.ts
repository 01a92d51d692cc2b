/**
 * The command `bench`: how many calls a server answers, and how fast.
 *
 * @module
 */

import process from "node:process";
import type { JsonRpcClient } from "../client/client.ts";
import { RpcConnectionError, RpcFailure } from "../protocol/errors.ts";
import type { Arguments } from "./arguments.ts";
import { required } from "./calls.ts";
import { formatMs, Histogram } from "./histogram.ts";
import { parseParams } from "./params.ts";
import { openClient } from "./target.ts";
import type { Terminal } from "./terminal.ts";

const PROGRESS_MS = 500;
// The server chooses its messages: each call could have another one, of any length.
const MAX_KINDS = 20;
const MAX_MESSAGE = 200;
const OTHERS = "other errors";

/** Calls a method on many connections for a while, and prints throughput and latencies. */
export async function bench(args: Arguments, terminal: Terminal): Promise<void> {
  const [url, method, ...words] = required(args, "URL", "METHOD");
  const load = new Load(method, parseParams(words), args);
  const opening = Array.from({ length: args.connections }, () => openClient(url, args));
  const opened = await Promise.allSettled(opening);
  const clients = opened.flatMap((each) => each.status === "fulfilled" ? [each.value] : []);
  try {
    const failed = opened.find((each) => each.status === "rejected");
    if (failed !== undefined) throw failed.reason;
    const timer = setInterval(() => terminal.progress(load.progress()), PROGRESS_MS);
    process.once("SIGINT", () => load.stop());
    await load.run(clients).finally(() => clearInterval(timer));
    terminal.progress("");
  } finally {
    await Promise.all(clients.map((client) => client.close()));
  }
  if (terminal.json) terminal.value(load.result());
  else for (const line of load.report()) terminal.line(line);
  load.check();
}

class Load {
  readonly #method: string;
  readonly #params: unknown;
  readonly #args: Arguments;
  readonly #latencies = new Histogram();
  readonly #errors = new Map<string, number>();
  #failure: RpcFailure | undefined;
  #start = 0;
  #end = 0;
  #running = true;

  constructor(method: string, params: unknown, args: Arguments) {
    this.#method = method;
    this.#params = params;
    this.#args = args;
  }

  /** Ends it before its time. */
  stop(): void {
    this.#running = false;
  }

  async run(clients: readonly JsonRpcClient[]): Promise<void> {
    const timer = setTimeout(() => this.stop(), this.#args.durationMs);
    this.#start = performance.now();
    const workers = clients.flatMap((client) =>
      Array.from({ length: this.#args.inFlight }, () => this.#work(client))
    );
    try {
      await Promise.all(workers);
    } finally {
      this.stop();
      clearTimeout(timer);
      this.#end = performance.now();
    }
  }

  /**
   * Tells scripts about a run that has measured nothing but errors.
   *
   * @throws {RpcFailure} The last error, if no call had a result.
   */
  check(): void {
    const failed = [...this.#errors.values()].reduce((sum, count) => sum + count, 0);
    if (this.#failure !== undefined && failed === this.#latencies.count) throw this.#failure;
  }

  /** One line for while it runs. */
  progress(): string {
    const seconds = (performance.now() - this.#start) / 1000;
    const rate = Math.round(this.#latencies.count / seconds);
    return `${seconds.toFixed(1)} s: ${this.#latencies.count} calls, ${rate}/s`;
  }

  /** The figures, for programs. */
  result(): object {
    const { connections, inFlight } = this.#args;
    const seconds = (this.#end - this.#start) / 1000;
    const latencies = this.#latencies;
    return {
      connections,
      inFlight,
      seconds,
      calls: latencies.count,
      perSecond: latencies.count / seconds,
      errors: Object.fromEntries(this.#errors),
      latencyMs: {
        mean: latencies.mean,
        p50: latencies.percentile(0.5),
        p90: latencies.percentile(0.9),
        p99: latencies.percentile(0.99),
        max: latencies.max,
      },
    };
  }

  /** The figures, for people. */
  report(): string[] {
    const { connections, inFlight } = this.#args;
    const latencies = this.#latencies;
    const seconds = (this.#end - this.#start) / 1000;
    const shares = [["p50", 0.5], ["p90", 0.9], ["p99", 0.99]] as const;
    const percentiles = shares.map(([name, share]) =>
      `${name} ${formatMs(latencies.percentile(share))}`
    );
    return [
      `${this.#method}: ${connections} connections, ${inFlight} in flight each, ${
        seconds.toFixed(1)
      } s`,
      `${latencies.count} calls, ${Math.round(latencies.count / seconds)} per second`,
      `latency: mean ${formatMs(latencies.mean)}, ${percentiles.join(", ")}, max ${
        formatMs(latencies.max)
      }`,
      ...Array.from(this.#errors, ([message, count]) => `${count} × ${message}`),
      "",
      ...latencies.lines(),
    ];
  }

  #count(message: string): void {
    const cut = message.length > MAX_MESSAGE ? `${message.slice(0, MAX_MESSAGE)}…` : message;
    const kind = this.#errors.has(cut) || this.#errors.size < MAX_KINDS ? cut : OTHERS;
    this.#errors.set(kind, (this.#errors.get(kind) ?? 0) + 1);
  }

  async #work(client: JsonRpcClient): Promise<void> {
    const { timeoutMs } = this.#args;
    while (this.#running) {
      const start = performance.now();
      try {
        await client.call(this.#method, this.#params, { timeoutMs });
      } catch (error) {
        if (!(error instanceof RpcFailure) || error instanceof RpcConnectionError) throw error;
        this.#failure = error;
        this.#count(error.message);
      }
      this.#latencies.add(performance.now() - start);
    }
  }
}
