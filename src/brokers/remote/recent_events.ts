/**
 * The events that a broker's topics were given last, whatever their topics: so many for all of them together.
 *
 * @module
 */

// A power of two. More than publishers of one topic usually have under way at the same time.
const SIZE = 1_024;

/** Ids of events, with the one that got each. */
export class RecentEvents<T extends object> {
  readonly #owners = new Array<T | undefined>(SIZE);
  readonly #ids = new Array<string>(SIZE);
  #next = 0;

  /** Adds an event, in place of the oldest. */
  add(owner: T, id: string): void {
    const index = this.#next;
    this.#owners[index] = owner;
    this.#ids[index] = id;
    this.#next = (index + 1) % SIZE;
  }

  /** The ids of one owner's events. */
  of(owner: T): Set<string> {
    return new Set(this.#ids.filter((_, index) => this.#owners[index] === owner));
  }
}
