/**
 * A server for attacks. `RPC_OPTIONS` holds its options as JSON; `--through-node` serves it through `./node`.
 */
import process from "node:process";
import { setTimeout as delay } from "node:timers/promises";
import { type as ark } from "arktype";
import * as v from "valibot";
import { z } from "zod";
import { JsonRpc } from "@x/jsonrpc";
import { exitWithParent } from "../helpers/exit_with_parent.ts";
import { serveHere, serveOnNode } from "../helpers/server.ts";

const rpc = new JsonRpc(JSON.parse(process.env.RPC_OPTIONS ?? "{}"))
  .method("ping", { get: true }, () => "pong")
  .method("large", ([length]: [number]) => "x".repeat(length))
  .method("wait", async ([ms]: [number, ...unknown[]]) => (await delay(ms), "waited"))
  .method("slow_get", { get: true }, async ([ms]: [number]) => (await delay(ms), "waited"))
  .method(
    "zod",
    { params: z.array(z.object({ a: z.number(), b: z.string() })) },
    (rows) => rows.length,
  )
  .method(
    "valibot",
    { params: v.array(v.object({ a: v.number(), b: v.string() })) },
    (rows) => rows.length,
  )
  .method("arktype", { params: ark({ a: "number", b: "string" }).array() }, (rows) => rows.length)
  .method("publish", ([topic, data]: [string, unknown]) => void rpc.publish(topic as "news", data))
  .topic("news")
  .topic("room.*");

exitWithParent();
const server = await (process.argv.includes("--through-node") ? serveOnNode : serveHere)(rpc);
console.log(`LISTENING ${server.url}`);
process.once("SIGTERM", () => void server.stop().then(() => process.exit()));
