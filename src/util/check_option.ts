/**
 * Checking numbers and lists that a program passes as options.
 *
 * @module
 */

/**
 * Checks a number of milliseconds.
 *
 * @param name The option's name, for the message.
 * @param value What was passed.
 * @param least The smallest number allowed.
 * @param most The largest number allowed. @default {Infinity}
 * @returns The value.
 * @throws {RangeError} If the value is not a number, or out of bounds.
 */
export function checkMs(name: string, value: number, least: number, most = Infinity): number {
  if (typeof value === "number" && value >= least && value <= most) return value;
  throw rangeError(name, value, `a number ${rangeText(least, most)}`);
}

/**
 * Checks a whole number.
 *
 * @param name The option's name, for the message.
 * @param value What was passed.
 * @param least The smallest number allowed.
 * @param most The largest number allowed. @default {Infinity}
 * @returns The value.
 * @throws {RangeError} If it is not a whole number, or out of bounds.
 */
export function checkWhole(name: string, value: number, least: number, most = Infinity): number {
  if (Number.isSafeInteger(value) && value >= least && value <= most) return value;
  throw rangeError(name, value, `a whole number ${rangeText(least, most)}`);
}

/**
 * Checks a list of texts. A text has `includes` too, and would stand for every part of it.
 *
 * @param name The option's name, for the message.
 * @param value What was passed; `undefined` if nothing was.
 * @param what What the option takes, for the message.
 * @throws {TypeError} If it is no such list.
 */
export function checkTexts(name: string, value: unknown, what = "a list of texts"): void {
  if (value === undefined) return;
  if (Array.isArray(value) && value.every((each) => typeof each === "string")) return;
  throw new TypeError(`Expected \`${name}\` to be ${what}, got \`${value}\` (${typeof value})`);
}

/**
 * Fills in the defaults and checks every limit. Called once, by the constructor that takes the options.
 *
 * @param options The options as passed; members that are no limits are ignored.
 * @param defaults All limits. A limit whose name ends in `Ms` may be 0; others are at least 1.
 * @returns The limits.
 * @throws {RangeError} If a limit is neither a whole number nor `Infinity`, or too small.
 */
export function checkLimits<Limits extends object>(
  options: Partial<Limits>,
  defaults: Limits,
): Readonly<Limits> {
  const limits: Record<string, unknown> = {};
  for (const [name, fallback] of Object.entries(defaults)) {
    const value = options[name as keyof Limits] ?? fallback;
    const least = name.endsWith("Ms") ? 0 : 1;
    if (!(Number.isSafeInteger(value) || value === Infinity) || value < least) {
      throw rangeError(name, value, `a whole number from ${least}, or Infinity`);
    }
    limits[name] = value;
  }
  return limits as Limits;
}

function rangeText(least: number, most: number): string {
  return `from ${least}${most === Infinity ? "" : ` to ${most}`}`;
}

/** Makes the error for an option that is out of its range. */
export function rangeError(name: string, value: unknown, expected: string): RangeError {
  return new RangeError(
    `Expected \`${name}\` to be ${expected}, got \`${value}\` (${typeof value})`,
  );
}
