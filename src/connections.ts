/**
 * The live set: how many may be open, and which of them still are.
 *
 * @module
 */

import type { Limits } from "./limits.ts";
import type { Peer } from "./peer.ts";
import { quiet } from "./timer.ts";
import type { Timer } from "./timer.ts";

/** The open connections of one server. */
export class Connections implements Iterable<Peer> {
  readonly #limits: Limits;
  readonly #peers = new Set<Peer>();
  // Places taken, by open connections and by those whose handshake is under way.
  #taken = 0;
  #heartbeat: Timer | undefined;
  #whenEmpty: (() => void) | undefined;

  /** @param limits Which bounds hold. */
  constructor(limits: Limits) {
    this.#limits = limits;
  }

  /** How many are open. */
  get size(): number {
    return this.#peers.size;
  }

  /** Those that are open. */
  *[Symbol.iterator](): IterableIterator<Peer> {
    for (const peer of this.#peers) if (peer.isOpen) yield peer;
  }

  /** Takes a place before a handshake begins. Answers whether there was one. */
  reserve(): boolean {
    if (this.#taken >= this.#limits.maxConnections) return false;
    this.#taken++;
    return true;
  }

  /** Gives a place back that was reserved and not used. */
  release(): void {
    if (--this.#taken === 0) this.#whenEmpty?.();
  }

  /** Puts an open connection into its reserved place. */
  add(peer: Peer): void {
    this.#peers.add(peer);
    const { heartbeatMs } = this.#limits;
    if (this.#heartbeat !== undefined || heartbeatMs === 0 || heartbeatMs === Infinity) return;
    this.#heartbeat = quiet(setInterval(() => this.#beat(), heartbeatMs));
  }

  /** Frees the place of a connection that is gone. */
  delete(peer: Peer): void {
    if (!this.#peers.delete(peer)) return;
    if (this.#peers.size === 0) this.#stopHeartbeat();
    this.release();
  }

  /** Resolves when no place is taken any more, at the latest when those left are cut off. */
  async empty(graceMs: number): Promise<void> {
    if (this.#taken === 0) return;
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#whenEmpty = resolve;
    const giveUp = setTimeout(() => {
      for (const peer of this.#peers) peer.terminate();
      // Where a runtime cannot cut a socket off, its own idle timeout will.
      resolve();
    }, graceMs);
    await promise;
    clearTimeout(giveUp);
  }

  #beat(): void {
    for (const peer of this.#peers) peer.beat();
  }

  #stopHeartbeat(): void {
    clearInterval(this.#heartbeat);
    this.#heartbeat = undefined;
  }
}
