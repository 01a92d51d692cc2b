/**
 * Starts another program and talks to it over its standard input and output.
 *
 *     deno run -A examples/stdio_client.ts
 *     node --import ./tools/node.ts examples/stdio_client.ts
 */
import process from "node:process";
import { fileURLToPath } from "node:url";
import { connect } from "@x/jsonrpc/client";
import { spawned } from "@x/jsonrpc/stdio";
import type { rpc } from "./stdio_server.ts";

const server = fileURLToPath(new URL("stdio_server.ts", import.meta.url));
// The same runtime, with the same flags, runs the other program.
const flags = "Deno" in globalThis ? ["run", "-A"] : process.execArgv;

const client = await connect<typeof rpc>(spawned([process.execPath, ...flags, server]));
client.method("confirm", ({ message }: { message: string }) => {
  console.log("The server asks:", message);
  return true;
});
console.log("1 + 2 =", await client.call("add", [1, 2]));
console.log(await client.call("greet", ["ann"]));
await client.close();
