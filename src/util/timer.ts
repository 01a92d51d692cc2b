/**
 * Timers that do not keep a process alive by themselves.
 *
 * @module
 */

/** What `setTimeout` and `setInterval` give: a number in browsers, a record on servers. */
export type Timer = ReturnType<typeof setTimeout>;

/**
 * Lets the process end although the timer is still set, where a runtime has a say in that.
 *
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

/** The longest delay that `setTimeout` can take, in milliseconds: a longer one would fire at once. */
export const MAX_TIMER_MS: number = 2 ** 31 - 1;

/** One timer, for what is due next. */
export class OneShotTimer {
  #timer: Timer | undefined;

  /**
   * Sets it, in place of what it was set for.
   *
   * @param delayMs Milliseconds until then; at once where that has passed.
   * @param ring Called then.
   * @returns The timer, which keeps the process alive.
   */
  set(delayMs: number, ring: () => void): Timer {
    this.clear();
    const delay = Math.min(Math.max(0, Math.ceil(delayMs)), MAX_TIMER_MS);
    return this.#timer = setTimeout(ring, delay);
  }

  /** Sets it so that the process may end all the same. */
  setUnref(delayMs: number, ring: () => void): void {
    unref(this.set(delayMs, ring));
  }

  /** Lets nothing happen. */
  clear(): void {
    clearTimeout(this.#timer);
  }
}
