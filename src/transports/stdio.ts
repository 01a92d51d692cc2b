/**
 * JSON-RPC over standard input and output: a server that another program starts, and the client that
 * starts it. What MCP, ACP and language servers speak.
 *
 * @module
 */

import { spawn } from "node:child_process";
import type { ChildProcess } from "node:child_process";
import process from "node:process";
import type { Receiver } from "../core/channel.ts";
import { wrapTransport } from "../core/transport.ts";
import type { Transport } from "../core/transport.ts";
import { OneShotTimer } from "../util/timer.ts";
import { byteStream } from "./byte_stream.ts";
import type { ByteStreamOptions } from "./byte_stream.ts";
import { flushed } from "./flushed.ts";
import { redirectConsole } from "./redirect_console.ts";

export type { ByteStreamOptions, Framing } from "./byte_stream.ts";
export type { Transport, TransportContext } from "../core/transport.ts";

/** What {@linkcode serveStdio} serves: a `JsonRpc`. */
export interface Attachable {
  /** Talks over a transport. */
  attach(transport: Transport): void;
  /** Ends the server. */
  close(): Promise<void>;
}

/** How standard input and output are served. */
export interface ServeStdioOptions extends ByteStreamOptions {
  /**
   * Whether `console.log` and the like write to standard error as long as the server runs. Standard
   * output belongs to the messages: one stray line there breaks most clients.
   *
   * @default {true}
   */
  readonly redirectConsole?: boolean;
}

/** A server on standard input and output. */
export interface StdioServer {
  /** Resolves when the client has ended standard input and has its answers, or `close` was called. */
  readonly closed: Promise<void>;
  /** Ends the server. */
  close(): Promise<void>;
  /** The same as `close`, for `await using`. */
  [Symbol.asyncDispose](): Promise<void>;
}

/**
 * Serves the program that has started this one. Ends when standard input has ended and the calls that came
 * from it are answered, at the latest a second after.
 *
 * @param rpc The server.
 * @param options Framing and log. `framing` is `"detect"` unless you say otherwise, so that one
 * program serves clients of both kinds.
 * @returns The server. Await its `closed` to keep what follows until the end.
 *
 * @example A program that others start
 * ```ts ignore
 * import { JsonRpc } from "@x/jsonrpc";
 * import { serveStdio } from "@x/jsonrpc/stdio";
 *
 * const rpc = new JsonRpc().method("add", ([a, b]: [number, number]) => a + b);
 * await serveStdio(rpc).closed;
 * ```
 */
export function serveStdio(rpc: Attachable, options: ServeStdioOptions = {}): StdioServer {
  const restore = options.redirectConsole === false ? undefined : redirectConsole();
  const { promise, resolve } = Promise.withResolvers<void>();
  let closing: Promise<void> | undefined;
  const close = (): Promise<void> =>
    closing ??= rpc.close().finally(() => {
      restore?.();
      resolve();
    });
  const transport = byteStream({ readable: process.stdin, writable: process.stdout }, {
    framing: "detect",
    name: "the program that started this one",
    ...options,
  });
  rpc.attach(onClosed(transport, (closed) => (code, reason) => {
    closed(code, reason);
    void close();
  }, (receiver) => ({ inputEnded: () => receiver.inputEnded?.() === true })));
  return { closed: promise, close, [Symbol.asyncDispose]: close };
}

/** How a program is started and ended. */
export interface SpawnOptions extends ByteStreamOptions {
  /** The folder in which the program starts. @default {this program's} */
  readonly cwd?: string;
  /** The program's environment. @default {this program's} */
  readonly env?: Readonly<Record<string, string | undefined>>;
  /** Milliseconds from the end of its input to SIGTERM. @default {2000} */
  readonly endMs?: number;
  /** Milliseconds from SIGTERM to SIGKILL. @default {2000} */
  readonly terminateMs?: number;
}

/**
 * Starts a program and talks to it over its standard input and output. What it writes to standard
 * error goes to this program's. A client that reconnects starts the program again.
 *
 * When the connection is closed, the program's input ends; a program that does not end then gets
 * SIGTERM, and SIGKILL at last.
 *
 * @param command The program and its arguments. No shell reads them.
 * @param options Framing, environment, and how long the program may take to end.
 * @returns The transport.
 *
 * @example
 * ```ts ignore
 * import { connect } from "@x/jsonrpc/client";
 * import { spawned } from "@x/jsonrpc/stdio";
 *
 * const client = await connect(spawned(["node", "server.js"]));
 * await client.call("add", [1, 2]);
 * ```
 */
