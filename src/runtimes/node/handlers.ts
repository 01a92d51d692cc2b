/**
 * Parts of a server that somebody else has made: a request listener and an `upgrade` listener for
 * `node:http`, and so for Express, Fastify, Koa and whatever else is built on it.
 *
 * @module
 */

import { getRequestListener } from "@hono/node-server";
import { Buffer } from "node:buffer";
import { EventEmitter } from "node:events";
import type { IncomingMessage, ServerResponse } from "node:http";
import type { Duplex } from "node:stream";
import { excessOfValue } from "../../protocol/depth.ts";
import { isWebSocket } from "../upgrade_request.ts";
import { destroy, nodeRuntime, NodeUpgrades, refuse } from "./upgrade.ts";
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
   * listeners of the server; if it has none but those of this module, they are answered with 404.
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
 * `rpc.fetch` hold. `rpc.close()` closes what it has opened, and refuses upgrades that are under way. Reserve
 * connections are the server's own: `server.closeAllConnections()` ends those.
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
  const takes = (incoming: IncomingMessage): boolean =>
    isWebSocket(incoming.headers.upgrade) && (path === undefined || pathOf(incoming) === path);
  function listener(
    this: unknown,
    incoming: IncomingMessage,
    socket: Duplex,
    head: Uint8Array,
  ): void {
    if (!takes(incoming)) return leave({ server: this, listener, incoming, socket });
    // Bun's sockets have the member without TLS too.
    const { encrypted } = incoming.socket as { encrypted?: boolean };
    const upgrades = encrypted === true ? secure : plain;
    void upgrades.take(incoming, socket, head);
  }
  // Each listener, and which upgrades it takes.
  listeners.set(listener, takes);
  return listener;
}

const listeners = new WeakMap<object, (incoming: IncomingMessage) => boolean>();

interface LeftUpgrade {
  readonly server: unknown;
  readonly listener: UpgradeListener;
  readonly incoming: IncomingMessage;
  readonly socket: Duplex;
}

/**
 * Leaves an upgrade to the other listeners. If none of them is somebody else's, none answers: the
 * socket would stay open for as long as its client likes.
 */
function leave({ server, listener, incoming, socket }: LeftUpgrade): void {
  // An error without a listener would end the process, and each client can cause one.
  if (!socket.listeners("error").includes(destroy)) socket.on("error", destroy);
  const all = server instanceof EventEmitter ? server.listeners("upgrade") : [];
  const isLast = all.at(-1) === listener;
  if (!isLast || !all.every((each) => listeners.get(each)?.(incoming) === false)) return;
  void refuse(
    socket,
    isWebSocket(incoming.headers.upgrade)
      ? new Response("Not found", { status: 404 })
      : new Response("Expected an upgrade to WebSocket", {
        status: 426,
        headers: { upgrade: "websocket" },
      }),
  );
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
  parsed.rawBody = body instanceof Uint8Array ? Buffer.from(body) : Buffer.from(textOf(body));
}

/** The text of a body; an empty one, which is answered with "Parse error", if it cannot be encoded. */
function textOf(body: unknown): string {
  if (typeof body === "string") return body;
  try {
    // Engines fail at what is much deeper, some of them after seconds.
    return excessOfValue(body, MAX_DEPTH, Infinity) === undefined ? JSON.stringify(body) ?? "" : "";
  } catch {
    return "";
  }
}

// Recursion this deep fits the stack of every engine. The server has a limit of its own.
const MAX_DEPTH = 1000;
