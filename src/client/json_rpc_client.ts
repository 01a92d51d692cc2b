/**
 * The client itself. `client.ts` is the module that programs import.
 *
 * @module
 */

import type { Api, ApiOf, ArgumentsOf, ParamsFor, PayloadOf, ResultOf } from "../core/api.ts";
import type { Remote } from "../core/remote.ts";
import type { Json } from "../core/json.ts";
import { closeText } from "../core/channel.ts";
import type { Method } from "../core/dispatcher.ts";
import { SEND } from "../core/internal.ts";
import type { CallOptions } from "../core/pending_calls.ts";
import type { ClientHandler } from "../core/request.ts";
import type { RpcSession } from "../core/session.ts";
import { RpcConnectionError } from "../protocol/errors.ts";
import { checkExact } from "../protocol/message.ts";
import { toRegistration } from "../util/registration.ts";
import type { Registration } from "../util/registration.ts";
import { Calls } from "./calls.ts";
import type { CallBatch } from "./calls.ts";
import { readQueue } from "./event_queue.ts";
import type { ReadOptions } from "./event_queue.ts";
import type { ClientEvents } from "./events.ts";
import type { ClientHost } from "./host.ts";
import { keepLogin } from "./login.ts";
import { resolveClientLimits } from "./options.ts";
import type { ClientOptions, ClientTarget } from "./options.ts";
import type { ConnectionState } from "./reconnect.ts";
import { remoteProxy } from "./remote.ts";
import type { RemoteCall } from "./remote.ts";
import { TopicSubscriptions } from "./topic_subscriptions.ts";
import type { EventInfo, SubscribeOptions } from "./topic_subscription.ts";
import type { Subscription } from "./topic_subscriptions.ts";
import { toTransport } from "./transport.ts";

/** Options of {@linkcode JsonRpcClient.topic}. */
export type TopicReadOptions = SubscribeOptions & ReadOptions;

/** The events of a client, as types. */
export interface JsonRpcClient<T = unknown, A extends Api = ApiOf<T>> {
  /**
   * Listens for an event.
   *
   * @param type One of {@linkcode ClientEvents}.
   * @param listener Called with each such event.
   * @param options As with any `EventTarget`.
   */
  addEventListener<Type extends keyof ClientEvents>(
    type: Type,
    listener: (event: ClientEvents[Type]) => void,
    options?: ListenOptions,
  ): void;
  addEventListener(
    type: string,
    listener: Parameters<EventTarget["addEventListener"]>[1],
    options?: ListenOptions,
  ): void;
}

/**
 * A client. It connects with its first call and stays connected until it is closed: if the connection
 * ends, it connects again and subscribes to its topics again.
 *
 * Its events are those of {@linkcode ClientEvents}.
 *
 * @typeParam T `typeof rpc` of the server, or a type with `methods` and `topics`: the compiler then checks calls.
 * @typeParam A What the server offers, as {@linkcode ApiOf} reads it from `T`.
 *
 * @example
 * ```ts
 * import { JsonRpc, JsonRpcClient } from "@x/jsonrpc";
 * import { linkedSockets } from "@x/jsonrpc/testing";
 *
 * const rpc = new JsonRpc().method("ping", () => "pong");
 * const [near, far] = linkedSockets();
 * rpc.attach(far);
 *
 * const client = new JsonRpcClient(near);
 * client.addEventListener("close", ({ code, reason }) => console.log(code, reason));
 * console.assert(await client.call("ping") === "pong");
 * await client.close();
 * ```
 */
export class JsonRpcClient<T = unknown, A extends Api = ApiOf<T>> extends EventTarget {
  /** Only a type. Never set. */
  declare readonly "~api": A;
  /** The server's methods as functions: `client.remote.math.add([1, 2])` calls `math.add`. */
  declare readonly remote: Remote<A, CallOptions>;
  readonly #calls: Calls;
  readonly #methods = new Map<string, Method>();
  readonly #subscriptions: TopicSubscriptions;
  readonly #reviver: ClientOptions["reviver"];
  // Whether the program has closed this client.
  #closed = false;

