/**
 * Items that come faster or slower than they are taken, between a sender and a loop.
 *
 * @module
 */

import { RpcConnectionError } from "../protocol/errors.ts";

/** A bounded row of items, for one reader. */
export class EventQueue {
  readonly #maxWaiting: number;
  readonly #waiting: { readonly value: unknown }[] = [];
  #ended = false;
  #failure: Error | undefined;
  #wake: (() => void) | undefined;

  /** @param maxWaiting How many items may wait to be taken; with one more it fails. */
  constructor(maxWaiting: number) {
    this.#maxWaiting = maxWaiting;
  }

  /** Whether its source has ended it. */
  get ended(): boolean {
    return this.#ended;
  }

  /** Adds an item. */
  push(value: unknown): void {
    if (this.#ended || this.#failure !== undefined) return;
    if (this.#waiting.length < this.#maxWaiting) this.#waiting.push({ value });
    else {
      const message = `Cannot keep up: ${this.#maxWaiting} items wait (maxWaiting)`;
      this.#failure = new RpcConnectionError(message, "unknown");
    }
    this.#wake?.();
  }

  /** Ends it, once what came before has been taken: with an error, if there is one. */
  end(failure?: Error): void {
    this.#ended = true;
    this.#failure ??= failure;
    this.#wake?.();
  }

  /** The next item; `undefined` at the end. */
  async take(): Promise<{ readonly value: unknown } | undefined> {
    while (this.#waiting.length === 0) {
      if (this.#failure !== undefined) throw this.#failure;
      if (this.#ended) return undefined;
      await new Promise<void>((resolve) => this.#wake = resolve);
    }
    return this.#waiting.shift();
  }
}
