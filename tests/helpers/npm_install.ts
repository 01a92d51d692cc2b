/**
 * Packages of npm that only one test needs, and that would change what everybody else gets: they are installed
 * in a folder of their own.
 */
import { copyFile, mkdtemp, rm, writeFile } from "node:fs/promises";
import { execFile } from "node:child_process";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { promisify } from "node:util";

/** A folder with packages, from {@linkcode npmFolder}; hold it with `await using`, which removes it. */
export interface NpmFolder extends AsyncDisposable {
  /** Where it is. */
  readonly path: string;
}

/** Makes a folder with packages, and with copies of programs that use them. */
export async function npmFolder(
  packages: readonly string[],
  programs: readonly URL[],
): Promise<NpmFolder> {
  const path = await mkdtemp(join(tmpdir(), "npm-"));
  await writeFile(join(path, "package.json"), '{ "type": "module", "private": true }\n');
  await npmInstall(path, ...packages);
  for (const program of programs) await copyFile(program, join(path, basename(program.pathname)));
  return { path, [Symbol.asyncDispose]: () => rm(path, { recursive: true }) };
}

/** Installs packages in a folder, with no parts that are optional. */
export async function npmInstall(folder: string, ...packages: string[]): Promise<void> {
  const quiet = ["--no-audit", "--no-fund", "--prefer-offline", "--silent", "--omit=optional"];
  await promisify(execFile)("npm", ["install", ...quiet, ...packages], { cwd: folder });
}
