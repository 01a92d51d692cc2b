/**
 * The suite against a server in each runtime, through each of its doors.
 */
import { after, test } from "node:test";
import { runtime } from "./_kit/runtimes.ts";
import type { RuntimeName } from "./_kit/runtimes.ts";
import { spawnServer } from "./_kit/serve.ts";
import type { SpawnedServer } from "./_kit/serve.ts";
import { cases } from "./_kit/suite.ts";
import { targets } from "./_kit/targets.ts";

for (const { label, runtime: name, args } of targets) {
  let server: Promise<SpawnedServer | undefined> | undefined;
  for (const each of cases) {
    test(`${label}: ${each.name}`, async () => {
      server ??= start(name, args);
      const running = await server;
      if (running === undefined) return console.log(`SKIPPED ${label}: ${each.name}`);
      await each.run(running.url);
    });
  }
  after(async () => await (await server)?.stop());
}

/** Starts the server, where there is such a runtime; says loudly where there is none. */
async function start(
  name: RuntimeName,
  args: readonly string[],
): Promise<SpawnedServer | undefined> {
  if (await runtime(name) === undefined) return undefined;
  return await spawnServer(name, "tests/_kit/target.ts", args);
}
