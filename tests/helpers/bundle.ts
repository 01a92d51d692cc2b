/**
 * Bundles for browsers, as a bundler makes them for a page.
 */
import { execFile } from "node:child_process";
import { mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { runtime } from "./runtimes.ts";

/**
 * Bundles a file for browsers.
 *
 * @param args The path of the file from the top of the repository, and options of `deno bundle` before it.
 * @returns The files of the bundle, minified, by name.
 */
export async function bundle(...args: string[]): Promise<ReadonlyMap<string, string>> {
  const { command: [program] } = await runtime("deno");
  const folder = await mkdtemp(join(tmpdir(), "bundle-"));
  try {
    await promisify(execFile)(
      program,
      ["bundle", "--quiet", "--platform", "browser", "--minify", "--outdir", folder, ...args],
      { cwd: fileURLToPath(new URL("../..", import.meta.url)) },
    );
    const names = await readdir(folder);
    const texts = names.map(async (name) =>
      [name, await readFile(join(folder, name), "utf8")] as const
    );
    return new Map(await Promise.all(texts));
  } finally {
    await rm(folder, { recursive: true });
  }
}
