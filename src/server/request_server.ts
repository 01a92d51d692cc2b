/**
 * How requests come into a server, and how it ends: all of `JsonRpc` that depends on none of its types.
 *
 * @module
 */

import type { CloseOptions } from "../core/close_options.ts";
import type { Transport } from "../core/transport.ts";
import type { StandardSocket } from "../core/web_socket_channel.ts";
import type { Limits } from "../protocol/limits.ts";
import type { BunWebSocketHandler } from "../runtimes/bun.ts";
import type { Attached, AttachOptions } from "./options.ts";
import type { ServerCore } from "./server_core.ts";

/** A server, as runtimes and frameworks use it. */
export class RequestServer {
  /** The limits that hold. */
  readonly limits: Limits;
  readonly #core: ServerCore;

  /** @param core The parts of the server. */
  protected constructor(core: ServerCore) {
    this.#core = core;
    this.limits = core.limits;
    // So that `const { fetch } = rpc` and `Deno.serve(rpc.fetch)` work.
    this.fetch = this.fetch.bind(this);
    this.handleUpgrade = this.handleUpgrade.bind(this);
  }

  /** What `Bun.serve` takes as `websocket`. */
  get websocket(): BunWebSocketHandler {
    return this.#core.websocket;
  }

  /**
   * Answers a request: an upgrade to WebSocket, a POST, a GET of a method that allows it, or an event
   * stream.
   *
   * @param request A standard request.
   * @param host What the runtime passes beside it. If you call this from a `fetch` of your own, pass the
   * second argument of that on.
   * @returns The response.
   */
  fetch(request: Request, host?: unknown): Response | Promise<Response> {
    return this.#core.requests.fetch(request, host);
  }

  /**
   * Turns a request into a WebSocket of this server, as {@linkcode RequestServer.fetch} does with upgrades.
   *
   * @param request A request that asks for an upgrade to WebSocket.
   * @param host What the runtime passes beside it.
   * @returns What your `fetch` has to return.
   * @throws {TypeError} If this runtime has no WebSockets for servers.
   */
  handleUpgrade(request: Request, host?: unknown): Response | Promise<Response> {
    return this.#core.requests.upgrade(request, host);
  }

  /**
   * Opens a connection to a client over something other than this server's HTTP: a WebSocket that the
   * program made, one of `linkedSockets()`, or a {@linkcode Transport} of your own.
   *
   * @param target A socket, open or about to open, or a transport, which is opened once.
   * @param options What is known of the peer. Only with `request` is it checked as by `rpc.fetch`.
   * @returns With `request`, whether the checks have accepted the peer; else it is closed with 1008.
   * @throws {TypeError} Without `request`, if the server is closed, or `maxConnections` are open.
   */
  attach<Options extends AttachOptions>(
    target: StandardSocket | Transport,
    options?: Options,
  ): Attached<Options> {
    return this.#core.requests.attach(target, options ?? {}) as Attached<Options>;
  }

  /**
   * Closes the server: at once, or after `drainMs` in which running calls finish.
   *
   * Meanwhile the server refuses new WebSockets and POSTs with 503, and new calls on open connections
   * with -32009 and `data: { retry: true }`: those have not run. It closes each connection without
   * running calls with 1012; the reason, `retry-after=MS`, says when to come back. After `drainMs` it
   * closes the connections that are left with 1001, and answers the POSTs that are left with 503. Called
   * again, it can only end sooner.
   *
   * @param options How long calls have, and when clients may come back.
   * @returns Resolves when all connections are gone and all plugins are disposed; rejects then if a
   * plugin failed.
   * @throws {RangeError} If an option is not a number from 0.
   */
  close(options: CloseOptions = {}): Promise<void> {
    return this.#core.close(options);
  }

  /** The same as {@linkcode RequestServer.close}, for `await using`. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}
