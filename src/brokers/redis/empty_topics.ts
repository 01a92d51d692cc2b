/**
 * Topics without events and without subscribers, whose positions Redis still keeps for clients that
 * come back.
 *
 * Clients choose such names, so that there may be any number of them: only a bounded number may stay.
 *
 * @module
 */

/** What it needs. */
export interface EmptyTopicsOptions {
  /** How many may stay. */
  readonly max: number;
  /** After how many milliseconds Redis forgets one by itself. */
  expiresMs(): number;
  /** Called with a name that has to be forgotten. */
  forget(name: string): void;
}

/** The names, the longest left first. */
export class EmptyTopics {
  readonly #options: EmptyTopicsOptions;
  // With the time at which each was left.
  readonly #names = new Map<string, number>();

  /** @param options What it needs. */
  constructor(options: EmptyTopicsOptions) {
    this.#options = options;
  }

  /** Adds a name, and forgets the one that was left longest if there are too many. */
  add(name: string): void {
    const now = performance.now();
    this.#names.delete(name);
    this.#names.set(name, now);
    this.#dropExpired(now - this.#options.expiresMs());
    if (this.#names.size <= this.#options.max) return;
    for (const oldest of this.#names.keys()) {
      this.#names.delete(oldest);
      return this.#options.forget(oldest);
    }
  }

  /** Leaves a name out: it has a subscriber. */
  delete(name: string): void {
    this.#names.delete(name);
  }

  #dropExpired(before: number): void {
    for (const [name, leftAt] of this.#names) {
      if (leftAt >= before) return;
      this.#names.delete(name);
    }
  }
}
