/**
 * The server of the conformance suite in a worker: it serves the port of the program that has started it, and takes
 * POSTs and WebSockets too. It posts where.
 */
import { parentPort } from "node:worker_threads";
import { serve } from "@x/jsonrpc/node";
import { messagePort } from "@x/jsonrpc/port";
import type { Port } from "@x/jsonrpc/port";
import { conformanceRpc } from "./conformance_rpc.ts";

const rpc = conformanceRpc();
rpc.attach(messagePort(parentPort as unknown as Port));
const { url } = await serve(rpc, { hostname: "127.0.0.1", port: 0 });
parentPort?.postMessage({ listening: url });
