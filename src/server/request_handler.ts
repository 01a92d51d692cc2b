/**
 * The two doors of a server, WebSocket and HTTP: one list of checks before both, one end for both.
 *
 * @module
 */

import type { CloseOptions } from "../core/close_options.ts";
import type { Connections } from "./connections.ts";
import { Shutdown } from "./shutdown.ts";
import { HandshakeChecks } from "./handshake_checks.ts";
import { HttpHandler } from "./http/http_handler.ts";
import type { Limits } from "../protocol/limits.ts";
import type { Logger } from "../util/logger.ts";
import type { MethodRegistry } from "./methods.ts";
import { Origins } from "./origin.ts";
import type { Plugin } from "../core/plugin.ts";
import type { Connection } from "../core/connection.ts";
import type { AttachOptions, JsonRpcOptions } from "./options.ts";
import type { StandardSocket } from "../core/web_socket_channel.ts";
import { WebSocketAcceptor } from "./acceptor.ts";
import { isWebSocket } from "../runtimes/upgrade_request.ts";

/** What the doors need of their server. */
export interface RequestHandlerOptions {
  /** Which bounds hold. */
  readonly limits: Limits;
  /** Where failures are written. */
  readonly logger: Logger;
  /** What can be called. */
  readonly methods: MethodRegistry;
  /** What is mounted, and what will be. */
  readonly plugins: readonly Plugin[];
}

/** Lets peers in, and at the end nobody more. */
export class RequestHandler {
  /** What is asked of a peer before its first message. */
  readonly checks: HandshakeChecks;
  readonly #sockets: WebSocketAcceptor;
  readonly #http: HttpHandler;
  readonly #drain = new Shutdown();
  #closed: Promise<void> | undefined;

  /**
   * @param options What the doors need.
   * @param policy What the server was told: origins, hosts, subprotocols.
   */
  constructor(options: RequestHandlerOptions, policy: JsonRpcOptions) {
    const origins = new Origins(policy, options.logger);
    this.checks = new HandshakeChecks((handshake) => origins.check(handshake), options.logger);
    const door = { ...options, checks: this.checks, drain: this.#drain };
    const sockets = new WebSocketAcceptor({ ...door, protocols: policy.protocols ?? [] });
    this.#sockets = sockets;
    this.#http = new HttpHandler({ ...door, origins, accept: (...way) => sockets.accept(...way) });
  }

  /** The WebSockets and event streams that are open. */
  get connections(): Connections {
    return this.#sockets.connections;
  }

  /** Answers a request, whichever door it asks for. */
  fetch(request: Request, host: unknown): Response | Promise<Response> {
    // An upgrade is a GET: a POST need not be asked for more.
    if (request.method !== "POST" && isWebSocket(request.headers.get("upgrade"))) {
      return this.upgrade(request, host);
    }
    return this.#http.answer(request, host);
  }

  /** Answers a request that asks for a WebSocket. */
  upgrade(request: Request, host: unknown): Response | Promise<Response> {
    return this.#sockets.upgrade(request, host);
  }

  /**
   * Talks on a socket that came some other way.
   *
   * @throws {TypeError} Where the server is closed or has no place left.
   */
  attach(socket: StandardSocket, handshake: AttachOptions): void {
    const { url = "", headers = new Headers(), remoteAddress, user = null } = handshake;
    this.#sockets.attach(socket, { url, headers, remoteAddress, user });
  }

  /** Ends connections at once; tells how many were open. */
  revoke(predicate: (connection: Connection) => boolean): number {
    return this.#sockets.revoke(predicate);
  }

  /**
   * Takes nothing new, lets calls under way finish in time, and resolves when everybody is gone.
   *
   * @throws {RangeError} Where an option is no number from 0.
   */
  close(options: CloseOptions): Promise<void> {
    this.#drain.start(options);
    return this.#closed ??= this.#close();
  }

  async #close(): Promise<void> {
    await this.#drain.wait({
      connections: this.connections,
      requests: () => this.#http.underWay,
    });
    this.#http.cutOff();
    await this.#sockets.close(1001, "The server is closing");
  }
}
