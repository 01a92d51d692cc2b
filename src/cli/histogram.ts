/**
 * A histogram of latencies.
 *
 * @module
 */

// Buckets per doubling: each is 1/16 wider than the one before.
const PER_DOUBLING = 16;
const SMALLEST_MS = 0.001;
const ROWS = 10;

/** Counts latencies in buckets, whose bounds grow so that each value is known to within 5 %. */
export class Histogram {
  readonly #buckets: number[] = [];
  #count = 0;
  #sum = 0;
  #max = 0;

  /** Adds a latency in milliseconds. */
  add(ms: number): void {
    const index = Math.max(0, Math.ceil(Math.log2(ms / SMALLEST_MS) * PER_DOUBLING));
    this.#buckets[index] = (this.#buckets[index] ?? 0) + 1;
    this.#count++;
    this.#sum += ms;
    this.#max = Math.max(this.#max, ms);
  }

  /** How many were added. */
  get count(): number {
    return this.#count;
  }

  /** The mean in milliseconds. */
  get mean(): number {
    return this.#count === 0 ? 0 : this.#sum / this.#count;
  }

  /** The longest in milliseconds. */
  get max(): number {
    return this.#max;
  }

  /** The latency that a share of all does not exceed, in milliseconds. */
  percentile(share: number): number {
    let left = Math.ceil(share * this.#count);
    for (const [index, count = 0] of this.#buckets.entries()) {
      left -= count;
      if (left <= 0) return Math.min(upperBound(index), this.#max);
    }
    return this.#max;
  }

  /** Draws it: one line for each range of latencies, with a bar. */
  lines(width = 40): string[] {
    const first = this.#buckets.findIndex((count) => count !== undefined);
    if (first === -1) return [];
    const step = Math.max(1, Math.ceil((this.#buckets.length - first) / ROWS));
    const rows: { readonly to: number; readonly count: number }[] = [];
    for (let from = first; from < this.#buckets.length; from += step) {
      const count = this.#buckets.slice(from, from + step).reduce((sum, each = 0) => sum + each, 0);
      rows.push({ to: upperBound(from + step - 1), count });
    }
    const most = Math.max(...rows.map(({ count }) => count));
    return rows.map(({ to, count }) => {
      const bar = "█".repeat(Math.round(width * count / most));
      return `${formatMs(to).padStart(10)} ${String(count).padStart(8)} ${bar}`.trimEnd();
    });
  }
}

/** Formats milliseconds with three digits. */
export function formatMs(ms: number): string {
  return `${Number(ms.toPrecision(3))} ms`;
}

function upperBound(index: number): number {
  return SMALLEST_MS * 2 ** (index / PER_DOUBLING);
}
