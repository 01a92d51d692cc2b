/**
 * Node, through `@hono/node-server` and `ws`; the same on Deno (where it is faster than Deno's own
 * server) and on Bun.
 *
 * @module
 */

import { createAdaptorServer } from "@hono/node-server";
import type { IncomingMessage, Server as HttpServer } from "node:http";
import { createServer as createSecureServer } from "node:https";
import type { ServerOptions as TlsOptions } from "node:https";
import type { AddressInfo, Server } from "node:net";
import type { CloseOptions } from "../../core/close_options.ts";
import { isWebSocket } from "../upgrade_request.ts";
import { nodeRuntime, NodeUpgrades } from "./upgrade.ts";
import type { FetchApp } from "./upgrade.ts";

export type { FetchApp } from "./upgrade.ts";

/** Where to listen, and how. */
export interface ServeOptions {
  /** The TCP port; 0 takes a free one. @default {8000} */
  readonly port?: number;
  /** The address to listen on. @default {all} */
  readonly hostname?: string;
  /** Key, certificate and the like: with them the server speaks TLS (`https:`, `wss:`). */
  readonly tls?: TlsOptions;
}

/** A server that listens. */
export interface NodeServer {
  /** The port it listens on. */
  readonly port: number;
  /** Where to reach it from this machine. */
  readonly url: string;
  /**
   * Stops listening, closes all WebSockets with 1001, and resolves when everything has ended.
   *
   * @param options Where it is given, the app is closed before, with the same options, if it is a
   * `JsonRpc`; requests that are still under way a moment after `drainMs` are cut off. Of a framework
   * around it, close the `JsonRpc` yourself: `await rpc.close({ drainMs }); await server.close()`.
   */
  close(options?: CloseOptions): Promise<void>;
  /** The same, for `await using`. */
  [Symbol.asyncDispose](): Promise<void>;
}

/**
 * Serves an app over HTTP and WebSocket.
 *
 * @param app A `JsonRpc`, or anything with a `fetch` that hands its second argument to `rpc.fetch`.
 * @returns The server, once it listens. Rejects where it cannot, with the system's own error.
 *
 * @example
 * ```ts
 * import { connect, JsonRpc } from "@x/jsonrpc";
 * import { serve } from "@x/jsonrpc/node";
 *
 * const rpc = new JsonRpc().method("ping", () => "pong");
 * const server = await serve(rpc, { port: 0, hostname: "127.0.0.1" });
 *
 * const client = await connect<typeof rpc>(`ws://127.0.0.1:${server.port}`);
 * console.assert(await client.call("ping") === "pong");
 *
 * await client.close();
 * await server.close();
 * ```
 */
export async function serve(app: FetchApp, options: ServeOptions = {}): Promise<NodeServer> {
  const { port = 8000, hostname, tls } = options;
  const server = createAdaptorServer({
    fetch: (request: Request, env: object) =>
      app.fetch(request, Object.assign(env, { runtime: nodeRuntime })),
    overrideGlobalObjects: false,
    ...(tls === undefined ? {} : { createServer: createSecureServer }),
    // Java's and Apache's clients offer "h2c" or "TLS/1.2" beside whatever they ask: to be passed over.
    // Before Node 24.9 each of these is taken for an upgrade, and refused.
    serverOptions: { ...tls, shouldUpgradeCallback: asksForWebSocket },
  }) as Server;
  const upgrades = new NodeUpgrades(app, tls !== undefined);
  server.on("upgrade", (incoming, socket, head) => upgrades.take(incoming, socket, head));
  await listen(server, port, hostname);
  return new Listening(server, { app, upgrades, secure: tls !== undefined, hostname });
}

function asksForWebSocket({ headers }: IncomingMessage): boolean {
  return isWebSocket(headers.upgrade);
}

interface Served {
  readonly app: FetchApp;
  readonly upgrades: NodeUpgrades;
  readonly secure: boolean;
  readonly hostname: string | undefined;
}

/** What a server of `node:http` and `node:https` has beside that of `node:net`. */
type ConnectionClosers = Pick<HttpServer, "closeIdleConnections" | "closeAllConnections">;

class Listening implements NodeServer {
  readonly port: number;
  readonly url: string;
  readonly #server: Server & Partial<ConnectionClosers>;
  readonly #app: FetchApp;
  readonly #upgrades: NodeUpgrades;
  #ended: Promise<void> | undefined;

  constructor(server: Server, served: Served) {
    const { app, upgrades, secure, hostname = "localhost" } = served;
    this.#server = server;
    this.#app = app;
    this.#upgrades = upgrades;
    this.port = (server.address() as AddressInfo).port;
    const host = hostname.includes(":") ? `[${hostname}]` : hostname;
    this.url = `${secure ? "https" : "http"}://${host}:${this.port}`;
  }

  async close(options?: CloseOptions): Promise<void> {
    const cutAt = performance.now() + (options?.drainMs ?? Infinity) + CUT_MS;
    if (options !== undefined) await this.#app.close?.(options);
    await (this.#ended ??= this.#end(cutAt));
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  async #end(cutAt: number): Promise<void> {
    const server = this.#server;
    const closed = new Promise<void>((resolve) => server.close(() => resolve()));
    server.closeIdleConnections?.();
    // Connections fall idle with their last answer; nothing but a look tells when.
    const looks = setInterval(() => {
      if (performance.now() < cutAt) server.closeIdleConnections?.();
      else server.closeAllConnections?.();
    }, LOOK_MS);
    await Promise.all([closed, this.#upgrades.close()]);
    clearInterval(looks);
  }
}

function listen(server: Server, port: number, hostname: string | undefined): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once("error", reject);
    server.listen(port, hostname, () => {
      server.off("error", reject);
      resolve();
    });
  });
}

// How long requests may last beyond a drain: their answers are on the way.
const CUT_MS = 500;
const LOOK_MS = 50;
