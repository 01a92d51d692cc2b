/**
 * The processes of the benchmark: servers on one core, the load client on another, if `taskset` can pin them.
 */
import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { availableParallelism } from "node:os";
import process from "node:process";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { runtime } from "../helpers/runtimes.ts";
import type { RuntimeName } from "../helpers/runtimes.ts";
import { python } from "../helpers/aiohttp.ts";
import type { Job, Outcome } from "./measure.ts";

const root = fileURLToPath(new URL("../..", import.meta.url));
const START_LIMIT_MS = 120_000;
const ANSWER_LIMIT_MS = 90_000;

/** The core of a process. */
export type Core = "server" | "load";

/** What runs a program: a runtime, or Python for the original library. */
export type Runner = RuntimeName | "python";

/** A process that has printed `LISTENING`. */
export class Program {
  /** Its process id. */
  readonly pid: number;
  /** Its port, if it listens on one. */
  readonly port: number;
  readonly #child: ChildProcess;
  readonly #lines: string[] = [];
  #onLine: () => void = () => {};
  #ended: string | undefined;

  private constructor(child: ChildProcess, listening: string, lines: string[]) {
    this.#child = child;
    this.pid = child.pid ?? 0;
    this.port = Number(/:(\d+)$/.exec(listening)?.[1]);
    this.#lines = lines;
  }

  /** Starts a file. Rejects if it ends, or prints nothing, in place of listening. */
  static async start(name: Runner, core: Core, args: readonly string[]): Promise<Program> {
    const [command, ...rest] = [...pinned(core), ...await commandOf(name), ...args] as [string];
    const child = spawn(command, rest, { cwd: root, stdio: ["pipe", "pipe", "inherit"] });
    const program = new Program(child, await firstLine(child, args.join(" ")), []);
    createInterface(child.stdout as NodeJS.ReadableStream).on("line", (line) => {
      program.#lines.push(line);
      program.#onLine();
    });
    child.once("close", (code) => {
      program.#ended = `it ended with ${code}`;
      program.#onLine();
    });
    return program;
  }

  /** Gives the load client a job. Rejects with its failure. */
  async ask(job: Job): Promise<Outcome> {
    this.#child.stdin?.write(`${JSON.stringify(job)}\n`);
    const line = await this.#line();
    const answer = JSON.parse(line) as Outcome & { failure?: string };
    if (answer.failure !== undefined) throw new Error(answer.failure);
    return answer;
  }

  /** Ends it. */
  async stop(): Promise<void> {
    if (this.#ended !== undefined) return;
    const closed = new Promise((resolve) => this.#child.once("close", resolve));
    process.kill(this.pid, "SIGKILL");
    await closed;
  }

  async #line(): Promise<string> {
    if (this.#lines.length === 0) {
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, ANSWER_LIMIT_MS);
        this.#onLine = () => (clearTimeout(timer), resolve());
      });
    }
    const line = this.#lines.shift();
    if (line === undefined) throw new Error(`No answer: ${this.#ended ?? "it printed nothing"}`);
    return line;
  }
}

/** Runs a program to its end and gives the JSON of its last line. */
export async function run<T>(
  name: Runner,
  core: Core,
  args: readonly string[],
): Promise<T> {
  const [command, ...rest] = [...pinned(core), ...await commandOf(name), ...args] as [string];
  const child = spawn(command, rest, { cwd: root, stdio: ["ignore", "pipe", "inherit"] });
  const timer = setTimeout(() => child.kill("SIGKILL"), ANSWER_LIMIT_MS);
  let written = "";
  child.stdout?.setEncoding("utf8").on("data", (text: string) => written += text);
  const code = await new Promise((resolve) => child.once("close", resolve));
  clearTimeout(timer);
  if (code !== 0) throw new Error(`${args.join(" ")} ended with ${code}`);
  return JSON.parse(written.trim().split("\n").at(-1) ?? "") as T;
}

/** Whether servers and the load client have a core each. */
export function hasCores(): boolean {
  return pinned("load").length > 0;
}

async function commandOf(name: Runner): Promise<readonly string[]> {
  if (name === "python") return [python()];
  return (await runtime(name)).command;
}

let cores: boolean | undefined;

function pinned(core: Core): string[] {
  cores ??= availableParallelism() > 1 && canPin();
  return cores ? ["taskset", "-c", core === "server" ? "0" : "1"] : [];
}

function canPin(): boolean {
  try {
    execFileSync("taskset", ["-c", "0,1", "true"], { stdio: "ignore" });
    return true;
  } catch {
    return false;
  }
}

function firstLine(child: ChildProcess, what: string): Promise<string> {
  const { promise, resolve, reject } = Promise.withResolvers<string>();
  let written = "";
  function take(bytes: unknown): void {
    written += bytes;
    const [, target] = /^LISTENING (\S+)$/m.exec(written) ?? [];
    if (target !== undefined) resolve(target);
  }
  child.stdout?.on("data", take);
  child.once("error", reject);
  child.once("close", (code) => reject(new Error(`${what} ended with ${code}: ${written}`)));
  const timer = setTimeout(() => {
    child.kill("SIGKILL");
    reject(new Error(`${what} did not say LISTENING`));
  }, START_LIMIT_MS);
  return promise.finally(() => {
    clearTimeout(timer);
    child.stdout?.off("data", take);
  });
}
