/**
 * Spans and metrics of the calls of a client.
 *
 * @module
 */

import { context, trace } from "@opentelemetry/api";
import type { Attributes } from "@opentelemetry/api";
import type { ClientMiddleware } from "../client/middleware.ts";
import { SKIPS } from "../core/internal.ts";
import type { OutgoingChanges } from "../core/outgoing.ts";
import { RpcError } from "../protocol/errors.ts";
import { withTrace } from "./carrier.ts";
import { Telemetry } from "./telemetry.ts";
import type { OtelOptions } from "./telemetry.ts";

/** Options of {@linkcode otelClient}. */
export interface OtelClientOptions extends OtelOptions {
  /** The URL of the server, for the attributes `server.address` and `server.port`. */
  readonly url?: string | URL;
  /**
   * Whether calls whose params are an object carry their trace in `params._meta`. A server with `otel()`
   * takes it out again. Turn it off for a server that refuses a member that it does not know.
   *
   * @default {true}
   */
  readonly propagate?: boolean;
}

/**
 * Makes middleware that records a span for each call and notification of a client, and the metric
 * `rpc.client.call.duration`.
 *
 * @param options Where spans and metrics go.
 * @returns The middleware, for `withMiddleware` of `@x/jsonrpc/middleware`. If it is the outermost layer, a
 * call that is tried again is one span.
 * @throws {TypeError} If `url` is no URL.
 *
 * @example
 * ```ts
 * import { JsonRpc } from "@x/jsonrpc";
 * import { withMiddleware } from "@x/jsonrpc/middleware";
 * import { otelClient } from "@x/jsonrpc/otel";
 * import { testClient } from "@x/jsonrpc/testing";
 *
 * const plain = await testClient(new JsonRpc().method("ping", () => "pong"));
 * const client = withMiddleware(plain, [otelClient({ url: "wss://rpc.example" })]);
 * console.assert(await client.call("ping") === "pong");
 * await client.close();
 * ```
 */
export function otelClient(options: OtelClientOptions = {}): ClientMiddleware {
  const { propagate = true, url } = options;
  const telemetry = new Telemetry("client", options);
  const attributes = url === undefined ? {} : addressOf(url);
  const record: ClientMiddleware = ({ method, params }, next) =>
    recordOutgoing(telemetry, { method, params, attributes, propagate }, next);
  return Object.assign(record, { [SKIPS]: () => telemetry.isOff });
}

/** A call that this side makes, and how it is recorded. */
export interface RecordedOutgoing {
  readonly method: string;
  readonly params: unknown;
  /** More attributes of the span. */
  readonly attributes: Attributes;
  /** Whether the params carry the trace. */
  readonly propagate: boolean;
}

/** Makes a call, and records a span for it. */
export function recordOutgoing(
  telemetry: Telemetry,
  { method, params, attributes, propagate }: RecordedOutgoing,
  next: (changes?: OutgoingChanges) => Promise<unknown>,
): Promise<unknown> {
  const parent = context.active();
  const call = telemetry.begin(method, parent, { attributes });
  const own = trace.setSpan(parent, call.span);
  const sent = propagate ? withTrace(params, own, telemetry.propagator) : params;
  const result = context.with(own, () => next(sent === params ? undefined : { params: sent }));
  // `then` with both, so that this layer adds no rejection that nobody handles.
  return result.then((value) => {
    call.succeed();
    return value;
  }, (error) => {
    call.fail(error, error instanceof RpcError ? error.code : undefined);
    throw error;
  });
}

/** The attributes of a server's URL. */
export function addressOf(url: string | URL): Attributes {
  const { hostname, port, protocol } = new URL(url);
  const usual = /^(?:wss|https):$/.test(protocol) ? 443 : 80;
  return { "server.address": hostname, "server.port": port === "" ? usual : Number(port) };
}
