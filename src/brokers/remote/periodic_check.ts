/**
 * Checks many things in turn, a few at a time.
 *
 * @module
 */

import { unref } from "../../util/timer.ts";
import type { Timer } from "../../util/timer.ts";

/** What can be checked. */
export interface Checked {
  check(): void;
}

/** How fast to check. */
export interface PeriodicCheckOptions {
  /** How long one round takes, in milliseconds, unless `mostPerSecond` makes it longer. */
  readonly everyMs: number;
  /** At most so many members a second, however many there are. */
  readonly mostPerSecond: number;
}

const STEP_MS = 1_000;
// A hurried round checks 1,000 members a second.
const HURRY_MS = 100;
const HURRY_COUNT = 100;

/** Checks each member once in a while, spread over the time. */
export class PeriodicCheck<T extends Checked> {
  readonly #members: ReadonlySet<T>;
  readonly #timer: Timer;
  #next: Iterator<T>;
  #hurrying: Timer | undefined;

  /**
   * @param members Those to check; may change at any time.
   * @param options How fast.
   */
  constructor(members: ReadonlySet<T>, { everyMs, mostPerSecond }: PeriodicCheckOptions) {
    this.#members = members;
    this.#next = members.values();
    const count = () => Math.min(Math.ceil(members.size * STEP_MS / everyMs), mostPerSecond);
    this.#timer = unref(setInterval(() => this.#check(count()), STEP_MS));
  }

  /** Starts a round at once that checks all members soon, beside the slow rounds. */
  hurry(): void {
    clearTimeout(this.#hurrying);
    const rest = this.#members.values();
    const step = (): void => {
      for (let n = 0; n < HURRY_COUNT; n++) {
        const { done, value } = rest.next();
        if (done) return;
        value.check();
      }
      this.#hurrying = unref(setTimeout(step, HURRY_MS));
    };
    step();
  }

  /** Ends it. */
  end(): void {
    clearInterval(this.#timer);
    clearTimeout(this.#hurrying);
  }

  #check(count: number): void {
    for (let n = 0; n < count; n++) {
      const { done, value } = this.#next.next();
      if (done) this.#next = this.#members.values();
      else value.check();
    }
  }
}
