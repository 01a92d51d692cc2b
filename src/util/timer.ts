/**
 * Timers that do not keep a process alive.
 *
 * @module
 */

/** A timer that fires so many milliseconds late was held up by the process. */
export const LATE_MS = 50;
/** How many milliseconds a process that was held up may take to read what has arrived. */
export const GRACE_MS = 250;

/** What `setTimeout` and `setInterval` return: a number in browsers, an object on servers. */
export type Timer = ReturnType<typeof setTimeout>;

/**
 * Lets the process end although the timer is still set. Browsers have no such thing, and need none.
 *
 * @param timer The timer.
 * @returns The same timer.
 */
export function unref<T extends Timer>(timer: T): T {
  const handle = timer as unknown as number & { unref?(): void };
  if (handle.unref) handle.unref();
  else (globalThis as { Deno?: { unrefTimer?(id: number): void } }).Deno?.unrefTimer?.(handle);
  return timer;
}

/**
 * Keeps the process alive again while the timer is set. Undoes {@linkcode unref}.
 *
 * @param timer The timer.
 */
export function ref(timer: Timer): void {
  const handle = timer as unknown as number & { ref?(): void };
  if (handle.ref) handle.ref();
  else (globalThis as { Deno?: { refTimer?(id: number): void } }).Deno?.refTimer?.(handle);
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

  /**
   * Sets the timer for a deadline of the other side, without keeping the process alive. If this process
   * was too busy to notice the deadline, or asleep, the callback waits a little longer: what the other
   * side has sent meanwhile is still unread, and must be read first.
   *
   * @param delayMs Milliseconds until the deadline.
   * @param callback The function to call then.
   */
  setDeadline(delayMs: number, callback: () => void): void {
    const dueAt = performance.now() + delayMs;
    this.setUnref(delayMs, () => {
      if (performance.now() - dueAt < LATE_MS) callback();
      else this.setUnref(GRACE_MS, callback);
    });
  }

  /** Cancels what the timer was set for. */
  clear(): void {
    clearTimeout(this.#timer);
  }
}
