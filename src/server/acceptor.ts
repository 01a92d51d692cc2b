/**
 * Accepts WebSockets and event streams: from a request to an open connection.
 *
 * @module
 */

import type { Channel, Receiver, UpgradeContext } from "../core/channel.ts";
import type { Connection, Handshake } from "../core/connection.ts";
import type { Transport } from "../core/transport.ts";
import { openDialect } from "../core/dialect.ts";
import { describeError } from "../protocol/errors.ts";
import { detectRuntime } from "../runtimes/detect.ts";
import { checkUpgrade, chooseProtocol } from "../runtimes/upgrade_request.ts";
import { isThenable } from "../util/maybe_promise.ts";
import { Connections } from "./connections.ts";
import type { ServerContext } from "./context.ts";
import { releaseRequest, toUpgrade } from "./handshake.ts";
import { Peer } from "./peer.ts";
import type { PeerHost } from "./peer.ts";
import type { PluginHooks } from "./plugin_hooks.ts";

/** Opens connections, and knows those that are open. */
export class WebSocketAcceptor {
  /** The connections that are open. */
  readonly connections: Connections;
  readonly #context: ServerContext;
  readonly #protocols: readonly string[];
  readonly #peerHost: PeerHost;
  readonly #hooks: PluginHooks;
  // Handshakes under way, each with the predicates of the calls of `revoke` made in the meantime.
  readonly #pending = new Map<Handshake, Predicate[]>();
  // Transports that `attach` was given and that have not opened yet.
  readonly #attaching = new Set<AbortController>();
  // How to take back the count of each client's connection.
  readonly #addresses = new WeakMap<Handshake, () => void>();
  #closing = false;
  #warned = false;

