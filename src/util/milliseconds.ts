/**
 * Spans of time, as options have them.
 *
 * @module
 */

/**
 * Checks a number of milliseconds.
 *
 * @param name The option's name, for the message.
 * @throws {RangeError} Where it is no number, or out of bounds.
 */
export function checkMs(name: string, value: number, least: number, most = Infinity): number {
  if (typeof value === "number" && value >= least && value <= most) return value;
  const got = `\`${value}\` (${typeof value})`;
  throw new RangeError(`Expected \`${name}\` to be a number from ${least} to ${most}, got ${got}`);
}
