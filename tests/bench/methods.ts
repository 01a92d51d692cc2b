/**
 * The work that every contender does: the same functions behind each.
 */
import { stat } from "node:fs/promises";

/** What `add` is called with. */
export interface Pair {
  readonly a: number;
  readonly b: number;
}

/** Answers at once. */
export function add({ a, b }: Pair): number {
  return a + b;
}

/** Waits for a timer. */
export function wait({ a, b }: Pair): Promise<number> {
  return new Promise((resolve) => setTimeout(() => resolve(a + b), 1));
}

/** Waits for the disk. */
export async function io({ a, b }: Pair): Promise<number> {
  const { size } = await stat(".");
  return size < 0 ? size : a + b;
}

/** Gives back what it got. */
export function echo(params: unknown): unknown {
  return params;
}

let published = 0;

/** The data of the next event. All are of the same length. */
export function nextEvent(): { seq: number; text: string } {
  return { seq: 1_000_000 + published++, text: "something happened, and many want to know" };
}
