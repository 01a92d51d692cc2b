/**
 * Failures of the command line, and its exit codes.
 *
 * @module
 */

import {
  describeError,
  RpcConnectionError,
  RpcError,
  RpcTimeoutError,
} from "../protocol/errors.ts";
import type { Terminal } from "./terminal.ts";

/** The arguments make no sense. */
export class UsageError extends Error {
  override readonly name = "UsageError";
}

/** The server cannot do what a command needs. */
export class UnsupportedError extends Error {
  override readonly name = "UnsupportedError";
}

/** The exit code of each outcome. */
export const EXIT = {
  /** All went well. */
  ok: 0,
  /** The server answered with an error, or something unexpected failed. */
  error: 1,
  /** The arguments make no sense. */
  usage: 2,
  /** There is no connection. */
  connection: 3,
  /** The answer did not come in time. */
  timeout: 4,
} as const;

/**
 * Reports a failure on stderr.
 *
 * @param error What failed.
 * @param terminal Where to write.
 * @returns The exit code.
 */
export function reportFailure(error: unknown, terminal: Terminal): number {
  if (error instanceof RpcError) {
    const { code, message, data } = error;
    if (terminal.json) terminal.note(JSON.stringify({ code, message, data }));
    else {terminal.note(
        terminal.red(`Error ${code}: ${message}`) + dataText(data) + hint(code, data),
      );}
    return EXIT.error;
  }
  const isKnown = error instanceof UsageError || error instanceof UnsupportedError ||
    error instanceof RpcConnectionError ||
    error instanceof RpcTimeoutError;
  const message = isKnown ? error.message : describeError(error);
  terminal.note(terminal.json ? JSON.stringify({ message }) : terminal.red(message));
  if (error instanceof UsageError) return EXIT.usage;
  if (error instanceof RpcConnectionError) return EXIT.connection;
  return error instanceof RpcTimeoutError ? EXIT.timeout : EXIT.error;
}

function dataText(data: unknown): string {
  if (data === undefined) return "";
  return `\n${typeof data === "string" ? data : JSON.stringify(data, undefined, 2)}`;
}

function hint(code: number, data: unknown): string {
  // A server with `explainRefusals` has said more.
  return code === -32601 && data === undefined
    ? "\nThere is no such method, or this user may not call it: `methods URL` lists those that it may."
    : "";
}
