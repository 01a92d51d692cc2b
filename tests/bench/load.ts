/**
 * The load client: a process that reads jobs as lines of JSON and answers each with a line.
 */
import process from "node:process";
import { createInterface } from "node:readline";
import { exitWithParent } from "../helpers/exit_with_parent.ts";
import { runCalls } from "./load_calls.ts";
import { runFanOut } from "./load_fan_out.ts";
import { runHostile } from "./load_hostile.ts";
import { runIdle } from "./load_idle.ts";
import { runMany } from "./load_many.ts";
import { runPosts } from "./load_posts.ts";
import type { Job } from "./measure.ts";

const kinds = {
  calls: runCalls,
  fanOut: runFanOut,
  hostile: runHostile,
  idle: runIdle,
  many: runMany,
  posts: runPosts,
};

if (import.meta.main) {
  exitWithParent();
  process.on("uncaughtException", (error) => {
    console.log(JSON.stringify({ failure: error.stack }));
    process.exit(1);
  });
  console.log("LISTENING stdin");
  for await (const line of createInterface(process.stdin)) {
    const job = JSON.parse(line) as Job;
    console.log(JSON.stringify(await kinds[job.kind](job)));
  }
}
