/**
 * Node's `upgrade` event: from the incoming message to a WebSocket, or to a refusal.
 *
 * @module
 */

import type { IncomingMessage, ServerResponse } from "node:http";
import type { Duplex } from "node:stream";
import { WebSocketServer } from "ws";
import type { WebSocket } from "ws";
import type { UpgradeContext } from "../../core/channel.ts";
import type { CloseOptions } from "../../core/close_options.ts";
import { startDeadline } from "../../util/deadline.ts";
import type { RuntimeHost } from "../detect.ts";
import { connectionOf } from "./http_connection.ts";
import { NodeResponse } from "./response.ts";
import type { Runtime } from "../runtime.ts";
import { openWs } from "./ws_channel.ts";

/** What is served: a `JsonRpc`, a Hono app, anything with a `fetch`. */
export interface FetchApp {
  /** Answers a request. Pass the second argument on: `rpc.fetch(request, env)`. */
  // deno-lint-ignore no-explicit-any -- each framework has its own type of environment
  fetch(request: Request, env?: any): Response | Promise<Response>;
  /** Closes the app. Called only if the server is closed with options: `server.close({ drainMs })`. */
  close?(options: CloseOptions): unknown;
}

/** The second argument of `fetch`. */
interface UpgradeHost extends RuntimeHost {
  readonly incoming: IncomingMessage;
  /** Only of a request that is no upgrade. */
  readonly outgoing?: ServerResponse;
  /** Only of a request that is an upgrade. */
  readonly upgrade?: (context: UpgradeContext) => void;
}

/** The `upgrade` event of a Node server, with the sockets of `ws`. */
export const nodeRuntime: Runtime = {
  Response: NodeResponse,

  remoteAddress(_request, host) {
    return (host as UpgradeHost).incoming?.socket?.remoteAddress;
  },

  connection(_request, host) {
    const { incoming } = host as UpgradeHost;
    // Not with HTTP/2, whose requests share a socket, nor with what frameworks inject for tests.
    const isOwn = incoming?.httpVersionMajor === 1 && typeof incoming.socket?.pause === "function";
    return isOwn ? connectionOf(incoming.socket) : undefined;
  },

  onLeave(_request, host, left) {
    const { outgoing } = host as UpgradeHost;
    function closed(): void {
      if (!outgoing?.writableEnded) left();
    }
    outgoing?.once("close", closed);
    return () => outgoing?.off("close", closed);
  },

  upgrade(_request, host, context) {
    const { upgrade } = host as UpgradeHost;
    if (upgrade === undefined) {
      context.refused(1006, "The request is no upgrade");
      return new Response("Expected an upgrade", { status: 426 });
    }
    upgrade(context);
    return new Response(null);
  },
};

/** The sockets of one server, from the request to upgrade until they are closed. */
export class NodeUpgrades {
  readonly #app: FetchApp;
  readonly #scheme: string;
  // One for each `maxMessageBytes`, which `ws` reads from its server.
  readonly #servers = new Map<number, WebSocketServer>();
  // Sockets whose upgrade the app has not answered yet or has refused. Node keeps them open although
  // their client has left.
  readonly #pending = new Set<Duplex>();
  #closed = false;

  /**
   * @param app Answers the upgrades.
   * @param secure Whether the server uses TLS.
   */
  constructor(app: FetchApp, secure: boolean) {
    this.#app = app;
    this.#scheme = secure ? "https" : "http";
  }

