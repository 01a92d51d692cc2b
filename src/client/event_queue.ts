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

/** Where a sender puts items. Its functions need no `this`. */
export interface EventQueue {
  /** Adds an item. */
  readonly push: (item: unknown) => void;
  /** Ends the queue. The items that wait can still be read; then the loop throws the error, if there is one. */
  readonly end: (error?: Error) => void;
}

/**
 * Begins to send items to a queue.
 *
 * @param queue The queue.
 * @returns Ends the sending. Not called if the sender ended the queue itself.
 */
export type Begin = (queue: EventQueue) => Promise<() => unknown>;

/**
 * Reads what a sender sends. The sender begins with the first `next()`. Unlike other generators, this one ends
 * at once with `return()`, even while `next()` waits.
 *
 * @param begin Begins to send.
 * @param options How the items are read.
 * @returns The items.
 */
export function readQueue(
  begin: Begin,
  { maxWaiting = 1024, signal }: ReadOptions,
): AsyncGenerator<unknown, void, void> {
  const items: unknown[] = [];
  let begun: Promise<() => unknown> | undefined;
  let ended = false;
  // What the loop throws, in a record since it may be anything.
  let failure: { readonly reason: unknown } | undefined;
  // Ends the wait for an item; set while the reader waits.
  let wake: (() => void) | undefined;

  /** Ends the queue, and the sending if it has begun. */
  function end(why?: typeof failure): Promise<unknown> | undefined {
    if (!ended) {
      ended = true;
      failure = why;
      signal?.removeEventListener("abort", aborted);
      wake?.();
    }
    // If the sending could not begin there is nothing to end.
    const left = begun?.then((leave) => leave(), () => {});
    begun = undefined;
    return left;
  }
  function fail(reason: unknown): void {
    end({ reason })?.catch(() => {});
  }
  function aborted(): void {
    fail(signal?.reason);
  }
  async function* read(): AsyncGenerator<unknown, void, void> {
    signal?.throwIfAborted();
    signal?.addEventListener("abort", aborted);
    begun = begin({
      push(item) {
        if (ended) return;
        // The one that the reader waits for does not count.
        if (items.length < maxWaiting + (wake ? 1 : 0)) {
          items.push(item);
          wake?.();
        } else {
          const why = `Cannot keep up: ${maxWaiting} items wait (maxWaiting)`;
          fail(new RpcConnectionError(why, "unknown"));
        }
      },
      end(error) {
        begun = undefined;
        end(error && { reason: error });
      },
    });
    begun.catch((reason) => {
      begun = undefined;
      end({ reason });
    });
    for (;;) {
      if (items.length > 0) yield items.shift();
      else if (!ended) {
        await new Promise<void>((resolve) => wake = resolve);
        wake = undefined;
      } else {
        if (failure) throw failure.reason;
        return;
      }
    }
  }
  const generator = read();
  const leave = generator.return.bind(generator);
  return Object.assign(generator, {
    async return() {
      items.length = 0;
      await end();
      return await leave();
    },
    async throw(error: unknown) {
      await generator.return();
      throw error;
    },
    async [Symbol.asyncDispose]() {
      await generator.return();
    },
  });
}
