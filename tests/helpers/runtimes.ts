/**
 * The three runtimes as programs, so that a test can start a server in each of them.
 */
import { execFile } from "node:child_process";
import { tmpdir } from "node:os";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";

/** A runtime that the module supports. */
export type RuntimeName = "deno" | "bun" | "node";

/** A runtime that can be started on this machine. */
export interface Runtime {
  readonly name: RuntimeName;
  readonly version: string;
  /** The program and its flags; a .ts file of this repository and its arguments follow. */
  readonly command: readonly [string, ...string[]];
}

interface Recipe {
  /** The oldest version that fits. */
  readonly since: readonly [major: number, minor: number];
  /** What npx gets if the PATH has no version that fits. */
  readonly npmPackage: string;
  /** Flags that print the value of an expression. */
  readonly print: readonly string[];
  /** Flags that run a file of this repository. */
  readonly run: readonly string[];
}

const recipes: Readonly<Record<RuntimeName, Recipe>> = {
  deno: {
    since: [2, 9],
    npmPackage: "deno@2",
    print: ["eval", "-p"],
    run: ["run", "-A", "--config", fileURLToPath(new URL("../../deno.json", import.meta.url))],
  },
  bun: { since: [1, 4], npmPackage: "bun@1.4.5", print: ["-p"], run: [] },
  node: {
    since: [24, 0],
    npmPackage: "node@24",
    print: ["-p"],
    run: ["--import", new URL("../../tools/node.ts", import.meta.url).href],
  },
};

/** The runtime that runs the test. */
export const runtimeHere: RuntimeName = "deno" in process.versions
  ? "deno"
  : "bun" in process.versions
  ? "bun"
  : "node";

const found = new Map<RuntimeName, Promise<Runtime | undefined>>();

/** Finds a runtime: this very process, else what is on the PATH, else what npx gets. */
export function findRuntime(name: RuntimeName): Promise<Runtime | undefined> {
  const search = found.get(name) ?? find(name);
  found.set(name, search);
  return search;
}

/**
 * Gives a runtime.
 *
 * @throws {Error} If it cannot be had. Tests say first what they need, see `needs.ts`.
 */
export async function runtime(name: RuntimeName): Promise<Runtime> {
  const runtime = await findRuntime(name);
  if (runtime === undefined) throw new Error(`No ${name} on the PATH or from npx`);
  return runtime;
}

/** Finds the program of one of Node's versions: this very process, else what npx gets. */
export async function findNode(major: number): Promise<string | undefined> {
  const here = self("node");
  if (here?.version.startsWith(`${major}.`)) return here.path;
  return (await execute(["npx", "-y", `node@${major}`, "-p", "process.execPath"]))?.trim();
}

async function find(name: RuntimeName): Promise<Runtime | undefined> {
  const { npmPackage, run } = recipes[name];
  const program = self(name) ?? await ask(name, [name]) ??
    await ask(name, ["npx", "-y", npmPackage]);
  return program && { name, version: program.version, command: [program.path, ...run] };
}

interface Program {
  readonly path: string;
  readonly version: string;
}

function self(name: RuntimeName): Program | undefined {
  const { deno, bun, node } = process.versions as Partial<Record<RuntimeName, string>>;
  const version = { deno, bun, node: deno || bun ? undefined : node }[name];
  return version === undefined ? undefined : { path: process.execPath, version };
}

/** Asks a command for the real program behind it, which a test can end by its pid; a wrapper cannot be. */
async function ask(name: RuntimeName, command: readonly string[]): Promise<Program | undefined> {
  const { print, since } = recipes[name];
  const question = `JSON.stringify({ path: process.execPath, version: process.versions.${name} })`;
  const answer = await execute([...command, ...print, question]);
  if (answer === undefined) return undefined;
  const program = JSON.parse(answer) as Program;
  return isSince(program.version, since) ? program : undefined;
}

/** Runs a command away from the repository, whose configuration must not matter; gives what it prints. */
async function execute([program = "", ...args]: readonly string[]): Promise<string | undefined> {
  try {
    const options = { cwd: tmpdir(), timeout: 120_000 };
    return (await promisify(execFile)(program, args, options)).stdout;
  } catch {
    return undefined;
  }
}

function isSince(version: string, [major, minor]: Recipe["since"]): boolean {
  const [itsMajor = 0, itsMinor = 0] = version.split(".").map(Number);
  return itsMajor > major || (itsMajor === major && itsMinor >= minor);
}
