/**
 * What a client has to say while there is no connection to say it on.
 *
 * @module
 */

import type { ClientBounds } from "./client_options.ts";
import { RpcConnectionError } from "./errors.ts";
import { LONGEST_DELAY, quiet } from "./timer.ts";
import type { Timer } from "./timer.ts";

/** One message that waits. */
export interface Parcel {
  /** The message. */
  readonly text: string;
  /** The calls in it; none for notifications. */
  readonly ids: readonly number[];
}

interface Waiting extends Parcel {
  readonly expiresAt: number;
}

/** Messages in the order in which they are to go out, bounded by number and age. */
export class Outbox {
  readonly #bounds: ClientBounds;
  readonly #expired: (parcel: Parcel) => void;
  #waiting: Waiting[] = [];
  #timer: Timer | undefined;

  /**
   * @param bounds How many may wait, and how long.
   * @param expired Called for each that has waited too long.
   */
  constructor(bounds: ClientBounds, expired: (parcel: Parcel) => void) {
    this.#bounds = bounds;
    this.#expired = expired;
  }

  /** How many wait. */
  get size(): number {
    return this.#waiting.length;
  }

  /** The calls that wait. */
  ids(): Set<number> {
    return new Set(this.#waiting.flatMap(({ ids }) => ids));
  }

  /**
   * Lets a message wait.
   *
   * @throws {RpcConnectionError} Where too many wait already.
   */
  add(parcel: Parcel): void {
    const { maxQueued } = this.#bounds;
    if (this.#waiting.length >= maxQueued) {
      throw new RpcConnectionError(
        `Cannot send: ${maxQueued} messages wait for a connection (maxQueued)`,
      );
    }
    this.#waiting.push(this.#dated(parcel));
    this.#setTimer();
  }

  /** Lets calls wait that had gone out before, in the order in which they were made. */
  takeBack(calls: readonly Parcel[]): void {
    for (const call of calls) {
      const id = call.ids[0] as number;
      const next = this.#waiting.findIndex(({ ids: [other] }) => other === undefined || other > id);
      this.#waiting.splice(next === -1 ? this.size : next, 0, this.#dated(call));
    }
    this.#setTimer();
  }

  /** The next to go out; it waits no more. */
  next(): Parcel | undefined {
    const parcel = this.#waiting.shift();
    if (this.size === 0) this.clear();
    return parcel;
  }

  /** Answers whether the call waits here; where it is alone in its message, that is dropped. */
  cancel(id: number): boolean {
    const index = this.#waiting.findIndex(({ ids }) => ids.includes(id));
    if (this.#waiting[index]?.ids.length === 1) this.#waiting.splice(index, 1);
    if (this.size === 0) this.clear();
    return index !== -1;
  }

  /** Forgets all. */
  clear(): void {
    this.#waiting = [];
    clearTimeout(this.#timer);
    this.#timer = undefined;
  }

  #dated({ text, ids }: Parcel): Waiting {
    return { text, ids, expiresAt: performance.now() + this.#bounds.maxQueuedMs };
  }

  #setTimer(): void {
    if (this.#timer !== undefined || this.size === 0) return;
    const earliest = Math.min(...this.#waiting.map(({ expiresAt }) => expiresAt));
    const delay = Math.min(Math.max(0, Math.ceil(earliest - performance.now())), LONGEST_DELAY);
    this.#timer = quiet(setTimeout(() => this.#sweep(), delay));
  }

  #sweep(): void {
    this.#timer = undefined;
    const now = performance.now();
    const expired = this.#waiting.filter(({ expiresAt }) => expiresAt <= now);
    this.#waiting = this.#waiting.filter(({ expiresAt }) => expiresAt > now);
    this.#setTimer();
    expired.forEach(this.#expired);
  }
}
