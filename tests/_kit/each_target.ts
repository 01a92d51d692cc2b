/**
 * Tests against the one server of each target.
 */
import { after, test } from "node:test";
import { runtime } from "./runtimes.ts";
import { spawnServer } from "./serve.ts";
import type { SpawnedServer } from "./serve.ts";
import { targets } from "./targets.ts";
import type { Target } from "./targets.ts";

/** A target, and the tests against its server, which starts with the first and ends with the file. */
export interface TestedTarget extends Target {
  /** Whether it is Deno's own server, which can cut no connection off. */
  readonly isDenoServe: boolean;
  /** Adds a test. */
  test(name: string, run: (server: SpawnedServer) => Promise<void>): void;
}

/** Every target. */
export function eachTarget(): TestedTarget[] {
  return targets.map((target) => {
    const { label } = target;
    let server: Promise<SpawnedServer | undefined> | undefined;
    after(async () => await (await server)?.stop());
    return {
      ...target,
      isDenoServe: label === "deno",
      test(name, run) {
        test(`${label}: ${name}`, async () => {
          const running = await (server ??= start(target));
          if (running === undefined) console.log(`SKIPPED ${label}: ${name}`);
          else await run(running);
        });
      },
    };
  });
}

/** Starts the server, where there is such a runtime; says loudly where there is none. */
async function start({ runtime: name, args }: Target): Promise<SpawnedServer | undefined> {
  if (await runtime(name) === undefined) return undefined;
  return await spawnServer(name, "tests/_kit/target.ts", args);
}
