/**
 * Lets a few through at once and a bounded number wait, for work that costs.
 *
 * @module
 */

import { ErrorCode, RpcServerError } from "../protocol/errors.ts";

/** How wide a {@linkcode Turnstile} is. */
export interface TurnstileOptions {
  /** How much work may be under way at the same time. */
  readonly atOnce: number;
  /** How much more may wait for that. */
  readonly maxWaiting: number;
}

/** Work passes in the order in which it came. */
export class Turnstile {
  readonly #options: TurnstileOptions;
  readonly #waiting: (() => void)[] = [];
  #underWay = 0;

  /** @param options How wide it is. */
  constructor(options: TurnstileOptions) {
    this.#options = options;
  }

  /**
   * Does some work as soon as there is a place for it.
   *
   * @returns What the work gives. Rejects with `-32009` where too much waits already: nothing was
   * done then.
   */
  async pass<T>(work: () => Promise<T>): Promise<T> {
    await this.#enter();
    try {
      return await work();
    } finally {
      const next = this.#waiting.shift();
      // The place is handed over: nobody who comes meanwhile can take it.
      if (next === undefined) this.#underWay--;
      else next();
    }
  }

  #enter(): Promise<void> | undefined {
    const { atOnce, maxWaiting } = this.#options;
    if (this.#underWay < atOnce) {
      this.#underWay++;
      return undefined;
    }
    if (this.#waiting.length >= maxWaiting) {
      const message = `Server busy: ${maxWaiting} passwords wait to be checked`;
      throw new RpcServerError(ErrorCode.serverBusy, message);
    }
    return new Promise((resolve) => this.#waiting.push(resolve));
  }
}
