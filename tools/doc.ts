/**
 * For examples in README, guides and doc comments: a `console.assert` that does not hold fails.
 */
console.assert = function assert(condition?: boolean, ...message: unknown[]): void {
  if (!condition) throw new Error(`An example does not hold ${message.join(" ")}`);
};
