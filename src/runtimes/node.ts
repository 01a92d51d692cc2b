/**
 * Node, through `@hono/node-server` and `ws`; the same on Deno (where it is faster than Deno's own
 * server) and on Bun.
 *
 * @module
 */

import { createAdaptorServer } from "@hono/node-server";
import { createServer as createSecureServer } from "node:https";
import type { ServerOptions as TlsOptions } from "node:https";
import type { AddressInfo, Server } from "node:net";
import { nodeRuntime, Upgrades } from "./node_upgrade.ts";
import type { FetchApp } from "./node_upgrade.ts";

export type { FetchApp } from "./node_upgrade.ts";

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
  /** Stops listening, closes all WebSockets with 1001, and resolves when everything has ended. */
  close(): Promise<void>;
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
    ...(tls === undefined ? {} : { createServer: createSecureServer, serverOptions: tls }),
  }) as Server;
  const upgrades = new Upgrades(app, tls !== undefined);
  server.on("upgrade", (incoming, socket, head) => upgrades.take(incoming, socket, head));
  await listen(server, port, hostname);
  return new Listening(server, upgrades, tls !== undefined, hostname);
}

class Listening implements NodeServer {
  readonly port: number;
  readonly url: string;
  readonly #server: Server;
  readonly #upgrades: Upgrades;

  constructor(server: Server, upgrades: Upgrades, secure: boolean, hostname = "localhost") {
    this.#server = server;
    this.#upgrades = upgrades;
    this.port = (server.address() as AddressInfo).port;
    const host = hostname.includes(":") ? `[${hostname}]` : hostname;
    this.url = `${secure ? "https" : "http"}://${host}:${this.port}`;
  }

  async close(): Promise<void> {
    if (!this.#server.listening) return;
    const closed = new Promise<void>((resolve) => this.#server.close(() => resolve()));
    const { closeIdleConnections } = this.#server as { closeIdleConnections?: () => void };
    closeIdleConnections?.call(this.#server);
    await Promise.all([closed, this.#upgrades.close()]);
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
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
