/**
 * A logger for tests.
 */
import type { Logger } from "@x/jsonrpc";
import { denoRuntime } from "../../src/runtimes/deno.ts";

/** A logger that keeps its lines in place of printing them. */
export interface Log extends Logger {
  /** All lines, each behind its level. */
  readonly lines: readonly string[];
  /** All lines as one text. */
  readonly text: string;
}

/**
 * Creates such a logger. It leaves out the warning that every server writes on `Deno.serve`, so that a test
 * can expect the same lines on each runtime; `deno_test.ts` checks that one.
 */
export function silentLog(): Log {
  const lines: string[] = [];
  const writer = (level: string) => (message: string) => {
    if (message !== denoRuntime.warning) lines.push(`${level}: ${message}`);
  };
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
