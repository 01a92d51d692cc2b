/**
 * Looks after many things in turn, a few at a time.
 *
 * @module
 */

import { unref } from "../../util/timer.ts";
import type { Timer } from "../../util/timer.ts";

/** What wants to be looked after. */
export interface Checked {
  check(): void;
}

const STEP_MS = 1_000;

/** Checks each member once in a while, spread over the time. */
export class PeriodicCheck<T extends Checked> {
  readonly #members: ReadonlySet<T>;
  readonly #timer: Timer;
  #next: Iterator<T>;

  /**
   * @param members Those to check; may change at any time.
   * @param everyMs How long one round takes, in milliseconds.
   */
  constructor(members: ReadonlySet<T>, everyMs: number) {
    this.#members = members;
    this.#next = members.values();
    const step = () => this.#check(Math.ceil(members.size * STEP_MS / everyMs));
    this.#timer = unref(setInterval(step, STEP_MS));
  }

  /** Ends it. */
  end(): void {
    clearInterval(this.#timer);
  }

  #check(count: number): void {
    for (let n = 0; n < count; n++) {
      const { done, value } = this.#next.next();
      if (done) this.#next = this.#members.values();
      else value.check();
    }
  }
}
