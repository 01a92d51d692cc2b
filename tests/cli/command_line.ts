/**
 * The command line as a person uses it: a program of its own, against real servers.
 */
import { spawn } from "node:child_process";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { JsonRpc, loginRequired, RpcError } from "@x/jsonrpc";
import { session } from "@x/jsonrpc/session";
import { silentLog } from "../helpers/log.ts";
import { runtime, runtimeHere } from "../helpers/runtimes.ts";
import { serveHere } from "../helpers/server.ts";
import type { LocalServer } from "../helpers/server.ts";

/** The program. */
export const PROGRAM: string = fileURLToPath(new URL("../../src/cli/bin.ts", import.meta.url));

/** How a command has ended, and what it printed. */
export interface Outcome {
  readonly code: number | null;
  readonly out: string;
  readonly err: string;
}

/** A command that runs. */
export interface Running {
  readonly ended: Promise<Outcome>;
  /** Its stdout so far. */
  out(): string;
  /** Its stderr so far. */
  err(): string;
  /** Reads no more of its stdout, as `head` does. */
  leave(): void;
  /** Sends Ctrl+C. */
  interrupt(): void;
}

// What Deno says on stderr if several of its processes start at once.
const LOCKED = /^Blocking waiting for file lock .*\n/gm;

/** Starts the command line. Its standard input is `input`, or stays open for `null`. */
export async function start(args: readonly string[], input: string | null = ""): Promise<Running> {
  const { command: [program, ...flags] } = await runtime(runtimeHere);
  const env = { ...process.env, NO_COLOR: "1", JSONRPC_PASSWORD: "secret" };
  const child = spawn(program, [...flags, PROGRAM, ...args], { env });
  let [out, err] = ["", ""];
  child.stdout.setEncoding("utf8").on("data", (text: string) => out += text);
  child.stderr.setEncoding("utf8").on("data", (text: string) => err += text);
  if (input !== null) child.stdin.end(input);
  return {
    ended: new Promise((resolve) =>
      child.once("close", (code) => resolve({ code, out, err: err.replaceAll(LOCKED, "") }))
    ),
    out: () => out,
    err: () => err,
    leave: () => void child.stdout.destroy(),
    interrupt: () => void process.kill(child.pid as number, "SIGINT"),
  };
}

/** Runs a command until it has ended. */
export async function run(...args: string[]): Promise<Outcome> {
  return await (await start(args)).ended;
}

const USERS: Readonly<Record<string, string>> = { "Bearer t0ken": "ada", "bearer.t0ken": "ada" };

interface Credentials {
  readonly username: string;
  readonly password: string;
}

/** A server with something of each kind. */
export function testServer() {
  const logger = silentLog();
  const noted: unknown[] = [];
  const rpc = new JsonRpc({ logger })
    .use(session(({ headers }) => {
      const protocol = headers.get("sec-websocket-protocol")?.split(", ").at(-1);
      const name = USERS[headers.get("authorization") ?? protocol ?? ""] ?? headers.get("x-user");
      return name === null ? null : { name };
    }))
    .method("add", { names: ["a", "b"], summary: "Adds two numbers" }, ({ a, b }: {
      a: number;
      b: number;
    }) => a + b)
    .method("echo", (params: unknown) => params)
    .method("note", (params: unknown) => void noted.push(params))
    .method("refuse", () => {
      throw new RpcError(402, "Not enough money", { data: { missing: 3 } });
    })
    .method("wait", (_params: unknown, request) => {
      request.progress("half");
      return new Promise(() => {});
    })
    .method("whoami", { use: [loginRequired] }, (_params: unknown, { user }) => user.name)
    .method("login", ({ username, password }: Credentials, { connection }) => {
      if (password === "secret") connection.login({ name: username });
      return password === "secret";
    })
    .topic("news", { retain: true })
    .topic("clock")
    .stream("count_subscribe", {
      unsubscribe: "count_unsubscribe",
      notification: "count_subscription",
      notifyEnd: true,
    }, function* ([to]: [number]) {
      for (let item = 1; item <= to; item++) yield item;
    });
  return { rpc, noted };
}

/** Runs with a server. */
export async function withServer(
  use: (server: LocalServer, parts: ReturnType<typeof testServer>) => Promise<void>,
): Promise<void> {
  const parts = testServer();
  await using server = await serveHere(parts.rpc);
  await use(server, parts);
}

/** The rest of a WebSocket's URL, without its scheme. */
export function hostOf({ ws }: LocalServer): string {
  return ws.slice("ws://".length);
}
