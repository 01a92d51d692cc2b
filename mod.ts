/**
 * JSON-RPC 2.0 server and client for Deno, Bun and Node: calls in both directions, topics, guards.
 *
 * @example A server for each runtime
 * ```ts ignore
 * import { JsonRpc } from "@x/jsonrpc";
 *
 * const rpc = new JsonRpc()
 *   .method("ping", () => "pong")
 *   .method("add", ({ a, b }: { a: number; b: number }) => a + b);
 *
 * Deno.serve(rpc.fetch); // Deno
 * Bun.serve({ fetch: rpc.fetch, websocket: rpc.websocket }); // Bun
 * await serve(rpc, { port: 8080 }); // Node: serve from "@x/jsonrpc/node"
 * ```
 *
 * @example A client
 * ```ts
 * import { connect, JsonRpc } from "@x/jsonrpc";
 * import { linkedSockets } from "@x/jsonrpc/testing";
 *
 * const rpc = new JsonRpc().method("add", ({ a, b }: { a: number; b: number }) => a + b);
 * const [near, far] = linkedSockets(); // in a program: a URL in place of `near`
 * rpc.attach(far);
 *
 * const client = await connect<typeof rpc>(near);
 * console.assert(await client.call("add", { a: 1, b: 2 }) === 3);
 * await client.close();
 * ```
 *
 * @module
 */

export { guard, loginRequired, permissionRequired, userPassesTest } from "./src/auth/guards.ts";
export { connect, JsonRpcClient } from "./src/client.ts";
export {
  ErrorCode,
  RpcConnectionError,
  RpcError,
  RpcInternalError,
  RpcInvalidParamsError,
  RpcInvalidRequestError,
  RpcMethodNotFoundError,
  RpcParseError,
  RpcServerError,
  RpcTimeoutError,
} from "./src/errors.ts";
export { DEFAULT_LIMITS } from "./src/limits.ts";
export { type } from "./src/schema.ts";
export { JsonRpc } from "./src/server.ts";

export type { Api, ApiOf } from "./src/api.ts";
export type { PermittedUser, Someone } from "./src/auth/guards.ts";
export type {
  BackoffBounds,
  Batch,
  ClientBounds,
  ClientCloseEvent,
  ClientEvents,
  ClientOptions,
  ClientReconnectingEvent,
  ClientResubscribedEvent,
  ClientTarget,
  LinkState,
  SubscribeOptions,
  Subscription,
  TopicReadOptions,
} from "./src/client.ts";
export type { CloseOptions } from "./src/close_options.ts";
export type { RpcErrorOptions, RpcStandardErrorOptions } from "./src/errors.ts";
export type { Limits } from "./src/limits.ts";
export type { Logger } from "./src/logger.ts";
export type { MethodError, MethodOptions } from "./src/methods.ts";
export type { OriginOptions } from "./src/origin.ts";
export type { CallOptions } from "./src/pending.ts";
export type { HandshakeCheck, Plugin, PluginMethod } from "./src/plugin.ts";
export type { Id, RawJson } from "./src/protocol.ts";
export type {
  Broker,
  BrokerEvent,
  BrokerHistory,
  BrokerSink,
  BrokerSubscription,
  HistoryQuery,
  Position,
  Retention,
} from "./src/pubsub/broker.ts";
export type { Notified } from "./src/pubsub/notified.ts";
export type { HistoryOptions, SlowPolicy, TopicOptions } from "./src/pubsub/topic_options.ts";
export type {
  CallMiddleware,
  Connection,
  Guard,
  GuardQuestion,
  Handler,
  Handshake,
  RpcRequest,
} from "./src/request.ts";
export type { ServerInfo } from "./src/openrpc.ts";
export type { SubscriptionOptions } from "./src/streams.ts";
export type { Schema, SchemaIssue, SchemaResult } from "./src/schema.ts";
export type { AttachOptions, JsonRpcOptions } from "./src/server_options.ts";
export type { StandardSocket } from "./src/socket.ts";