  /**
   * @param target Where to connect, with the first call.
   * @param options The client's options.
   * @throws {TypeError} If the target is a URL of another kind.
   * @throws {RangeError} If a limit is not a whole number, or too small.
   */
  constructor(target: ClientTarget, options: ClientOptions = {}) {
    super();
    const { logger = console, separator = "." } = options;
    this.#reviver = options.reviver;
    const host: ClientHost = {
      ...options,
      limits: resolveClientLimits(options),
      logger,
      transport: toTransport(target, options),
      find: (name) => this.#subscriptions.find(name, this.#methods.get(name)),
      // One is the client's own.
      listens: () => this.#methods.size > 1,
      opened: (session, again) => {
        if (again) void this.#restore(session);
        this.#dispatch("open");
      },
      closed: (code, reason, final) => {
        const why = `Subscription ended: the client is closed ${closeText(code, reason)}`;
        if (final) this.#subscriptions.clear(new RpcConnectionError(why), !this.#closed);
        this.#dispatch("close", { code, reason, final });
      },
      reconnecting: (attempt, delayMs) => this.#dispatch("reconnecting", { attempt, delayMs }),
      lost: (topic, error) => this.#dispatch("subscriptionlost", { topic, error }),
    };
    this.remote = remoteProxy(this.call.bind(this) as RemoteCall, separator) as Remote<
      A,
      CallOptions
    >;
    this.#methods.set("rpc.login", keepLogin(host));
    this.#calls = new Calls(host);
    this.#subscriptions = new TopicSubscriptions(host, this.#calls);
  }

  /** The state of its connection. */
  get state(): ConnectionState {
    return this.#calls.connection.state;
  }

  /**
   * Connects, unless it is connected. If it waits to reconnect, it makes the attempt at once.
   *
   * @returns Resolves when calls can be sent. Rejects with {@linkcode RpcConnectionError} if the
   * attempt fails; a later call, or another `connect()`, makes another attempt.
   */
  connect(): Promise<void> {
    return this.#calls.connection.connect();
  }

  /**
   * Calls a method of the server.
   *
   * @param method The method's name.
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
  call<Name extends keyof A["methods"] & string>(
    method: Name,
    ...rest: ArgumentsOf<A["methods"], Name, CallOptions>
  ): Promise<ResultOf<A["methods"][Name]>> {
    const [params, options] = rest as unknown as [unknown?, CallOptions?];
    return this.#calls.call({ method, params, options }) as Promise<ResultOf<A["methods"][Name]>>;
  }

  /**
   * Sends the server a notification: a call without an answer. If it waits for a connection and
   * cannot be sent in the end, the client logs that.
   *
   * @param method The method's name.
   * @param params An array (by position), an object (by name), or none.
   * @throws {TypeError} If params have no JSON, or are neither array nor object.
   * @throws {RangeError} If the message is over `maxMessageBytes`.
   * @throws {RpcConnectionError} If the client is closed, or `maxQueued` messages wait already.
   */
  notify<Name extends keyof A["methods"] & string>(
    method: Name,
    params?: ParamsFor<A["methods"], Name>,
  ): void {
    this.#calls.notify(method, params);
  }

  /**
   * Sends several calls and notifications as one message. If all its calls are cancelled before there
   * is a connection, nothing of it is sent.
   *
   * @param build Makes the calls, synchronously, and returns their promises in an array.
   * @returns All results, in that order. Rejects with the first call that fails: give a call that may
   * fail a `.catch` of its own.
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
   * Subscribes to a topic; after a reconnect the client subscribes again. Several handlers of one topic
   * share one subscription on the server.
   *
   * @param topic The topic's name.
   * @param handler Called with the data of each event, and with what else is known of the event.
   * @param options Whether to fetch kept and missed events, and what to do if that is not possible.
   * @returns The subscription, with which to end it. Rejects with {@linkcode RpcInvalidParamsError} if
   * the server does not have the topic, or not for this client.
   *
   * @example
   * ```ts ignore
   * await client.subscribe("prices", show, { recover: true, onGap: () => loadAll() });
   * await client.subscribe("chat", (line, { time }) => print(line, time), { last: 50 });
   * ```
   */
  subscribe<Name extends keyof A["topics"] & string>(
    topic: Name,
    handler: (data: Json<PayloadOf<A, Name>>, info: EventInfo) => unknown,
    options?: SubscribeOptions,
  ): Promise<Subscription> {
    return this.#subscriptions.add(topic, { ...options, handle: handler });
  }

