/**
 * The original library, Python's aiohttp-json-rpc 0.13, where there is a checkout of it: SEED_PATH names the
 * folder, SEED_PYTHON a Python that has aiohttp 3 (Debian's python3-aiohttp).
 */
import { execFile, spawn } from "node:child_process";
import { readFile } from "node:fs/promises";
import process from "node:process";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";

const PATIENCE_MS = 60_000;

/** The Python that runs it. */
export const python: string = process.env.SEED_PYTHON ?? "/usr/bin/python3";

/** The checkout; `undefined`, after a loud message, where there is none: return early from the test. */
export function seedCheckout(what: string): string | undefined {
  const path = process.env.SEED_PATH;
  if (path !== undefined) return path;
  console.error(`SKIPPED ${what}: SEED_PATH names no checkout of aiohttp-json-rpc`);
  return undefined;
}

/** Runs a Python program of this folder and gives the lines that it prints. */
export async function runPython(file: string, ...args: string[]): Promise<string[]> {
  const options = { timeout: PATIENCE_MS };
  const { stdout } = await promisify(execFile)(python, [here(file), ...args], options);
  return stdout.trimEnd().split("\n");
}

/** A Python server that listens; hold it with `await using`. */
export interface PythonServer extends AsyncDisposable {
  readonly url: string;
}

/** Starts a Python program of this folder, which says LISTENING and its URL. */
export async function startPython(file: string, ...args: string[]): Promise<PythonServer> {
  const child = spawn(python, [here(file), ...args], { stdio: ["ignore", "pipe", "ignore"] });
  const ended = new Promise<void>((resolve) => child.once("close", () => resolve()));
  const url = await new Promise<string>((resolve, reject) => {
    createInterface(child.stdout).on("line", (line) => resolve(line.replace("LISTENING ", "")));
    child.once("error", reject);
    ended.then(() => reject(new Error(`Cannot start ${file}: it ended without a word`)));
  });
  async function stop(): Promise<void> {
    child.kill();
    await ended;
  }
  return { url, [Symbol.asyncDispose]: stop };
}

/** What a file of this folder says. */
export function kitFile(file: string): Promise<string> {
  return readFile(here(file), "utf8");
}

function here(file: string): string {
  return fileURLToPath(new URL(file, import.meta.url));
}
