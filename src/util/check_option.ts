/**
 * Checking numbers that a program passes as options.
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
  const got = `\`${value}\` (${typeof value})`;
  const range = most === Infinity ? `from ${least}` : `from ${least} to ${most}`;
  throw new RangeError(`Expected \`${name}\` to be a number ${range}, got ${got}`);
}

/**
 * Checks a whole number.
 *
 * @param name The option's name, for the message.
 * @param value What was passed.
 * @param least The smallest number allowed.
 * @param most The largest number allowed.
 * @returns The value.
 * @throws {RangeError} If it is not a whole number, or out of bounds.
 */
export function checkWhole(name: string, value: number, least: number, most: number): number {
  if (Number.isSafeInteger(value) && value >= least && value <= most) return value;
  const range = `from ${least} to ${most}`;
  throw new RangeError(`Expected \`${name}\` to be a whole number ${range}, got \`${value}\``);
}

/**
 * Fills in the defaults and checks every limit. Called once, by the constructor that takes the options.
 *
 * @param options The options as passed; members that are no limits are ignored.
 * @param defaults All limits. A limit whose name ends in `Ms` may be 0; others are at least 1.
 * @returns The limits, frozen.
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
      throw new RangeError(
        `Expected \`${name}\` to be a whole number from ${least}, or Infinity, got \`${value}\` (${typeof value})`,
      );
    }
    limits[name] = value;
  }
  return Object.freeze(limits) as Limits;
}
