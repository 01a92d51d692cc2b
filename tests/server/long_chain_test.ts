import { execFile } from "node:child_process";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { promisify } from "node:util";
import { runtime } from "../helpers/runtimes.ts";
import { needs } from "../helpers/needs.ts";

// The compiler and the program are the same, whichever runtime starts them.
const onDeno = await needs("on deno");

test("a chain of 200 methods is not too long for the compiler", onDeno, async () => {
  const { command: [deno] } = await runtime("deno");
  const folder = await mkdtemp(join(tmpdir(), "long-chain-"));
  try {
    const file = join(folder, "chain.ts");
    await writeFile(file, program(200));
    // Rejects with what the compiler says.
    await promisify(execFile)(deno, ["check", file]);
  } finally {
    await rm(folder, { recursive: true });
  }
});

/** A server with methods of every kind in turn, and calls that only fit if their types arrived. */
function program(length: number): string {
  const kinds = [
    (i: number) => `.method("group.m${i}", ({ a }: { a: number }) => ({ id: a }))`,
    (i: number) =>
      `.method("m${i}", { names: ["a"] }, ({ a }: { a: string }) => Promise.resolve(a))`,
    (i: number) => `.method("m${i}", { use: [loginRequired] }, (_: unknown, r) => [r.method])`,
    (i: number) => `.topic("t${i}", { schema: type<number>() })`,
  ];
  const chain = Array.from({ length }, (_, i) => kinds[i % kinds.length]?.(i));
  return `
import { connect, JsonRpc, loginRequired, type } from "${new URL("../../mod.ts", import.meta.url)}";
const rpc = new JsonRpc()${chain.join("\n")};
const client = await connect<typeof rpc>("ws://127.0.0.1");
const first: { id: number } = await client.remote.group.m0({ a: 1 });
const second: string = await client.call("m${length - 3}", { a: "" });
const third: string[] = await client.call("m${length - 2}");
client.subscribe("t${length - 1}", (event: number) => [event, first, second, third]);
// @ts-expect-error -- there is no such method
client.call("m${length}");
`;
}