  /**
   * @param context What the parts of the server share.
   * @param protocols Subprotocols to choose from, beside `jsonrpc`. @default {[]}
   */
  constructor(context: ServerContext, protocols: readonly string[] = []) {
    this.#context = context;
    this.#protocols = protocols;
    const { errors, explainRefusals, limits, logger, budget, methods, hooks } = context;
    const { pacer, shutdown } = context;
    this.#hooks = hooks;
    this.connections = new Connections(limits);
    this.#peerHost = {
      errors,
      explainRefusals,
      limits,
      logger,
      budget,
      ...pacer && { pacer },
      find: (name) => shutdown.started ? shutdown.method : methods.find(name),
      ended: (peer) => {
        this.connections.scheduleTerminate(peer);
        hooks.call("onClose", peer);
      },
      closed: (peer) => {
        budget.note(peer, 0);
        this.#releaseAddress(peer.handshake);
        this.connections.delete(peer);
      },
      userChanged: (peer) => void hooks.call("onUserChange", peer),
      get outgoing() {
        return hooks.outgoing;
      },
    };
  }

  /**
   * Turns a request into a WebSocket connection, or refuses it: with 400 or 426 if the handshake is
   * wrong, with 503 if the server is full or closes, or with the response of a check.
   *
   * @param request A standard request.
   * @param host What the runtime passes beside the request.
   * @returns The response to the upgrade.
   * @throws {TypeError} If this runtime has no WebSockets for servers.
   * @see {@link https://www.rfc-editor.org/rfc/rfc6455#section-4.2 | RFC 6455, section 4.2}
   */
  upgrade(request: Request, host: unknown): Response | Promise<Response> {
    const wrong = checkUpgrade(request);
    if (wrong !== undefined) return wrong;
    const runtime = detectRuntime(host);
    if (runtime === undefined) {
      throw new TypeError(
        "Cannot upgrade: pass the second argument of your fetch on to rpc.fetch, and on Node use serve of ./node",
      );
    }
    if (runtime.warning !== undefined && !this.#warned) {
      this.#warned = true;
      this.#context.logger.warn(runtime.warning);
    }
    // Read now: after the upgrade some runtimes refuse to read the request.
    const { addresses } = this.#context;
    const handshake = toUpgrade(request, { runtime, host, addresses });
    return this.accept(handshake, (context) => {
      if (!runtime.keepsRequest) releaseRequest(handshake);
      return runtime.upgrade(request, host, context);
    });
  }

  /**
   * Opens a connection over any carrier, or refuses it: with 503 if the server is full or closes, or
   * with the response of a check.
   *
   * @param handshake What is known of the peer.
   * @param open Makes the carrier, and gives the response to the request.
   * @returns That response, or the refusal.
   */
  accept(handshake: Handshake, open: PendingUpgrade["open"]): Response | Promise<Response> {
    if (this.#context.shutdown.started) return this.#context.shutdown.refusal();
    if (this.#context.budget.isFull) return refuseFull(MEMORY_FULL);
    if (!this.connections.reserve()) return refuseFull(this.#fullText());
    const releaseAddress = this.#context.addresses.take(handshake);
    if (releaseAddress === undefined) {
      this.connections.release();
      return refuseFull(ADDRESS_FULL);
    }
    this.#addresses.set(handshake, releaseAddress);
    this.#pending.set(handshake, []);
    const finish = (refusal: Response | undefined) =>
      this.#finishUpgrade(refusal, { handshake, open });
    const refusal = this.#context.checks.run(handshake);
    return isThenable(refusal) ? refusal.then(finish) : finish(refusal);
  }

  /**
   * Opens a connection over a transport that the program brings.
   *
   * @param transport Opened once.
   * @param handshake What is known of the peer.
   * @throws {TypeError} If the server is closed or full, or the transport is connectionless. Also
   * throws what `transport.open` throws.
   */
  attach(transport: Transport, handshake: Handshake): void {
    const { limits: { maxMessageBytes }, logger, shutdown } = this.#context;
    if (transport.isConnectionless) {
      throw new TypeError(
        "Cannot attach: the transport is connectionless, so only a client can use it",
      );
    }
    if (shutdown.started) throw new TypeError("Cannot attach: the server is closed");
    if (!this.connections.reserve()) throw new TypeError(`Cannot attach: ${this.#fullText()}`);
    this.#pending.set(handshake, []);
    const attempt = new AbortController();
    this.#attaching.add(attempt);
    // Once only, and not if the connection was opened: its slot is released when it ends.
    const release = (): void => {
      if (this.#attaching.delete(attempt)) this.#release(handshake);
    };
    attempt.signal.addEventListener("abort", release);
    const opened = (channel: Channel): Receiver => {
      this.#attaching.delete(attempt);
      return this.#open(channel, handshake);
    };
    try {
      const context = { maxMessageBytes, signal: attempt.signal, opened, refused: release };
      const opening = transport.open(context);
      if (!isThenable(opening)) return;
      opening.then(undefined, (error) => {
        release();
        logger.error(
          `Attaching ${transport.name ?? "a transport"} failed: ${describeError(error)}`,
        );
      });
    } catch (error) {
      release();
      throw error;
    }
  }

  /**
   * Closes connections at once, also those that are about to open.
   *
   * @param predicate Answers `true` for each connection to close.
   * @returns How many open connections it closed.
   */
  revoke(predicate: Predicate): number {
    for (const predicates of this.#pending.values()) predicates.push(predicate);
    const peers = [...this.connections].filter((peer) => predicate(peer) === true);
    peers.forEach(revoke);
    return peers.length;
  }

  /**
   * Closes all connections, also those that are about to open.
   *
   * @param code A close code of RFC 6455, section 7.4.
   * @param reason A text for the peers.
   * @param graceMs Milliseconds that peers have to answer the close.
   * @returns Resolves when all connections are gone.
   */
  async close(code: number, reason: string, graceMs: number): Promise<void> {
    this.#closing = true;
    for (const attempt of this.#attaching) attempt.abort();
    for (const peer of this.connections) peer.close(code, reason);
    await this.connections.empty(graceMs);
  }

  #finishUpgrade(
    refusal: Response | undefined,
    { handshake, open }: PendingUpgrade,
  ): Response | Promise<Response> {
    const { checks, logger, shutdown } = this.#context;
    try {
      if (refusal === undefined && !shutdown.started) return open(this.#upgradeContext(handshake));
    } catch (error) {
      logger.error(`An upgrade failed: ${describeError(error)}`);
      refusal = new Response("Upgrade failed", { status: 400 });
    }
    // Release the slot before copying the refusal, so that rejected peers do not use up
    // maxConnections.
    this.#release(handshake);
    return refusal === undefined ? shutdown.refusal() : checks.answer(refusal);
  }

  #fullText(): string {
    return `${this.#context.limits.maxConnections} connections are open (maxConnections)`;
  }

  #release(handshake: Handshake): void {
    this.#releaseAddress(handshake);
    this.#pending.delete(handshake);
    this.connections.release();
  }

  #releaseAddress(handshake: Handshake): void {
    this.#addresses.get(handshake)?.();
    this.#addresses.delete(handshake);
  }

  #upgradeContext(handshake: Handshake): UpgradeContext {
    const { limits: { maxMessageBytes, heartbeatMs } } = this.#context;
    return {
      protocol: chooseProtocol(handshake.headers, this.#protocols),
      maxMessageBytes,
      heartbeatMs,
      opened: (channel) => this.#open(channel, handshake),
      refused: () => this.#release(handshake),
    };
  }

  #open(channel: Channel, handshake: Handshake): Receiver {
    const { dialect, traces, limits: { maxMessageBytes } } = this.#context;
    const open = (outer: Channel): Receiver => this.#openPeer(outer, handshake);
    // An event stream has messages of this package alone.
    const speak = dialect === undefined || channel.oneWay
      ? open
      : (outer: Channel) => openDialect(outer, { dialect, maxMessageBytes }, open);
    return traces.reduce<typeof open>(
      (inner, trace) => (outer) => trace.open(outer, inner),
      speak,
    )(channel);
  }

  #openPeer(channel: Channel, handshake: Handshake): Peer {
    const peer = new Peer(channel, this.#peerHost, handshake);
    this.connections.add(peer);
    const succeeded = this.#hooks.call("onOpen", peer);
    const revoked = this.#pending.get(handshake)?.some((predicate) => predicate(peer) === true);
    this.#pending.delete(handshake);
    // Close only after this has returned: until then Bun does not know which receiver to tell.
    if (revoked) queueMicrotask(() => revoke(peer));
    // A plugin that should watch over the connection may be the one that failed.
    if (!succeeded) queueMicrotask(() => peer.close(1011, "Internal error"));
    if (this.#closing) queueMicrotask(() => peer.close(1001, "The server is closing"));
    return peer;
  }
}

/** The answer to a peer for which there is no slot, or no memory. */
export function refuseFull(why: string, retryAfterSeconds?: number): Response {
  const headers = { "retry-after": `${retryAfterSeconds}` };
  const init = { status: 503, ...retryAfterSeconds !== undefined && { headers } };
  return new Response(`Server full: ${why}`, init);
}

/** Why a peer is refused if the memory budget is used up. */
export const MEMORY_FULL = "all peers together use too much memory (maxTotalBytes)";

/** Why a peer is refused if its address has too many connections. */
export const ADDRESS_FULL = "your address has too many connections (maxPerAddress)";

type Predicate = (connection: Connection) => boolean;

function revoke(connection: Connection): void {
  connection.close(1008, "Revoked");
  // Calls that still run must not go on with the user's rights.
  connection.logout();
}

interface PendingUpgrade {
  readonly handshake: Handshake;
  readonly open: (context: UpgradeContext) => Response | Promise<Response>;
}
