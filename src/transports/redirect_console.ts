/**
 * Keeping standard output clean while messages travel on it.
 *
 * @module
 */

/** Those methods of `console` that write to standard output. */
const TO_STDOUT = [
  "log",
  "info",
  "debug",
  "dir",
  "dirxml",
  "table",
  "group",
  "count",
  "timeEnd",
] as const;

/**
 * Lets `console` write to standard error alone.
 *
 * @returns Undoes it.
 */
export function redirectConsole(): () => void {
  const own = console as unknown as Record<string, unknown>;
  const before = TO_STDOUT.map((name) => [name, own[name]] as const);
  for (const name of TO_STDOUT) own[name] = (...what: unknown[]) => console.error(...what);
  return () => {
    for (const [name, write] of before) own[name] = write;
  };
}
