/**
 * The cases against a Durable Object in workerd, with sockets that can hibernate. One runtime drives them: the
 * server is the same.
 */
import { after, test } from "node:test";
import { cases } from "./cases.ts";
import { needs } from "../helpers/needs.ts";
import { startWorker } from "../helpers/workerd.ts";
import type { Worker } from "../helpers/workerd.ts";

const here = await needs("on deno");
let worker: Promise<Worker> | undefined;
after(async () => await (await worker)?.stop());

// workerd leaves headers without a value out.
const NOT_THERE = ["refuses an origin that is an empty text"];

for (const { name, run } of cases) {
  if (NOT_THERE.includes(name)) continue;
  test(`workerd: ${name}`, here, async () => {
    worker ??= startWorker("tests/programs/conformance_worker.ts", ["Main"]);
    await run((await worker).url);
  });
}
