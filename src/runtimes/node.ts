/**
 * Node, through `@hono/node-server` and `ws`; the same on Deno (where it is faster than Deno's own
 * server) and on Bun.
 *
 * @module
 */

import { createAdaptorServer } from "@hono/node-server";
import type { IncomingMessage } from "node:http";
import { createServer as createSecureServer } from "node:https";
import type { ServerOptions as TlsOptions } from "node:https";
import type { AddressInfo, Server } from "node:net";
import type { Duplex } from "node:stream";
import * as ws from "ws";
import type { WebSocket, WebSocketServer } from "ws";
import { closeReason } from "../channel.ts";
import type { Admission, Channel, Flushable, Outgoing, Receiver, SharedText } from "../channel.ts";
import { createTick } from "../tick.ts";
import type { RuntimeHost } from "./choose.ts";
import type { Runtime } from "./runtime.ts";

// -- types --

/** What is served: a `JsonRpc`, a Hono app, anything with a `fetch`. */
export interface FetchApp {
  /** Answers a request; the second argument is for `rpc.fetch(request, env)`. */
  // deno-lint-ignore no-explicit-any -- each framework has another type for its environment
  fetch(request: Request, env?: any): Response | Promise<Response>;
}

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

// -- server --

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
    fetch: (request: Request, env: object) => app.fetch(request, Object.assign(env, { runtime })),
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

// -- runtime --

/** What `fetch` is given beside a request that asks for a WebSocket. */
interface UpgradeHost extends RuntimeHost {
  readonly incoming: IncomingMessage;
  readonly upgrade?: (admission: Admission) => void;
}

