/**
 * Where a server or client writes what its operator should know.
 *
 * @module
 */

/** Whatever has these four: `console`, a `@std/log` Logger, LogTape, pino. */
export interface Logger {
  /** What helps to find a fault. */
  debug(message: string): void;
  /** What happened. */
  info(message: string): void;
  /** What should not have happened, and was dealt with. */
  warn(message: string): void;
  /** What failed, with its stack. */
  error(message: string): void;
}
