/**
 * Lets a few through at once and a bounded number wait, for work that costs.
 *
 * @module
 */

/** How wide a {@linkcode Semaphore} is. */
export interface SemaphoreOptions {
  /** How much work may be under way at the same time. */
  readonly concurrency: number;
  /** How much more may wait for that. */
  readonly maxWaiting: number;
  /** Makes the error of work that finds no room. @default {a RangeError} */
  readonly full?: () => Error;
}

/** Work passes in the order in which it came. */
export class Semaphore {
  readonly #options: SemaphoreOptions;
  readonly #waiting: (() => void)[] = [];
  #underWay = 0;

  /** @param options How wide it is. */
  constructor(options: SemaphoreOptions) {
    this.#options = options;
  }

  /**
   * Does some work as soon as there is a place for it.
   *
   * @returns What the work gives. Rejects if too much waits already: nothing was done
   * then.
   */
  async run<T>(work: () => Promise<T>): Promise<T> {
    await this.#acquire();
    try {
      return await work();
    } finally {
      const next = this.#waiting.shift();
      // The place is handed over: nobody who comes meanwhile can take it.
      if (next === undefined) this.#underWay--;
      else next();
    }
  }

  #acquire(): Promise<void> | undefined {
    const { concurrency, maxWaiting, full } = this.#options;
    if (this.#underWay < concurrency) {
      this.#underWay++;
      return undefined;
    }
    if (this.#waiting.length >= maxWaiting) {
      throw full?.() ?? new RangeError(`Cannot wait: ${maxWaiting} others wait already`);
    }
    return new Promise((resolve) => this.#waiting.push(resolve));
  }
}
