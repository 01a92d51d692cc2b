/**
 * The WebSocket door of a server: from a request to a conversation.
 *
 * @module
 */

import type { Channel, UpgradeContext } from "../core/channel.ts";
import { Connections } from "./connections.ts";
import type { Shutdown } from "./shutdown.ts";
import { describeError } from "../protocol/errors.ts";
import { releaseRequest, toUpgrade } from "./handshake.ts";
import type { HandshakeChecks } from "./handshake_checks.ts";
import { PluginHooks } from "./plugin_hooks.ts";
import type { Limits } from "../protocol/limits.ts";
import type { Logger } from "../util/logger.ts";
import type { MethodRegistry } from "./methods.ts";
import { isThenable } from "../util/maybe_promise.ts";
import { Peer } from "./peer.ts";
import type { PeerHost } from "./peer.ts";
import type { Plugin } from "../core/plugin.ts";
import type { Connection, Handshake } from "../core/connection.ts";
import { detectRuntime } from "../runtimes/detect.ts";
import { openSocket } from "../core/web_socket_channel.ts";
import type { StandardSocket } from "../core/web_socket_channel.ts";
import { checkUpgrade, chooseProtocol } from "../runtimes/upgrade_request.ts";

/** What the WebSocket door of a server needs of it. */
export interface AcceptorOptions {
  /** Which bounds hold. */
  readonly limits: Limits;
  /** Where failures are written. */
  readonly logger: Logger;
  /** What can be called. */
  readonly methods: MethodRegistry;
  /** What is asked before the first message. */
  readonly checks: HandshakeChecks;
  /** What wants to know when a connection ends, or changes its user. */
  readonly plugins: readonly Plugin[];
  /** Subprotocols to choose from, beside `jsonrpc`. */
  readonly protocols: readonly string[];
  /** The end of the server, once it has begun. */
  readonly drain: Shutdown;
}

/** Opens connections, and knows those that are open. */
export class WebSocketAcceptor {
  /** The connections that are open. */
  readonly connections: Connections;
  readonly #options: AcceptorOptions;
  readonly #peerHost: PeerHost;
  readonly #hooks: PluginHooks;
  // Handshakes under way, each with what was revoked meanwhile.
  readonly #pending = new Map<Handshake, Predicate[]>();
  #closing = false;

