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
} from "./api.ts";
import { Calls } from "./calls.ts";
import type { Batch } from "./calls.ts";
import { resolveTarget } from "./client_options.ts";
import type { ClientOptions, ClientTarget } from "./client_options.ts";
import type { Method } from "./dispatch.ts";
import { resolveLimits } from "./limits.ts";
import { SocketLink } from "./link.ts";
import type { LinkEvents, LinkState } from "./link.ts";
import type { PeerHost } from "./peer.ts";
import type { CallOptions } from "./pending.ts";
import { PostLink } from "./post.ts";
import { remoteProxy } from "./remote.ts";
import type { RpcRequest } from "./request.ts";
import type { StandardSocket } from "./socket.ts";
import { Subscriptions } from "./subscriptions.ts";
import type { Subscription, TopicHandler } from "./subscriptions.ts";

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
} from "./errors.ts";
export type { Batch } from "./calls.ts";
export type { ClientOptions, ClientTarget } from "./client_options.ts";
export type { LinkState } from "./link.ts";
export type { CallOptions } from "./pending.ts";
export type { Subscription } from "./subscriptions.ts";

/** What the `close` event of a client tells. */
export class ClientCloseEvent extends Event {
  /** The close code of RFC 6455, section 7.4; 1006 where no close frame came. */
  readonly code: number;
  /** What the other side said of it. */
  readonly reason: string;

  /** Made by the client, not by users. */
  constructor(code: number, reason: string) {
    super("close");
    this.code = code;
    this.reason = reason;
  }
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
  await client.connect();
  return client;
}

/**
 * A client. It connects with its first call, and stays connected until it is closed.
 *
 * Events: `open`, and `close` ({@linkcode ClientCloseEvent}).
 *
 * @typeParam A What the server offers.
 */
export class JsonRpcClient<A extends Api = UnknownApi> extends EventTarget {
  readonly #options: ClientOptions;
  readonly #calls: Calls;
  readonly #methods = new Map<string, Method>();
  readonly #subscriptions: Subscriptions;
  #remote: Remote<A["methods"], CallOptions> | undefined;

  /**
   * @param target Where to connect, with the first call.
   * @param options How. Never written to.
   * @throws {TypeError} Where the target is no URL of a kind that is known.
   * @throws {RangeError} Where a limit makes no sense.
   */
  constructor(target: ClientTarget, options: ClientOptions = {}) {
    super();
    this.#options = options;
    const limits = resolveLimits(options);
    const logger = options.logger ?? console;
    const host: PeerHost = {
      limits,
      logger,
      find: (name) => this.#find(name),
      orphan: (message) => this.#calls.orphan(message),
    };
    const where = resolveTarget(target);
    this.#calls = new Calls(
      limits,
      logger,
      (pending) =>
        isHttp(where)
          ? new PostLink({ ...toPostTarget(where, options), limits, logger, pending })
          : new SocketLink({ ...toSocket(where, options), host, pending, events: this.#events() }),
    );
    const call = (method: string, params: unknown) => this.#calls.call(method, params);
    this.#subscriptions = new Subscriptions(call, logger);
  }

  /** `idle` before the first call, then `connecting`, `open`, and at last `closed`. */
  get state(): LinkState {
    return this.#calls.link.state;
  }

  /** The server's methods as functions: `client.remote.math.add([1, 2])` calls `math.add`. */
  get remote(): Remote<A["methods"], CallOptions> {
    return this.#remote ??= remoteProxy(
      (name, params, options) => this.#calls.call(name, params, options),
      this.#options.separator ?? ".",
    ) as Remote<A["methods"], CallOptions>;
  }

  /**
   * Connects, if that has not begun.
   *
   * @returns Resolves when calls can be sent. Rejects with {@linkcode RpcConnectionError}.
   */
  connect(): Promise<void> {
    return this.#calls.link.connect();
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
    return this.#calls.call(method, params, options) as Promise<ResultOf<A["methods"][Name]>>;
  }

  /**
   * Tells the server something that needs no answer. A notification that cannot be sent is logged.
   *
   * @throws {TypeError} Where params have no JSON, or are neither array nor object.
   */
  notify<Name extends NameOf<A["methods"]>>(
    method: Name,
    params?: ParamsOf<A["methods"][Name]>,
  ): void {
    this.#calls.notify(method, params);
  }

  /**
   * Sends several calls and notifications as one message.
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
  batch<const Results extends readonly unknown[]>(
    build: (batch: Batch<A>) => Results,
  ): Promise<{ -readonly [Index in keyof Results]: Awaited<Results[Index]> }> {
    return Promise.all(this.#calls.batch(build as (batch: Batch) => Results));
  }

  /**
   * Hears the events of a topic. Several handlers of one topic share one subscription.
   *
   * @param topic Its name.
   * @param handler Called with the data of each event.
   * @returns The way to end it. Rejects where the server does not have the topic for this client.
   */
  subscribe<Name extends NameOf<A["topics"]>>(
    topic: Name,
    handler: (data: A["topics"][Name]) => unknown,
  ): Promise<Subscription> {
    return this.#subscriptions.add(topic, handler as TopicHandler);
  }

  /** Ends all handlers of a topic. */
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
    this.#methods.set(name, {
      invoke: handler as Method["invoke"],
      scalarParams: true,
      timeoutMs: 0,
    });
    return this;
  }

  /** The methods that this client may call. */
  getMethods(): Promise<string[]> {
    return this.#calls.call("get_methods") as Promise<string[]>;
  }

  /** The topics that this client may subscribe to. */
  getTopics(): Promise<string[]> {
    return this.#calls.call("get_topics") as Promise<string[]>;
  }

  /** The topics that this client is subscribed to, as the server sees it. */
  getSubscriptions(): Promise<string[]> {
    return this.#calls.call("get_subscriptions") as Promise<string[]>;
  }

  /**
   * Ends the connection; calls that wait reject. Resolves when the server has closed too, or has
   * taken too long to.
   */
  close(): Promise<void> {
    return this.#calls.link.close();
  }

  /** The same as {@linkcode JsonRpcClient.close}, for `await using`. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  #find(name: string): Method | undefined {
    return this.#subscriptions.find(name) ?? this.#methods.get(name);
  }

  #events(): LinkEvents {
    return {
      opened: () => this.dispatchEvent(new Event("open")),
      closed: (code, reason) => {
        this.#subscriptions.clear();
        this.dispatchEvent(new ClientCloseEvent(code, reason));
      },
    };
  }
}

function isHttp(target: URL | StandardSocket): target is URL {
  return target instanceof URL && target.protocol.startsWith("http");
}

function toPostTarget({ href: url }: URL, options: ClientOptions) {
  const { fetch = globalThis.fetch, headers, token } = options;
  const bearer = token === undefined ? {} : { authorization: `Bearer ${token}` };
  return { url, headers: { ...bearer, ...headers }, fetch };
}

function toSocket(target: URL | StandardSocket, options: ClientOptions) {
  if (!(target instanceof URL)) return { name: "the socket", makeSocket: () => target };
  const { href: name } = target;
  const { token, WebSocket = globalThis.WebSocket } = options;
  const protocols = [...options.protocols ?? (token === undefined ? [] : ["jsonrpc"])];
  if (token !== undefined) protocols.push(`bearer.${token}`);
  return { name, makeSocket: () => new WebSocket(name, protocols) };
}
