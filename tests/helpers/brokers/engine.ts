/**
 * redis-server and nats-server, each with a folder and a port of its own.
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
import { programPath } from "../programs.ts";
import type { ProgramName } from "../programs.ts";

/** A server that brokers use. */
export type EngineName = "redis" | "valkey" | "sentinel" | "nats";

/** An engine that listens. */
export interface RunningEngine {
  readonly name: EngineName;
  readonly url: string;
  readonly port: number;
  /** Ends it with SIGKILL: no goodbye, no clean-up. */
  kill(): Promise<void>;
  /** Starts it again on the same port, with the data of its folder or without. */
  start(data: "with its data" | "without its data"): Promise<void>;
  /** Suspends it; its connections stay. */
  freeze(): Promise<void>;
  /** Resumes it. */
  thaw(): void;
  /** Ends it, and removes its files. */
  [Symbol.asyncDispose](): Promise<void>;
}

interface Recipe {
  readonly program: ProgramName;
  /** @param more What the caller adds: arguments, but for `sentinel` lines of its file. */
  args(port: number, folder: string, more: readonly string[]): readonly string[];
}

function redisArgs(port: number, folder: string, more: readonly string[]): readonly string[] {
  return [
    ...["--port", String(port), "--bind", "127.0.0.1", "--dir", folder, "--save", ""],
    // Redis writes to the disk before it answers, so that no accepted write is lost by a SIGKILL.
    ...["--appendonly", "yes", "--appendfsync", "always", "--loglevel", "warning", ...more],
  ];
}

const recipes: Readonly<Record<EngineName, Recipe>> = {
  redis: { program: "redis-server", args: redisArgs },
  valkey: { program: "valkey-server", args: redisArgs },
  sentinel: {
    program: "redis-server",
    args: (port, folder, more) => {
      const file = join(folder, "sentinel.conf"); // the sentinel writes to it
      const lines = [`port ${port}`, "bind 127.0.0.1", `dir ${folder}`, ...more];
      if (!existsSync(file)) writeFileSync(file, lines.join("\n"));
      return [file, "--sentinel"];
    },
  },
  nats: {
    program: "nats-server",
    args: (port, folder, more) => [
      ...["-a", "127.0.0.1", "-p", String(port), "-js", "-sd", folder, ...more],
    ],
  },
};

/**
 * Starts an engine.
 *
 * @param more More arguments; of a sentinel, the lines of its file.
 * @param fixedPort The port to listen on, if it has to be known before.
 */
export async function startEngine(
  name: EngineName,
  more: readonly string[] = [],
  fixedPort?: number,
): Promise<RunningEngine> {
  const recipe = recipes[name];
  let port = fixedPort ?? await freePort();
  const top = await mkdtemp(join(tmpdir(), `${name}-`));
  let folder = top;
  let child: Child | undefined;

  async function start(data: "with its data" | "without its data"): Promise<void> {
    if (data === "without its data") folder = await mkdtemp(join(top, "data-"));
    child = launch(programPath(recipe.program), recipe.args(port, folder, more));
    await listening(port, child);
  }
  async function kill(): Promise<void> {
    signal(child, "SIGKILL");
    await child?.ended;
    child = undefined;
  }
  for (let tries = 1;; tries++) {
    try {
      await start("without its data");
      break;
    } catch (error) {
      await kill();
      // Another program may have taken the port in the meantime.
      if (fixedPort !== undefined || tries === 3) throw error;
      port = await freePort();
    }
  }
  return {
    name,
    port,
    url: `${name}://127.0.0.1:${port}`,
    start,
    kill,
    async freeze() {
      signal(child, "SIGSTOP");
      // A thread may still answer a moment after the signal.
      while (!/^\d+ \(.*\) T/.test(await readFile(`/proc/${child?.pid}/stat`, "utf8"))) {
        await new Promise((resolve) => setTimeout(resolve, 5));
      }
    },
    thaw: () => signal(child, "SIGCONT"),
    async [Symbol.asyncDispose]() {
      await kill();
      // A child of Redis that rewrites its log may still write for a moment.
      await rm(top, { recursive: true, maxRetries: 10, retryDelay: 100 });
    },
  };
}

interface Child {
  readonly pid: number;
  readonly ended: Promise<void>;
  readonly shell: ChildProcess;
}

/**
 * Starts a program, and a watcher that kills it when this process ends: the watcher's stdin ends with this
 * process, however that ends.
 */
function launch(program: string, args: readonly string[]): Child {
  const child = spawn(program, args, { stdio: "ignore" });
  const pid = child.pid as number;
  const watch = 'read -r end; kill -9 "$0" 2>/dev/null';
  const shell = spawn("sh", ["-c", watch, String(pid)], { stdio: ["pipe", "ignore", "ignore"] });
  const watched = new Promise<void>((resolve) => shell.once("close", () => resolve()));
  const ended = new Promise<void>((resolve) => child.once("close", () => resolve()))
    .then(() => {
      // End the watcher before another process gets this pid.
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

/** Whether the port accepts a connection. Redis may still load its data then; it answers so. */
function answers(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, "127.0.0.1");
    socket.once("connect", () => resolve(true)).once("error", () => resolve(false));
    socket.once("connect", () => socket.destroy());
  });
}