  /** @param options What the door needs. */
  constructor(options: AcceptorOptions) {
    this.#options = options;
    const { limits, logger, methods, plugins, drain } = options;
    const hooks = this.#hooks = new PluginHooks(plugins, logger);
    this.connections = new Connections(limits);
    this.#peerHost = {
      limits,
      logger,
      find: (name) => drain.started ? drain.method : methods.find(name),
      ended: (peer) => {
        this.connections.scheduleTerminate(peer);
        hooks.call("onClose", peer);
      },
      closed: (peer) => this.connections.delete(peer),
      userChanged: (peer) => void hooks.call("onUserChange", peer),
    };
  }

  /**
   * Turns a request into a connection, or refuses it: 400 and 426 where it asks wrongly, 503 where
   * there is no place, and what the checks say.
   *
   * @param host What the runtime passes beside the request.
   * @throws {TypeError} Where this runtime has no WebSockets for servers.
   */
  upgrade(request: Request, host: unknown): Response | Promise<Response> {
    const wrong = checkUpgrade(request);
    if (wrong !== undefined) return wrong;
    const runtime = detectRuntime(host);
    if (runtime === undefined) {
      throw new TypeError(
        "Cannot upgrade: pass the second argument of your fetch on, and on Node use serve of ./node",
      );
    }
    // Read now: after the upgrade some runtimes refuse to read the request.
    const handshake = toUpgrade(request, runtime, host);
    return this.accept(handshake, (admission) => {
      if (!runtime.keepsRequest) releaseRequest(handshake);
      return runtime.upgrade(request, host, admission);
    });
  }

  /**
   * Opens a connection, whatever carries it, or refuses it: 503 where there is no place, and what the
   * checks say.
   *
   * @param open Makes what the admission is for, and gives the answer.
   */
  accept(handshake: Handshake, open: PendingUpgrade["open"]): Response | Promise<Response> {
    if (this.#options.drain.started) return this.#options.drain.refusal();
    if (!this.connections.reserve()) return this.#full();
    this.#pending.set(handshake, []);
    const admit = (refusal: Response | undefined) =>
      this.#finishUpgrade(refusal, { handshake, open });
    const refusal = this.#options.checks.run(handshake);
    return isThenable(refusal) ? refusal.then(admit) : admit(refusal);
  }

  /**
   * Talks on a socket that came some other way.
   *
   * @throws {TypeError} Where the server is closed or has no place left.
   */
  attach(socket: StandardSocket, handshake: Handshake): void {
    if (this.#options.drain.started || !this.connections.reserve()) {
      throw new TypeError("Cannot attach the socket: no more connections are taken");
    }
    openSocket(socket, this.#upgradeContext(handshake));
  }

  /** Ends connections at once, and those of them that are about to open; tells how many were open. */
  revoke(predicate: Predicate): number {
    for (const predicates of this.#pending.values()) predicates.push(predicate);
    const peers = [...this.connections].filter((peer) => predicate(peer) === true);
    peers.forEach(revoke);
    return peers.length;
  }

  /** Closes all connections, also those about to open, and resolves when they are gone. */
  async close(code: number, reason: string): Promise<void> {
    this.#closing = true;
    for (const peer of this.connections) peer.close(code, reason);
    await this.connections.empty(CLOSE_MS);
  }

  #finishUpgrade(
    refusal: Response | undefined,
    { handshake, open }: PendingUpgrade,
  ): Response | Promise<Response> {
    try {
      if (refusal === undefined && !this.#options.drain.started) {
        return open(this.#upgradeContext(handshake));
      }
    } catch (error) {
      this.#options.logger.error(`An upgrade failed: ${describeError(error)}`);
      refusal = new Response("Upgrade failed", { status: 400 });
    }
    // First: a crowd of strangers must not keep the places that others could have.
    this.#release(handshake);
    const { checks, drain } = this.#options;
    return refusal === undefined ? drain.refusal() : checks.answer(refusal);
  }

  #full(): Response {
    const { maxConnections } = this.#options.limits;
    const text = `No more than ${maxConnections} connections are taken (maxConnections)`;
    return new Response(text, { status: 503 });
  }

  #release(handshake: Handshake): void {
    this.#pending.delete(handshake);
    this.connections.release();
  }

  #upgradeContext(handshake: Handshake): UpgradeContext {
    const { limits: { maxMessageBytes, heartbeatMs }, protocols } = this.#options;
    return {
      protocol: chooseProtocol(handshake.headers, protocols),
      maxMessageBytes,
      heartbeatMs,
      opened: (channel) => this.#open(channel, handshake),
      refused: () => this.#release(handshake),
    };
  }

  #open(channel: Channel, handshake: Handshake): Peer {
    const peer = new Peer(channel, this.#peerHost, handshake);
    this.connections.add(peer);
    const well = this.#hooks.call("onOpen", peer);
    const revoked = this.#pending.get(handshake)?.some((predicate) => predicate(peer) === true);
    this.#pending.delete(handshake);
    // Not before this returns: until then Bun does not know whom to tell that it has closed.
    if (revoked) queueMicrotask(() => revoke(peer));
    // Whoever was to watch over it may not do so.
    if (!well) queueMicrotask(() => peer.close(1011, "Internal error"));
    if (this.#closing) queueMicrotask(() => peer.close(1001, "The server is closing"));
    return peer;
  }
}

// How long peers may take to answer a close.
const CLOSE_MS = 2000;

type Predicate = (connection: Connection) => boolean;

function revoke(connection: Connection): void {
  connection.close(1008, "Revoked");
  connection.logout(); // for calls that still run
}

interface PendingUpgrade {
  readonly handshake: Handshake;
  readonly open: (admission: UpgradeContext) => Response | Promise<Response>;
}
