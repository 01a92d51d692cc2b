/**
 * Spreads long answers over several turns of the event loop.
 *
 * A runtime hands over what all sockets have received in one turn. If a thousand peers each ask for a
 * long answer, a server that answers them all in that turn makes all answers before it sees that a peer
 * has left, and before any memory of an answer is free again. So once the answers of a turn are long
 * enough, further messages wait for the next turn.
 *
 * @module
 */

/** A peer whose messages can wait. */
export interface PacedPeer {
  /** Handles the messages that wait, until {@linkcode AnswerPacer.isSpent}. Does not throw. */
  resume(): void;
}

/** Counts the long answers that a server makes in one turn. */
export class AnswerPacer {
  #length = 0;
  #isScheduled = false;
  // In the order in which they began to wait.
  readonly #waiting = new Set<PacedPeer>();

  /** Whether messages have to wait for the next turn. */
  get isSpent(): boolean {
    return this.#length >= TURN_LENGTH;
  }

  /**
   * Counts an answer.
   *
   * @param length How long it is, in characters.
   */
  count(length: number): void {
    if (length < LONG) return;
    this.#length += length;
    this.#schedule();
  }

  /** Calls `resume` of a peer in the next turn. */
  wait(peer: PacedPeer): void {
    this.#waiting.add(peer);
    this.#schedule();
  }

  /** Forgets a peer that is gone. */
  delete(peer: PacedPeer): void {
    this.#waiting.delete(peer);
  }

  #schedule(): void {
    if (this.#isScheduled) return;
    this.#isScheduled = true;
    nextTurn(() => this.#begin());
  }

  #begin(): void {
    this.#length = 0;
    this.#isScheduled = false;
    for (const peer of this.#waiting) {
      if (this.isSpent) return this.#schedule();
      // A peer that has to wait again comes last.
      this.#waiting.delete(peer);
      peer.resume();
    }
  }
}

// Shorter answers are not counted: the network takes them at once.
const LONG = 16 * 1024;
// About as much as a server encodes in a few milliseconds, and never less than one answer.
const TURN_LENGTH = 1024 * 1024;

// Not by its plain name, so that this file compiles without the types of Node. A timer is slower, but
// every runtime has one.
const { setImmediate: nextTurn = (run: () => void) => void setTimeout(run) } =
  globalThis as unknown as { readonly setImmediate?: (run: () => void) => void };
