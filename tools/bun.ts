/**
 * Makes Bun resolve the names in deno.json; bunfig.toml preloads it. Each name becomes a module that exports all
 * of its file, because Bun does not call `onResolve` plugins for bare names.
 */
import { names } from "./names.ts";

/** The part of Bun that is used here: the type declarations of Bun and Deno clash. */
declare const Bun: { plugin(plugin: { name: string; setup(build: PluginBuilder): void }): void };
interface PluginBuilder {
  module(name: string, load: () => { contents: string; loader: "js" }): void;
}

Bun.plugin({
  name: "names of deno.json",
  setup(build) {
    for (const [name, target] of names) {
      build.module(name, () => ({ contents: reexport(target), loader: "js" }));
    }
  },
});

function reexport(target: string): string {
  return `export * from ${JSON.stringify(import.meta.resolve(target))};`;
}
