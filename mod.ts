/**
 * A JSON-RPC 2.0 server and client for Deno, Bun and Node: typed calls in both directions over
 * WebSocket, the same methods over HTTP, topics with many subscribers, guards on both. The guides are in
 * `docs/`.
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
export { connect, JsonRpcClient } from "./src/client/client.ts";
export { method } from "./src/core/method.ts";
export { type } from "./src/core/schema.ts";
export { ErrorCode } from "./src/protocol/error_code.ts";
export {
  RpcConnectionError,
  RpcError,
  RpcFailure,
  RpcInternalError,
  RpcInvalidParamsError,
  RpcInvalidRequestError,
  RpcMethodNotFoundError,
  RpcServerError,
  RpcTimeoutError,
} from "./src/protocol/errors.ts";
export { rawJson } from "./src/protocol/message.ts";
export { JsonRpc } from "./src/server/server.ts";

export type { AnyUser, PermittedUser } from "./src/auth/guards.ts";
export type {
  CallBatch,
  ClientOptions,
  ClientTarget,
  ConnectionState,
  SubscribeOptions,
  Subscription,
} from "./src/client/client.ts";
export type { ApiOf } from "./src/core/public_types.ts";
export type { CloseOptions } from "./src/core/close_options.ts";
export type { Connection, Handshake } from "./src/core/connection.ts";
export type { Guard } from "./src/core/guard.ts";
export type { CallOptions } from "./src/core/pending_calls.ts";
export type { CallMiddleware, Handler, RpcRequest } from "./src/core/request.ts";
export type { Schema } from "./src/core/schema.ts";
export type { Transport } from "./src/core/transport.ts";
export type { StandardSocket } from "./src/core/web_socket_channel.ts";
export type { RpcErrorOptions } from "./src/protocol/errors.ts";
export type { Limits } from "./src/protocol/limits.ts";
export type { Id } from "./src/protocol/message.ts";
export type { StreamMethodOptions } from "./src/server/id_subscriptions.ts";
export type { MethodOptions } from "./src/core/method.ts";
export type { AttachOptions, JsonRpcOptions } from "./src/server/options.ts";
export type { TopicOptions } from "./src/topics/options.ts";
export type { PublishResult } from "./src/topics/publish_result.ts";
export type { Logger } from "./src/util/logger.ts";
