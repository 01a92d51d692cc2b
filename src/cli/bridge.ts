/**
 * The command `bridge`: standard input and output, joined to a server.
 *
 * @module
 */

import process from "node:process";
import { RpcConnectionError, RpcTimeoutError } from "../protocol/errors.ts";
import { bridge as join } from "../transports/bridge.ts";
import { byteStream } from "../transports/byte_stream.ts";
import type { Arguments } from "./arguments.ts";
import { required } from "./calls.ts";
import { UnsupportedError, UsageError } from "./errors.ts";
import { openTransport, shownTarget } from "./target.ts";
import { inLine } from "./terminal.ts";
import type { Terminal } from "./terminal.ts";

/** Passes messages between standard input and output and a server, until either ends. Calls are answered first. */
export async function bridge(args: Arguments, terminal: Terminal): Promise<void> {
  const [url] = required(args, "URL");
  if (/^https?:/i.test(url)) throw new UsageError("bridge needs a WebSocket: ws: or wss:");
  const warn = (text: string): void => terminal.note(text);
  const near = byteStream({ readable: process.stdin, writable: process.stdout }, {
    framing: "detect",
    name: "standard input",
    logger: { debug() {}, info() {}, warn, error: warn },
  });
  const { timeoutMs } = args;
  const options = { lastAnswersMs: timeoutMs, connectMs: timeoutMs, logger: { warn } };
  const { side, code, reason } = await join(near, openTransport(url, args), options);
  const { writableLength } = process.stdout;
  if (writableLength > 0) terminal.note(`Nobody read the last ${writableLength} bytes`);
  if (side === "near" && code === 4408) {
    throw new RpcTimeoutError(`The input has ended: ${reason} after --timeout`);
  }
  // A program that reads no more, such as `head`, is no fault.
  if (side === "near" && (code === 1000 || /^Cannot write.*(?:EPIPE|broken pipe)/i.test(reason))) {
    return;
  }
  if (side === "near" && reason.startsWith("Cannot write")) throw new UnsupportedError(reason);
  const ended = side === "near" ? "standard input" : shownTarget(url);
  const how = inLine(`${code} ${reason}`.trim());
  throw new RpcConnectionError(`The connection to ${ended} has ended (${how})`);
}
