/**
 * Remembers what is registered, so that it can be taken back.
 *
 * @module
 */

import { describeError } from "../protocol/errors.ts";
import type { Logger } from "../util/logger.ts";
import { runSafely } from "../util/maybe_promise.ts";
import { toRegistration } from "../util/registration.ts";
import type { Registration } from "../util/registration.ts";

type Undo = () => void | Promise<void>;

/** The registrations of one server. */
export class Registrations {
  readonly #logger: Logger;
  // What the function that runs now has registered; `undefined` if nobody will take it back.
  #noted: Undo[] | undefined;

  /** @param logger Where a registration that cannot be taken back is written. */
  constructor(logger: Logger) {
    this.#logger = logger;
  }

  /** Notes how to take back what is registered now. */
  note(undo: Undo): void {
    this.#noted?.push(undo);
  }

  /**
   * Runs a function, and remembers what it registers.
   *
   * @param run The function. If it throws, what it has registered is taken back.
   * @returns Takes back what the function has registered.
   */
  collect(run: () => void): Registration {
    const before = this.#noted;
    const noted: Undo[] = this.#noted = [];
    const takeBack = (): void => {
      // The newest first, and each once.
      for (const undo of noted.splice(0).reverse()) {
        runSafely(undo, (error) => {
          this.#logger.error(`Taking a registration back failed: ${describeError(error)}`);
        });
      }
    };
    try {
      run();
    } catch (error) {
      takeBack();
      throw error;
    } finally {
      this.#noted = before;
    }
    // Within another such function it goes with that, unless it was taken back alone.
    before?.push(takeBack);
    return toRegistration(takeBack);
  }
}
