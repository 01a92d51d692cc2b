/**
 * A new project, as a user of the npm package would begin one: a folder with a package.json, the tarball
 * ready to install, and programs that use it.
 */
import { execFile } from "node:child_process";
import { copyFile, mkdir, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";

const PROGRAMS = ["consumer.ts", "consumer_node.ts"];

/** A folder that goes with the test: make it with {@linkcode newProject}, hold it with `await using`. */
export class Project {
  /** The package that was built for it. */
  readonly tarball: string;
  readonly #workshop: string;
  readonly #folder: string;

  constructor(workshop: string, folder: string, tarball: string) {
    this.#workshop = workshop;
    this.#folder = folder;
    this.tarball = tarball;
  }

  /** The whole path of something in the folder. */
  path(name: string): string {
    return join(this.#folder, name);
  }

  /** What a file says. */
  read(name: string): Promise<string> {
    return readFile(this.path(name), "utf8");
  }

  /** Puts a file there. */
  write(name: string, text: string): Promise<void> {
    return writeFile(this.path(name), text);
  }

  /** Runs a program in the folder and gives what it writes to stdout. */
  async run(program: string, ...args: string[]): Promise<string> {
    try {
      const { stdout } = await promisify(execFile)(program, args, { cwd: this.#folder });
      return stdout;
    } catch (error) {
      const { message, stdout, stderr } = error as Error & Record<"stdout" | "stderr", string>;
      throw new Error([message, stdout, stderr].join("\n"));
    }
  }

  /** The names of the packages that are installed. */
  async installed(): Promise<string[]> {
    const names: string[] = [];
    for (const name of await readdir(this.path("node_modules"))) {
      if (name.startsWith(".")) continue;
      if (!name.startsWith("@")) names.push(name);
      else {for (const own of await readdir(this.path(`node_modules/${name}`))) {
          names.push(`${name}/${own}`);
        }}
    }
    return names;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await rm(this.#workshop, { recursive: true });
  }
}

/** Builds the package and begins a project; `undefined` on Bun and Node, for which Deno does it. */
export async function newProject(): Promise<Project | undefined> {
  if (!("deno" in process.versions)) return undefined;
  const workshop = await mkdtemp(join(tmpdir(), "project-"));
  const folder = join(workshop, "project");
  await mkdir(folder);
  await writeFile(join(folder, "package.json"), '{ "type": "module", "private": true }\n');
  for (const name of PROGRAMS) await copyFile(here(`../programs/${name}`), join(folder, name));
  const build = ["run", "-A", here("../../tools/pack.ts"), workshop];
  const { stdout } = await promisify(execFile)(process.execPath, build);
  return new Project(workshop, folder, stdout.trim());
}

/** The program of one of Node's versions; `""`, after a loud message, where it cannot be had. */
export async function nodeProgram(major: number): Promise<string> {
  if (process.version.startsWith(`v${major}.`) && !("deno" in process.versions)) {
    return process.execPath;
  }
  const ask = ["-y", `node@${major}`, "-p", "process.execPath"];
  try {
    const { stdout } = await promisify(execFile)("npx", ask, { cwd: tmpdir() });
    return stdout.trim();
  } catch {
    console.error(`SKIPPED on Node ${major}: npx does not get it`);
    return "";
  }
}

function here(name: string): string {
  return fileURLToPath(new URL(name, import.meta.url));
}
