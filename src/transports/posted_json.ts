/**
 * The JSON text of an object that was posted. What can be posted is more than JSON has: cycles, the same
 * object in many places, arrays of four billion holes, and `BigInt`. `JSON.stringify` throws at some of it,
 * and takes all memory for the rest, so that an object is measured before.
 *
 * @module
 */

/** Why an object has no text. */
export type NoText = "not JSON" | "too long";

/**
 * Encodes an object.
 *
 * @param data What was posted.
 * @param maxLength How long its text may be.
 * @returns `{ text }`, or why there is none.
 */
export function postedJson(
  data: unknown,
  maxLength: number,
): { readonly text: string } | { readonly failed: NoText } {
  const measure = new Measure(maxLength);
  if (!measure.isJson(data, 0)) return { failed: measure.isTooLong ? "too long" : "not JSON" };
  try {
    return { text: JSON.stringify(data) };
  } catch {
    // Objects that were not cloned, such as those of some frameworks, may have getters that throw.
    return { failed: "not JSON" };
  }
}

/** Adds up the least that the JSON of a value needs. */
class Measure {
  #left: number;

  constructor(maxLength: number) {
    this.#left = maxLength;
  }

  get isTooLong(): boolean {
    return this.#left < 0;
  }

  isJson(value: unknown, depth: number): boolean {
    if (typeof value === "bigint") return false;
    if (typeof value === "string") return this.#has(value.length + 2);
    if (typeof value !== "object" || value === null) return this.#has(1);
    if (depth > MAX_DEPTH || ArrayBuffer.isView(value)) return false;
    if (Array.isArray(value)) return this.#isArray(value, depth);
    return this.#isRecord(value as Record<string, unknown>, depth);
  }

  #isArray(values: readonly unknown[], depth: number): boolean {
    // Before the walk: holes cost nothing to post. Each becomes a `null` and a comma.
    if (!this.#has(values.length)) return false;
    for (let index = 0; index < values.length; index++) {
      if (!this.isJson(values[index], depth + 1)) return false;
    }
    return true;
  }

  #isRecord(record: Record<string, unknown>, depth: number): boolean {
    if (!this.#has(2)) return false;
    for (const name of Object.keys(record)) {
      if (!this.#has(name.length) || !this.isJson(record[name], depth + 1)) return false;
    }
    return true;
  }

  #has(length: number): boolean {
    this.#left -= length;
    return this.#left >= 0;
  }
}

// Deeper ones are refused by every server, and all engines encode as deep ones.
const MAX_DEPTH = 1000;
