/**
 * Timers that do not keep a process alive.
 *
 * @module
 */

/** What `setTimeout` and `setInterval` return: a number in browsers, an object on servers. */
export type Timer = ReturnType<typeof setTimeout>;

/**
 * Lets the process end although the timer is still set. Browsers have no such thing, and need none.
 *
 * @param timer The timer.
 * @returns The same timer.
 */
export function unref<T extends Timer>(timer: T): T {
  const handle = timer as unknown as { unref?: () => void };
  if (typeof handle === "object") handle.unref?.();
  else {
    const { Deno } = globalThis as { Deno?: { unrefTimer?(id: number): void } };
    Deno?.unrefTimer?.(timer as unknown as number);
  }
  return timer;
}

/**
 * The longest delay that `setTimeout` accepts, in milliseconds. It would run a callback with a longer
 * delay at once.
 */
export const MAX_TIMER_MS: number = 2 ** 31 - 1;

/** One timer, which is set again for whatever is due next. */
export class OneShotTimer {
  #timer: Timer | undefined;

  /**
   * Sets the timer, and cancels what it was set for.
   *
   * @param delayMs Milliseconds to wait. A negative delay counts as 0.
   * @param callback The function to call then.
   * @returns The timer, which keeps the process alive.
   */
  set(delayMs: number, callback: () => void): Timer {
    this.clear();
    const delay = Math.min(Math.max(0, Math.ceil(delayMs)), MAX_TIMER_MS);
    return this.#timer = setTimeout(callback, delay);
  }

  /** Sets the timer without keeping the process alive. See {@linkcode OneShotTimer.set}. */
  setUnref(delayMs: number, callback: () => void): void {
    unref(this.set(delayMs, callback));
  }

  /** Cancels what the timer was set for. */
  clear(): void {
    clearTimeout(this.#timer);
  }
}
