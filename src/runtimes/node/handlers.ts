/**
 * Parts of a server that somebody else has made: a request listener and an `upgrade` listener for
 * `node:http`, and so for Express, Fastify, Koa and whatever else is built on it.
 *
 * @module
 */

import { getRequestListener } from "@hono/node-server";
import { Buffer } from "node:buffer";
import type { IncomingMessage, ServerResponse } from "node:http";
import type { Duplex } from "node:stream";
import { isWebSocket } from "../upgrade_request.ts";
import { nodeRuntime, NodeUpgrades } from "./upgrade.ts";
import type { FetchApp } from "./upgrade.ts";

/** Answers one request of `node:http`. Resolves when the response was sent. Does not reject. */
export type RequestListener = (
  incoming: IncomingMessage,
  outgoing: ServerResponse,
) => Promise<void>;

/** Takes one `upgrade` event of `node:http`. */
export type UpgradeListener = (incoming: IncomingMessage, socket: Duplex, head: Uint8Array) => void;

/** Which upgrades are taken. */
export interface UpgradeHandlerOptions {
  /**
   * The path whose upgrades are taken, such as `/rpc`. Upgrades at other paths are left to the other
   * listeners of the server.
   *
   * @default {every path}
   */
  readonly path?: string;
}

/**
 * Makes a request listener: for `createServer`, for `app.use("/rpc", …)` of Express, and with
 * `context.req` and `context.res` or `request.raw` and `reply.raw` for Koa and Fastify.
 *
 * All checks of `rpc.fetch` hold. A body that a parser has read already, such as that of
 * `express.json()`, is used as the parser gave it.
 *
 * @param app A `JsonRpc`, or anything with a `fetch` that passes its second argument on to `rpc.fetch`.
 * @returns The listener.
 *
 * @example Express
 * ```ts ignore
 * import express from "express";
 * import { requestHandler, upgradeHandler } from "@x/jsonrpc/node";
 *
 * const app = express();
 * app.use("/rpc", requestHandler(rpc)); // POST, GET and server-sent events
 * const server = app.listen(8080);
 * server.on("upgrade", upgradeHandler(rpc, { path: "/rpc" })); // WebSocket
 * ```
 */
export function requestHandler(app: FetchApp): RequestListener {
  const listener = getRequestListener(
    (request: Request, env: object) =>
      app.fetch(request, Object.assign(env, { runtime: nodeRuntime })),
    { overrideGlobalObjects: false },
  );
  return async (incoming, outgoing) => {
    keepParsedBody(incoming);
    await listener(incoming, outgoing);
  };
}

/**
 * Makes a listener for the `upgrade` event of a server of `node:http` or `node:https`. All checks of
 * `rpc.fetch` hold. `rpc.close()` closes what it has opened.
 *
 * @param app A `JsonRpc`, or anything with a `fetch` that passes its second argument on to `rpc.fetch`.
 * @param options Which upgrades are taken.
 * @returns The listener.
 *
 * @example
 * ```ts ignore
 * server.on("upgrade", upgradeHandler(rpc, { path: "/rpc" }));
 * ```
 */
export function upgradeHandler(
  app: FetchApp,
  options: UpgradeHandlerOptions = {},
): UpgradeListener {
  const { path } = options;
  const plain = new NodeUpgrades(app, false);
  const secure = new NodeUpgrades(app, true);
  return (incoming, socket, head) => {
    if (path !== undefined && pathOf(incoming) !== path) return;
    if (!isWebSocket(incoming.headers.upgrade)) return;
    // Bun's sockets have the member without TLS too.
    const { encrypted } = incoming.socket as { encrypted?: boolean };
    const upgrades = encrypted === true ? secure : plain;
    void upgrades.take(incoming, socket, head);
  };
}

function pathOf({ url = "/" }: IncomingMessage): string {
  const end = url.indexOf("?");
  return end === -1 ? url : url.slice(0, end);
}

/** A body that was read cannot be read again: hands on what a parser of a framework made of it. */
function keepParsedBody(incoming: IncomingMessage): void {
  const parsed = incoming as IncomingMessage & { body?: unknown; rawBody?: Buffer };
  if (!incoming.readableEnded || parsed.body === undefined || parsed.rawBody !== undefined) return;
  const { body } = parsed;
  const text = typeof body === "string" ? body : JSON.stringify(body);
  parsed.rawBody = body instanceof Uint8Array ? Buffer.from(body) : Buffer.from(text);
}
