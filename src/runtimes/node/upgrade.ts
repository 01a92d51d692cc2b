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
import type { RuntimeHost } from "../detect.ts";
import { NodeResponse } from "./response.ts";
import type { Runtime } from "../runtime.ts";
import { openWs } from "./ws_channel.ts";

/** What is served: a `JsonRpc`, a Hono app, anything with a `fetch`. */
export interface FetchApp {
  /** Answers a request; the second argument is for `rpc.fetch(request, env)`. */
  // deno-lint-ignore no-explicit-any -- each framework has another type for its environment
  fetch(request: Request, env?: any): Response | Promise<Response>;
  /** Ends the app. Called only where the server is told how: `server.close({ drainMs })`. */
  close?(options: CloseOptions): unknown;
}

/** What `fetch` is given beside a request that asks for a WebSocket. */
interface UpgradeHost extends RuntimeHost {
  readonly incoming: IncomingMessage;
  /** Only beside a request that is no upgrade. */
  readonly outgoing?: ServerResponse;
  readonly upgrade?: (admission: UpgradeContext) => void;
}

/** `ws` behind the `upgrade` event of a Node server. */
export const nodeRuntime: Runtime = {
  Response: NodeResponse,

  remoteAddress(_request, host) {
    return (host as UpgradeHost).incoming?.socket?.remoteAddress;
  },

  onLeave(_request, host, left) {
    const { outgoing } = host as UpgradeHost;
    function closed(): void {
      if (!outgoing?.writableEnded) left();
    }
    outgoing?.once("close", closed);
    return () => outgoing?.off("close", closed);
  },

  upgrade(_request, host, admission) {
    const { upgrade } = host as UpgradeHost;
    if (upgrade === undefined) {
      admission.refused(1006, "The request is no upgrade");
      return new Response("Expected an upgrade", { status: 426 });
    }
    upgrade(admission);
    return new Response(null);
  },
};

/** The sockets of one server, from the request to upgrade until they are closed. */
export class NodeUpgrades {
  readonly #app: FetchApp;
  readonly #scheme: string;
  // One for each limit of message sizes: `ws` takes it from its server.
  readonly #servers = new Map<number, WebSocketServer>();
  // Those whose app has not answered yet, and those it has refused, until they are gone. Node keeps
  // them also when their client has left.
  readonly #asking = new Set<Duplex>();
  #closed = false;

  /**
   * @param app What is asked.
   * @param secure Whether the server speaks TLS.
   */
  constructor(app: FetchApp, secure: boolean) {
    this.#app = app;
    this.#scheme = secure ? "https" : "http";
  }

  /** Handles one `upgrade` event. Does not reject. */
  async take(incoming: IncomingMessage, socket: Duplex, head: Uint8Array): Promise<void> {
    // A peer that is gone before the answer: nothing is left to tell it. One function for all: a
    // closure would keep the request for as long as the socket is open.
    socket.on("error", destroy);
    if (this.#closed) return void socket.destroy();
    this.#asking.add(socket);
    let upgraded = false;
    const upgrade = (admission: UpgradeContext): void => {
      upgraded = true;
      this.#asking.delete(socket);
      this.#upgrade(incoming, socket, head, admission);
    };
    const response = await this.#ask(incoming, { incoming, runtime: nodeRuntime, upgrade });
    // Judged by what happened, not by the response: a framework may have put another in its place.
    if (!upgraded) await refuse(socket, response);
    this.#asking.delete(socket);
  }

  /** Closes all sockets with 1001, lets none in any more, and resolves when they are gone. */
  async close(): Promise<void> {
    this.#closed = true;
    for (const socket of this.#asking) socket.destroy();
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
    admission: UpgradeContext,
  ): void {
    const server = this.#serverFor(admission.maxMessageBytes);
    protocols.set(incoming, admission.protocol);
    let opened = false;
    server.handleUpgrade(incoming, socket, Buffer.from(head), (client) => {
      opened = true;
      openWs(client, socket, admission);
    });
    if (!opened) admission.refused(1006, "The client is gone, or its handshake was wrong");
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

function destroy(this: Duplex): void {
  this.destroy();
}

const protocols = new WeakMap<IncomingMessage, string | undefined>();

/** The upgrade request as a standard one; `undefined` where its URL makes none. */
function toRequest(incoming: IncomingMessage, scheme: string): Request | undefined {
  const headers = new Headers();
  const { rawHeaders } = incoming;
  for (let index = 0; index + 1 < rawHeaders.length; index += 2) {
    headers.append(rawHeaders[index] as string, rawHeaders[index + 1] as string);
  }
  const host = incoming.headers.host ?? "localhost";
  const path = incoming.url ?? "/";
  // Put together, not resolved: `//evil.example/` is a path here, and no other host.
  const url = path.startsWith("/") ? `${scheme}://${host}${path}` : path;
  return URL.canParse(url) ? new Request(url, { headers }) : undefined;
}

/** Answers an upgrade that was refused, on the bare socket; resolves when that is gone. Does not reject. */
async function refuse(socket: Duplex, response: Response): Promise<void> {
  let body: Uint8Array;
  try {
    body = new Uint8Array(await response.arrayBuffer());
  } catch (error) {
    // One that was read before, say, because the app gives the same to everybody.
    console.error(error);
    return refuse(socket, new Response("Internal error", { status: 500 }));
  }
  const headers = new Headers(response.headers);
  headers.set("content-length", String(body.byteLength));
  headers.set("connection", "close");
  const status = response.status < 300 ? 426 : response.status;
  // The space stays where no phrase follows it (RFC 9112, section 4).
  const lines = [`HTTP/1.1 ${status} ${response.statusText}`];
  headers.forEach((value, name) => lines.push(`${name}: ${value}`));
  socket.write(`${lines.join("\r\n")}\r\n\r\n`);
  socket.end(body);
  await gone(socket);
}

/** Resolves when a socket is closed. A client that never ends its half would else keep it for ever. */
function gone(socket: Duplex): Promise<void> {
  return new Promise((resolve) => {
    if (socket.closed) return resolve();
    const giveUp = setTimeout(() => {
      socket.destroy();
      resolve();
    }, CLOSE_MS);
    socket.once("close", () => {
      clearTimeout(giveUp);
      resolve();
    });
  });
}

/** Resolves when the client has closed, at the latest when it was given up. */
function closeClient(ws: WebSocket): Promise<void> {
  return new Promise((resolve) => {
    const giveUp = setTimeout(() => ws.terminate(), CLOSE_MS);
    ws.once("close", () => {
      clearTimeout(giveUp);
      resolve();
    });
    ws.close(1001, "The server is closing");
  });
}

// How long a client may take to answer a close.
const CLOSE_MS = 2000;
