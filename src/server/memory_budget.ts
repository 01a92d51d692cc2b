/**
 * How much memory all peers of a server may use together. The limits of one peer bound nothing if there
 * are thousands of peers: this bounds the sum.
 *
 * What is counted are estimates of what strangers can make a server keep: bodies that are being read,
 * params of calls that run, answers that wait for the rest of their batch, subscriptions, and what peers
 * leave unread.
 *
 * @module
 */

/** Something that holds memory for a slow peer: a connection that does not read, a body that trickles. */
export interface SlowPeer {
  /** Bytes that it holds now. */
  readonly bufferedAmount: number;
  /**
   * Drops it, because all of them together hold too much.
   *
   * @returns Whether its memory is free now.
   */
  drop(): boolean;
}

interface Held {
  bytes: number;
  /** Since when it holds much, by `performance.now()`. */
  readonly since: number;
}

/** The memory that all peers of one server use. */
export class MemoryBudget {
  readonly #maxBytes: number;
  // Params, subscriptions and answers that wait.
  #kept = 0;
  #held = 0;
  // Only slow peers that hold much: the others cost nothing here.
  readonly #slow = new Map<SlowPeer, Held>();
  #checkedAt = -Infinity;
  #wasFull = false;

  /** @param maxBytes How many bytes there are. */
  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes;
  }

  /** Bytes that all peers use, as far as they are counted. */
  get bytes(): number {
    this.#refresh();
    return this.#total;
  }

  /** Whether new connections, long calls and subscriptions have to be refused. */
  get isFull(): boolean {
    if (this.#total < this.#maxBytes) return false;
    return this.#kept >= this.#maxBytes || this.#isFullOfSlow();
  }

  /** Counts bytes that the server keeps from now on. */
  add(bytes: number): void {
    this.#kept += bytes;
    if (this.#total > this.#maxBytes) this.#relieve();
  }

  /** Takes back what {@linkcode MemoryBudget.add} has counted. */
  release(bytes: number): void {
    this.#kept -= bytes;
  }

  /**
   * Notes how much a slow peer holds. If all together hold too much, the heaviest of those that have
   * been slow for some time are dropped.
   *
   * @param peer The slow peer.
   * @param bytes How much it holds; 0 when it is gone.
   */
  note(peer: SlowPeer, bytes: number): void {
    // Each text that is sent comes by here, and most peers read at once.
    if (bytes < MUCH && this.#slow.size === 0) return;
    const before = this.#slow.get(peer);
    if (bytes < MUCH) {
      if (before !== undefined) this.#forget(peer, before);
      return;
    }
    this.#held += bytes - (before?.bytes ?? 0);
    if (before !== undefined) before.bytes = bytes;
    else this.#slow.set(peer, { bytes, since: performance.now() });
    if (this.#total > this.#maxBytes) this.#relieve();
  }

  get #total(): number {
    return this.#kept + this.#held;
  }

  #isFullOfSlow(): boolean {
    const now = performance.now();
    // Counting anew takes time if there are many slow peers.
    if (now - this.#checkedAt < CHECK_MS) return this.#wasFull;
    this.#checkedAt = now;
    this.#relieve();
    // What a burst holds is not counted here: its peers may read it in the next moment.
    const lasting = Array.from(
      this.#slow.values(),
      ({ bytes, since }) => now - since > BURST_MS ? bytes : 0,
    );
    const sum = lasting.reduce((sum, bytes) => sum + bytes, this.#kept);
    return this.#wasFull = sum >= this.#maxBytes || this.#total >= HARD * this.#maxBytes;
  }

  /** Counts anew what slow peers hold: nothing tells this side when they read. */
  #refresh(): void {
    for (const [peer, entry] of this.#slow) {
      const { bufferedAmount } = peer;
      if (bufferedAmount < MUCH) this.#forget(peer, entry);
      else {
        this.#held += bufferedAmount - entry.bytes;
        entry.bytes = bufferedAmount;
      }
    }
  }

  #relieve(): void {
    if (this.#slow.size === 0) return;
    this.#refresh();
    if (this.#total < this.#maxBytes) return;
    // A burst to many peers is no attack: each of them may read it in the next moment.
    const tooMuch = this.#total > HARD * this.#maxBytes;
    const before = tooMuch ? Infinity : performance.now() - BURST_MS;
    const heaviest = [...this.#slow].filter(([, { since }]) => since < before)
      .sort(([, one], [, other]) => other.bytes - one.bytes);
    // Some runtimes cannot free the memory of a peer at once: stop as if they could.
    let left = this.#total;
    for (const [peer, entry] of heaviest) {
      if (left <= ENOUGH * this.#maxBytes) return;
      left -= entry.bytes;
      if (peer.drop()) this.#forget(peer, entry);
    }
  }

  #forget(peer: SlowPeer, entry: Held): void {
    // Dropping a peer may have led to its end, and so here, already.
    if (this.#slow.delete(peer)) this.#held -= entry.bytes;
  }
}

// What holds less than this is not counted: the network takes that at once.
const MUCH = 16 * 1024;
// How long a peer may take to read a burst.
const BURST_MS = 500;
// Beyond this many times the budget it does not matter how long a peer has been slow.
const HARD = 2;
// How much of the budget may be in use after the heaviest peers were dropped.
const ENOUGH = 0.9;
const CHECK_MS = 50;
