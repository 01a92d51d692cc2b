/**
 * Spans of the calls that one end answers: those that reach a server, and those that a server makes to a client.
 *
 * @module
 */

import { context, ROOT_CONTEXT, trace } from "@opentelemetry/api";
import type { Attributes, Context, Link } from "@opentelemetry/api";
import { SKIPS } from "../core/internal.ts";
import type { CallMiddleware, RpcRequest } from "../core/request.ts";
import { RpcError, RpcFailure } from "../protocol/errors.ts";
import { isThenable } from "../util/maybe_promise.ts";
import { fromFields, fromHeaders, takeTrace } from "./carrier.ts";
import { cut, Telemetry } from "./telemetry.ts";
import type { OtelOptions, RecordedCall } from "./telemetry.ts";

/** Options of {@linkcode otelIncoming}. */
export type OtelIncomingOptions = OtelOptions;

/**
 * Makes middleware that records a span for each call and notification that a server makes to its client, and
 * the metric `rpc.server.call.duration`. A call belongs to the trace in its `params._meta`, and the handler
 * gets its params without it.
 *
 * @param options Where spans and metrics go.
 * @returns The middleware, for the option `incoming` of `withMiddleware`.
 *
 * @example
 * ```ts
 * import { JsonRpc } from "@x/jsonrpc";
 * import { withMiddleware } from "@x/jsonrpc/middleware";
 * import { otel, otelClient, otelIncoming } from "@x/jsonrpc/otel";
 * import { testClient } from "@x/jsonrpc/testing";
 *
 * const rpc = new JsonRpc()
 *   .use(otel())
 *   .method("format", ([disk]: [string], request) => request.confirm(`Really format ${disk}?`));
 *
 * const plain = await testClient(rpc);
 * const client = withMiddleware(plain, [otelClient()], { incoming: [otelIncoming()] });
 * client.method("confirm", () => true);
 * console.assert(await client.call("format", ["sda"]) === true);
 * await client.close();
 * ```
 */
export function otelIncoming(options: OtelIncomingOptions = {}): CallMiddleware {
  const attributesOf = ({ id, connection: { handshake } }: RpcRequest): Attributes => ({
    ...idAttributes(id),
    ...(/^wss?:/.test(handshake.url) && { "network.protocol.name": "websocket" }),
  });
  return recordIncoming(new Telemetry("server", options), { trustCallers: true, attributesOf });
}

/** How calls that are answered are recorded. */
export interface IncomingOptions {
  /** Whether a call belongs to the trace that its caller names. */
  readonly trustCallers: boolean;
  /** Gives the attributes of the span of a call. */
  attributesOf(request: RpcRequest): Attributes;
  /** Whether a method is registered; if left out, the names of all calls are taken for such. */
  readonly isKnown?: ((method: string) => boolean) | undefined;
}

/** Makes middleware that records a span for each call that it runs around. */
export function recordIncoming(telemetry: Telemetry, options: IncomingOptions): CallMiddleware {
  const { trustCallers, attributesOf, isKnown } = options;
  const skips = (request: RpcRequest): boolean => {
    if (!telemetry.isOff) return false;
    dropTrace(request, telemetry.propagator);
    return true;
  };
  const otel: CallMiddleware = (request, next) => {
    const caller = callerContext(request, telemetry.propagator);
    const [parent, links] = trustCallers ? [caller, []] : [ROOT_CONTEXT, linksTo(caller)];
    const attributes = attributesOf(request);
    const { method } = request;
    const call = telemetry.begin(method, parent, {
      attributes,
      links,
      isKnown: isKnown?.(method) ?? true,
    });
    let result: unknown;
    try {
      result = context.with(trace.setSpan(parent, call.span), next);
    } catch (error) {
      fail(call, error);
      throw error;
    }
    if (isThenable(result)) return wait(call, request, result);
    call.succeed();
    return result;
  };
  return Object.assign(otel, { [SKIPS]: skips });
}

/** The attribute of a call that has an id. */
export function idAttributes(id: RpcRequest["id"]): Attributes {
  return id === undefined || id === null ? {} : { "jsonrpc.request.id": cut(String(id)) };
}

/** Ends the span with the answer: the handler may run on after the call was cancelled or timed out. */
function wait(call: RecordedCall, { signal }: RpcRequest, result: PromiseLike<unknown>): unknown {
  const gaveUp = (): void => fail(call, signal.reason);
  signal.addEventListener("abort", gaveUp, { once: true });
  return result.then((value) => {
    signal.removeEventListener("abort", gaveUp);
    call.succeed();
    return value;
  }, (error) => {
    signal.removeEventListener("abort", gaveUp);
    fail(call, error);
    throw error;
  });
}

function fail(call: RecordedCall, error: unknown): void {
  if (error instanceof RpcError) return call.fail(error, error.code);
  // A connection that is lost gets no answer; whatever else a handler throws is an internal error.
  const isGone = error instanceof RpcFailure && error.kind === "connection";
  call.fail(error, isGone ? undefined : INTERNAL_ERROR);
}

/** The context of the caller: from the call, from what surrounds this server, or from an HTTP request. */
function callerContext(request: RpcRequest, propagator: Telemetry["propagator"]): Context {
  const active = context.active();
  const carrier = dropTrace(request, propagator);
  if (carrier !== undefined) return propagator.extract(active, carrier, fromFields);
  const { handshake: { headers, isUpgrade } } = request.connection;
  // The headers of an upgrade say in which trace the socket was opened, not the call.
  if (isUpgrade || trace.getSpan(active) !== undefined) return active;
  return propagator.extract(active, headers, fromHeaders);
}

/** Takes the trace out of the params of a call; returns the fields that hold it. */
function dropTrace(request: RpcRequest, propagator: Telemetry["propagator"]) {
  const carried = takeTrace(request.params, propagator);
  if (carried !== undefined) request.params = carried.params;
  return carried?.carrier;
}

function linksTo(caller: Context): Link[] {
  const context = trace.getSpanContext(caller);
  return context === undefined ? [] : [{ context }];
}

const INTERNAL_ERROR = -32603;
