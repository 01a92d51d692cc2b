/**
 * A queue between the connection, which adds items, and a loop, which reads them.
 *
 * @module
 */

import { RpcConnectionError } from "../protocol/errors.ts";

/** How a loop over items is read. */
export interface ReadOptions {
  /** Items that may wait to be read; one more, and the loop fails. @default {1024} */
  readonly maxWaiting?: number | undefined;
  /** Ends the loop when it aborts: the loop throws the signal's reason. */
  readonly signal?: AbortSignal | undefined;
}

/**
 * Begins to send items to a queue.
 *
 * @param queue The queue.
 * @returns Ends the sending. Not called if the sender ended the queue itself.
 */
export type Begin = (queue: EventQueue) => Promise<() => unknown>;

type Result = IteratorResult<unknown, void>;

/**
 * The items that a sender sends, as an async generator. The sender begins with the first `next()`.
 * Unlike one written with `yield`, this ends at once with `return()`, even while `next()` waits.
 */
export class EventQueue implements AsyncGenerator<unknown, void, void> {
  readonly #begin: Begin;
  readonly #options: ReadOptions;
  readonly #items: unknown[] = [];
  readonly #readers: PromiseWithResolvers<Result>[] = [];
  #begun: Promise<() => unknown> | undefined;
  #ended = false;
  // What the next reader is to be rejected with, in a record since it may be anything.
  #failure: { readonly reason: unknown } | undefined;

  /**
   * @param begin Begins to send.
   * @param options How the items are read.
   */
  constructor(begin: Begin, options: ReadOptions) {
    this.#begin = begin;
    this.#options = options;
  }

  /**
   * Adds an item.
   *
   * @param item The item.
   */
  push(item: unknown): void {
    if (this.#ended) return;
    const { maxWaiting = 1024 } = this.#options;
    if (this.#items.length < maxWaiting) {
      this.#items.push(item);
      this.#deliver();
    } else {
      this.#fail(
        new RpcConnectionError(`Cannot keep up: ${maxWaiting} items wait (maxWaiting)`, "unknown"),
      );
    }
  }

  /**
   * Ends the queue for the sender. The items that wait can still be read.
   *
   * @param error What the loop throws after them.
   */
  end(error?: Error): void {
    this.#end(error && { reason: error });
    this.#begun = undefined;
  }

  next(): Promise<Result> {
    const reader = Promise.withResolvers<Result>();
    this.#readers.push(reader);
    if (!this.#ended && this.#begun === undefined) this.#start();
    this.#deliver();
    return reader.promise;
  }

  async return(): Promise<Result> {
    this.#items.length = 0;
    this.#end();
    await this.#leave();
    return { done: true, value: undefined };
  }

  async throw(error: unknown): Promise<Result> {
    await this.return();
    throw error;
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.return();
  }

  #start(): void {
    const { signal } = this.#options;
    if (signal?.aborted) return this.#fail(signal.reason);
    signal?.addEventListener("abort", this.#aborted);
    this.#begun = this.#begin(this);
    this.#begun.catch((reason) => {
      this.#end({ reason });
      this.#begun = undefined;
    });
  }

  readonly #aborted = (): void => this.#fail(this.#options.signal?.reason);

  #fail(reason: unknown): void {
    this.#end({ reason });
    this.#leave()?.catch(() => {});
  }

  #end(failure?: { readonly reason: unknown }): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#failure = failure;
    this.#options.signal?.removeEventListener("abort", this.#aborted);
    this.#deliver();
  }

  /** Ends the sending, if it has begun. */
  #leave(): Promise<unknown> | undefined {
    const begun = this.#begun;
    this.#begun = undefined;
    // If the sending could not begin there is nothing to end.
    return begun?.then((leave) => leave(), () => {});
  }

  /** Gives what there is to those who wait for it. */
  #deliver(): void {
    while (this.#readers.length > 0 && (this.#items.length > 0 || this.#ended)) {
      const reader = this.#readers.shift() as PromiseWithResolvers<Result>;
      if (this.#items.length > 0) reader.resolve({ done: false, value: this.#items.shift() });
      else if (this.#failure === undefined) reader.resolve({ done: true, value: undefined });
      else {
        reader.reject(this.#failure.reason);
        this.#failure = undefined;
      }
    }
  }
}
