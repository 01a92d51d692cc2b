/**
 * Deadlines that keep the process alive. A page does not load this.
 *
 * @module
 */

import { GRACE_MS, LATE_MS, MAX_TIMER_MS, ref, unref } from "./timer.ts";
import type { Timer } from "./timer.ts";

/**
 * Starts a timer for a deadline of the other side, as `OneShotTimer.setDeadline` does. This one
 * keeps the process alive.
 *
 * @param delayMs Milliseconds until the deadline.
 * @param callback The function to call then.
 * @returns Cancels the timer.
 */
export function startDeadline(delayMs: number, callback: () => void): () => void {
  const delay = Math.min(delayMs, MAX_TIMER_MS);
  const dueAt = performance.now() + delay;
  let timer = setTimeout(() => {
    if (performance.now() - dueAt < LATE_MS) callback();
    else timer = setTimeout(callback, GRACE_MS);
  }, delay);
  return () => clearTimeout(timer);
}

/** What has a deadline. */
export interface Due {
  /** Called when the deadline has passed. May begin another one. */
  late(): void;
}

/**
 * Members with a deadline each, all of them equally long, in the order in which they are due. They share
 * one timer, because a timer of its own for each would cost more than all the rest that is done for it. The timer
 * keeps the process alive while there is a member.
 */
export class DeadlineQueue<T extends Due> {
  readonly #delayMs: number;
  // With the time at which each is due.
  readonly #members = new Map<T, number>();
  #timer: Timer | undefined;

  /** @param delayMs Milliseconds until each deadline. */
  constructor(delayMs: number) {
    this.#delayMs = Math.min(delayMs, MAX_TIMER_MS);
  }

  /** How many members there are. */
  get size(): number {
    return this.#members.size;
  }

  /** The members, those that are due first to begin with. */
  [Symbol.iterator](): IterableIterator<T> {
    return this.#members.keys();
  }

  /** Adds a member, or lets a member's deadline begin again. */
  begin(member: T): void {
    this.#members.delete(member);
    this.#members.set(member, performance.now() + this.#delayMs);
    if (this.#timer === undefined) this.#set(this.#delayMs);
    else if (this.#members.size === 1) ref(this.#timer);
  }

  /** Removes a member. */
  delete(member: T): void {
    // The timer stays for the next member: to set a timer costs much more than this.
    const isLast = this.#members.delete(member) && this.#members.size === 0;
    if (isLast && this.#timer !== undefined) unref(this.#timer);
  }

  /** Removes all members. */
  clear(): void {
    this.#members.clear();
    clearTimeout(this.#timer);
    this.#timer = undefined;
  }

  /** @param graceFrom Members that were due at this time have had their time of grace. */
  #set(delayMs: number, graceFrom = -Infinity): void {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#check(graceFrom), delayMs);
  }

  #check(graceFrom: number): void {
    const now = performance.now();
    this.#timer = undefined;
    for (const [member, dueAt] of this.#members) {
      // A timer may fire a little early.
      if (dueAt > now + 1) return this.#set(dueAt - now);
      // This process was busy or asleep: what the other side has sent meanwhile is to be read first.
      if (dueAt > graceFrom && now - dueAt >= LATE_MS) return this.#set(GRACE_MS, now);
      this.#members.delete(member);
      member.late();
    }
  }
}
