/**
 * The bare names that only Deno resolves, by deno.json: the entry points of this package, and aliases of files
 * inside npm packages. Bun and Node find all other names in node_modules.
 */
import { readFileSync } from "node:fs";

const manifestUrl = new URL("../deno.json", import.meta.url);
const manifest = JSON.parse(readFileSync(manifestUrl, "utf8")) as {
  name: string;
  exports: Record<string, string>;
  imports: Record<string, string>;
};

/** Maps each name to one that Bun and Node resolve: a file URL, or a package name and a path. */
export const names: ReadonlyMap<string, string> = new Map([...entryPoints(), ...aliases()]);

function* entryPoints(): Generator<[string, string]> {
  for (const [entry, file] of Object.entries(manifest.exports)) {
    yield [manifest.name + entry.slice(1), new URL(file, manifestUrl).href];
  }
}

function* aliases(): Generator<[string, string]> {
  for (const [name, target] of Object.entries(manifest.imports)) {
    const [, scopedName, path = ""] = /^npm:(@?[^@]+)@[^/]+(\/.+)?$/.exec(target) ?? [];
    if (scopedName && scopedName + path !== name) yield [name, scopedName + path];
  }
}
