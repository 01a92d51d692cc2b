/**
 * The functions behind every contender.
 */
import { stat } from "node:fs/promises";

/** The params of `add`. */
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

/** Returns its params. */
export function echo(params: unknown): unknown {
  return params;
}

let published = 0;

/** The data of the next event. All have the same length. */
export function nextEvent(): { seq: number; text: string } {
  return { seq: 1_000_000 + published++, text: "something happened, and many want to know" };
}
