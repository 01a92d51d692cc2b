/**
 * Ways to wait in a test that depend on no duration.
 */
import { setImmediate } from "node:timers";

/** Creates a promise that the test settles: a handler awaits `promise` until the test calls `resolve()`. */
export function deferred<T = void>(): PromiseWithResolvers<T> {
  return Promise.withResolvers<T>();
}

/** Waits until all that needs neither a network nor a timer has happened. */
export function quietMoment(): Promise<void> {
  return new Promise((resolve) => void setImmediate(resolve));
}

// Machines that run tests are busy.
const PATIENCE_MS = 30_000;

/** Waits until a condition holds; fails after half a minute. */
export async function until(holds: () => boolean | Promise<boolean>): Promise<void> {
  const end = performance.now() + PATIENCE_MS;
  while (!await holds()) {
    if (performance.now() > end) throw new Error(`Still not true: ${holds}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

/** Gives the indexes of those promises that have not settled. */
export async function unsettled(promises: readonly Promise<unknown>[]): Promise<number[]> {
  const open = new Set(promises.keys());
  promises.forEach((promise, index) => {
    promise.catch(() => {}).finally(() => open.delete(index));
  });
  await quietMoment();
  return [...open];
}
