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
export function quiet<T extends Timer>(timer: T): T {
  const handle = timer as unknown as { unref?: () => void };
  if (typeof handle === "object") handle.unref?.();
  else {
    const { Deno } = globalThis as { Deno?: { unrefTimer?(id: number): void } };
    Deno?.unrefTimer?.(timer as unknown as number);
  }
  return timer;
}

/** The longest delay that `setTimeout` can take, in milliseconds: a longer one would fire at once. */
export const LONGEST_DELAY: number = 2 ** 31 - 1;
