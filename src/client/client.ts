/**
 * The client: calls a server over WebSocket or HTTP, hears the events of its topics, and answers
 * its calls. Browser compatible, no dependencies.
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

import type {
  Api,
  ApiOf,
  CallArguments,
  NameOf,
  ParamsOf,
  Remote,
  ResultOf,
  UnknownApi,
} from "../core/api.ts";
import { Calls } from "./calls.ts";
import type { CallBatch } from "./calls.ts";
import { closeText } from "../core/channel.ts";
import type { ClientEvents } from "./events.ts";
import { createConnection } from "./transport.ts";
import type { ClientSide } from "./transport.ts";
import { resolveClientBounds } from "./options.ts";
import type { ClientOptions, ClientTarget } from "./options.ts";
import { RpcConnectionError } from "../protocol/errors.ts";
import { EventQueue } from "./event_queue.ts";
import type { ConnectionState, ReconnectingConnectionEvents } from "./reconnect.ts";
import type { CallOptions } from "../core/pending_calls.ts";
import { SEND } from "../core/internal.ts";
import type { RpcSession, SessionHost } from "../core/session.ts";
import { remoteProxy } from "./remote.ts";
import type { RpcRequest } from "../core/request.ts";
import type { Method } from "../core/dispatcher.ts";
import { TopicSubscriptions } from "./topic_subscriptions.ts";
import type { Listener, SubscribeOptions, Subscription } from "./topic_subscriptions.ts";

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
} from "../protocol/errors.ts";
export type { CallBatch } from "./calls.ts";
export type { BackoffBounds } from "../util/backoff.ts";
export type {
  ClientCloseEvent,
  ClientEvents,
  ClientReconnectingEvent,
  ClientResubscribedEvent,
} from "./events.ts";
export type { ClientBounds, ClientOptions, ClientTarget } from "./options.ts";
export type { ConnectionState } from "./reconnect.ts";
export type { SessionLimits } from "../protocol/limits.ts";
export type { CallOptions } from "../core/pending_calls.ts";
export type { SubscribeOptions, Subscription } from "./topic_subscriptions.ts";

/** How the events of a topic are read. */
export interface TopicReadOptions extends SubscribeOptions {
  /** Events that may wait to be taken; with one more the reading fails. @default {1024} */
  readonly maxWaiting?: number;
}

/**
 * Makes a client and waits until it can talk.
 *
 * @param target Where to.
 * @param options How.
 * @typeParam T `typeof rpc` of the server, or a type with `methods` and `topics`: calls are then
 * checked.
 * @returns The client. Rejects with {@linkcode RpcConnectionError} where the server is not reached.
 * @throws {TypeError} Where the target is no URL of a kind that is known.
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
): Promise<JsonRpcClient<ApiOf<T>>> {
  const client = new JsonRpcClient<ApiOf<T>>(target, options);
  try {
    await client.connect();
    return client;
  } catch (error) {
    await client.close();
    throw error;
  }
}

/**
 * A client. It connects with its first call, and stays connected until it is closed: a WebSocket
 * that ends is made again, and what was subscribed to is subscribed to again.
 *
 * Events: those of {@linkcode ClientEvents}.
 *
 * @typeParam A What the server offers.
 */
export class JsonRpcClient<A extends Api = UnknownApi> extends EventTarget {
  readonly #separator: string;
  readonly #calls: Calls;
  readonly #methods = new Map<string, Method>();
  readonly #subscriptions: TopicSubscriptions;
  #remote: Remote<A["methods"], CallOptions> | undefined;

  /**
   * @param target Where to connect, with the first call.
   * @param options How. Never written to.
   * @throws {TypeError} Where the target is no URL of a kind that is known.
   * @throws {RangeError} Where a limit makes no sense.
   */
  constructor(target: ClientTarget, options: ClientOptions = {}) {
    super();
    this.#separator = options.separator ?? ".";
    const limits = resolveClientBounds(options);
    const logger = options.logger ?? console;
    const host: SessionHost = {
      limits,
      logger,
      find: (name) => this.#find(name),
    };
    const side: ClientSide = { bounds: limits, host, events: this.#events() };
    this.#subscriptions = new TopicSubscriptions(
      (request) => this.#calls.call(request),
      () => this.state === "open",
      logger,
    );
    this.#calls = new Calls(limits, logger, createConnection(target, options, side));
  }

