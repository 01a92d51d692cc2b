/**
 * Servers in processes of their own, on any runtime.
 */
import { type ChildProcess, spawn } from "node:child_process";
import process from "node:process";
import { createInterface } from "node:readline";
import type { Readable } from "node:stream";
import { fileURLToPath } from "node:url";
import { runtime, type RuntimeName } from "./runtimes.ts";

const START_LIMIT_MS = 60_000;
const STOP_LIMIT_MS = 3_000;
const root = fileURLToPath(new URL("../..", import.meta.url));

/** A server that listens in another process. */
export interface SpawnedServer {
  readonly url: string;
  readonly pid: number;
  /** Ends the process, by force if it takes too long, and waits for its exit. May be called again. */
  stop(): Promise<void>;
  /** Resolves when the process has ended, to how. */
  readonly ended: Promise<string>;
  /** Its output on stdout and stderr so far. */
  output(): string;
}

/**
 * Starts a file in a runtime and waits for the line `LISTENING <url>` on its stdout. The file calls
 * `exitWithParent()` (exit_with_parent.ts), so that it ends even if the test is killed.
 *
 * @param file Path from the top of the repository.
 * @throws {Error} If the runtime is missing, or if the server ends or does not announce itself.
 */
export async function spawnServer(
  name: RuntimeName,
  file: string,
  args: readonly string[] = [],
  env: Readonly<Record<string, string>> = {},
): Promise<SpawnedServer> {
  const { command: [program, ...flags] } = await runtime(name);
  const child = spawn(program, [...flags, file, ...args], {
    cwd: root,
    env: { ...process.env, ...env },
    stdio: ["ignore", "pipe", "pipe"],
  });
  let written = "";
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding("utf8").on("data", (chunk: string) => written += chunk);
  }
  const ended = new Promise<string>((resolve) => {
    child.once("error", (error) => resolve(error.message));
    child.once("close", (code, signal) => resolve(`it ended with ${signal ?? code}`));
  });

  async function stop(): Promise<void> {
    signal(child, "SIGTERM");
    const timer = setTimeout(signal, STOP_LIMIT_MS, child, "SIGKILL");
    await ended;
    clearTimeout(timer);
  }

  try {
    const url = await announced(child.stdout, ended);
    return { url, pid: child.pid as number, stop, ended, output: () => written };
  } catch (error) {
    await stop();
    throw new Error(`Cannot start ${file} on ${name}: ${(error as Error).message}\n${written}`);
  }
}

/** Not `child.kill()`, which on Deno sends one signal and no second (denoland/deno#36643). */
function signal({ pid, exitCode, signalCode }: ChildProcess, name: NodeJS.Signals): void {
  if (pid === undefined || exitCode !== null || signalCode !== null) return;
  try {
    process.kill(pid, name);
  } catch {
    // It ended a moment ago.
  }
}

/** Resolves to the URL in the first line that announces one. */
function announced(stdout: Readable, ended: Promise<string>): Promise<string> {
  const { promise, resolve, reject } = Promise.withResolvers<string>();
  createInterface(stdout).on("line", (line) => {
    const [, url] = /^LISTENING (\S+)$/.exec(line) ?? [];
    if (url) resolve(url);
  });
  const silent = new Error(`it did not say LISTENING within ${START_LIMIT_MS} ms`);
  const timer = setTimeout(reject, START_LIMIT_MS, silent);
  ended.then((how) => reject(new Error(how)));
  return promise.finally(() => clearTimeout(timer));
}
