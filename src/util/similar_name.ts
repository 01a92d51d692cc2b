/**
 * Guessing which name somebody meant.
 *
 * @module
 */

/**
 * Finds the name that is most like another one.
 *
 * @param name The name.
 * @param names The names to choose from.
 * @returns The best of them; `undefined` if each differs by too many characters.
 */
export function similarName(name: string, names: Iterable<string>): string | undefined {
  let best: string | undefined;
  let bound = Math.min(3, name.length / 2);
  for (const each of names) {
    if (Math.abs(each.length - name.length) > bound || name.length > 100) continue;
    const distance = editDistance(name.toLowerCase(), each.toLowerCase());
    if (distance > bound) continue;
    best = each;
    bound = distance;
  }
  return best;
}

/** @see {@link https://en.wikipedia.org/wiki/Levenshtein_distance} */
function editDistance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, index) => index);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) {
      const replaced = (row[j - 1] as number) + (a[i - 1] === b[j - 1] ? 0 : 1);
      next.push(Math.min(replaced, (row[j] as number) + 1, (next[j - 1] as number) + 1));
    }
    row = next;
  }
  return row[b.length] as number;
}
