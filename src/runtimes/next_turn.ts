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
  soon(run);
}

/**
 * Whether the runtime may not have looked at its sockets for some time, although turns have passed. Then call
 * {@linkcode lookAtSockets}.
 */
export function mustLook(): boolean {
  return isDeno() && performance.now() >= lookAt;
}

/**
 * Calls back once the runtime has looked at all its sockets. Do not read on from one that has much to read: it
 * would be read first, and what takes longer than the timer makes the runtime go on without a look.
 *
 * @param run What to do then.
 */
export function lookAtSockets(run: () => void): void {
  // Deno looks at sockets only in each 61st turn as long as immediates or timers are due. It does so at once
  // if it has to wait for a timer.
  later(() => {
    lookAt = performance.now() + LOOK_EVERY_MS;
    run();
  });
}

// A timer takes a millisecond, in which nothing happens: not after each turn.
const LOOK_EVERY_MS = 3;
let lookAt = 0;

// As they were when this file was loaded: tests put clocks in their place that stand still.
const { setTimeout: later } = globalThis;
// Not by its plain name, so that this file compiles without the types of Node. A timer is slower, but
// every runtime has one.
const { setImmediate: soon = (run: () => void) => void later(run) } = globalThis as unknown as {
  readonly setImmediate?: (run: () => void) => void;
};