export function spawned(
  command: readonly [program: string, ...args: string[]],
  options: SpawnOptions = {},
): Transport {
  const [program, ...args] = command;
  const { cwd, env } = options;
  return {
    name: options.name ?? program,
    canReconnect: true,
    async open(context) {
      const child = spawn(program, args, {
        stdio: ["pipe", "pipe", "inherit"],
        ...cwd !== undefined && { cwd },
        ...env !== undefined && { env: { ...env } },
      });
      await new Promise((resolve, reject) => child.once("spawn", resolve).once("error", reject));
      await childProcess(child, { name: program, ...options }).open(context);
    },
  };
}

/**
 * Talks to a program that was started already, over its standard input and output. Both must be pipes.
 *
 * @param child The program, as `spawn` of `node:child_process` gives it.
 * @param options Framing, and how long the program may take to end.
 * @returns The transport, for one connection.
 */
export function childProcess(
  child: ChildProcess,
  options: Omit<SpawnOptions, "cwd" | "env"> = {},
): Transport {
  const { stdin, stdout } = child;
  if (stdin === null || stdout === null) {
    throw new TypeError('Cannot talk to the program: spawn it with stdio: ["pipe", "pipe", …]');
  }
  const { endMs = 2000, terminateMs = 2000 } = options;
  const ended = watch(child);
  // End of input, then SIGTERM, then SIGKILL.
  function end(): void {
    stdin?.end();
    const timers = [
      after(endMs, () => signal(child, "SIGTERM")),
      after(endMs + terminateMs, () => signal(child, "SIGKILL")),
    ];
    ended.then(() => timers.forEach((timer) => timer.clear()));
  }
  const transport = onClosed(
    byteStream({ readable: stdout, writable: flushed(stdin) }, options),
    (closed) => {
      const close = once((code: number, reason: string) => {
        closed(code, reason);
        end();
      });
      // Its last answers may still be on their way, but a grandchild can hold the pipe for ever.
      ended.then((how) => after(LAST_ANSWERS_MS, () => close(1006, how)));
      return (code, reason) => {
        // A program that ends by itself has gone away: 1000 would keep a client from starting it again.
        const why = code === 1000 ? 1001 : code;
        // How the program ended says more than that its stream did.
        ended.then((how) => close(why, how));
        after(LAST_ANSWERS_MS, () => close(why, reason));
      };
    },
  );
  return {
    ...transport,
    open(context) {
      context.signal.addEventListener("abort", end, { once: true });
      return transport.open(context);
    },
  };
}

/** Resolves when a program has ended, to words that say how. */
function watch(child: ChildProcess): Promise<string> {
  return new Promise((resolve) => {
    const tell = (code: number | null, signal: string | null): void =>
      resolve(`The program ended with ${signal ?? `code ${code}`}`);
    child.once("error", (error) => resolve(`The program did not start: ${error.message}`));
    child.once("exit", tell);
    if (child.exitCode !== null || child.signalCode !== null) {
      tell(child.exitCode, child.signalCode);
    }
  });
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

/** The same transport, with another function that is called at the end of its connection. */
function onClosed(
  transport: Transport,
  wrap: (closed: Receiver["closed"]) => Receiver["closed"],
  more: (receiver: Receiver) => Pick<Receiver, "inputEnded"> = () => ({}),
): Transport {
  return wrapTransport(transport, (channel, opened) => {
    const receiver = opened(channel);
    return {
      receive: (text) => receiver.receive(text),
      markAlive: () => receiver.markAlive(),
      closed: wrap((code, reason) => receiver.closed(code, reason)),
      ...more(receiver),
    };
  });
}

function once<Args extends unknown[]>(run: (...args: Args) => void): (...args: Args) => void {
  let done = false;
  return (...args) => {
    if (done) return;
    done = true;
    run(...args);
  };
}

/** Runs something later; what a program has written while this one was blocked is read first. */
function after(delayMs: number, run: () => void): OneShotTimer {
  const timer = new OneShotTimer();
  timer.setDeadline(delayMs, run);
  return timer;
}

// How long the last answers of a program that has ended may be on their way.
const LAST_ANSWERS_MS = 200;