const runtime: Runtime = {
  remoteAddress(_request, host) {
    return (host as UpgradeHost).incoming?.socket?.remoteAddress;
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
class Upgrades {
  readonly #app: FetchApp;
  readonly #scheme: string;
  // One for each limit of message sizes: `ws` takes it from its server.
  readonly #servers = new Map<number, WebSocketServer>();

  constructor(app: FetchApp, secure: boolean) {
    this.#app = app;
    this.#scheme = secure ? "https" : "http";
  }

  async take(incoming: IncomingMessage, socket: Duplex, head: Uint8Array): Promise<void> {
    // A peer that is gone before the answer: nothing is left to tell it.
    socket.on("error", () => socket.destroy());
    let upgraded = false;
    const upgrade = (admission: Admission): void => {
      upgraded = true;
      this.#upgrade(incoming, socket, head, admission);
    };
    const response = await this.#ask(incoming, { incoming, runtime, upgrade });
    // Judged by what happened, not by the response: a framework may have put another in its place.
    if (!upgraded) await refuse(socket, response);
  }

  async close(): Promise<void> {
    const clients = [...this.#servers.values()].flatMap((server) => [...server.clients]);
    await Promise.all(clients.map(closeClient));
  }

  async #ask(incoming: IncomingMessage, host: UpgradeHost): Promise<Response> {
    try {
      return await this.#app.fetch(toRequest(incoming, this.#scheme), host);
    } catch (error) {
      console.error(error);
      return new Response("Internal error", { status: 500 });
    }
  }

  #upgrade(
    incoming: IncomingMessage,
    socket: Duplex,
    head: Uint8Array,
    admission: Admission,
  ): void {
    const server = this.#serverFor(admission.maxMessageBytes);
    protocols.set(incoming, admission.protocol);
    let opened = false;
    server.handleUpgrade(incoming, socket, Buffer.from(head), (ws) => {
      opened = true;
      const channel = isBun ? new PlainChannel(ws) : new CorkedChannel(ws, socket);
      feed(ws, admission.opened(channel));
    });
    if (!opened) admission.refused(1006, "The client is gone, or its handshake was wrong");
  }

  #serverFor(maxMessageBytes: number): WebSocketServer {
    let server = this.#servers.get(maxMessageBytes);
    if (server === undefined) {
      server = new ws.WebSocketServer({
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

// -- channel --

/** `ws` as it is: for Bun, which has its own `ws` that frames nothing in this process. */
class PlainChannel implements Channel {
  protected readonly ws: WebSocket;

  constructor(ws: WebSocket) {
    this.ws = ws;
  }

  get bufferedAmount(): number {
    return this.ws.bufferedAmount;
  }

  send(message: Outgoing): void {
    if (this.ws.readyState !== OPEN) return;
    this.ws.send(typeof message === "string" ? message : message.text);
  }

  close(code: number, reason: string): void {
    this.ws.close(code, closeReason(reason));
  }

  terminate(): void {
    this.ws.terminate();
  }

  ping(): void {
    if (this.ws.readyState === OPEN) this.ws.ping();
  }
}

/** `ws` with one write for all that is sent in a turn, and frames that are shared. */
class CorkedChannel extends PlainChannel {
  readonly #socket: Duplex;

  constructor(ws: WebSocket, socket: Duplex) {
    super(ws);
    this.#socket = socket;
  }

  override send(message: Outgoing): void {
    if (this.ws.readyState !== OPEN) return;
    if (typeof message === "string") this.ws.send(message);
    else if (frameOf === undefined) this.ws.send(message.text);
    else this.#sendFrame(message, frameOf);
  }

  sendAll(messages: readonly Outgoing[]): void {
    this.#socket.cork();
    for (const message of messages) this.send(message);
    this.#socket.uncork();
  }

  defer(outbox: Flushable): void {
    defer(outbox);
  }

  #sendFrame(message: SharedText, frame: FrameOf): void {
    this.#socket.write(message.frame as Uint8Array ?? (message.frame = frame(message.text)));
  }
}

function feed(ws: WebSocket, receiver: Receiver): void {
  ws.on("message", (data: Buffer, isBinary: boolean) => {
    receiver.receive(isBinary ? undefined : data.toString());
  });
  ws.on("pong", () => receiver.alive());
  ws.on("close", (code: number, reason: Buffer) => receiver.closed(code, reason.toString()));
  // Its close follows, with the code that tells what was wrong.
  ws.on("error", () => {});
}

type FrameOf = (text: string) => Uint8Array;

/** Frames a text as `ws` does, where this version of `ws` still lets others do so. */
function findFrameOf(): FrameOf | undefined {
  const { Sender } = ws as unknown as {
    Sender?: { frame?(data: Uint8Array, options: typeof TEXT_FRAME): Uint8Array[] };
  };
  if (typeof Sender?.frame !== "function") return undefined;
  return (text) => Buffer.concat(Sender.frame?.(Buffer.from(text), TEXT_FRAME) ?? []);
}

// -- helpers --

const OPEN = 1;
const TEXT_FRAME = { fin: true, opcode: 1, mask: false, rsv1: false, readOnly: true };
const isBun = "Bun" in globalThis;
const frameOf = findFrameOf();
const defer = createTick((run) => setImmediate(run));
const protocols = new WeakMap<IncomingMessage, string | undefined>();

/** The upgrade request as a standard one. */
function toRequest(incoming: IncomingMessage, scheme: string): Request {
  const headers = new Headers();
  const { rawHeaders } = incoming;
  for (let index = 0; index + 1 < rawHeaders.length; index += 2) {
    headers.append(rawHeaders[index] as string, rawHeaders[index + 1] as string);
  }
  const host = incoming.headers.host ?? "localhost";
  return new Request(new URL(incoming.url ?? "/", `${scheme}://${host}`), { headers });
}

/** Answers an upgrade that was refused, on the bare socket. */
async function refuse(socket: Duplex, response: Response): Promise<void> {
  const body = new Uint8Array(await response.arrayBuffer());
  const headers = new Headers(response.headers);
  headers.set("content-length", String(body.byteLength));
  headers.set("connection", "close");
  const status = response.status < 300 ? 426 : response.status;
  const lines = [`HTTP/1.1 ${status} ${response.statusText}`.trimEnd()];
  headers.forEach((value, name) => lines.push(`${name}: ${value}`));
  socket.write(`${lines.join("\r\n")}\r\n\r\n`);
  socket.end(body);
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
