/**
 * A program that a test writes and then runs in a process of its own.
 */
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

/** Writes a program to a file; hold it with `await using`, which removes the file. */
export async function scriptFile(text: string): Promise<AsyncDisposable & { path: string }> {
  const folder = await mkdtemp(join(tmpdir(), "jsonrpc-"));
  const path = join(folder, "script.ts");
  await writeFile(path, text);
  return { path, [Symbol.asyncDispose]: () => rm(folder, { recursive: true }) };
}
