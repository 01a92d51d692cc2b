/**
 * The next turn of the event loop.
 *
 * @module
 */

import { isDeno } from "./deno.ts";

/**
 * Calls back in the next turn.
 *
 * @param run What to do then.
 */
export function nextTurn(run: () => void): void {
  parkAt = undefined;
  soon(run);
}

/**
 * Calls back in one of the next turns. If it is used again and again, the runtime looks at all sockets in
 * between.
 *
 * @param run What to do then.
 */
export function nextRead(run: () => void): void {
  if (!isDeno()) return soon(run);
  const now = performance.now();
  parkAt ??= now + PARK_EVERY_MS;
  if (now < parkAt) return soon(run);
  // Deno looks at sockets only in each 61st turn as long as immediates are due. It does so at once if it
  // has to wait for a timer.
  later(() => {
    parkAt = undefined;
    run();
  });
}

// A timer takes a millisecond, in which nothing happens: not after each turn.
const PARK_EVERY_MS = 3;
let parkAt: number | undefined;

// As they were when this file was loaded: tests put clocks in their place that stand still.
const { setTimeout: later } = globalThis;
// Not by its plain name, so that this file compiles without the types of Node. A timer is slower, but
// every runtime has one.
const { setImmediate: soon = (run: () => void) => void later(run) } = globalThis as unknown as {
  readonly setImmediate?: (run: () => void) => void;
};
