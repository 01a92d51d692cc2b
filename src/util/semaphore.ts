/**
 * Bounds how much expensive work runs at the same time, and how much of it may wait.
 *
 * @module
 */

/** How a {@linkcode Semaphore} is set up. */
export interface SemaphoreOptions {
  /** How many runs may be under way at the same time. */
  readonly concurrency: number;
  /** How many more runs may wait. */
  readonly maxWaiting: number;
  /** Makes the error for a run that finds the queue full. @default {a RangeError} */
  readonly full?: () => Error;
}

/** Runs work in the order in which it arrived, a few runs at a time. */
export class Semaphore {
  readonly #options: SemaphoreOptions;
  readonly #waiting: (() => void)[] = [];
  #running = 0;

  /** @param options How many runs may be under way, and how many may wait. */
  constructor(options: SemaphoreOptions) {
    this.#options = options;
  }

  /**
   * Runs some work as soon as there is a free slot.
   *
   * @param work Starts the work. It is not called if the queue is full.
   * @returns The result of the work. Rejects with what the work rejects with, or with the error of
   * {@linkcode SemaphoreOptions.full} if too many runs wait already.
   */
  async run<T>(work: () => Promise<T>): Promise<T> {
    await this.#acquire();
    try {
      return await work();
    } finally {
      const next = this.#waiting.shift();
      // Hand the slot over without freeing it, so that a run that starts meanwhile cannot take it.
      if (next === undefined) this.#running--;
      else next();
    }
  }

  #acquire(): Promise<void> | undefined {
    const { concurrency, maxWaiting, full } = this.#options;
    if (this.#running < concurrency) {
      this.#running++;
      return undefined;
    }
    if (this.#waiting.length >= maxWaiting) {
      throw full?.() ?? new RangeError(`Cannot run: ${maxWaiting} others wait already`);
    }
    return new Promise((resolve) => this.#waiting.push(resolve));
  }
}
