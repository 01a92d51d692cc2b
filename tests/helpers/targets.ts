/**
 * The servers that suites run against: `target.ts` on each runtime's own server, and through `./node` where
 * that is not the own one.
 */
import { after, test } from "node:test";
import { runtime } from "./runtimes.ts";
import type { RuntimeName } from "./runtimes.ts";
import { spawnServer } from "./spawn_server.ts";
import type { SpawnedServer } from "./spawn_server.ts";

/** A way to serve. */
export interface Target {
  /** What it is called in the names of tests. */
  readonly label: string;
  readonly runtime: RuntimeName;
  /** Arguments of `target.ts`. */
  readonly args: readonly string[];
}

/** All ways that are promised. */
export const targets: readonly Target[] = [
  { label: "deno", runtime: "deno", args: [] },
  { label: "bun", runtime: "bun", args: [] },
  { label: "node", runtime: "node", args: [] },
  { label: "deno through ./node", runtime: "deno", args: ["--node-door"] },
  { label: "bun through ./node", runtime: "bun", args: ["--node-door"] },
];

/** A target with one server for all tests of a file. */
export interface ServedTarget {
  readonly label: string;
  /** Whether it is Deno's own server, which can neither ping at will nor cut a connection off. */
  readonly isDenoServe: boolean;
  /** Adds a test that is given the server. */
  test(name: string, run: (server: SpawnedServer) => Promise<void>): void;
}

/** Every target. Its server starts with its first test and ends with the file. */
export function servedTargets(env: Readonly<Record<string, string>> = {}): ServedTarget[] {
  return targets.map((target) => {
    const { label } = target;
    let server: Promise<SpawnedServer | undefined> | undefined;
    after(async () => await (await server)?.stop());
    return {
      label,
      isDenoServe: label === "deno",
      test(title, run) {
        test(`${label}: ${title}`, async () => {
          server ??= start(target, env);
          const running = await server;
          if (running === undefined) return console.log(`SKIPPED ${label}: ${title}`);
          await run(running);
        });
      },
    };
  });
}

/** Starts the server, where there is such a runtime; says loudly where there is none. */
async function start(
  { runtime: name, args }: Target,
  env: Readonly<Record<string, string>>,
): Promise<SpawnedServer | undefined> {
  if (await runtime(name) === undefined) return undefined;
  return await spawnServer(name, "tests/programs/conformance_server.ts", args, env);
}
