/**
 * Where a server or client writes its log.
 *
 * @module
 */

/** Any object with these four methods: `console`, a `@std/log` Logger, LogTape, pino. */
export interface Logger {
  /** Details that help to find a fault. */
  debug(message: string): void;
  /** Events of normal operation. */
  info(message: string): void;
  /** Problems that were dealt with. */
  warn(message: string): void;
  /** Failures, with their stack. */
  error(message: string): void;
}