  /**
   * Handles one `upgrade` event.
   *
   * @param incoming The request.
   * @param socket Its socket.
   * @param head What the client sent after the request.
   * @returns Resolves when the request was answered. Does not reject.
   */
  async take(incoming: IncomingMessage, socket: Duplex, head: Uint8Array): Promise<void> {
    // If the peer is gone before the answer, there is nothing to send it. One function for all sockets:
    // a closure would keep the request for as long as the socket is open.
    socket.on("error", destroy);
    if (this.#closed) return void socket.destroy();
    this.#pending.add(socket);
    let upgraded = false;
    const upgrade = (context: UpgradeContext): void => {
      upgraded = true;
      this.#pending.delete(socket);
      this.#upgrade(incoming, socket, head, context);
    };
    const response = await this.#ask(incoming, { incoming, runtime: nodeRuntime, upgrade });
    // Decided by whether `upgrade` was called, not by the response: a framework may have replaced it.
    if (!upgraded) await refuse(socket, response);
    this.#pending.delete(socket);
  }

  /** Accepts no more upgrades, closes all sockets with 1001, and resolves when they are gone. */
  async close(): Promise<void> {
    this.#closed = true;
    for (const socket of this.#pending) socket.destroy();
    const clients = [...this.#servers.values()].flatMap((server) => [...server.clients]);
    await Promise.all(clients.map(closeClient));
  }

  async #ask(incoming: IncomingMessage, host: UpgradeHost): Promise<Response> {
    const request = toRequest(incoming, this.#scheme);
    if (request === undefined) return new Response("Bad request", { status: 400 });
    try {
      return await this.#app.fetch(request, host);
    } catch (error) {
      console.error(error);
      return new Response("Internal error", { status: 500 });
    }
  }

  #upgrade(
    incoming: IncomingMessage,
    socket: Duplex,
    head: Uint8Array,
    context: UpgradeContext,
  ): void {
    const server = this.#serverFor(context.maxMessageBytes);
    protocols.set(incoming, context.protocol);
    let opened = false;
    server.handleUpgrade(incoming, socket, Buffer.from(head), (client) => {
      opened = true;
      openWs(client, socket, context);
    });
    if (!opened) context.refused(1006, "The client is gone, or its handshake was wrong");
  }

  #serverFor(maxMessageBytes: number): WebSocketServer {
    let server = this.#servers.get(maxMessageBytes);
    if (server === undefined) {
      server = new WebSocketServer({
        noServer: true,
        perMessageDeflate: false,
        maxPayload: Math.min(maxMessageBytes, 2 ** 31 - 1),
        handleProtocols: (_offered, incoming) => protocols.get(incoming) ?? false,
      });
      this.#servers.set(maxMessageBytes, server);
    }
    return server;
  }
}

/** Listens for errors of a socket whose peer gets no answer any more. */
export function destroy(this: Duplex): void {
  this.destroy();
}

const protocols = new WeakMap<IncomingMessage, string | undefined>();

/**
 * The upgrade request as a standard `Request`; `undefined` if its URL is invalid, or is none for a request:
 * the client chooses the Host header, and Node takes no URL with a user such as `http://a@b`.
 */
function toRequest(incoming: IncomingMessage, scheme: string): Request | undefined {
  const headers = new Headers();
  const { rawHeaders } = incoming;
  for (let index = 0; index + 1 < rawHeaders.length; index += 2) {
    headers.append(rawHeaders[index] as string, rawHeaders[index + 1] as string);
  }
  const host = incoming.headers.host ?? "localhost";
  const path = incoming.url ?? "/";
  // Concatenated, not resolved: the path `//evil.example/` must not become another host.
  const url = path.startsWith("/") ? `${scheme}://${host}${path}` : path;
  try {
    return new Request(url, { headers });
  } catch {
    return undefined;
  }
}

/** Sends the refusal of an upgrade on the bare socket. Resolves when that is closed; does not reject. */
export async function refuse(socket: Duplex, response: Response): Promise<void> {
  let body: Uint8Array;
  try {
    body = new Uint8Array(await response.arrayBuffer());
  } catch (error) {
    // The body was read before, for example because the app gives every peer the same response.
    console.error(error);
    return refuse(socket, new Response("Internal error", { status: 500 }));
  }
  const headers = new Headers(response.headers);
  headers.set("content-length", String(body.byteLength));
  headers.set("connection", "close");
  const status = response.status < 300 ? 426 : response.status;
  // The space stays even if no reason phrase follows (RFC 9112, section 4).
  const lines = [`HTTP/1.1 ${status} ${response.statusText}`];
  headers.forEach((value, name) => lines.push(`${name}: ${value}`));
  socket.write(`${lines.join("\r\n")}\r\n\r\n`);
  socket.end(body);
  await gone(socket);
}

/** Resolves when a socket is closed. Destroys it if the client does not end its half in time. */
function gone(socket: Duplex): Promise<void> {
  return new Promise((resolve) => {
    if (socket.closed) return resolve();
    const stop = startDeadline(CLOSE_MS, () => {
      socket.destroy();
      resolve();
    });
    socket.once("close", () => {
      stop();
      resolve();
    });
  });
}

/** Closes a WebSocket; resolves when it is closed. Terminates it if the client does not answer in time. */
function closeClient(ws: WebSocket): Promise<void> {
  return new Promise((resolve) => {
    const stop = startDeadline(CLOSE_MS, () => ws.terminate());
    ws.once("close", () => {
      stop();
      resolve();
    });
    ws.close(1001, "The server is closing");
  });
}

// How long a client may take to answer a close.
const CLOSE_MS = 2000;
