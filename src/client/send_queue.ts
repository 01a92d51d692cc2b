/**
 * What a client has to say while there is no connection to say it on.
 *
 * @module
 */

import type { ClientBounds } from "./options.ts";
import { RpcConnectionError } from "../protocol/errors.ts";
import type { PendingCall } from "../core/pending_calls.ts";
import { OneShotTimer } from "../util/timer.ts";

/** One message that waits. */
export interface QueuedMessage {
  /** The message. */
  readonly text: string;
  /** The calls in it; none for notifications. */
  readonly ids: readonly number[];
  /** What became of them, where they were sent before; else they are unsent. */
  readonly outcome?: RpcConnectionError["outcome"] | undefined;
}

interface WaitingMessage extends QueuedMessage {
  readonly expiresAt: number;
}

/** Messages in the order in which they are to go out, bounded by number and age. */
export class SendQueue {
  readonly #bounds: ClientBounds;
  readonly #expired: (message: QueuedMessage) => void;
  readonly #timer = new OneShotTimer();
  #waiting: WaitingMessage[] = [];

  /**
   * @param bounds How many may wait, and how long.
   * @param expired Called for each that has waited too long.
   */
  constructor(bounds: ClientBounds, expired: (message: QueuedMessage) => void) {
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
  add(message: QueuedMessage): void {
    const { maxQueued } = this.#bounds;
    if (this.size >= maxQueued) {
      throw new RpcConnectionError(
        `Cannot send: ${maxQueued} messages wait (maxQueued)`,
      );
    }
    this.#insert(this.size, message);
  }

  /** Lets a call wait that had gone out before, where it stands in the order of calls. */
  takeBack(id: number, { text, outcome }: PendingCall): void {
    const next = this.#waiting.findIndex(({ ids: [other] }) => other === undefined || other > id);
    this.#insert(next === -1 ? this.size : next, { text, ids: [id], outcome });
  }

  /** The next to go out; it waits no more. */
  next(): QueuedMessage | undefined {
    return this.#waiting.shift();
  }

  /** Answers whether the call waits here; where it is alone in its message, that is dropped. */
  cancel(id: number): boolean {
    const index = this.#waiting.findIndex(({ ids }) => ids.includes(id));
    if (this.#waiting[index]?.ids.length === 1) this.#waiting.splice(index, 1);
    return index !== -1;
  }

  /** Forgets all, and gives them. */
  clear(): readonly QueuedMessage[] {
    const all = this.#waiting;
    this.#waiting = [];
    this.#timer.clear();
    return all;
  }

  #insert(index: number, message: QueuedMessage): void {
    const expiresAt = performance.now() + this.#bounds.maxQueuedMs;
    this.#waiting.splice(index, 0, { ...message, expiresAt });
    // All may wait equally long: who comes later expires later.
    if (this.size === 1) this.#watch();
  }

  #watch(): void {
    const earliest = this.#waiting.reduce((at, { expiresAt }) => Math.min(at, expiresAt), Infinity);
    this.#timer.setUnref(earliest - performance.now(), () => {
      const now = performance.now();
      const expired = this.#waiting.filter(({ expiresAt }) => expiresAt <= now);
      this.#waiting = this.#waiting.filter(({ expiresAt }) => expiresAt > now);
      if (this.size > 0) this.#watch();
      expired.forEach(this.#expired);
    });
  }
}
