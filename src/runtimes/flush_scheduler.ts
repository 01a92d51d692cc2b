/**
 * One shared flush for everything that became due in the same turn of the event loop.
 *
 * @module
 */

import type { Flushable } from "../core/channel.ts";

/**
 * Makes a `defer` for channels: collects outboxes, and flushes them together when `schedule`
 * calls back.
 *
 * @param schedule Runs its argument at the end of the turn, such as `setImmediate`.
 */
export function createFlushScheduler(
  schedule: (run: () => void) => void,
): (outbox: Flushable) => void {
  let due: Flushable[] = [];
  let spare: Flushable[] = [];
  function run(): void {
    // Two lists in turn: what becomes due while flushing waits for the next turn, nothing is copied.
    const now = due;
    due = spare;
    for (const outbox of now) outbox.flush();
    now.length = 0;
    spare = now;
  }
  return function defer(outbox: Flushable): void {
    if (due.push(outbox) === 1) schedule(run);
  };
}
