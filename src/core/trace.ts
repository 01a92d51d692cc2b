/**
 * A trace of the wire: each text that a server or client sends or receives.
 *
 * @module
 */

import { escapeControls } from "../protocol/errors.ts";
import type { Logger } from "../util/logger.ts";
import { WireTrace } from "./wire_trace.ts";
import type { Trace, TraceFrame } from "./wire_trace.ts";

export { maskSecrets } from "./wire_trace.ts";
export type { Trace, TraceFrame } from "./wire_trace.ts";

/** Where a trace goes: a function, or an object that writes lines, such as `console`. */
export type TraceTarget = ((frame: TraceFrame) => void) | Pick<Logger, "debug">;

/** Options of {@linkcode trace}. */
export interface TraceOptions {
  /** Whether passwords, tokens and the like are shown. @default {false} */
  readonly secrets?: boolean;
}

/**
 * Makes a value for the option `trace` of a server or a client. A server or client without it runs no code
 * for traces, and a page does not load any.
 *
 * @param target A function that gets each frame, or `console`, which gets a line for each.
 * @param options Whether secrets are shown.
 * @returns The trace. Give each server and client its own: it numbers their connections.
 *
 * @example
 * ```ts
 * import { JsonRpc } from "@x/jsonrpc";
 * import { testClient } from "@x/jsonrpc/testing";
 * import { trace } from "@x/jsonrpc/trace";
 *
 * const frames: string[] = [];
 * const rpc = new JsonRpc({ trace: trace(({ direction, text }) => frames.push(direction + text)) })
 *   .method("login", ({ password }: { password: string }) => password === "secret");
 *
 * const client = await testClient(rpc); // in a program: connect(url, { trace: trace(console) })
 * await client.call("login", { password: "secret" });
 * console.assert(frames[0]?.endsWith('"params":{"password":"***"},"id":1}'));
 * console.assert(frames[1] === 'out{"jsonrpc":"2.0","result":true,"id":1}');
 * await client.close();
 * ```
 */
export function trace(target: TraceTarget, { secrets = false }: TraceOptions = {}): Trace {
  const write = typeof target === "function"
    ? target
    : (frame: TraceFrame) => target.debug(formatFrame(frame));
  return new WireTrace(write, secrets);
}

/** Formats a frame as one line: `→ #1 45 B {"jsonrpc":"2.0",…}`. The arrow points at the receiver. */
export function formatFrame({ direction, connection, text, bytes }: TraceFrame): string {
  return `${direction === "in" ? "←" : "→"} #${connection} ${bytes} B ${escapeControls(text)}`;
}
