/**
 * The WebSocket door of a server: from a request to a conversation.
 *
 * @module
 */

import type { Admission, Channel } from "../core/channel.ts";
import { Connections } from "./connections.ts";
import type { Drain } from "./shutdown.ts";
import { describeError } from "../protocol/errors.ts";
import { letGo, toUpgrade } from "./handshake_checks.ts";
import type { Checks } from "./handshake_checks.ts";
import { Hooks } from "./plugin_hooks.ts";
import type { Limits } from "../protocol/limits.ts";
import type { Logger } from "../util/logger.ts";
import type { MethodRegistry } from "./methods.ts";
import { isThenable } from "../core/middleware.ts";
import { Peer } from "./peer.ts";
import type { PeerHost } from "./peer.ts";
import type { Plugin } from "../core/plugin.ts";
import type { Connection, Handshake } from "../core/request.ts";
import { chooseRuntime } from "../runtimes/detect.ts";
import { openSocket } from "../core/web_socket_channel.ts";
import type { StandardSocket } from "../core/web_socket_channel.ts";
import { checkUpgrade, chooseProtocol } from "../runtimes/upgrade_request.ts";

/** What the WebSocket door of a server needs of it. */
export interface SocketDoorOptions {
  /** Which bounds hold. */
  readonly limits: Limits;
  /** Where failures are written. */
  readonly logger: Logger;
  /** What can be called. */
  readonly methods: MethodRegistry;
  /** What is asked before the first message. */
  readonly checks: Checks;
  /** What wants to know when a connection ends, or changes its user. */
  readonly plugins: readonly Plugin[];
  /** Subprotocols to choose from, beside `jsonrpc`. */
  readonly protocols: readonly string[];
  /** The end of the server, once it has begun. */
  readonly drain: Drain;
}

/** Opens connections, and knows those that are open. */
export class SocketDoor {
  /** The connections that are open. */
  readonly connections: Connections;
  readonly #options: SocketDoorOptions;
  readonly #peerHost: PeerHost;
  readonly #hooks: Hooks;
  // Handshakes under way, each with what was revoked meanwhile.
  readonly #arriving = new Map<Handshake, Predicate[]>();
  #closing = false;

  /** @param options What the door needs. */
  constructor(options: SocketDoorOptions) {
    this.#options = options;
    const { limits, logger, methods, plugins, drain } = options;
    const hooks = this.#hooks = new Hooks(plugins, logger);
    this.connections = new Connections(limits);
    this.#peerHost = {
      limits,
      logger,
      find: (name) => drain.begun ? drain.method : methods.find(name),
      ended: (peer) => {
        this.connections.leave(peer);
        hooks.tell("ended", peer);
      },
      closed: (peer) => this.connections.delete(peer),
      userChanged: (peer) => void hooks.tell("userChanged", peer),
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
    const runtime = chooseRuntime(host);
    if (runtime === undefined) {
      throw new TypeError(
        "Cannot upgrade: pass the second argument of your fetch on, and on Node use serve of ./node",
      );
    }
    // Read now: after the upgrade some runtimes refuse to read the request.
    const handshake = toUpgrade(request, runtime, host);
    return this.enter(handshake, (admission) => {
      if (!runtime.keepsRequest) letGo(handshake);
      return runtime.upgrade(request, host, admission);
    });
  }

  /**
   * Opens a connection, whatever carries it, or refuses it: 503 where there is no place, and what the
   * checks say.
   *
   * @param open Makes what the admission is for, and gives the answer.
   */
  enter(handshake: Handshake, open: Arrival["open"]): Response | Promise<Response> {
    if (this.#options.drain.begun) return this.#options.drain.refusal();
    if (!this.connections.reserve()) return this.#full();
    this.#arriving.set(handshake, []);
    const admit = (refusal: Response | undefined) => this.#admit(refusal, { handshake, open });
    const refusal = this.#options.checks.run(handshake);
    return isThenable(refusal) ? refusal.then(admit) : admit(refusal);
  }

  /**
   * Talks on a socket that came some other way.
   *
   * @throws {TypeError} Where the server is closed or has no place left.
   */
  attach(socket: StandardSocket, handshake: Handshake): void {
    if (this.#options.drain.begun || !this.connections.reserve()) {
      throw new TypeError("Cannot attach the socket: no more connections are taken");
    }
    openSocket(socket, this.#admission(handshake));
  }

  /** Ends connections at once, and those of them that are about to open; tells how many were open. */
  revoke(predicate: Predicate): number {
    for (const predicates of this.#arriving.values()) predicates.push(predicate);
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

  #admit(
    refusal: Response | undefined,
    { handshake, open }: Arrival,
  ): Response | Promise<Response> {
    try {
      if (refusal === undefined && !this.#options.drain.begun) {
        return open(this.#admission(handshake));
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
    this.#arriving.delete(handshake);
    this.connections.release();
  }

  #admission(handshake: Handshake): Admission {
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
    const well = this.#hooks.tell("opened", peer);
    const revoked = this.#arriving.get(handshake)?.some((predicate) => predicate(peer) === true);
    this.#arriving.delete(handshake);
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

interface Arrival {
  readonly handshake: Handshake;
  readonly open: (admission: Admission) => Response | Promise<Response>;
}
