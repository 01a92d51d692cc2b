/**
 * Going on at once where a value is there, and later where it is promised.
 *
 * @module
 */

import { isThenable } from "../core/middleware.ts";

/** A value, or a promise of one. */
export type Soon<T> = T | Promise<T>;

/** Runs a step with a value: at once, or when its promise has settled. */
export function then<T, Result>(value: Soon<T>, step: (value: T) => Soon<Result>): Soon<Result> {
  return isThenable(value) ? value.then(step) as Promise<Result> : step(value as T);
}

/** Waits for all of them; at once where none has to be waited for. */
export function all(values: readonly Soon<unknown>[]): Soon<unknown> {
  const waiting = values.filter(isThenable);
  return waiting.length === 0 ? undefined : Promise.all(waiting);
}
