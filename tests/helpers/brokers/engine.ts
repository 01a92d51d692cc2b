/**
 * Debian's redis-server and nats-server, each with a folder and a port of the test's own.
 */
import { spawn } from "node:child_process";
import type { ChildProcess } from "node:child_process";
import { existsSync, writeFileSync } from "node:fs";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { freePort } from "../ports.ts";

/** A program that keeps events. */
export type EngineName = "redis" | "valkey" | "sentinel" | "nats";

/** One that listens. */
export interface RunningEngine {
  readonly name: EngineName;
  readonly url: string;
  readonly port: number;
  /** Ends it with SIGKILL: nothing is said, nothing is tidied up. */
  kill(): Promise<void>;
  /** Starts it again on the same port, with the data of its folder or without. */
  start(data: "with its data" | "without its data"): Promise<void>;
  /** Stops it where it stands, connections and all. */
  freeze(): Promise<void>;
  /** Lets it go on. */
  thaw(): void;
  /** Ends it, and removes what it wrote. */
  [Symbol.asyncDispose](): Promise<void>;
}

interface Recipe {
  readonly program: string;
  readonly package: string;
  /** @param more What the caller adds: arguments, but for `sentinel` lines of its file. */
  args(port: number, folder: string, more: readonly string[]): readonly string[];
}

function redisArgs(port: number, folder: string, more: readonly string[]): readonly string[] {
  return [
    ...["--port", String(port), "--bind", "127.0.0.1", "--dir", folder, "--save", ""],
    // Each write is on disk before it is answered: what was taken is there after a SIGKILL.
    ...["--appendonly", "yes", "--appendfsync", "always", "--loglevel", "warning", ...more],
  ];
}

const recipes: Readonly<Record<EngineName, Recipe>> = {
  redis: { program: "/usr/bin/redis-server", package: "redis-server", args: redisArgs },
  valkey: { program: "/usr/bin/valkey-server", package: "valkey-server", args: redisArgs },
  sentinel: {
    program: "/usr/bin/redis-server",
    package: "redis-server",
    args: (port, folder, more) => {
      const file = join(folder, "sentinel.conf"); // it writes to this what it learns
      const lines = [`port ${port}`, "bind 127.0.0.1", `dir ${folder}`, ...more];
      if (!existsSync(file)) writeFileSync(file, lines.join("\n"));
      return [file, "--sentinel"];
    },
  },
  nats: {
    program: "/usr/sbin/nats-server",
    package: "nats-server",
    args: (port, folder, more) => [
      ...["-a", "127.0.0.1", "-p", String(port), "-js", "-sd", folder, ...more],
    ],
  },
};

/** Whether an engine can be started; says so loudly where it cannot: return early from the test. */
export function hasEngine(name: EngineName): boolean {
  const recipe = recipes[name];
  if (existsSync(recipe.program)) return true;
  console.error(`SKIPPED: no ${recipe.program} (apt-get install ${recipe.package})`);
  return false;
}

/**
 * Starts an engine.
 *
 * @param more What is added to its arguments; of a sentinel, the lines of its file.
 * @param fixedPort Where it listens, if that had to be known before.
 * @returns `undefined`, after a loud message, where there is none: return early from the test.
 */
export async function startEngine(
  name: EngineName,
  more: readonly string[] = [],
  fixedPort?: number,
): Promise<RunningEngine | undefined> {
  if (!hasEngine(name)) return undefined;
  const recipe = recipes[name];
  const port = fixedPort ?? await freePort();
  const top = await mkdtemp(join(tmpdir(), `${name}-`));
  let folder = top;
  let child: Child | undefined;

  async function start(data: "with its data" | "without its data"): Promise<void> {
    if (data === "without its data") folder = await mkdtemp(join(top, "data-"));
    child = launch(recipe.program, recipe.args(port, folder, more));
    await listening(port, child);
  }
  async function kill(): Promise<void> {
    signal(child, "SIGKILL");
    await child?.ended;
    child = undefined;
  }
  await start("without its data");
  return {
    name,
    port,
    url: `${name}://127.0.0.1:${port}`,
    start,
    kill,
    async freeze() {
      signal(child, "SIGSTOP");
      // A thread of it may still answer a moment later.
      while (!/^\d+ \(.*\) T/.test(await readFile(`/proc/${child?.pid}/stat`, "utf8"))) {
        await new Promise((resolve) => setTimeout(resolve, 5));
      }
    },
    thaw: () => signal(child, "SIGCONT"),
    async [Symbol.asyncDispose]() {
      await kill();
      await rm(top, { recursive: true });
    },
  };
}

interface Child {
  readonly pid: number;
  readonly ended: Promise<void>;
  readonly shell: ChildProcess;
}

/** Starts a program that ends with this process, however that ends: its watcher's stdin then does too. */
function launch(program: string, args: readonly string[]): Child {
  const child = spawn(program, args, { stdio: "ignore" });
  const pid = child.pid as number;
  const watch = 'read -r end; kill -9 "$0" 2>/dev/null';
  const shell = spawn("sh", ["-c", watch, String(pid)], { stdio: ["pipe", "ignore", "ignore"] });
  const watched = new Promise<void>((resolve) => shell.once("close", () => resolve()));
  const ended = new Promise<void>((resolve) => child.once("close", () => resolve()))
    .then(() => {
      // Ends the watcher before the number may belong to another process.
      signal({ pid: shell.pid as number }, "SIGKILL");
      shell.stdin?.destroy();
      return watched;
    });
  return { pid, ended, shell };
}

function signal(child: Pick<Child, "pid"> | undefined, name: NodeJS.Signals): void {
  if (child === undefined) return;
  try {
    process.kill(child.pid, name);
  } catch {
    // It has ended.
  }
}

async function listening(port: number, child: Child): Promise<void> {
  let ended = false;
  child.ended.then(() => ended = true);
  for (let tries = 0; tries < 1000 && !ended; tries++) {
    if (await answers(port)) return;
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  throw new Error(`Nothing listens on port ${port}`);
}

/** Whether something listens. Redis may still load its data, and says so. */
function answers(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, "127.0.0.1");
    socket.once("connect", () => resolve(true)).once("error", () => resolve(false));
    socket.once("connect", () => socket.destroy());
  });
}
