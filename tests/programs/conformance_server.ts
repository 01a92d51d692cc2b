/**
 * The server of the conformance suite. It listens on its runtime's own server or, with `--through-node`, through
 * `./node`. `PORT` is its port. With `--stdio` it also serves standard input and output, and ends with them.
 */
import process from "node:process";
import { serve } from "@x/jsonrpc/node";
import { serveStdio } from "@x/jsonrpc/stdio";
import { exitWithParent } from "../helpers/exit_with_parent.ts";
import { serveHere } from "../helpers/server.ts";
import { conformanceRpc } from "./conformance_rpc.ts";

exitWithParent();
const rpc = conformanceRpc();
// Standard output then belongs to the messages, and the line below goes to standard error.
if (process.argv.includes("--stdio")) serveStdio(rpc).closed.then(() => process.exit());
const port = Number(process.env.PORT ?? 0);
const { url } = process.argv.includes("--through-node")
  ? await serve(rpc, { hostname: "127.0.0.1", port })
  : await serveHere(rpc, port);
console.log(`LISTENING ${url}`);
