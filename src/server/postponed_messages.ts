/**
 * Messages of one peer that wait for the next turn of the event loop.
 *
 * @module
 */

import type { SessionLimits } from "../protocol/limits.ts";
import type { MemoryBudget } from "./memory_budget.ts";

/** The messages, in order. A few at most: as many as the peer may have in flight, and as long as one. */
export class PostponedMessages {
  readonly #limits: SessionLimits;
  readonly #budget: MemoryBudget | undefined;
  readonly #messages: (string | undefined)[] = [];
  #length = 0;

  /**
   * @param limits The limits of the peer.
   * @param budget Counts the messages.
   */
  constructor(limits: SessionLimits, budget: MemoryBudget | undefined) {
    this.#limits = limits;
    this.#budget = budget;
  }

  /** Whether no message waits. */
  get isEmpty(): boolean {
    return this.#messages.length === 0;
  }

  /**
   * Adds a message.
   *
   * @param text The message, or `undefined` for a binary frame.
   * @returns `false` if it was not added, because too much waits already.
   */
  push(text: string | undefined): boolean {
    const { maxInFlight, maxMessageBytes } = this.#limits;
    const length = this.#length + (text?.length ?? 0);
    if (this.#messages.length >= maxInFlight || length > maxMessageBytes) return false;
    if (this.#budget?.isFull) return false;
    this.#messages.push(text);
    this.#length = length;
    this.#budget?.add(bytesOf(text));
    return true;
  }

  /** Takes the first message. */
  shift(): string | undefined {
    const text = this.#messages.shift();
    this.#length -= text?.length ?? 0;
    this.#budget?.release(bytesOf(text));
    return text;
  }

  /** Drops all messages: their peer is gone. */
  clear(): void {
    while (!this.isEmpty) this.shift();
  }
}

function bytesOf(text: string | undefined): number {
  return ENTRY_BYTES + BYTES_PER_CHARACTER * (text?.length ?? 0);
}

const ENTRY_BYTES = 64;
const BYTES_PER_CHARACTER = 2;
