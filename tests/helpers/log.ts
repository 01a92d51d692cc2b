/**
 * A logger for tests.
 */
import type { Logger } from "@x/jsonrpc";

/** A logger that keeps its lines in place of printing them. */
export interface Log extends Logger {
  /** All lines, each behind its level. */
  readonly lines: readonly string[];
  /** All lines as one text. */
  readonly text: string;
}

/** Creates such a logger. */
export function silentLog(): Log {
  const lines: string[] = [];
  const writer = (level: string) => (message: string) => void lines.push(`${level}: ${message}`);
  return {
    lines,
    get text() {
      return lines.join("\n");
    },
    debug: writer("debug"),
    info: writer("info"),
    warn: writer("warn"),
    error: writer("error"),
  };
}
