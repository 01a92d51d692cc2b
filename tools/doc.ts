/**
 * For examples in README, guides and doc comments: makes a false `console.assert` throw.
 */
console.assert = function assert(condition?: boolean, ...message: unknown[]): void {
  if (!condition) throw new Error(`Assertion failed in an example: ${message.join(" ")}`);
};
