/**
 * Shares the turns of the event loop between peers.
 *
 * A runtime hands over what all sockets have received in one turn, and of a peer that floods that can be
 * thousands of messages. A server that handles them all keeps everybody else waiting until it is done. So
 * once a turn has taken some milliseconds, or has made answers of a megabyte, further messages wait for
 * the next turns. There their peers take it by turns, in slices, and one that has just begun to wait comes
 * before those who wait again. A peer that sends little is handled all the while, and a carrier that can
 * pause reads no more of a peer whose messages wait. Requests over HTTP share the turns in the same way.
 *
 * @module
 */

import { lookAtSockets, mustLook, nextTurn } from "../runtimes/next_turn.ts";

/** The messages of a peer that wait. */
export interface PacedQueue {
  /** Handles a slice of them. Does not throw. */
  resume(): void;
  /** How much work of its peer it took, in units of about one short message. */
  readonly taken: number;
  /** Reads on, now that none is left. Does not throw. */
  read(): void;
}

/** Decides which messages of all peers of a server are handled in this turn. */
export class TurnPacer {
  /** Whether messages have to wait for the next turn. */
  isSpent = false;
  /** The number of this turn. Turns in which nothing is measured are not counted. */
  turn = 0;
  /** How many queues have paused their carriers. */
  paused = 0;
  #startedAt = 0;
  #isScheduled = false;
  // Work of this turn, in units of about one short message, and when to look at the clock next.
  #units = 0;
  #checkAt = FREE_STEPS * MAX_STEP;
  #step = MAX_STEP;
  #checkedAt = 0;
  // Characters of long answers that were made in this turn.
  #length = 0;
  // Requests over HTTP that have waited and were started in this turn, and how many may be.
  #started = 0;
  #mostStarted = MOST_STARTED;
  // All in the order in which they began to wait.
  readonly #fresh = new Set<PacedQueue>();
  readonly #waiting = new Set<PacedQueue>();
  readonly #paused = new Set<PacedQueue>();

  /** Whether they have to wait even if they are the first of their peer: their answers could be long too. */
  get isFull(): boolean {
    return this.#length >= TURN_LENGTH;
  }

