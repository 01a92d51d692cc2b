/**
 * Spans and metrics of a server.
 *
 * @module
 */

import { context, ROOT_CONTEXT, trace } from "@opentelemetry/api";
import type { Attributes, Context, Link } from "@opentelemetry/api";
import type { Connection } from "../core/connection.ts";
import type { Plugin } from "../core/plugin.ts";
import type { RpcRequest } from "../core/request.ts";
import { RpcError, RpcFailure } from "../protocol/errors.ts";
import { isThenable } from "../util/maybe_promise.ts";
import { fromFields, fromHeaders, takeTrace } from "./carrier.ts";
import { addressOf } from "./client.ts";
import { observeStats } from "./server_metrics.ts";
import { Telemetry } from "./telemetry.ts";
import type { RecordedCall } from "./telemetry.ts";
import type { OtelOptions } from "./telemetry.ts";

/** Options of {@linkcode otel}. */
export interface OtelServerOptions extends OtelOptions {
  /**
   * Whether a call belongs to the trace that its caller names. If not, it begins a trace of its own that
   * links to the caller's. Turn it off on a server for strangers: they could choose trace ids, and which
   * calls are sampled.
   *
   * @default {true}
   */
  readonly trustCallers?: boolean;
}

/**
 * Makes a plugin that records a span for each call and notification that reaches a server, and metrics:
 * the duration of calls (`rpc.server.call.duration`), and what `rpc.stats()` counts
 * (`jsonrpc.server.connections` and so on). Mount it first, so that its spans cover other middleware.
 *
 * Code that a handler runs is inside the span of its call, if the SDK has a context manager.
 *
 * @param options Where spans and metrics go.
 * @returns The plugin. Each server takes one of its own.
 *
 * @example
 * ```ts
 * import { JsonRpc } from "@x/jsonrpc";
 * import { otel } from "@x/jsonrpc/otel";
 *
 * const rpc = new JsonRpc().use(otel({ trustCallers: false })).method("ping", () => "pong");
 * ```
 */
export function otel(options: OtelServerOptions = {}): Plugin {
  const { trustCallers = true } = options;
  const telemetry = new Telemetry("server", options);
  const addresses = new WeakMap<Connection, Attributes>();
  let stop: (() => void) | undefined;

  function attributesOf({ connection, id }: RpcRequest): Attributes {
    let attributes = addresses.get(connection);
    if (attributes === undefined) {
      attributes = connectionAttributes(connection);
      addresses.set(connection, attributes);
    }
    return id === undefined || id === null
      ? attributes
      : { ...attributes, "jsonrpc.request.id": String(id) };
  }

  function middleware(request: RpcRequest, next: () => unknown): unknown {
    if (telemetry.isOff) {
      dropTrace(request, telemetry.propagator);
      return next();
    }
    const caller = callerContext(request, telemetry.propagator);
    const [parent, links] = trustCallers ? [caller, []] : [ROOT_CONTEXT, linksTo(caller)];
    const attributes = attributesOf(request);
    const call = telemetry.begin(request.method, parent, { attributes, links });
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
  }

  return {
    name: "otel",
    middleware,
    onMount: (server) => void (stop = observeStats(telemetry, () => server.stats())),
    dispose: () => stop?.(),
  };
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

function connectionAttributes({ handshake }: Connection): Attributes {
  const { isUpgrade, remoteAddress, url } = handshake;
  return {
    ...(URL.canParse(url) && addressOf(url)),
    ...(remoteAddress !== undefined && { "network.peer.address": remoteAddress }),
    ...(url !== "" && { "network.protocol.name": isUpgrade ? "websocket" : "http" }),
  };
}

const INTERNAL_ERROR = -32603;
