/**
 * A new project, as a user of the npm package would begin one: a folder with a package.json, and programs
 * that use the package; its tarball is ready to install.
 */
import { execFile } from "node:child_process";
import { copyFile, mkdir, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { delimiter, dirname, join } from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";

const PROGRAMS = ["consumer.ts", "consumer_node.ts"];

/** The folder of a project, from {@linkcode newProject}; hold it with `await using`, which removes it. */
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

  /** The absolute path of a file in the folder. */
  path(name: string): string {
    return join(this.#folder, name);
  }

  /** Reads a file. */
  read(name: string): Promise<string> {
    return readFile(this.path(name), "utf8");
  }

  /** Writes a file. */
  write(name: string, text: string): Promise<void> {
    return writeFile(this.path(name), text);
  }

  /** Runs a program in the folder and gives its stdout. */
  async run(program: string, ...args: string[]): Promise<string> {
    return await this.#execute(program, args, process.env);
  }

  /** Runs a command of the installed packages, on some Node, and gives its stdout. */
  async runBin(node: string, name: string, ...args: string[]): Promise<string> {
    // As in a shell whose own Node it is: the command begins with `#!/usr/bin/env node`.
    const path = [dirname(node), process.env.PATH].join(delimiter);
    return await this.#execute("npx", [name, ...args], { ...process.env, PATH: path });
  }

  async #execute(
    program: string,
    args: readonly string[],
    env: NodeJS.ProcessEnv,
  ): Promise<string> {
    try {
      const { stdout } = await promisify(execFile)(program, args, { cwd: this.#folder, env });
      return stdout;
    } catch (error) {
      const { message, stdout, stderr } = error as Error & Record<"stdout" | "stderr", string>;
      throw new Error([message, stdout, stderr].join("\n"));
    }
  }

  /** The names of the installed packages. */
  async installed(): Promise<string[]> {
    const names: string[] = [];
    for (const name of await readdir(this.path("node_modules"))) {
      if (name.startsWith(".")) continue;
      const inner = name.startsWith("@") ? await readdir(this.path(`node_modules/${name}`)) : [""];
      for (const own of inner) names.push(join(name, own));
    }
    return names;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await rm(this.#workshop, { recursive: true });
  }
}

/** Builds the package and begins a project. For tests on Deno, which builds the package. */
export async function newProject(): Promise<Project> {
  const workshop = await mkdtemp(join(tmpdir(), "project-"));
  const folder = join(workshop, "project");
  await mkdir(folder);
  await writeFile(join(folder, "package.json"), '{ "type": "module", "private": true }\n');
  for (const name of PROGRAMS) await copyFile(here(`../programs/${name}`), join(folder, name));
  const build = ["run", "-A", here("../../tools/pack.ts"), workshop];
  const { stdout } = await promisify(execFile)(process.execPath, build);
  return new Project(workshop, folder, stdout.trim());
}

function here(name: string): string {
  return fileURLToPath(new URL(name, import.meta.url));
}