  /**
   * Counts a message that is about to be handled.
   *
   * @param length How long it is, in characters.
   * @returns Whether the turn has time for it.
   */
  admit(length: number): boolean {
    this.#units += unitsOf(length);
    if (this.#units >= this.#checkAt) this.#check();
    return !this.isSpent;
  }

  /**
   * Counts an answer.
   *
   * @param length How long it is, in characters.
   */
  count(length: number): void {
    if (length < LONG) return;
    this.#length += length;
    if (this.isFull) this.isSpent = true;
    this.#schedule();
  }

  /**
   * Counts a request over HTTP that has waited and goes on now. It does so only after the queues have had
   * their turn, so that no clock tells how long it takes: a turn has time for some of them, and for fewer
   * if the last turn took long.
   */
  start(): void {
    if (++this.#started >= this.#mostStarted) this.isSpent = true;
  }

  /** Calls `resume` of a new queue in the next turn, or in one soon after it. */
  enter(queue: PacedQueue): void {
    this.#fresh.add(queue);
    this.#schedule();
  }

  /** Calls `resume` of a queue again, after all others who wait. */
  wait(queue: PacedQueue): void {
    this.#waiting.add(queue);
    this.#schedule();
  }

  /** Calls `read` of a queue in one of the next turns. */
  waitToRead(queue: PacedQueue): void {
    this.#paused.add(queue);
    this.#schedule();
  }

  /** Forgets the queue of a peer that is gone. */
  delete(queue: PacedQueue): void {
    this.#fresh.delete(queue);
    this.#waiting.delete(queue);
    this.#paused.delete(queue);
  }

  /** Looks at the clock. Most turns are so short that this happens once in many of them. */
  #check(): void {
    const now = performance.now();
    if (this.#isScheduled) {
      if (now - this.#startedAt >= TURN_MS) this.isSpent = true;
      // More often if messages take long.
      const ms = now - this.#checkedAt;
      if (ms > CHECK_MS) this.#step = Math.ceil(this.#step * CHECK_MS / ms);
      else if (this.#step < MAX_STEP) this.#step *= 2;
    } else {
      this.#startedAt = now;
      this.#schedule();
    }
    this.#checkedAt = now;
    this.#checkAt = this.#units + this.#step;
  }

  #schedule(): void {
    if (this.#isScheduled) return;
    this.#isScheduled = true;
    nextTurn(() => this.#begin());
  }

  #begin(): void {
    this.#isScheduled = this.isSpent = false;
    this.turn++;
    this.#units = this.#length = 0;
    if (this.#step < MAX_STEP) this.#step *= 2;
    this.#checkAt = FREE_STEPS * this.#step;
    if (this.#started > 0) this.#judge();
    if (this.#hasQueues) this.#share();
  }

  /** Finds out how many requests a turn has time for. */
  #judge(): void {
    const ms = performance.now() - this.#startedAt;
    if (ms > 2 * TURN_MS) this.#mostStarted = Math.max(LEAST_STARTED, this.#mostStarted >> 1);
    else if (this.#started >= this.#mostStarted && ms < TURN_MS) {
      this.#mostStarted = Math.min(MOST_STARTED, 2 * this.#mostStarted);
    }
    this.#started = 0;
  }

  get #hasQueues(): boolean {
    return this.#fresh.size > 0 || this.#waiting.size > 0 || this.#paused.size > 0;
  }

  #share(): void {
    this.#isScheduled = true;
    this.#startedAt = this.#checkedAt = performance.now();
    this.#checkAt = this.#step;
    // Peers who do not flood are soon done: a look would cost them more than it saves.
    const looks = this.paused > 0 && mustLook();
    try {
      this.#handleWaiting();
      if (!looks) this.#readPaused();
    } finally {
      // Whatever a logger or a carrier throws: the others go on.
      if (looks) lookAtSockets(() => this.#readOn());
      else nextTurn(() => this.#begin());
    }
  }

  /** What is read now is handled from the next turn on. */
  #readOn(): void {
    try {
      this.#readPaused();
    } finally {
      nextTurn(() => this.#begin());
    }
  }

  /** By turns: neither can many new ones keep the others waiting, nor the others them. */
  #handleWaiting(): void {
    while (!this.isSpent && this.#fresh.size + this.#waiting.size > 0) {
      takeFirst(this.#fresh)?.resume();
      if (!this.isSpent) takeFirst(this.#waiting)?.resume();
    }
  }

  #readPaused(): void {
    let left = READ_UNITS;
    for (const queue of this.#paused) {
      if (left <= 0) return;
      left -= queue.taken;
      this.#paused.delete(queue);
      queue.read();
    }
  }
}

function takeFirst(queues: Set<PacedQueue>): PacedQueue | undefined {
  for (const queue of queues) {
    queues.delete(queue);
    return queue;
  }
}

/** The work that a message of some characters makes, in units of about one short message. */
export function unitsOf(length: number): number {
  return 1 + (length >> UNIT_BITS);
}

// Shorter answers are not counted: the network takes them at once.
const LONG = 16 * 1024;
// About as much as a server encodes in a few milliseconds, and never less than one answer.
const TURN_LENGTH = 1024 * 1024;
// After this time messages wait. Short, since everybody waits for the end of a turn; and long beside what
// a turn costs by itself.
const TURN_MS = 2;
// A long message costs as much as some short ones.
const UNIT_BITS = 7;

// How much work may pass between two looks at the clock, and how much time should.
const MAX_STEP = 64;
// How many steps of a turn nobody measures: most turns have fewer, and cost nothing here.
const FREE_STEPS = 4;
const CHECK_MS = 0.25;
// How many requests that have waited may go on in one turn. Not fewer: else those of others who flood over
// WebSockets would leave nothing to them.
const LEAST_STARTED = 16;
const MOST_STARTED = 64;
// How much may be read again in one turn, if peers send as much as before. What a read buffer holds may take
// milliseconds to parse.
const READ_UNITS = 256;
