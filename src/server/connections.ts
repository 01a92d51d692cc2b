/**
 * The live set: how many may be open, and which of them still are.
 *
 * @module
 */

import type { Limits } from "../protocol/limits.ts";
import type { Peer } from "./peer.ts";
import { MAX_TIMER_MS, unref } from "../util/timer.ts";
import type { Timer } from "../util/timer.ts";

/** The open connections of one server. */
export class Connections implements Iterable<Peer> {
  readonly #limits: Limits;
  readonly #peers = new Set<Peer>();
  // Places taken, by open connections and by those whose handshake is under way.
  #taken = 0;
  #heartbeat: Timer | undefined;
  #heartbeatDueAt = 0;
  // Those that this side has closed, each with the time until which it may answer; the first is due
  // first, and the timer is set for it.
  readonly #terminating = new Map<Peer, number>();
  #terminateTimer: Timer | undefined;
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
    this.#heartbeatDueAt = performance.now();
    const everyMs = Math.min(heartbeatMs, MAX_TIMER_MS);
    this.#heartbeat = unref(setInterval(() => this.#sendHeartbeats(), everyMs));
  }

  /** Cuts a connection off that has been closed, unless it goes by itself in time. */
  scheduleTerminate(peer: Peer): void {
    if (!this.#peers.has(peer)) return;
    this.#terminating.set(peer, performance.now() + TERMINATE_MS);
    if (this.#terminating.size === 1) this.#setTerminateTimer(TERMINATE_MS);
  }

  /** Frees the place of a connection that is gone. */
  delete(peer: Peer): void {
    if (!this.#peers.delete(peer)) return;
    this.#terminating.delete(peer);
    if (this.#peers.size === 0) this.#stopTimers();
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

  #sendHeartbeats(): void {
    const now = performance.now();
    // After a pause of the whole process their signs of life are still unread: nobody is judged.
    const late = now - this.#heartbeatDueAt > 1.5 * this.#limits.heartbeatMs;
    this.#heartbeatDueAt = now;
    for (const peer of this.#peers) {
      if (late) peer.markAlive();
      peer.heartbeat();
    }
  }

  #cutOff(): void {
    const now = performance.now();
    for (const [peer, until] of this.#terminating) {
      if (until > now) return this.#setTerminateTimer(until - now);
      this.#terminating.delete(peer);
      peer.terminate();
    }
  }

  #setTerminateTimer(delayMs: number): void {
    clearTimeout(this.#terminateTimer);
    this.#terminateTimer = unref(setTimeout(() => this.#cutOff(), delayMs));
  }

  #stopTimers(): void {
    clearInterval(this.#heartbeat);
    clearTimeout(this.#terminateTimer);
    this.#heartbeat = undefined;
  }
}

// How long a peer may take to answer a close, and to take what was sent before.
const TERMINATE_MS = 5000;
