/**
 * The cases against servers of Node that others wrote, through `requestHandler` and `upgradeHandler`.
 */
import { after, test } from "node:test";
import type { JsonRpc } from "@x/jsonrpc";
import { frameworks, serveThrough } from "../helpers/handlers.ts";
import type { Handlers } from "../helpers/handlers.ts";
import { silentLog } from "../helpers/log.ts";
import { conformanceRpc } from "../programs/conformance_rpc.ts";
import { cases } from "./cases.ts";

for (const [label, make] of Object.entries(frameworks)) {
  let server: Promise<Handlers> | undefined;
  after(async () => await (await server)?.stop());
  for (const { name, run } of cases) {
    test(`${label}: ${name}`, async () => {
      server ??= serveThrough(make, conformanceRpc({ logger: silentLog() }) as unknown as JsonRpc);
      await run((await server).url);
    });
  }
}
