/**
 * Serves an app over HTTP and WebSocket on Node, and in the same way on Bun and on Deno, where it answers
 * more calls a second than `Deno.serve`. `requestHandler` and `upgradeHandler` put a server beside the
 * routes of Express, Fastify, Koa or plain `node:http`. Needs the packages `ws`, `@hono/node-server` and
 * `hono`, and Node 22 or newer.
 *
 * ```ts ignore
 * import { JsonRpc } from "@x/jsonrpc";
 * import { serve } from "@x/jsonrpc/node";
 *
 * const rpc = new JsonRpc().method("ping", () => "pong");
 * const server = await serve(rpc, { port: 8080 }); // TLS: { tls: { key, cert } }
 * console.log(server.url);
 * ```
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
import { OpenSockets } from "./open_sockets.ts";
import { nodeRuntime, NodeUpgrades } from "./upgrade.ts";
import type { FetchApp } from "./upgrade.ts";

export { requestHandler, upgradeHandler } from "./handlers.ts";
export type { RequestListener, UpgradeHandlerOptions, UpgradeListener } from "./handlers.ts";
export type { FetchApp } from "./upgrade.ts";

/** Where a server listens, and how. */
export interface ServeOptions {
  /** The TCP port; 0 for any free one. @default {8000} */
  readonly port?: number;
  /** The address to listen on. @default {all addresses} */
  readonly hostname?: string;
  /** The key, the certificate and the like. If given, the server uses TLS (`https:`, `wss:`). */
  readonly tls?: TlsOptions;
}

/** A server that listens. */
export interface NodeServer {
  /** The port it listens on. */
  readonly port: number;
  /** The URL at which this machine reaches it. */
  readonly url: string;
  /**
   * Stops listening, closes all WebSockets with 1001, and waits until everything has ended. Requests that
   * still run after 2 seconds are terminated, unless `drainMs` gives them longer.
   *
   * @param options If given and the app is a `JsonRpc`, the app is closed first, with these options, and
   * requests that still run a moment after `drainMs` are terminated. If the app is a framework around
   * a `JsonRpc`, close that yourself: `await rpc.close({ drainMs }); await server.close()`.
   * @returns Resolves when everything has ended.
   */
  close(options?: CloseOptions): Promise<void>;
  /** The same, for `await using`. */
  [Symbol.asyncDispose](): Promise<void>;
}

/**
 * Serves an app over HTTP and WebSocket.
 *
 * @param app A `JsonRpc`, or anything with a `fetch` that passes its second argument on to `rpc.fetch`.
 * @param options Where to listen, and how.
 * @returns The server, once it listens. Rejects with the system's error, such as EADDRINUSE, if it
 * cannot.
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
    // Clients of Java and Apache offer "h2c" or "TLS/1.2" with every request: ignore that. Node before
    // 24.9 takes each of these for an upgrade, and refuses it.
    serverOptions: { ...tls, shouldUpgradeCallback: asksForWebSocket },
  }) as Server;
  const upgrades = new NodeUpgrades(app, tls !== undefined);
  server.on("upgrade", (incoming, socket, head) => upgrades.take(incoming, socket, head));
  const sockets = new OpenSockets(server, tls !== undefined);
  await listen(server, port, hostname);
  return new Listening(server, { app, upgrades, sockets, secure: tls !== undefined, hostname });
}

function asksForWebSocket({ headers }: IncomingMessage): boolean {
  return isWebSocket(headers.upgrade);
}

interface Served {
  readonly app: FetchApp;
  readonly upgrades: NodeUpgrades;
  readonly sockets: OpenSockets;
  readonly secure: boolean;
  readonly hostname: string | undefined;
}

/** What a server of `node:http` or `node:https` has beyond one of `node:net`. */
type ConnectionClosers = Pick<HttpServer, "closeIdleConnections" | "closeAllConnections">;

class Listening implements NodeServer {
  readonly port: number;
  readonly url: string;
  readonly #server: Server & Partial<ConnectionClosers>;
  readonly #app: FetchApp;
  readonly #upgrades: NodeUpgrades;
  readonly #sockets: OpenSockets;
  #ended: Promise<void> | undefined;

  constructor(server: Server, served: Served) {
    const { app, upgrades, sockets, secure, hostname = "localhost" } = served;
    this.#server = server;
    this.#app = app;
    this.#upgrades = upgrades;
    this.#sockets = sockets;
    this.port = (server.address() as AddressInfo).port;
    const host = hostname.includes(":") ? `[${hostname}]` : hostname;
    this.url = `${secure ? "https" : "http"}://${host}:${this.port}`;
  }

  async close(options?: CloseOptions): Promise<void> {
    const terminateAt = performance.now() + (options?.drainMs ?? DEFAULT_DRAIN_MS) + GRACE_MS;
    if (options !== undefined) await this.#app.close?.(options);
    await (this.#ended ??= this.#end(terminateAt));
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  async #end(terminateAt: number): Promise<void> {
    const server = this.#server;
    const closed = new Promise<void>((resolve) => server.close(() => resolve()));
    server.closeIdleConnections?.();
    // A connection becomes idle after its last response, and there is no event for that.
    const sweeps = setInterval(() => {
      // Not at once: what a client has sent a moment ago may not have been read.
      this.#sockets.closeSilent();
      if (performance.now() < terminateAt) server.closeIdleConnections?.();
      else server.closeAllConnections?.();
    }, SWEEP_MS);
    await Promise.all([closed, this.#upgrades.close()]);
    clearInterval(sweeps);
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

// How long requests may last if `close` is not told: one that trickles would hold it up for ever.
const DEFAULT_DRAIN_MS = 2000;
// How long requests may last after `drainMs`: their responses are on the way.
const GRACE_MS = 500;
const SWEEP_MS = 50;
