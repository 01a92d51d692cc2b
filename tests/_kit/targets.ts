/**
 * `target.ts` in each runtime, through each of its doors.
 */
import { after, test } from "node:test";
import { runtime } from "./runtimes.ts";
import type { RuntimeName } from "./runtimes.ts";
import { spawnServer } from "./serve.ts";
import type { SpawnedServer } from "./serve.ts";

/** One way to serve. */
export interface Target {
  /** What it is called in the names of tests. */
  readonly label: string;
  /** Whether it is Deno's own server, which can neither ping at will nor cut a connection off. */
  readonly isDenoServe: boolean;
  /** Adds a test that is given the one server of this target. */
  test(name: string, run: (server: SpawnedServer) => Promise<void>): void;
}

const all: readonly (readonly [label: string, runtime: RuntimeName, ...args: string[]])[] = [
  ["deno", "deno"],
  ["bun", "bun"],
  ["node", "node"],
  ["deno through ./node", "deno", "--node-door"],
  ["bun through ./node", "bun", "--node-door"],
];

/** Every target. Its server starts with its first test and ends with the file. */
export function targets(env: Readonly<Record<string, string>> = {}): Target[] {
  return all.map(([label, name, ...args]) => {
    let server: Promise<SpawnedServer | undefined> | undefined;
    after(async () => await (await server)?.stop());
    return {
      label,
      isDenoServe: label === "deno",
      test(title, run) {
        test(`${label}: ${title}`, async () => {
          server ??= start(name, args, env);
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
  name: RuntimeName,
  args: readonly string[],
  env: Readonly<Record<string, string>>,
): Promise<SpawnedServer | undefined> {
  if (await runtime(name) === undefined) return undefined;
  return await spawnServer(name, "tests/_kit/target.ts", args, env);
}