  /** Where it stands. */
  get state(): ConnectionState {
    return this.#calls.connection.state;
  }

  /** The server's methods as functions: `client.remote.math.add([1, 2])` calls `math.add`. */
  get remote(): Remote<A["methods"], CallOptions> {
    return this.#remote ??= remoteProxy(
      (method, params, options) => this.#calls.call({ method, params, options }),
      this.#separator,
    ) as Remote<A["methods"], CallOptions>;
  }

  override addEventListener<Type extends keyof ClientEvents>(
    type: Type,
    listener: (event: ClientEvents[Type]) => void,
    options?: ListenOptions,
  ): void;
  override addEventListener(
    type: string,
    listener: Parameters<EventTarget["addEventListener"]>[1],
    options?: ListenOptions,
  ): void;
  /** Listens for one of {@linkcode ClientEvents}. */
  override addEventListener(
    type: string,
    listener: never,
    options?: ListenOptions,
  ): void {
    super.addEventListener(type, listener, options);
  }

  /**
   * Connects, if it is not connected. Where it waits before its next attempt, it makes it at once.
   *
   * @returns Resolves when calls can be sent. Rejects with {@linkcode RpcConnectionError} where the
   * attempt fails; a later call or `connect()` makes another.
   */
  connect(): Promise<void> {
    return this.#calls.connection.connect();
  }

  /**
   * Calls a method of the server.
   *
   * @param method Its name.
   * @param rest Params (an array by position, an object by name), then options of the call.
   * @returns What the method gave. Rejects with the {@linkcode RpcError} that it threw,
   * {@linkcode RpcTimeoutError}, {@linkcode RpcConnectionError}, or the reason of the signal.
   *
   * @example
   * ```ts ignore
   * await client.call("add", { a: 1, b: 2 });
   * await client.call("report", { year: 2026 }, { timeoutMs: 5000, onProgress: console.log });
   * ```
   */
  call<Name extends NameOf<A["methods"]>>(
    method: Name,
    ...rest: CallArguments<A["methods"][Name], CallOptions>
  ): Promise<ResultOf<A["methods"][Name]>> {
    const [params, options] = rest as [unknown?, CallOptions?];
    return this.#calls.call({ method, params, options }) as Promise<ResultOf<A["methods"][Name]>>;
  }

  /**
   * Tells the server something that needs no answer. One that waits for a connection and is never
   * sent is logged.
   *
   * @throws {TypeError} Where params have no JSON, or are neither array nor object.
   * @throws {RangeError} Where it is over `maxMessageBytes`.
   * @throws {RpcConnectionError} Where the client is closed, or `maxQueued` messages wait already.
   */
  notify<Name extends NameOf<A["methods"]>>(
    method: Name,
    params?: ParamsOf<A["methods"][Name]>,
  ): void {
    this.#calls.notify(method, params);
  }

  /**
   * Sends several calls and notifications as one message. Where all its calls are given up before
   * there is a connection to send it on, none of it is sent.
   *
   * @param build Makes them, synchronously, and returns the promises in an array.
   * @returns All results, in that order. Rejects with the first call that fails; give calls whose
   * failure you expect a `.catch` of their own.
   *
   * @example
   * ```ts ignore
   * const [sum, pong] = await client.batch((b) => [b.call("add", [1, 2]), b.call("ping")]);
   * ```
   */
  async batch<const Results extends readonly unknown[]>(
    build: (batch: CallBatch<A>) => Results,
  ): Promise<{ -readonly [Index in keyof Results]: Awaited<Results[Index]> }> {
    return await Promise.all(this.#calls.batch(build as (batch: CallBatch) => Results));
  }

  /**
   * Hears the events of a topic, after a reconnect too. Several handlers of one topic share one
   * subscription.
   *
   * @param topic Its name.
   * @param handler Called with the data of each event.
   * @param options Whether missed events are fetched, and what to do where that cannot be.
   * @returns The way to end it. Rejects where the server does not have the topic for this client.
   *
   * @example
   * ```ts ignore
   * await client.subscribe("prices", show, { recover: true, onGap: () => loadAll() });
   * ```
   */
  subscribe<Name extends NameOf<A["topics"]>>(
    topic: Name,
    handler: (data: A["topics"][Name]) => unknown,
    options: SubscribeOptions = {},
  ): Promise<Subscription> {
    return this.#subscriptions.add(topic, { ...options, handle: handler });
  }

  /**
   * Reads the events of a topic. It is subscribed to with the first event that is asked for, and
   * until the loop is left.
   *
   * @param topic Its name.
   * @param options Whether missed events are fetched, and how many may wait to be taken.
   * @returns The events. Throws {@linkcode RpcConnectionError} where the client is closed, or more
   * wait than `maxWaiting`, and what the server refused it with.
   *
   * @example
   * ```ts ignore
   * for await (const time of client.topic("clock")) console.log(time);
   * ```
   */
  async *topic<Name extends NameOf<A["topics"]>>(
    topic: Name,
    options: TopicReadOptions = {},
  ): AsyncGenerator<A["topics"][Name], void, void> {
    const queue = new EventQueue(options.maxWaiting ?? 1024);
    const handle = (data: unknown): void => queue.push(data);
    const ended = (error?: Error): void => queue.end(error);
    const listener: Listener = { ...options, handle, ended };
    const subscription = await this.#subscriptions.add(topic, listener);
    try {
      for (let item; (item = await queue.take()) !== undefined;) {
        yield item.value as A["topics"][Name];
      }
    } finally {
      if (!queue.ended) await subscription.unsubscribe();
    }
  }

  /** Ends all handlers of a topic, and the loops that read it. */
  unsubscribe(topic: NameOf<A["topics"]>): Promise<void> {
    return this.#subscriptions.remove(topic);
  }

  /**
   * Offers a method to the server.
   *
   * @param name What the server calls it by.
   * @param handler Gets the params and the request; returns the result or a promise of it.
   * @throws {TypeError} Where the name is taken.
   */
  method<Params = unknown>(
    name: string,
    handler: (params: Params, request: RpcRequest) => unknown,
  ): this {
    if (this.#methods.has(name)) {
      throw new TypeError(`Cannot register "${name}": the name is taken`);
    }
    this.#methods.set(name, { invoke: handler as Method["invoke"] });
    return this;
  }

  /** The methods that this client may call. */
  getMethods(): Promise<string[]> {
    return this.#calls.call({ method: "get_methods" }) as Promise<string[]>;
  }

  /** The topics that this client may subscribe to. */
  getTopics(): Promise<string[]> {
    return this.#calls.call({ method: "get_topics" }) as Promise<string[]>;
  }

  /** The topics that this client is subscribed to, as the server sees it. */
  getSubscriptions(): Promise<string[]> {
    return this.#calls.call({ method: "get_subscriptions" }) as Promise<string[]>;
  }

  /**
   * Ends the connection; calls that wait reject. Resolves when the server has closed too, or has
   * taken too long to: one that answers no close can keep the standard socket, and so the process,
   * until TCP gives it up. POSTs under way are given up, those of notifications too.
   */
  close(): Promise<void> {
    return this.#calls.connection.close();
  }

  /** The same as {@linkcode JsonRpcClient.close}, for `await using`. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  #find(name: string): Method | undefined {
    return this.#subscriptions.find(name, this.#methods.get(name));
  }

  #events(): ReconnectingConnectionEvents {
    return {
      opened: (peer, again) => {
        if (again) void this.#restore(peer);
        this.dispatchEvent(new Event("open"));
      },
      closed: (code, reason, final) => {
        const why = `Heard no more: the client is closed ${closeText(code, reason)}`;
        if (final) this.#subscriptions.clear(new RpcConnectionError(why));
        this.#tell("close", { code, reason, final });
      },
      reconnecting: (attempt, delayMs) => this.#tell("reconnecting", { attempt, delayMs }),
    };
  }

  async #restore(peer: RpcSession): Promise<void> {
    const topics = await this.#subscriptions.restore((request) =>
      this.#calls.call(request, (text) => peer[SEND](text))
    );
    if (topics.length > 0) this.#tell("resubscribed", { topics });
  }

  #tell(type: keyof ClientEvents, what: object): void {
    this.dispatchEvent(Object.assign(new Event(type), what));
  }
}

// By way of the base class: not every runtime's types have names for these.
type ListenOptions = Parameters<EventTarget["addEventListener"]>[2];
