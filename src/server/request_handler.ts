/**
 * Where every request enters a server. It decides between WebSocket and HTTP; both share one list of
 * checks and one shutdown.
 *
 * @module
 */

import type { CloseOptions } from "../core/close_options.ts";
import type { Connection } from "../core/connection.ts";
import type { ServerStats } from "../core/stats.ts";
import type { Transport } from "../core/transport.ts";
import { socketTransport } from "../core/web_socket_channel.ts";
import type { StandardSocket } from "../core/web_socket_channel.ts";
import { isWebSocket } from "../runtimes/upgrade_request.ts";
import { isWorkers } from "../runtimes/workers.ts";
import { checkTexts } from "../util/check_option.ts";
import { AddressCounts } from "./address_counts.ts";
import { attachRequest } from "./attach_request.ts";
import { WebSocketAcceptor } from "./acceptor.ts";
import type { Connections } from "./connections.ts";
import type { ServerParts } from "./context.ts";
import { HandshakeChecks } from "./handshake_checks.ts";
import { HttpHandler } from "./http/http_handler.ts";
import type { AttachOptions, JsonRpcOptions } from "./options.ts";
import { Origins } from "./origin.ts";
import { Shutdown } from "./shutdown.ts";
import { TurnPacer } from "./turn_pacer.ts";

// How long peers may take to answer a close, and to read what they were answered.
const CLOSE_MS = 2000;

/** Accepts requests until the server closes. */
export class RequestHandler {
  /** The checks that run before the first message of a peer. */
  readonly checks: HandshakeChecks;
  readonly #acceptor: WebSocketAcceptor;
  readonly #http: HttpHandler;
  readonly #shutdown = new Shutdown();
  readonly #addresses: AddressCounts;
  readonly #maxMessageBytes: number;
  #closed: Promise<void> | undefined;

  /**
   * @param parts What the server is made of.
   * @param options The server's options: origins, hosts, subprotocols.
   * @throws {TypeError} If one that is a list of texts is none.
   */
  constructor(parts: ServerParts, options: JsonRpcOptions) {
    const { protocols, trustedProxies } = options;
    checkTexts("protocols", protocols);
    checkTexts("trustedProxies", trustedProxies);
    const origins = new Origins(options, parts.logger);
    this.checks = new HandshakeChecks((handshake) => origins.check(handshake), parts.logger);
    this.#maxMessageBytes = parts.limits.maxMessageBytes;
    const addresses = new AddressCounts(parts.limits.maxPerAddress, trustedProxies);
    this.#addresses = addresses;
    const context = {
      ...parts,
      addresses,
      checks: this.checks,
      // A Worker hands over one message at a time, and lets no request act in the turn of another.
      pacer: isWorkers() ? undefined : new TurnPacer(),
      shutdown: this.#shutdown,
    };
    this.#acceptor = new WebSocketAcceptor(context, protocols);
    this.#http = new HttpHandler(context, {
      origins,
      acceptor: this.#acceptor,
      notificationStatus: options.notificationStatus,
    });
  }

  /** The WebSockets and event streams that are open. */
  get connections(): Connections {
    return this.#acceptor.connections;
  }

  /** Counts what is open and under way. */
  stats(): Pick<
    ServerStats,
    "connections" | "requests" | "calls" | "pendingCalls" | "bufferedBytes"
  > {
    let [calls, pendingCalls, bufferedBytes] = [0, 0, 0];
    for (const peer of this.connections) {
      calls += peer.inFlight;
      pendingCalls += peer.pendingCalls;
      bufferedBytes += peer.bufferedAmount;
    }
    const { size: connections } = this.connections;
    return { connections, requests: this.#http.underWay, calls, pendingCalls, bufferedBytes };
  }

  /**
   * Answers a request of any kind.
   *
   * @param request A standard request.
   * @param host What the runtime passes beside the request.
   * @returns The response.
   */
  fetch(request: Request, host: unknown): Response | Promise<Response> {
    // An upgrade is always a GET, so the headers of a POST need not be read for this.
    if (request.method !== "POST" && isWebSocket(request.headers.get("upgrade"))) {
      return this.upgrade(request, host);
    }
    return this.#http.answer(request, host);
  }

  /**
   * Answers a request that asks for a WebSocket.
   *
   * @param request A standard request.
   * @param host What the runtime passes beside the request.
   * @returns The response to the upgrade.
   */
  upgrade(request: Request, host: unknown): Response | Promise<Response> {
    return this.#acceptor.upgrade(request, host);
  }

  /**
   * Opens a connection over a socket or a transport that the program brings.
   *
   * @param target The socket or transport.
   * @param options What is known of the peer.
   * @returns With a request: whether the peer was accepted.
   * @throws {TypeError} Without a request: if the server is closed or full.
   */
  attach(target: StandardSocket | Transport, options: AttachOptions): void | Promise<boolean> {
    const transport = "open" in target ? target : socketTransport(target);
    const { request } = options;
    if (request !== undefined) {
      const [acceptor, maxMessageBytes] = [this.#acceptor, this.#maxMessageBytes];
      const addresses = this.#addresses;
      return attachRequest({ transport, request, options, acceptor, addresses, maxMessageBytes });
    }
    const { id, url = "", headers = new Headers(), remoteAddress, user = null } = options;
    this.#acceptor.attach(transport, { id, url, headers, remoteAddress, user });
  }

  /**
   * Closes connections at once.
   *
   * @param predicate Answers `true` for each connection to close.
   * @returns How many open connections it closed.
   */
  revoke(predicate: (connection: Connection) => boolean): number {
    return this.#acceptor.revoke(predicate);
  }

  /**
   * Refuses everything new, lets running calls finish in time, and closes the connections.
   *
   * @param options How long calls have, and when clients may come back.
   * @returns Resolves when all connections are gone.
   * @throws {RangeError} If an option is not a number from 0.
   */
  close(options: CloseOptions): Promise<void> {
    this.#shutdown.start(options);
    return this.#closed ??= this.#close();
  }

  async #close(): Promise<void> {
    await this.#shutdown.wait({
      connections: this.connections,
      requests: () => this.#http.underWay,
    });
    this.checks.close(() => this.#shutdown.refusal());
    await Promise.all([
      this.#http.close(CLOSE_MS),
      this.#acceptor.close(1001, "The server is closing", CLOSE_MS),
    ]);
  }
}
