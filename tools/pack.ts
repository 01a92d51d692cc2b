/**
 * Builds the npm package from the output of `deno pack`: the dependencies of single entry points become optional
 * peers. Prints the path of the tarball.
 *
 *     deno run -A tools/pack.ts FOLDER
 */
import { execFile } from "node:child_process";
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import process from "node:process";
import { promisify } from "node:util";

const root = new URL("../", import.meta.url);
const PROGRAM = "src/cli/bin.js";

interface Manifest {
  dependencies?: Record<string, string>;
  peerDependencies?: Record<string, string>;
}

if (import.meta.main) console.log(await pack(process.argv[2] ?? ".deno-pack"));

/** Writes the tarball to a folder, and gives its path. */
async function pack(folder: string): Promise<string> {
  const temporary = await mkdtemp(join(tmpdir(), "pack-"));
  try {
    const draft = join(temporary, "draft.tgz");
    // Source maps would hold paths of this machine, and the whole source a second time.
    const flags = ["--allow-dirty", "--no-source-maps", "--output", draft];
    await run(process.execPath, ["pack", ...flags]);
    await run("tar", ["-xzf", draft, "-C", temporary]);
    const from = join(temporary, "package");
    await finish(from);
    await mkdir(folder, { recursive: true });
    const name = await run("npm", [
      "pack",
      from,
      "--silent",
      "--pack-destination",
      resolve(folder),
    ]);
    return join(folder, name.trim());
  } finally {
    await rm(temporary, { recursive: true });
  }
}

async function finish(folder: string): Promise<void> {
  const manifestFile = join(folder, "package.json");
  const manifest = await finished(await readJson(manifestFile));
  await writeFile(manifestFile, JSON.stringify(manifest, undefined, 2) + "\n");
  await translateProgram(folder);
  for (const name of await readdir(folder, { recursive: true })) {
    if (name.endsWith(".d.ts")) await nameLib(join(folder, name));
  }
}

async function finished({ dependencies = {}, ...rest }: Manifest): Promise<Manifest> {
  const peers = await withTheirPeers(dependencies);
  const optional = Object.keys(peers).map((name) => [name, { optional: true }]);
  return {
    ...rest,
    ...{ description: "JSON-RPC 2.0 server and client for Deno, Bun and Node" },
    ...{ engines: { node: ">=22" }, sideEffects: false, bin: { jsonrpc: PROGRAM } },
    ...{ peerDependencies: peers, peerDependenciesMeta: Object.fromEntries(optional) },
  };
}

/** Translates the program, which `deno pack` does not, because no entry point imports it. It has no types. */
async function translateProgram(folder: string): Promise<void> {
  const source = join(folder, PROGRAM.replace(".js", ".ts"));
  const text = await readFile(source, "utf8");
  await writeFile(join(folder, PROGRAM), text.replaceAll('.ts"', '.js"'));
  await rm(source);
}

/** Names the lib of `Symbol.asyncDispose`, which projects for browsers lack. JSR forbids this line in the source. */
async function nameLib(file: string): Promise<void> {
  const text = await readFile(file, "utf8");
  if (!text.includes("[Symbol.asyncDispose]")) return;
  await writeFile(file, `/// <reference lib="esnext.disposable" />\n${text}`);
}

/** Adds the peers of the dependencies, in the versions of deno.json. */
async function withTheirPeers(
  dependencies: Record<string, string>,
): Promise<Record<string, string>> {
  const { imports } = await readJson<{ imports: Record<string, string> }>(
    new URL("deno.json", root),
  );
  const peers = { ...dependencies };
  for (const name of Object.keys(dependencies)) {
    const file = new URL(`node_modules/${name}/package.json`, root);
    const { peerDependencies = {} } = await readJson<Manifest>(file);
    for (const peer of Object.keys(peerDependencies)) {
      const [, range] = /^npm:.+@(.+)$/.exec(imports[peer] ?? "") ?? [];
      if (range) peers[peer] = range;
    }
  }
  return Object.fromEntries(Object.entries(peers).sort());
}

async function readJson<T>(file: string | URL): Promise<T> {
  return JSON.parse(await readFile(file, "utf8"));
}

async function run(program: string, args: string[]): Promise<string> {
  const { stdout } = await promisify(execFile)(program, args, { cwd: root });
  return stdout;
}
