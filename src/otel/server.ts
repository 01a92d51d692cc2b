/**
 * Spans and metrics of a server.
 *
 * @module
 */

import type { Attributes } from "@opentelemetry/api";
import type { Connection } from "../core/connection.ts";
import { SKIPS } from "../core/internal.ts";
import type { OutgoingCall, OutgoingMiddleware } from "../core/outgoing.ts";
import type { MountedServer, Plugin } from "../core/plugin.ts";
import type { RpcRequest } from "../core/request.ts";
import { addressOf, recordOutgoing } from "./client.ts";
import { idAttributes, recordIncoming } from "./incoming.ts";
import { observeStats } from "./server_metrics.ts";
import { Telemetry } from "./telemetry.ts";
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
  /**
   * Whether calls of the server to its clients carry their trace in `params._meta`, if their params are an
   * object. Clients with `otelIncoming()` take it out again; the handlers of others see it.
   *
   * @default {the value of trustCallers}
   */
  readonly propagate?: boolean;
}

/**
 * Makes a plugin that records a span for each call and notification that reaches a server and for each call
 * that it makes to a client, and metrics: the duration of calls (`rpc.server.call.duration`, and
 * `rpc.client.call.duration` for those to clients), and what `rpc.stats()` counts
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
  const { trustCallers = true, propagate = trustCallers } = options;
  const telemetry = new Telemetry("server", options);
  const calling = new Telemetry("client", options);
  const addresses = new WeakMap<Connection, Attributes>();
  let mounted: MountedServer | undefined;
  let stop: (() => void) | undefined;

  function attributesOf({ connection, id }: RpcRequest): Attributes {
    let attributes = addresses.get(connection);
    if (attributes === undefined) {
      attributes = connectionAttributes(connection);
      addresses.set(connection, attributes);
    }
    return { ...attributes, ...idAttributes(id) };
  }

  function outgoing(
    { connection, method, params }: OutgoingCall,
    next: Parameters<OutgoingMiddleware>[1],
  ): Promise<unknown> {
    const attributes = peerAttributes(connection);
    return recordOutgoing(calling, { method, params, attributes, propagate }, next);
  }

  return {
    name: "otel",
    middleware: recordIncoming(telemetry, {
      trustCallers,
      attributesOf,
      isKnown: (method) => mounted?.hasMethod(method) ?? false,
    }),
    outgoing: Object.assign(outgoing, { [SKIPS]: () => calling.isOff }),
    onMount: (server) => {
      mounted = server;
      stop = observeStats(telemetry, () => server.stats());
    },
    // A server that is not called yet is observed too, if its program registers an SDK late.
    onOpen: () => telemetry.findSdk(),
    dispose: () => stop?.(),
  };
}

function connectionAttributes({ handshake }: Connection): Attributes {
  const { isUpgrade, remoteAddress, url } = handshake;
  return {
    ...(URL.canParse(url) && addressOf(url)),
    ...(remoteAddress !== undefined && { "network.peer.address": remoteAddress }),
    ...(url !== "" && { "network.protocol.name": isUpgrade ? "websocket" : "http" }),
  };
}

function peerAttributes({ handshake: { remoteAddress, url } }: Connection): Attributes {
  return {
    ...(remoteAddress !== undefined && { "network.peer.address": remoteAddress }),
    ...(url !== "" && { "network.protocol.name": "websocket" }),
  };
}
