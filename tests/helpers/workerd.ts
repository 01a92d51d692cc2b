/**
 * workerd, the runtime of Cloudflare Workers, with a program of ours.
 */
import { execFile, spawn } from "node:child_process";
import { mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { freePort } from "./ports.ts";
import { listening } from "./nginx.ts";
import { runtime } from "./runtimes.ts";

/** A Worker that listens. */
export interface Worker {
  readonly url: string;
  /** Its process. */
  readonly pid: number;
  /** What it has written so far. */
  output(): string;
  /** Ends it, and removes what it wrote. */
  stop(): Promise<void>;
}

/**
 * Bundles a program and runs it in workerd.
 *
 * @param file Path from the top of the repository.
 * @param objects The classes of Durable Objects that it exports. The binding of each is its name in capitals.
 */
export async function startWorker(file: string, objects: readonly string[] = []): Promise<Worker> {
  const folder = await mkdtemp(join(tmpdir(), "workerd-"));
  const port = await freePort();
  await mkdir(join(folder, "disk"));
  await bundle(file, join(folder, "worker.js"));
  await writeFile(join(folder, "config.capnp"), configuration(folder, port, objects));
  // The shell's stdin ends with this process, however that ends, and the shell then ends workerd.
  const script = '"$0" serve "$1/config.capnp" & read -r end; kill $!; wait';
  const shell = spawn("sh", ["-c", script, workerd(), folder], { stdio: ["pipe", "pipe", "pipe"] });
  let written = "";
  for (const stream of [shell.stdout, shell.stderr]) {
    stream.setEncoding("utf8").on("data", (chunk: string) => written += chunk);
  }
  const ended = new Promise((resolve) => shell.once("close", resolve));

  async function stop(): Promise<void> {
    shell.stdin.end();
    await ended;
    await rm(folder, { recursive: true });
  }

  const url = `http://127.0.0.1:${port}`;
  try {
    await listening(url);
  } catch (error) {
    await stop();
    throw new Error(`Cannot start ${file} in workerd: ${written}`, { cause: error });
  }
  // The only child of the shell.
  const children = await readFile(`/proc/${shell.pid}/task/${shell.pid}/children`, "utf8");
  return { url, pid: parseInt(children), output: () => written, stop };
}

async function bundle(file: string, to: string): Promise<void> {
  const { command: [program] } = await runtime("deno");
  const args = ["bundle", "--quiet", "--platform", "browser", "--external", "cloudflare:workers"];
  const cwd = fileURLToPath(new URL("../..", import.meta.url));
  await promisify(execFile)(program, [...args, "--output", to, file], { cwd });
}

/** The program of the package of this system. `workerd` itself only looks for it, which needs a script run. */
function workerd(): string {
  const { resolve } = createRequire(createRequire(import.meta.url).resolve("workerd/package.json"));
  const system = process.platform === "win32" ? "windows" : process.platform;
  const machine = process.arch === "x64" ? "64" : process.arch;
  return join(
    resolve(`@cloudflare/workerd-${system}-${machine}/package.json`),
    ...["..", "bin", "workerd"],
  );
}

function configuration(folder: string, port: number, objects: readonly string[]): string {
  const namespaces = objects.map((name) =>
    `(className = "${name}", uniqueKey = "${name}", enableSql = true)`
  );
  const bindings = objects.map((name) =>
    `(name = "${name.toUpperCase()}", durableObjectNamespace = "${name}")`
  );
  return `
    using Workerd = import "/workerd/workerd.capnp";
    const config :Workerd.Config = (
      services = [
        (name = "main", worker = .worker),
        (name = "disk", disk = (path = "${folder}/disk", writable = true)),
      ],
      sockets = [(name = "http", address = "127.0.0.1:${port}", http = (), service = "main")],
    );
    const worker :Workerd.Worker = (
      modules = [(name = "worker", esModule = embed "worker.js")],
      compatibilityDate = "2026-11-01",
      durableObjectNamespaces = [${namespaces}],
      durableObjectStorage = (localDisk = "disk"),
      bindings = [${bindings}],
    );
  `;
}
