/**
 * Lines of a log that strangers can cause as often as they like: a few of each kind per interval, with how
 * many were left out.
 *
 * @module
 */

interface Kind {
  readonly until: number;
  written: number;
  omitted: number;
}

/** Decides which lines are written. */
export class LogLimit {
  // Kinds of lines are few: they are things of this program, and no texts of peers.
  readonly #kinds = new WeakMap<object, Kind>();

  /**
   * Writes a line, unless many of its kind were written within the interval.
   *
   * @param kind What the line is about.
   * @param write Writes the line, with the text behind it.
   */
  write(kind: object, write: (suffix: string) => void): void {
    const now = performance.now();
    const before = this.#kinds.get(kind);
    if (before !== undefined && now < before.until) {
      if (before.written >= LINES) before.omitted++;
      else {
        before.written++;
        write("");
      }
      return;
    }
    this.#kinds.set(kind, { until: now + INTERVAL_MS, written: 1, omitted: 0 });
    write(
      before?.omitted
        ? ` (and ${before.omitted} more times in the ${INTERVAL_MS / 1000} s before)`
        : "",
    );
  }
}

const LINES = 10;
const INTERVAL_MS = 10_000;
