/**
 * Lines of a log that strangers can cause as often as they like: one of each kind per interval, with how
 * many were left out.
 *
 * @module
 */

/** Decides which lines are written. */
export class LogLimit {
  readonly #intervalMs: number;
  // Kinds of lines are few: they are things of this program, and no texts of peers.
  readonly #kinds = new WeakMap<object, { until: number; omitted: number }>();

  /** @param intervalMs Milliseconds between two lines of a kind. @default {10000} */
  constructor(intervalMs = 10_000) {
    this.#intervalMs = intervalMs;
  }

  /**
   * Writes a line, unless one of its kind was written within the interval.
   *
   * @param kind What the line is about.
   * @param write Writes the line, with the text behind it.
   */
  write(kind: object, write: (suffix: string) => void): void {
    const now = performance.now();
    const before = this.#kinds.get(kind);
    if (before !== undefined && now < before.until) {
      before.omitted++;
      return;
    }
    this.#kinds.set(kind, { until: now + this.#intervalMs, omitted: 0 });
    write(before?.omitted ? ` (and ${before.omitted} times more since the last such line)` : "");
  }
}
