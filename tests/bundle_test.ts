import { assert } from "@std/assert";
import { execFile } from "node:child_process";
import { fileURLToPath } from "node:url";
import { test } from "node:test";
import { promisify } from "node:util";
import { gzipSync } from "node:zlib";
import { runtime } from "./_kit/runtimes.ts";

// The aim is 8,000. What is over it are HTTP, calls from the server, and limits on what it sends.
const MAX_BYTES = 12_000;

test(`the client for browsers is at most ${MAX_BYTES} bytes, minified and gzipped`, async () => {
  const deno = await runtime("deno");
  if (deno === undefined) return;
  const { stdout } = await promisify(execFile)(
    deno.command[0],
    ["bundle", "--quiet", "--platform", "browser", "--minify", "src/client.ts"],
    { cwd: fileURLToPath(new URL("..", import.meta.url)) },
  );
  assert(stdout.includes("JsonRpcClient"));
  const bytes = gzipSync(stdout, { level: 9 }).length;
  assert(bytes <= MAX_BYTES, `the bundle has ${bytes} bytes, ${bytes - MAX_BYTES} too many`);
});
