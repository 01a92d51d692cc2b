/**
 * Deadlines that keep the process alive. A page does not load this.
 *
 * @module
 */

import { GRACE_MS, LATE_MS, MAX_TIMER_MS } from "./timer.ts";

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
