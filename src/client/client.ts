/**
 * The client: calls a server over WebSocket or HTTP, receives the events of its topics, and answers
 * its calls. It runs in browsers too and has no dependencies.
 *
 * @example
 * ```ts ignore
 * import { connect } from "@x/jsonrpc/client";
 *
 * const client = await connect("ws://localhost:8080");
 * console.log(await client.call("add", { a: 1, b: 2 }));
 * await client.subscribe("clock", (time) => console.log(time));
 * ```
 *
 * @module
 */

import { JsonRpcClient } from "./json_rpc_client.ts";
import type { ClientOptions, ClientTarget } from "./options.ts";

export {
  RpcConnectionError,
  RpcError,
  RpcFailure,
  RpcInternalError,
  RpcInvalidParamsError,
  RpcInvalidRequestError,
  RpcMethodNotFoundError,
  RpcParseError,
  RpcServerError,
  RpcTimeoutError,
} from "../protocol/errors.ts";
export type { Channel, Outgoing, Receiver, SharedText } from "../core/channel.ts";
export type { CallOptions } from "../core/pending_calls.ts";
export type { Transport, TransportContext } from "../core/transport.ts";
export type { SocketEvent, StandardSocket } from "../core/web_socket_channel.ts";
export type { SessionLimits } from "../protocol/limits.ts";
export type { BackoffOptions } from "../util/backoff.ts";
export type { Logger } from "../util/logger.ts";
export type { Registration } from "../util/registration.ts";
export type { CallBatch } from "./calls.ts";
export type {
  ClientCloseEvent,
  ClientEvents,
  ClientReconnectingEvent,
  ClientResubscribedEvent,
  ClientSubscriptionLostEvent,
} from "./events.ts";
export { JsonRpcClient } from "./json_rpc_client.ts";
export type { TopicReadOptions } from "./json_rpc_client.ts";
export type { ReadOptions } from "./event_queue.ts";
export type { ClientLimits, ClientOptions, ClientTarget, ReconnectOptions } from "./options.ts";
export type { ConnectionState } from "./reconnect.ts";
export type { EventInfo, SubscribeOptions } from "./topic_subscription.ts";
export type { Subscription } from "./topic_subscriptions.ts";

/**
 * Makes a client and waits until it is connected.
 *
 * @param target Where to connect.
 * @param options The client's options.
 * @typeParam T `typeof rpc` of the server, or a type with `methods` and `topics`: the compiler then
 * checks calls.
 * @returns The client. Rejects with {@linkcode RpcConnectionError} if it cannot connect (see
 * {@linkcode ReconnectOptions.first} for how to wait instead), with
 * `TypeError` if the target is a URL of another kind, and with `RangeError` if a limit makes no sense.
 *
 * @example
 * ```ts
 * import { connect, JsonRpc } from "@x/jsonrpc";
 * import { linkedSockets } from "@x/jsonrpc/testing";
 *
 * const rpc = new JsonRpc().method("add", ([a, b]: [number, number]) => a + b);
 * const [near, far] = linkedSockets();
 * rpc.attach(far);
 *
 * const client = await connect<typeof rpc>(near);
 * console.assert(await client.call("add", [1, 2]) === 3);
 * await client.close();
 * ```
 */
export async function connect<T = unknown>(
  target: ClientTarget,
  options: ClientOptions = {},
): Promise<JsonRpcClient<T>> {
  const client = new JsonRpcClient<T>(target, options);
  try {
    await client.connect();
    return client;
  } catch (error) {
    await client.close();
    throw error;
  }
}
