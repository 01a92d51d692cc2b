/**
 * The processes that run, each until it is no longer needed.
 */
import type { Peers } from "./peers.ts";
import { Program } from "./program.ts";
import type { Contender, Work } from "./workloads.ts";

/** All processes of one runtime. */
export class Crew {
  /** Other libraries, if they take part. */
  readonly peers: Peers | undefined;
  readonly #programs = new Map<string, Promise<Program>>();
  readonly #warm = new Set<string>();

  constructor(peers: Peers | undefined) {
    this.peers = peers;
  }

  /** A server, or another that is the same. */
  server({ runtime, args }: Contender): Promise<Program> {
    return this.#get(`${runtime} ${args.join(" ")}`, () => Program.start(runtime, "server", args));
  }

  /** The load client. */
  load(): Promise<Program> {
    return this.#get("load", () => Program.start("node", "load", ["tests/bench/load.ts"]));
  }

  /** Ends a server; the next who asks for it gets a fresh one. */
  async dismiss({ runtime, args }: Contender): Promise<void> {
    const key = `${runtime} ${args.join(" ")}`;
    await (await this.#programs.get(key))?.stop();
    this.#programs.delete(key);
  }

  /** Whether this is the first time for this server and this work. */
  isFirst(contender: Contender, work: Work): boolean {
    const key = `${contender.runtime} ${contender.args.join(" ")} ${work.name}`;
    if (this.#warm.has(key)) return false;
    this.#warm.add(key);
    return true;
  }

  /** Ends those that have done their work: no server pays for what another work left behind. */
  async dismissAll(contenders: readonly Contender[]): Promise<void> {
    for (const contender of contenders) await this.dismiss(contender);
    this.#warm.clear();
  }

  /** Ends all. */
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
