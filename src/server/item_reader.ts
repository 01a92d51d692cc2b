/**
 * Reads the items of a result that is a stream: a generator, a `ReadableStream`, or anything else that
 * `for await` reads.
 *
 * @module
 */

/** Whether a result is read item by item, unless it says by `toJSON` what it is as a whole. */
export function isStream(result: unknown): result is AsyncIterable<unknown> {
  return typeof result === "object" && result !== null && Symbol.asyncIterator in result &&
    !("toJSON" in result);
}

/** The items of one stream. Reading fails as soon as nobody wants them any more. */
export class ItemReader {
  readonly #items: Source;
  readonly #signal: AbortSignal;
  #ended = false;
  #reject: ((reason: unknown) => void) | undefined;

  /**
   * @param stream The stream.
   * @param signal Aborts when its items are not wanted any more.
   */
  constructor(stream: AsyncIterable<unknown>, signal: AbortSignal) {
    this.#items = sourceOf(stream);
    this.#signal = signal;
    signal.addEventListener("abort", this.#aborted);
  }

  /**
   * Reads the next item.
   *
   * @returns The item. Rejects with what the stream throws, or with the reason of the signal.
   */
  next(): Promise<IteratorResult<unknown, unknown>> {
    return this.#wait((resolve, reject) => this.#items.next().then(resolve, reject));
  }

  /**
   * Waits for something else than an item.
   *
   * @param begin Begins to wait: it gets what settles the wait.
   * @returns What it waits for. Rejects with the reason of the signal.
   */
  wait(begin: (resolve: () => void) => void): Promise<void> {
    return this.#wait<void>((resolve) => begin(() => resolve()));
  }

  /** Ends the stream, unless it has ended. It may still run until it next yields. */
  close(): void {
    this.#signal.removeEventListener("abort", this.#aborted);
    if (this.#ended) return;
    this.#ended = true;
    // If ending it fails, there is nobody left to tell.
    Promise.resolve().then(() => this.#items.return?.()).catch(() => {});
  }

  /** Notes that the stream has ended by itself. */
  ended(): void {
    this.#ended = true;
    this.close();
  }

  async #wait<Value>(
    begin: (resolve: (value: Value) => void, reject: (reason: unknown) => void) => void,
  ): Promise<Value> {
    this.#signal.throwIfAborted();
    try {
      // Not by `Promise.race`: it would add to a promise of the signal with each item.
      return await new Promise<Value>((resolve, reject) => {
        this.#reject = reject;
        begin(resolve, reject);
      });
    } finally {
      this.#reject = undefined;
    }
  }

  readonly #aborted = (): void => this.#reject?.(this.#signal.reason);
}

/** What gives items one by one. */
export interface Source {
  /** Gives the next item. */
  next(): Promise<IteratorResult<unknown, unknown>>;
  /** Ends it. */
  return?(): unknown;
}

/**
 * Gives the items of a stream one by one.
 *
 * @param stream The stream.
 * @returns Its items.
 */
export function sourceOf(stream: AsyncIterable<unknown>): Source {
  if (!(stream instanceof ReadableStream)) return stream[Symbol.asyncIterator]() as Source;
  // Its iterator would end it only after the read under way; a reader does so at once.
  const reader = stream.getReader();
  return {
    next: () => reader.read() as Promise<IteratorResult<unknown, unknown>>,
    return: () => reader.cancel(),
  };
}
