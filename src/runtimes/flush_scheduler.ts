/**
 * One shared flush for everything that became due in the same turn of the event loop.
 *
 * @module
 */

import type { Flushable } from "../core/channel.ts";

/**
 * Makes a `defer` for channels: it collects queues, and flushes them together when `schedule` calls
 * back.
 *
 * @param schedule Runs its argument at the end of the turn, such as `setImmediate`.
 * @returns The function for {@linkcode Channel.defer}.
 */
export function createFlushScheduler(
  schedule: (run: () => void) => void,
): (queue: Flushable) => void {
  let due: Flushable[] = [];
  let spare: Flushable[] = [];
  function run(): void {
    // Two lists are used in turn: queues that become due during the flush wait for the next one, and
    // nothing is copied.
    const now = due;
    due = spare;
    for (const queue of now) queue.flush();
    now.length = 0;
    spare = now;
  }
  return function defer(queue: Flushable): void {
    if (due.push(queue) === 1) schedule(run);
  };
}
