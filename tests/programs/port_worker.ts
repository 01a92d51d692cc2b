/**
 * A worker that serves the program that has started it, over its own port.
 */
import process from "node:process";
import { parentPort } from "node:worker_threads";
// By path: Bun teaches its workers no names.
import { JsonRpc } from "../../mod.ts";
import { messagePort } from "../../src/transports/port.ts";
import type { Port } from "../../src/transports/port.ts";

const rpc = new JsonRpc()
  .method("add", ([a, b]: [number, number]) => a + b)
  .method("ask", async ([question]: [string], request) => await request.confirm(question))
  .method("leave", (_params: unknown, { connection }) => connection.close(4000, "Enough"))
  .method("exit", () => process.exit(3));

rpc.attach(messagePort(parentPort as Port | null ?? self as unknown as Port));
