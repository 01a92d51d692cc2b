import { assertEquals, assertStringIncludes } from "@std/assert";
import { test } from "node:test";
import { connect, JsonRpc } from "@x/jsonrpc";
import { silentLog } from "../helpers/log.ts";
import { runtimeHere } from "../helpers/runtimes.ts";
import { serveHere, serveOnNode } from "../helpers/server.ts";

test("Deno.serve is warned about once, since it does not bound fragments; other servers are not", async () => {
  for (const serve of [serveHere, serveOnNode]) {
    const warnings: string[] = [];
    const logger = { ...silentLog(), warn: (message: string) => void warnings.push(message) };
    await using server = await serve(new JsonRpc({ logger }));
    for (let count = 0; count < 2; count++) await (await connect(server.ws)).close();
    const isDenoServe = runtimeHere === "deno" && serve === serveHere;
    assertEquals(warnings.length, isDenoServe ? 1 : 0);
    if (isDenoServe) assertStringIncludes(warnings[0] ?? "", "Use serve of @x/jsonrpc/node");
  }
});
