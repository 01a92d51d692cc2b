/**
 * Middleware around the calls that this side makes.
 *
 * @module
 */

import type { Connection } from "./connection.ts";
import { SKIPS } from "./internal.ts";
import type { SkippedLayer } from "./middleware.ts";
import type { CallOptions } from "./pending_calls.ts";

/** A call of the server to one of its clients, as {@linkcode Plugin.outgoing} sees it. */
export interface OutgoingCall {
  /** The client that is called. */
  readonly connection: Connection;
  /** The name of the client's method. */
  readonly method: string;
  /** The params; `undefined` for none. */
  readonly params: unknown;
  /** The options of the call: its timeout, its signal. */
  readonly options: CallOptions;
}

/** What a middleware may change of a call that this side makes. */
export interface OutgoingChanges {
  /** Other params. */
  readonly params?: unknown;
  /** Other options. */
  readonly options?: CallOptions;
}

/**
 * One layer around calls that this side makes. It returns the result of the call, usually that of `next()`. It
 * may call `next` again, and may pass it other params or options.
 *
 * @typeParam Call The call that all layers get.
 */
export type OutgoingMiddleware<Call = OutgoingCall> = (
  call: Call,
  next: (changes?: OutgoingChanges) => Promise<unknown>,
) => unknown;

/** Sends a call, and gives its result. */
export type SendOutgoing<Call> = (call: Call) => Promise<unknown>;

/** Runs a call through all layers. */
export type RunOutgoing<Call> = (call: Call, send: SendOutgoing<Call>) => Promise<unknown>;

/**
 * Puts layers around what sends a call.
 *
 * @param layers The layers; the first one is the outermost.
 * @returns One function that runs them all. A promise that a layer returns is passed on as it is, so that a layer
 * that only calls `next` costs little.
 */
export function aroundCalls<Call extends object>(
  layers: readonly OutgoingMiddleware<Call>[],
): RunOutgoing<Call> {
  return layers.reduceRight<RunOutgoing<Call>>((inner, layer) => {
    const run = around(layer, inner);
    const skips = (layer as SkippedLayer<Call>)[SKIPS];
    return skips === undefined ? run : (call, send) => (skips(call) ? inner : run)(call, send);
  }, (call, send) => send(call));
}

function around<Call extends object>(
  layer: OutgoingMiddleware<Call>,
  inner: RunOutgoing<Call>,
): RunOutgoing<Call> {
  return (call, send) => {
    try {
      // The layer runs at once; what it throws becomes a rejection.
      const result = layer(
        call,
        (changes) => inner(changes === undefined ? call : { ...call, ...changes }, send),
      );
      return result instanceof Promise ? result : Promise.resolve(result);
    } catch (error) {
      return Promise.reject(error);
    }
  };
}
