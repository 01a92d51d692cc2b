/**
 * The connections that are open: how many may be, heartbeats, and terminating those that do not close.
 *
 * @module
 */

import type { Limits } from "../protocol/limits.ts";
import { startDeadline } from "../util/deadline.ts";
import { GRACE_MS, LATE_MS, MAX_TIMER_MS, OneShotTimer } from "../util/timer.ts";
import type { Peer } from "./peer.ts";

/** The open connections of one server. */
export class Connections implements Iterable<Peer> {
  readonly #limits: Limits;
  readonly #peers = new Set<Peer>();
  // Slots in use, by open connections and by handshakes under way.
  #reserved = 0;
  readonly #heartbeat = new OneShotTimer();
  #hasHeartbeat = false;
  // Connections that this side has closed, each with the time until which the peer may answer. They
  // are in order of that time, and the timer is set for the first.
  readonly #terminating = new Map<Peer, number>();
  readonly #terminateTimer = new OneShotTimer();
  #whenEmpty: (() => void) | undefined;

  /** @param limits The limits that hold. */
  constructor(limits: Limits) {
    this.#limits = limits;
  }

  /** How many connections are open. */
  get size(): number {
    return this.#peers.size;
  }

  /** The connections that are open. */
  *[Symbol.iterator](): IterableIterator<Peer> {
    // A copy, since the program may open and close connections while it iterates.
    for (const peer of [...this.#peers]) if (peer.isOpen) yield peer;
  }

  /**
   * Reserves a slot, before a handshake begins.
   *
   * @returns Whether one was free.
   */
  reserve(): boolean {
    if (this.#reserved >= this.#limits.maxConnections) return false;
    this.#reserved++;
    return true;
  }

  /** Gives back a slot that was reserved and that no connection uses. */
  release(): void {
    if (--this.#reserved === 0) this.#whenEmpty?.();
  }

  /** Puts an open connection into its reserved slot. */
  add(peer: Peer): void {
    this.#peers.add(peer);
    const { heartbeatMs } = this.#limits;
    if (this.#hasHeartbeat || heartbeatMs === 0 || heartbeatMs === Infinity) return;
    if (!peer.needsHeartbeat) return;
    this.#hasHeartbeat = true;
    this.#waitForHeartbeat(Math.min(heartbeatMs, MAX_TIMER_MS));
  }

  /** Terminates a connection that this side has closed, unless the peer answers in time. */
  scheduleTerminate(peer: Peer): void {
    if (!this.#peers.has(peer) || !peer.canTerminate) return;
    this.#terminating.set(peer, performance.now() + TERMINATE_MS);
    if (this.#terminating.size === 1) this.#setTerminateTimer(TERMINATE_MS);
  }

  /** Frees the slot of a connection that is gone. */
  delete(peer: Peer): void {
    if (!this.#peers.delete(peer)) return;
    this.#terminating.delete(peer);
    if (this.#peers.size === 0) this.#stopTimers();
    this.release();
  }

  /**
   * Waits until no slot is in use.
   *
   * @param graceMs Milliseconds until the connections that are left are terminated.
   * @returns Resolves then, at the latest.
   */
  async empty(graceMs: number): Promise<void> {
    if (this.#reserved === 0) return;
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#whenEmpty = resolve;
    const stop = startDeadline(graceMs, () => {
      for (const peer of [...this.#peers]) peer.terminate();
      // If a runtime cannot terminate a socket, that runtime's own idle timeout ends it.
      resolve();
    });
    await promise;
    stop();
  }

  #waitForHeartbeat(everyMs: number): void {
    const dueAt = performance.now() + everyMs;
    const beat = (isLate: boolean): void => {
      // Before the hooks of plugins: the last peer may go, and that ends the heartbeats.
      this.#waitForHeartbeat(everyMs);
      this.#sendHeartbeats(isLate);
    };
    this.#heartbeat.setUnref(everyMs, () => {
      const lateMs = performance.now() - dueAt;
      // After a long sleep of the whole machine a pong needs as much time as any: drop no peer this time.
      if (lateMs < LATE_MS || lateMs > everyMs / 2) beat(lateMs > everyMs / 2);
      // The process was blocked, so the pongs of its peers are still unread.
      else this.#heartbeat.setUnref(GRACE_MS, () => beat(false));
    });
  }

  #sendHeartbeats(isLate: boolean): void {
    // A copy, since a dropped peer calls hooks of plugins.
    for (const peer of [...this.#peers]) {
      if (isLate) peer.markAlive();
      peer.heartbeat();
    }
  }

  #terminateDue(): void {
    const now = performance.now();
    for (const [peer, until] of this.#terminating) {
      if (until > now) return this.#setTerminateTimer(until - now);
      this.#terminating.delete(peer);
      peer.terminate();
    }
  }

  #setTerminateTimer(delayMs: number): void {
    this.#terminateTimer.setDeadline(delayMs, () => this.#terminateDue());
  }

  #stopTimers(): void {
    this.#heartbeat.clear();
    this.#terminateTimer.clear();
    this.#hasHeartbeat = false;
  }
}

// How long a peer may take to read what was sent before a close, and to answer the close.
const TERMINATE_MS = 5000;
