/**
 * Values that may be promises. Synchronous work stays synchronous.
 *
 * @module
 */

/** A value, or a promise of one. */
export type MaybePromise<T> = T | Promise<T>;

/**
 * Tells whether a value has to be awaited. Thenables of other realms and libraries count, so that
 * they are never taken for a finished result.
 */
export function isThenable(value: unknown): value is PromiseLike<unknown> {
  return typeof (value as PromiseLike<unknown> | undefined)?.then === "function";
}

/**
 * Runs a step with a value: at once, or when the value's promise has been fulfilled.
 *
 * @param value The value, or a promise of it.
 * @param step What to do with the value.
 * @returns The result of the step, or a promise of it.
 */
export function mapMaybe<T, Result>(
  value: MaybePromise<T>,
  step: (value: T) => MaybePromise<Result>,
): MaybePromise<Result> {
  // A thenable of another library need not behave as a promise does: it is made one first.
  return isThenable(value) ? Promise.resolve(value as PromiseLike<T>).then(step) : step(value as T);
}

/**
 * Waits for all values.
 *
 * @returns `undefined` at once if none of the values is a promise.
 */
export function allMaybe(values: readonly MaybePromise<unknown>[]): MaybePromise<unknown> {
  const waiting = values.filter(isThenable);
  return waiting.length === 0 ? undefined : Promise.all(waiting);
}

/**
 * Runs a function of the user whose result is not needed. Does not throw.
 *
 * @param run The function; it may be asynchronous.
 * @param failed Receives what `run` has thrown or rejected with.
 */
export function runSafely(run: () => unknown, failed: (error: unknown) => void): void {
  try {
    const result = run();
    if (isThenable(result)) result.then(undefined, failed);
  } catch (error) {
    failed(error);
  }
}
