/**
 * Teaches Bun the names in deno.json; bunfig.toml preloads it. Each name becomes a module that passes its
 * file on, because Bun asks no `onResolve` plugin about bare names.
 */
import { names } from "./names.ts";

/** What is used of Bun, said here because the types of Bun and of Deno clash. */
declare const Bun: { plugin(plugin: { name: string; setup(build: PluginBuilder): void }): void };
interface PluginBuilder {
  module(name: string, load: () => { contents: string; loader: "js" }): void;
}

Bun.plugin({
  name: "names of deno.json",
  setup(build) {
    for (const [name, target] of names) {
      build.module(name, () => ({ contents: passOn(target), loader: "js" }));
    }
  },
});

function passOn(target: string): string {
  return `export * from ${JSON.stringify(import.meta.resolve(target))};`;
}
