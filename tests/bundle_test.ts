import { assert } from "@std/assert";
import { execFile } from "node:child_process";
import { fileURLToPath } from "node:url";
import { test } from "node:test";
import { promisify } from "node:util";
import { gzipSync } from "node:zlib";
import { runtime } from "./_kit/runtimes.ts";

// The aim was 8,000, for a client that neither connects again nor recovers topics. In thousands: calls
// and their promises 2, connecting again 3, topics 1.2, answering the server 2.5, POST 1, errors 1.
const MAX_BYTES = 11_900;

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
