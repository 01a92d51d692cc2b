/**
 * The messages that a client could not send yet.
 *
 * @module
 */

import type { PendingCall } from "../core/pending_calls.ts";
import { RpcConnectionError } from "../protocol/errors.ts";
import { OneShotTimer } from "../util/timer.ts";
import type { ClientLimits } from "./options.ts";

type QueueLimits = Pick<ClientLimits, "maxQueued" | "maxQueuedMs">;

/** One message that waits. */
export interface QueuedMessage {
  /** The message. */
  readonly text: string;
  /** The calls in it; none for notifications. */
  readonly ids: readonly number[];
  /** What became of the calls if they were sent before; `undefined` if they never were. */
  readonly outcome?: RpcConnectionError["outcome"] | undefined;
}

interface WaitingMessage extends QueuedMessage {
  expiresAt: number;
}

/** Messages in the order in which they will be sent, bounded by number and age. */
export class SendQueue {
  readonly #limits: QueueLimits;
  readonly #expired: (message: QueuedMessage) => void;
  readonly #timer = new OneShotTimer();
  #waiting: WaitingMessage[] = [];

  /**
   * @param limits How many messages may wait, and how long.
   * @param expired Called with each message that has waited too long.
   */
  constructor(limits: QueueLimits, expired: (message: QueuedMessage) => void) {
    this.#limits = limits;
    this.#expired = expired;
  }

  /** How many messages wait. */
  get size(): number {
    return this.#waiting.length;
  }

  /** @returns The calls that wait. */
  ids(): Set<number> {
    return new Set(this.#waiting.flatMap(({ ids }) => ids));
  }

  /**
   * Adds a message at the end.
   *
   * @param message The message.
   * @throws {RpcConnectionError} If `maxQueued` messages wait already.
   */
  add(message: QueuedMessage): void {
    const { maxQueued } = this.#limits;
    if (this.size >= maxQueued) {
      throw new RpcConnectionError(`Cannot send: ${maxQueued} messages wait (maxQueued)`);
    }
    this.#insert(this.size, message);
  }

  /**
   * Adds a call that was sent before, at its place in the order of calls.
   *
   * @param id The call's id.
   * @param call The call.
   */
  takeBack(id: number, { text, outcome }: PendingCall): void {
    const next = this.#waiting.findIndex(({ ids: [other] }) => other === undefined || other > id);
    this.#insert(next === -1 ? this.size : next, { text, ids: [id], outcome });
  }

  /** @returns The next message, which waits no more; `undefined` if there is none. */
  next(): QueuedMessage | undefined {
    return this.#waiting.shift();
  }

  /**
   * Removes a call that is alone in its message.
   *
   * @param id The call's id.
   * @returns Whether the call waits here, alone or in a batch.
   */
  cancel(id: number): boolean {
    const found = this.#waiting.find(({ ids }) => ids.includes(id));
    if (found?.ids.length === 1) this.#waiting = this.#waiting.filter((each) => each !== found);
    return found !== undefined;
  }

  /** @returns All messages, which wait no more. */
  clear(): readonly QueuedMessage[] {
    this.#timer.clear();
    return this.#waiting.splice(0);
  }

  #insert(index: number, message: QueuedMessage): void {
    const expiresAt = performance.now() + this.#limits.maxQueuedMs;
    this.#waiting.splice(index, 0, { ...message, expiresAt });
    // All messages may wait equally long, so a later one never expires before the timer.
    if (this.size === 1) this.#watch();
  }

  #watch(): void {
    const earliest = this.#waiting.reduce((at, { expiresAt }) => Math.min(at, expiresAt), Infinity);
    this.#timer.setUnref(earliest - performance.now(), () => {
      const now = performance.now();
      const lateMs = now - earliest;
      if (lateMs > 1000) {
        // This process was busy or asleep, so there was no time for a connection: give some now.
        const until = now + Math.min(lateMs, this.#limits.maxQueuedMs);
        for (const message of this.#waiting) message.expiresAt = Math.max(message.expiresAt, until);
        return this.#watch();
      }
      const expired = this.#waiting.filter(({ expiresAt }) => expiresAt <= now);
      this.#waiting = this.#waiting.filter(({ expiresAt }) => expiresAt > now);
      if (this.size > 0) this.#watch();
      expired.forEach(this.#expired);
    });
  }
}