  /**
   * Reads the events of a topic in a loop. The client subscribes when the loop begins, and unsubscribes
   * when the loop is left.
   *
   * @param topic The topic's name.
   * @param options Whether to fetch missed events, and how many may wait to be read.
   * @returns The data of each event. The loop throws {@linkcode RpcConnectionError} if the client is
   * closed or more than `maxWaiting` events wait, and what the server refused the topic with.
   *
   * @example
   * ```ts ignore
   * for await (const time of client.topic("clock")) console.log(time);
   * ```
   */
  topic<Name extends keyof A["topics"] & string>(
    topic: Name,
    options: TopicReadOptions = {},
  ): AsyncGenerator<Json<PayloadOf<A, Name>>, void, void> {
    return readQueue(async (queue) => {
      const subscription = await this.#subscriptions.add(topic, {
        ...options,
        handle: queue.push,
        ended: queue.end,
      });
      return subscription.unsubscribe;
    }, options) as AsyncGenerator<Json<PayloadOf<A, Name>>, void, void>;
  }

  /**
   * Ends all handlers of a topic, and the loops that read it.
   *
   * @param topic The topic's name.
   * @returns Resolves when the server has ended the subscription.
   */
  unsubscribe(topic: keyof A["topics"] & string): Promise<void> {
    return this.#subscriptions.remove(topic);
  }

  /**
   * Offers a method to the server. Without the option `reviver`, calls with a number beyond ±(2^53-1),
   * which may have been rounded, are answered with -32602.
   *
   * @param name The method's name.
   * @param handler Gets the params and the request; returns the result, or a promise of it.
   * @returns Removes the method. It is disposable, for `using`.
   * @throws {TypeError} If this client has a method of that name.
   *
   * @example
   * ```ts ignore
   * const remove = client.method("confirm", ({ message }: { message: string }) => ask(message));
   * remove();
   * ```
   */
  method<Name extends keyof A["client"] & string, Params = unknown>(
    name: Name,
    handler: ClientHandler<A["client"], Name, Params>,
  ): Registration {
    if (this.#methods.has(name)) {
      throw new TypeError(`Cannot register "${name}": the name is taken`);
    }
    const method: Method = {
      invoke: (params, request) => {
        if (!this.#reviver) checkExact(params);
        // As with a server's methods, `null` means none.
        return (handler as unknown as Method["invoke"])(params ?? undefined, request);
      },
    };
    this.#methods.set(name, method);
    // Only this method: another one may have the name by then.
    return toRegistration(() => {
      if (this.#methods.get(name) === method) this.#methods.delete(name);
    });
  }

  /** @returns The names of the methods that this client may call. */
  getMethods(): Promise<string[]> {
    return this.#calls.call({ method: "get_methods" }) as Promise<string[]>;
  }

  /** @returns The names of the topics that this client may subscribe to. */
  getTopics(): Promise<string[]> {
    return this.#calls.call({ method: "get_topics" }) as Promise<string[]>;
  }

  /** @returns The topics that this client is subscribed to, as the server knows it. */
  getSubscriptions(): Promise<string[]> {
    return this.#calls.call({ method: "get_subscriptions" }) as Promise<string[]>;
  }

  /**
   * Closes the connection for good. Calls that wait are rejected; POSTs under way are aborted, those
   * of notifications too.
   *
   * @returns Resolves when the server has closed too, or has not done so within a second. After that
   * second a standard socket can keep the process alive until the runtime gives the server up.
   */
  close(): Promise<void> {
    this.#closed = true;
    return this.#calls.connection.close();
  }

  /** The same as {@linkcode JsonRpcClient.close}, for `await using`. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  async #restore(session: RpcSession): Promise<void> {
    const topics = await this.#subscriptions.restore((request) =>
      this.#calls.call(request, (text) => session[SEND](text))
    );
    if (topics.length > 0) this.#dispatch("resubscribed", { topics });
  }

  #dispatch(type: keyof ClientEvents, details?: object): void {
    this.dispatchEvent(Object.assign(new Event(type), details));
  }
}

// Taken from the base class, since not every runtime's types have a name for it.
type ListenOptions = Parameters<EventTarget["addEventListener"]>[2];
