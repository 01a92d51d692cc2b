/**
 * The processes of the benchmark, each kept until it is no longer needed.
 */
import type { Peers } from "./peers.ts";
import { Program } from "./program.ts";
import type { Contender, Workload } from "./workloads.ts";

/** All processes of one runtime. */
export class ProcessPool {
  /** The other libraries, if they take part. */
  readonly peers: Peers | undefined;
  readonly #programs = new Map<string, Promise<Program>>();
  readonly #warm = new Set<string>();

  constructor(peers: Peers | undefined) {
    this.peers = peers;
  }

  /** Gives the server of a contender; starts it if it does not run. */
  server({ runtime, args }: Contender): Promise<Program> {
    return this.#get(`${runtime} ${args.join(" ")}`, () => Program.start(runtime, "server", args));
  }

  /** Gives the load client. */
  load(): Promise<Program> {
    return this.#get("load", () => Program.start("node", "load", ["tests/bench/load.ts"]));
  }

  /** Stops a server; the next call of `server()` starts a new one. */
  async stopServer({ runtime, args }: Contender): Promise<void> {
    const key = `${runtime} ${args.join(" ")}`;
    await (await this.#programs.get(key))?.stop();
    this.#programs.delete(key);
  }

  /** Whether a server meets this workload for the first time. */
  isFirst(contender: Contender, workload: Workload): boolean {
    const key = `${contender.runtime} ${contender.args.join(" ")} ${workload.name}`;
    if (this.#warm.has(key)) return false;
    this.#warm.add(key);
    return true;
  }

  /** Stops the servers of a workload, so that the next one finds nothing left behind. */
  async stopServers(contenders: readonly Contender[]): Promise<void> {
    for (const contender of contenders) await this.stopServer(contender);
    this.#warm.clear();
  }

  /** Stops all processes. */
  async stop(): Promise<void> {
    const programs = await Promise.allSettled(this.#programs.values());
    for (const each of programs) if (each.status === "fulfilled") await each.value.stop();
  }

  #get(key: string, start: () => Promise<Program>): Promise<Program> {
    const program = this.#programs.get(key) ?? start();
    this.#programs.set(key, program);
    return program;
  }
}
