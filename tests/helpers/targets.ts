/**
 * The servers that suites run against: `conformance_server.ts` on each runtime's own server, and through
 * `./node` on the runtimes that have a server of their own.
 */
import { after, test } from "node:test";
import { needs } from "./needs.ts";
import type { RuntimeName } from "./runtimes.ts";
import { spawnServer } from "./spawn_server.ts";
import type { SpawnedServer } from "./spawn_server.ts";

/** A way to serve. */
export interface Target {
  /** Its name in the titles of tests. */
  readonly label: string;
  readonly runtime: RuntimeName;
  /** Arguments of `conformance_server.ts`. */
  readonly args: readonly string[];
}

/** All supported ways. */
export const targets: readonly Target[] = [
  { label: "deno", runtime: "deno", args: [] },
  { label: "bun", runtime: "bun", args: [] },
  { label: "node", runtime: "node", args: [] },
  { label: "deno through ./node", runtime: "deno", args: ["--through-node"] },
  { label: "bun through ./node", runtime: "bun", args: ["--through-node"] },
];

/** A target with one server for all tests of a file. */
export interface ServedTarget {
  readonly label: string;
  /** Whether it is Deno's own server, which can neither ping on request nor abort a connection. */
  readonly isDenoServe: boolean;
  /** Adds a test that receives the server. */
  test(name: string, run: (server: SpawnedServer) => Promise<void>): void;
}

/** Every target. Its server starts with its first test and ends with the file. */
export function servedTargets(
  env: Readonly<Record<string, string>> = {},
): Promise<ServedTarget[]> {
  return Promise.all(targets.map(async ({ label, runtime, args }) => {
    const needed = await needs(runtime);
    let server: Promise<SpawnedServer> | undefined;
    after(async () => await (await server)?.stop());
    return {
      label,
      isDenoServe: label === "deno",
      test(title, run) {
        test(`${label}: ${title}`, needed, async () => {
          server ??= spawnServer(runtime, "tests/programs/conformance_server.ts", args, env);
          await run(await server);
        });
      },
    } satisfies ServedTarget;
  }));
}
