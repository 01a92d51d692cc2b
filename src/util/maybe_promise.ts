/**
 * Values that may be promises: synchronous work stays synchronous.
 *
 * @module
 */

/** A value, or a promise of one. */
export type MaybePromise<T> = T | Promise<T>;

/** Whether a value has to be waited for. A thenable of another realm or library counts. */
export function isThenable(value: unknown): value is PromiseLike<unknown> {
  return (typeof value === "object" || typeof value === "function") && value !== null &&
    typeof (value as PromiseLike<unknown>).then === "function";
}

/**
 * Runs a step with a value: at once, or when its promise has settled.
 *
 * @param value The value, or a promise of it.
 * @param step What to do with it.
 */
export function mapMaybe<T, Result>(
  value: MaybePromise<T>,
  step: (value: T) => MaybePromise<Result>,
): MaybePromise<Result> {
  return isThenable(value) ? value.then(step) as Promise<Result> : step(value as T);
}

/** Waits for all values; returns at once if none of them is a promise. */
export function allMaybe(values: readonly MaybePromise<unknown>[]): MaybePromise<unknown> {
  const waiting = values.filter(isThenable);
  return waiting.length === 0 ? undefined : Promise.all(waiting);
}

/**
 * Runs foreign code whose result nobody needs. Does not throw.
 *
 * @param run May be asynchronous.
 * @param failed Is given what `run` threw, or rejected with.
 */
export function runSafely(run: () => unknown, failed: (error: unknown) => void): void {
  try {
    const result = run();
    if (isThenable(result)) result.then(undefined, failed);
  } catch (error) {
    failed(error);
  }
}
