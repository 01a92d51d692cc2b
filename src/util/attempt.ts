/**
 * Running what is somebody else's, where nobody waits for it.
 *
 * @module
 */

import { isThenable } from "../core/middleware.ts";

/**
 * Runs a function, and does not throw itself.
 *
 * @param run May be asynchronous.
 * @param failed Is given what it has thrown, or rejected with.
 */
export function attempt(run: () => unknown, failed: (error: unknown) => void): void {
  try {
    const result = run();
    if (isThenable(result)) result.then(undefined, failed);
  } catch (error) {
    failed(error);
  }
}
