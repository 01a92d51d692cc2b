/**
 * The server of the conformance suite. It listens on its runtime's own server or, with `--through-node`, through
 * `./node`. `PORT` is its port.
 */
import process from "node:process";
import { serve } from "@x/jsonrpc/node";
import { exitWithParent } from "../helpers/exit_with_parent.ts";
import { serveHere } from "../helpers/server.ts";
import { conformanceRpc } from "./conformance_rpc.ts";

exitWithParent();
const rpc = conformanceRpc();
const port = Number(process.env.PORT ?? 0);
const { url } = process.argv.includes("--through-node")
  ? await serve(rpc, { hostname: "127.0.0.1", port })
  : await serveHere(rpc, port);
console.log(`LISTENING ${url}`);
