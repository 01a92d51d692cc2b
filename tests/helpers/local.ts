/**
 * Servers and clients in the process of the test: over a real socket, over linked ones, and with one
 * end left bare, to hear what goes over the wire or to lie.
 */
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { connect as connectTcp, createServer } from "node:net";
import type { AddressInfo, Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { setImmediate } from "node:timers";
import { connect } from "@x/jsonrpc";
import type { ClientOptions, JsonRpc, JsonRpcClient, Logger, RpcError } from "@x/jsonrpc";
import type { Api } from "../../src/core/api.ts";
import { serve } from "@x/jsonrpc/node";
import { linkedSockets } from "@x/jsonrpc/testing";
import type { LinkedSocket } from "@x/jsonrpc/testing";
import type { RuntimeName } from "./runtimes.ts";

/** A server that listens in this process. */
export interface LocalServer {
  /** For POST. */
  readonly url: string;
  /** For WebSocket. */
  readonly ws: string;
  /** Closes the rpc, if it is one, and stops listening. */
  stop(): Promise<void>;
  /** The same, for `await using`. */
  [Symbol.asyncDispose](): Promise<void>;
}

/** Whatever has a `fetch`; a `JsonRpc` also has the rest. */
export interface LocalApp {
  // deno-lint-ignore no-explicit-any -- each runtime passes another thing
  fetch(request: Request, host?: any): Response | Promise<Response>;
  readonly websocket?: object;
  close?(): Promise<void>;
}

/** What is used of Deno and Bun, said here because their types clash. */
interface RuntimeGlobals {
  readonly Deno?: {
    serve(options: object, fetch: LocalApp["fetch"]): {
      readonly addr: { readonly port: number };
      readonly finished: Promise<void>;
    };
  };
  readonly Bun?: {
    serve(options: object): { readonly port: number; stop(force: boolean): Promise<void> };
  };
}

const { Deno, Bun } = globalThis as RuntimeGlobals;
const LOOPBACK = { hostname: "127.0.0.1", port: 0 };

/**
 * Serves an app as a user of the running runtime would.
 *
 * @param port Where to listen; 0 takes a free one.
 */
export async function serveHere(app: LocalApp, port = 0): Promise<LocalServer> {
  const [taken, end] = await listen(app, { ...LOOPBACK, port });
  async function stop(): Promise<void> {
    await app.close?.();
    await end();
  }
  const host = `127.0.0.1:${taken}`;
  return { url: `http://${host}`, ws: `ws://${host}`, stop, [Symbol.asyncDispose]: stop };
}

/** Serves an app through `./node`, whatever runtime this is. */
export async function serveOnNode(app: LocalApp): Promise<LocalServer> {
  const server = await serve(app, LOOPBACK);
  const { url } = server;
  async function stop(): Promise<void> {
    await app.close?.();
    await server.close();
  }
  return { url, ws: url.replace("http", "ws"), stop, [Symbol.asyncDispose]: stop };
}

async function listen(
  app: LocalApp,
  where: typeof LOOPBACK,
): Promise<[port: number, end: () => Promise<void>]> {
  if (Deno !== undefined) {
    // Not `shutdown()`, which would wait for handlers that never answer.
    const controller = new AbortController();
    const { signal } = controller;
    const server = Deno.serve({ ...where, signal, onListen() {} }, app.fetch);
    return [server.addr.port, () => (controller.abort(), server.finished)];
  }
  if (Bun !== undefined) {
    const { fetch, websocket = { message() {} } } = app;
    const server = Bun.serve({ ...where, fetch, websocket });
    return [server.port, () => server.stop(true)];
  }
  const server = await serve(app, where);
  return [server.port, () => server.close()];
}

/** A client of a server, over linked sockets. */
export function pair<A extends Api>(
  rpc: JsonRpc<A>,
  options: ClientOptions = {},
): Promise<JsonRpcClient<A>> {
  const [near, far] = linkedSockets();
  rpc.attach(far);
  return connect<JsonRpc<A>>(near, options) as unknown as Promise<JsonRpcClient<A>>;
}

/** What a message may have, as it went over the wire. */
export interface WireMessage {
  readonly jsonrpc: "2.0";
  readonly id?: string | number | null;
  readonly method?: string;
  readonly params?: unknown;
  readonly result?: unknown;
  readonly error?: Pick<RpcError, "code" | "message" | "data">;
}

/** The bare end of a connection: says and hears what it likes. */
export class Wire {
  /** All that came, in order. */
  readonly heard: string[] = [];
  readonly #socket: LinkedSocket;
  readonly #waiting: (() => void)[] = [];
  #read = 0;

  constructor(socket: LinkedSocket) {
    this.#socket = socket;
    socket.addEventListener("message", ({ data }) => {
      this.heard.push(data as string);
      this.#waiting.shift()?.();
    });
  }

  /** Sends a message: JSON of a value, or a text as it is. */
  say(message: unknown): void {
    this.#socket.send(typeof message === "string" ? message : JSON.stringify(message));
  }

  /** Sends a call or, without an id, a notification. */
  call(id: string | number | null | undefined, method: string, params?: unknown): void {
    this.say({ jsonrpc: "2.0", method, params, id });
  }

  /** The next message that was not read yet. */
  async next(): Promise<WireMessage> {
    if (this.#read === this.heard.length) {
      await new Promise<void>((resolve) => this.#waiting.push(resolve));
    }
    return JSON.parse(this.heard[this.#read++] as string);
  }

  /** The next few of them. */
  async some(count: number): Promise<WireMessage[]> {
    const messages: WireMessage[] = [];
    while (messages.length < count) messages.push(await this.next());
    return messages;
  }

  close(code?: number, reason?: string): void {
    this.#socket.close(code, reason);
  }
}

/** A server whose client is bare. */
export function bareClient(rpc: Pick<JsonRpc, "attach">): Wire {
  const [near, far] = linkedSockets();
  const wire = new Wire(near);
  rpc.attach(far);
  return wire;
}

/** A client whose server is bare. */
export async function bareServer(options: ClientOptions = {}): Promise<[JsonRpcClient, Wire]> {
  const [near, far] = linkedSockets();
  const wire = new Wire(far);
  return [await connect(near, options), wire];
}

/** A log that stays silent and can be looked at. */
export interface Log extends Logger {
  /** What was written, each with its level in front. */
  readonly lines: readonly string[];
  /** All of it. */
  readonly text: string;
}

/** Makes a log. */
export function silentLog(): Log {
  const lines: string[] = [];
  const writer = (level: string) => (message: string) => void lines.push(`${level}: ${message}`);
  return {
    lines,
    get text() {
      return lines.join("\n");
    },
    debug: writer("debug"),
    info: writer("info"),
    warn: writer("warn"),
    error: writer("error"),
  };
}

/** Lets everything happen that needs no network and no waiting. */
export function quietMoment(): Promise<void> {
  return new Promise((resolve) => void setImmediate(resolve));
}

// How long a test waits for what must come.
const PATIENCE_MS = 30_000;

/** Waits until something holds. */
export async function until(holds: () => boolean | Promise<boolean>): Promise<void> {
  const end = performance.now() + PATIENCE_MS;
  while (!await holds()) {
    if (performance.now() > end) throw new Error(`Waited in vain for ${holds}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

/** Which of these promises have not settled, by their index. */
export async function unsettled(promises: readonly Promise<unknown>[]): Promise<number[]> {
  const open = new Set(promises.keys());
  promises.forEach((promise, index) => {
    promise.catch(() => {}).finally(() => open.delete(index));
  });
  await quietMoment();
  return [...open];
}

/** A door that a handler waits at: open it, and all who wait go on. */
export function gate<T = void>(): { readonly passed: Promise<T>; open(value: T): void } {
  const { promise, resolve } = Promise.withResolvers<T>();
  return { passed: promise, open: resolve };
}

/** The runtime that runs the test. */
export const runtimeHere: RuntimeName = "deno" in process.versions
  ? "deno"
  : "bun" in process.versions
  ? "bun"
  : "node";

/** A program in a file of its own, for a process of its own; gone when the test ends. */
export async function scriptFile(text: string): Promise<AsyncDisposable & { path: string }> {
  const folder = await mkdtemp(join(tmpdir(), "jsonrpc-"));
  const path = join(folder, "script.ts");
  await writeFile(path, text);
  return { path, [Symbol.asyncDispose]: () => rm(folder, { recursive: true }) };
}

/** A cable between clients and a server that can be cut: no close frame goes over it then. */
export async function cable(server: LocalServer): Promise<LocalServer & { cut(): void }> {
  const ends = new Set<Socket>();
  const target = Number(new URL(server.url).port);
  const listener = createServer((near) => {
    const far = connectTcp(target, LOOPBACK.hostname);
    for (const [from, to] of [[near, far], [far, near]] as const) {
      ends.add(from);
      from.on("error", () => {}).on("close", () => to.destroy()).pipe(to);
    }
  });
  await new Promise<void>((resolve) => listener.listen(LOOPBACK, resolve));
  function cut(): void {
    for (const end of ends) end.destroy();
    ends.clear();
  }
  async function stop(): Promise<void> {
    const closed = new Promise((resolve) => listener.close(resolve));
    cut();
    await closed;
  }
  const host = `127.0.0.1:${(listener.address() as AddressInfo).port}`;
  return { url: `http://${host}`, ws: `ws://${host}`, stop, cut, [Symbol.asyncDispose]: stop };
}
