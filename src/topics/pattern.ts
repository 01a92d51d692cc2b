/**
 * Patterns of topic names. `*` stands for exactly one segment between dots.
 *
 * @module
 */

/** Splits a pattern into its segments; returns `undefined` for a name without `*` segments. */
export function segmentsOf(name: string): readonly string[] | undefined {
  const segments = name.split(".");
  return segments.includes("*") ? segments : undefined;
}

/** Tells whether the segments of a name match those of a pattern. */
export function matches(segments: readonly string[], pattern: readonly string[]): boolean {
  return segments.length === pattern.length &&
    pattern.every((segment, index) => segment === "*" || segment === segments[index]);
}
