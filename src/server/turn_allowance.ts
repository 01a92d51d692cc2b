/**
 * What need not wait although a turn of the event loop is spent.
 *
 * @module
 */

/** Lets a few pass in each turn. */
export class TurnAllowance {
  readonly #most: number;
  #turn = 0;
  #passed = 0;

  /** @param most How many may pass in one turn. */
  constructor(most: number) {
    this.#most = most;
  }

  /**
   * Counts one more.
   *
   * @param turn The number of the turn.
   * @returns Whether it may pass.
   */
  pass(turn: number): boolean {
    if (this.#turn !== turn) {
      this.#turn = turn;
      this.#passed = 0;
    }
    return this.#passed++ < this.#most;
  }
}
