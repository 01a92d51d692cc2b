/**
 * The three runtimes as programs, so that a test can start a server in each of them.
 */
import { execFile } from "node:child_process";
import { tmpdir } from "node:os";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";

/** A runtime that the module promises to work on. */
export type RuntimeName = "deno" | "bun" | "node";

/** A runtime that can be started on this machine. */
export interface Runtime {
  readonly name: RuntimeName;
  readonly version: string;
  /** The program and its flags; a .ts file of this repository and its arguments go behind. */
  readonly command: readonly [string, ...string[]];
}

interface Recipe {
  /** The oldest version that fits. */
  readonly since: readonly [major: number, minor: number];
  /** What npx gets where no version that fits is on the PATH. */
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

/**
 * Finds a runtime: this very process, else what is on the PATH, else what npx gets.
 *
 * @returns `undefined`, after a loud message, where the runtime cannot be had: return early from the test.
 */
export function runtime(name: RuntimeName): Promise<Runtime | undefined> {
  const search = found.get(name) ?? find(name);
  found.set(name, search);
  return search;
}

async function find(name: RuntimeName): Promise<Runtime | undefined> {
  const { npmPackage, run, since } = recipes[name];
  const program = self(name) ?? await ask(name, [name]) ??
    await ask(name, ["npx", "-y", npmPackage]);
  if (program) return { name, version: program.version, command: [program.path, ...run] };
  console.error(`SKIPPED on ${name}: no ${name} >= ${since.join(".")} on the PATH or from npx`);
  return undefined;
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
async function ask(
  name: RuntimeName,
  [command, ...flags]: [string, ...string[]],
): Promise<Program | undefined> {
  const { print, since } = recipes[name];
  const question = `JSON.stringify({ path: process.execPath, version: process.versions.${name} })`;
  // Away from the repository, whose configuration has no say in this.
  const options = { cwd: tmpdir(), timeout: 120_000 };
  try {
    const { stdout } = await promisify(execFile)(command, [...flags, ...print, question], options);
    const program = JSON.parse(stdout) as Program;
    return isSince(program.version, since) ? program : undefined;
  } catch {
    return undefined;
  }
}

function isSince(version: string, [major, minor]: Recipe["since"]): boolean {
  const [itsMajor = 0, itsMinor = 0] = version.split(".").map(Number);
  return itsMajor > major || (itsMajor === major && itsMinor >= minor);
}
