/**
 * The original library, Python's aiohttp-json-rpc 0.13. AIOHTTP_PATH names a checkout of it, AIOHTTP_PYTHON a
 * Python that has aiohttp 3, if python3 on the PATH has none (Debian: python3-aiohttp).
 */
import { execFile, spawn } from "node:child_process";
import { readFile } from "node:fs/promises";
import process from "node:process";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { programPath } from "./programs.ts";

const PATIENCE_MS = 60_000;

/** Gives the Python that runs it. */
export function python(): string {
  return process.env.AIOHTTP_PYTHON ?? programPath("python3");
}

/** Gives the folder of the checkout; `undefined` if none is named. */
export function aiohttpCheckout(): string | undefined {
  return process.env.AIOHTTP_PATH;
}

/** Runs a program of tests/programs and gives the lines that it prints. */
export async function runPython(file: string, ...args: string[]): Promise<string[]> {
  const options = { timeout: PATIENCE_MS };
  const { stdout } = await promisify(execFile)(python(), [here(file), ...args], options);
  return stdout.trimEnd().split("\n");
}

/** A Python server that listens; hold it with `await using`. */
export interface PythonServer extends AsyncDisposable {
  readonly url: string;
}

/** Starts a program of tests/programs, which prints LISTENING and its URL. */
export async function startPython(file: string, ...args: string[]): Promise<PythonServer> {
  const child = spawn(python(), [here(file), ...args], { stdio: ["ignore", "pipe", "ignore"] });
  const ended = new Promise<void>((resolve) => child.once("close", () => resolve()));
  const url = await new Promise<string>((resolve, reject) => {
    createInterface(child.stdout).on("line", (line) => resolve(line.replace("LISTENING ", "")));
    child.once("error", reject);
    ended.then(() => reject(new Error(`Cannot start ${file}: it ended before it listened`)));
  });
  async function stop(): Promise<void> {
    child.kill();
    await ended;
  }
  return { url, [Symbol.asyncDispose]: stop };
}

/** Reads a file of tests/programs. */
export function readProgram(file: string): Promise<string> {
  return readFile(here(file), "utf8");
}

function here(file: string): string {
  return fileURLToPath(new URL(`../programs/${file}`, import.meta.url));
}
