/**
 * The bare names that Deno finds in deno.json alone: our own name with each of its doors, and aliases of files
 * inside an npm package. Bun and Node find every other name in node_modules.
 */
import { readFileSync } from "node:fs";

const manifestUrl = new URL("../deno.json", import.meta.url);
const manifest = JSON.parse(readFileSync(manifestUrl, "utf8")) as {
  name: string;
  exports: Record<string, string>;
  imports: Record<string, string>;
};

/** From each such name to what Bun and Node understand: a file URL, or a package name and a path. */
export const names: ReadonlyMap<string, string> = new Map([...doors(), ...aliases()]);

function* doors(): Generator<[string, string]> {
  for (const [door, file] of Object.entries(manifest.exports)) {
    yield [manifest.name + door.slice(1), new URL(file, manifestUrl).href];
  }
}

function* aliases(): Generator<[string, string]> {
  for (const [name, target] of Object.entries(manifest.imports)) {
    const [, scopedName, path = ""] = /^npm:(@?[^@]+)@[^/]+(\/.+)?$/.exec(target) ?? [];
    if (scopedName && scopedName + path !== name) yield [name, scopedName + path];
  }
}
