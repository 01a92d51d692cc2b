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
import type { Channel } from "./channel.ts";
import { resolveTarget } from "./client_options.ts";
import type { ClientOptions, ClientTarget } from "./client_options.ts";
import { ClientStreams } from "./client_streams.ts";
import type { StreamOptions } from "./client_streams.ts";
import type { Method } from "./dispatch.ts";
import { RpcConnectionError } from "./errors.ts";
import { resolveLimits } from "./limits.ts";
import type { Limits } from "./limits.ts";
import type { Logger } from "./logger.ts";
import { Peer } from "./peer.ts";
import type { PeerHost } from "./peer.ts";
import { Pending, toError } from "./pending.ts";
import type { CallOptions } from "./pending.ts";
import { Posts } from "./post.ts";
import { checkParams, notificationText, requestText } from "./protocol.ts";
import type { Message } from "./protocol.ts";
import { remoteProxy } from "./remote.ts";
import type { RpcRequest } from "./request.ts";
import { openSocket } from "./socket.ts";
import type { StandardSocket } from "./socket.ts";
import { Subscriptions } from "./subscriptions.ts";
import type { Subscription, TopicHandler } from "./subscriptions.ts";
import { quiet } from "./timer.ts";

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
export type { ClientOptions, ClientTarget } from "./client_options.ts";
export type { StreamOptions } from "./client_streams.ts";
export type { CallOptions } from "./pending.ts";
export type { Subscription } from "./subscriptions.ts";

/** Whether a client can be used, and is being used. */
export type ClientState = "idle" | "connecting" | "open" | "closed";

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

/** Calls that go out together. */
export interface Batch<A extends Api = UnknownApi> {
  /** Adds a call. Its promise settles as that of {@linkcode JsonRpcClient.call} does. */
  call<Name extends NameOf<A["methods"]>>(
    method: Name,
    ...rest: CallArguments<A["methods"][Name], CallOptions>
  ): Promise<ResultOf<A["methods"][Name]>>;
  /** Adds a notification. */
  notify<Name extends NameOf<A["methods"]>>(
    method: Name,
    params?: ParamsOf<A["methods"][Name]>,
  ): void;
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

interface Unsent {
  readonly text: string;
  readonly ids: readonly number[];
}

/**
 * A client. It connects with its first call, and stays connected until it is closed.
 *
 * Events: `open`, and `close` ({@linkcode ClientCloseEvent}).
 *
 * @typeParam A What the server offers.
 */
export class JsonRpcClient<A extends Api = UnknownApi> extends EventTarget {
  readonly #target: URL | StandardSocket;
  readonly #options: ClientOptions;
  readonly #limits: Limits;
  readonly #logger: Logger;
  readonly #pending: Pending;
  readonly #host: PeerHost;
  readonly #methods = new Map<string, Method>();
  readonly #subscriptions: Subscriptions;
  readonly #streams = new ClientStreams((method, params) => this.#call(method, params));
  // Batches under way: by the first id of each, all of them.
  readonly #batches = new Map<unknown, readonly number[]>();
  // Only for http: and https:.
  readonly #posts: Posts | undefined;
  #state: ClientState = "idle";
  #peer: Peer | undefined;
  #connecting: Promise<void> | undefined;
  #unsent: Unsent[] = [];
  #whenClosed: (() => void) | undefined;
  #remote: Remote<A["methods"], CallOptions> | undefined;

  /**
   * @param target Where to connect, with the first call.
   * @param options How. Never written to.
   * @throws {TypeError} Where the target is no URL of a kind that is known.
   * @throws {RangeError} Where a limit makes no sense.
   */
  constructor(target: ClientTarget, options: ClientOptions = {}) {
    super();
    this.#target = resolveTarget(target);
    this.#options = options;
    this.#limits = resolveLimits(options);
    this.#logger = options.logger ?? console;
    this.#pending = new Pending(this.#limits.timeoutMs, (id) => this.#cancel(id));
    this.#subscriptions = new Subscriptions(
      (method, params) => this.#call(method, params),
      this.#logger,
    );
    this.#host = {
      limits: this.#limits,
      logger: this.#logger,
      find: (name) =>
        this.#subscriptions.find(name) ?? this.#streams.find(name) ?? this.#methods.get(name),
      closed: (_peer, code, reason) => this.#closed(code, reason),
      orphan: (message) => this.#orphan(message),
    };
    this.#posts = this.#makePosts();
  }

  /** `idle` before the first call, then `connecting`, `open`, and at last `closed`. */
  get state(): ClientState {
    return this.#state;
  }

  /** The server's methods as functions: `client.remote.math.add([1, 2])` calls `math.add`. */
  get remote(): Remote<A["methods"], CallOptions> {
    return this.#remote ??= remoteProxy(
      (name, params, options) => this.#call(name, params, options),
      this.#options.separator ?? ".",
    ) as Remote<A["methods"], CallOptions>;
  }

  /**
   * Connects, if that has not begun.
   *
   * @returns Resolves when calls can be sent. Rejects with {@linkcode RpcConnectionError}.
   */
  connect(): Promise<void> {
    if (this.#state === "closed") return Promise.reject(closedError("connect"));
    if (this.#posts !== undefined) {
      this.#state = "open";
      return Promise.resolve();
    }
    return this.#connecting ??= this.#open();
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
    return this.#call(method, params, options) as Promise<ResultOf<A["methods"][Name]>>;
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
    this.#transmit(notificationText(method, checkParams(params)), []);
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
    const texts: string[] = [];
    const ids: number[] = [];
    const answers: Promise<unknown>[] = [];
    const results = build({
      call: (method: string, params?: unknown, options?: CallOptions) => {
        const answer = this.#prepare(method, params, options, (text, id) => {
          texts.push(text);
          ids.push(id);
        });
        answers.push(answer);
        return answer as never;
      },
      notify: (method, params) => {
        texts.push(notificationText(method, checkParams(params)));
      },
    });
    // A batch without entries would be an error of the protocol: nothing to do is nothing to send.
    if (texts.length > 0) this.#transmit(`[${texts.join(",")}]`, ids);
    if (ids.length > 0) {
      this.#batches.set(ids[0], ids);
      void Promise.allSettled(answers).then(() => this.#batches.delete(ids[0]));
    }
    return Promise.all(results);
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
    handler: (data: A["topics"][Name]) => void,
  ): Promise<Subscription> {
    return this.#subscriptions.add(topic, handler as TopicHandler);
  }

  /** Ends all handlers of a topic. */
  unsubscribe(topic: NameOf<A["topics"]>): Promise<void> {
    return this.#subscriptions.remove(topic);
  }

  /**
   * Reads a subscription by id, as Ethereum's nodes have them. It begins with the first item that
   * is asked for, and ends when the loop is left.
   *
   * @param method The method that begins it.
   * @param params Its params.
   * @param options The method that ends it, and the notification that carries items.
   * @returns The items. Throws what the server ended it with, and {@linkcode RpcConnectionError}
   * where the connection ends, or more items wait than `maxWaiting`.
   *
   * @example
   * ```ts ignore
   * const names = { unsubscribe: "eth_unsubscribe", notification: "eth_subscription" };
   * for await (const head of client.stream("eth_subscribe", ["newHeads"], names)) console.log(head);
   * ```
   */
  stream(
    method: string,
    params: unknown,
    options: StreamOptions,
  ): AsyncGenerator<unknown, void, void> {
    return this.#streams.open(method, params, options) as AsyncGenerator<unknown, void, void>;
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
    return this.#call("get_methods") as Promise<string[]>;
  }

  /** The topics that this client may subscribe to. */
  getTopics(): Promise<string[]> {
    return this.#call("get_topics") as Promise<string[]>;
  }

  /** The topics that this client is subscribed to, as the server sees it. */
  getSubscriptions(): Promise<string[]> {
    return this.#call("get_subscriptions") as Promise<string[]>;
  }

  /**
   * Ends the connection; calls that wait reject. Resolves when the server has closed too, or has
   * taken too long to.
   */
  async close(): Promise<void> {
    if (this.#state === "closed") return;
    const peer = this.#peer;
    const wasOpen = peer?.isOpen === true;
    const closed = new Promise<void>((resolve) => this.#whenClosed = resolve);
    this.#fail("the client was closed");
    if (!wasOpen) return this.#closed(1000, "");
    const giveUp = quiet(setTimeout(() => this.#closed(1006, "No answer"), CLOSE_MS));
    peer.close(1000, "");
    await closed;
    clearTimeout(giveUp);
  }

  /** The same as {@linkcode JsonRpcClient.close}, for `await using`. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  #call(method: string, params?: unknown, options?: CallOptions): Promise<unknown> {
    return this.#prepare(method, params, options, (text, id) => this.#transmit(text, [id]));
  }

  /** Makes a call ready; `send` is given its text, once, unless it fails before. */
  #prepare(
    method: string,
    params: unknown,
    options: CallOptions = {},
    send: (text: string, id: number) => void,
  ): Promise<unknown> {
    if (this.#state === "closed") return Promise.reject(closedError(`call "${method}"`));
    if (options.signal?.aborted) return Promise.reject(options.signal.reason);
    try {
      const id = this.#pending.nextId();
      const text = requestText(id, method, checkParams(params));
      const answer = this.#pending.wait(id, method, options);
      if (this.#pending.has(id)) send(text, id);
      return answer;
    } catch (error) {
      return Promise.reject(error);
    }
  }

  #transmit(text: string, ids: readonly number[]): void {
    if (this.#peer?.isOpen) return this.#peer.send(text);
    if (this.#state === "closed") throw closedError("send");
    if (this.#posts !== undefined) {
      this.#state = "open";
      void this.#posts.send(text, ids);
      return;
    }
    this.#unsent.push({ text, ids });
    // Whoever waits is told by its own call.
    this.connect().catch(() => {});
  }

  async #open(): Promise<void> {
    this.#state = "connecting";
    await new Promise<void>((resolve, reject) => {
      openSocket(this.#makeSocket(), {
        opened: (channel) => {
          const peer = this.#opened(channel);
          resolve();
          return peer;
        },
        refused: (code, reason) => {
          const why = reason === "" ? "" : `: ${reason}`;
          const error = new RpcConnectionError(`Cannot connect to ${this.#name} (${code}${why})`);
          this.#fail(error.message);
          reject(error);
        },
      });
    });
    this.dispatchEvent(new Event("open"));
  }

  #opened(channel: Channel): Peer {
    const url = this.#name;
    const handshake = { url, headers: new Headers(), remoteAddress: undefined, user: null };
    const peer = this.#peer = new Peer(channel, this.#host, handshake, this.#pending);
    if (this.#state === "closed") peer.close(1000, "");
    else this.#state = "open";
    const unsent = this.#unsent;
    this.#unsent = [];
    for (const { text, ids } of unsent) {
      // A call that was given up in the meantime need not run.
      if (ids.length === 0 || ids.some((id) => this.#pending.has(id))) peer.send(text);
    }
    return peer;
  }

  #makeSocket(): StandardSocket {
    const target = this.#target;
    if (!(target instanceof URL)) return target;
    const { token, WebSocket = globalThis.WebSocket } = this.#options;
    const protocols = [...this.#options.protocols ?? (token === undefined ? [] : ["jsonrpc"])];
    if (token !== undefined) protocols.push(`bearer.${token}`);
    return new WebSocket(target.href, protocols);
  }

  get #name(): string {
    return this.#target instanceof URL ? this.#target.href : "the socket";
  }

  #makePosts(): Posts | undefined {
    const target = this.#target;
    if (!(target instanceof URL) || !target.protocol.startsWith("http")) return undefined;
    const { fetch = globalThis.fetch, headers, token } = this.#options;
    const bearer = token === undefined ? {} : { authorization: `Bearer ${token}` };
    return new Posts({
      url: target.href,
      headers: { ...bearer, ...headers },
      fetch,
      limits: this.#limits,
      logger: this.#logger,
    }, this.#pending);
  }

  #cancel(id: number): void {
    this.#posts?.cancel(id);
    const unsent = this.#unsent.some(({ ids }) => ids.includes(id));
    if (!unsent && this.#peer?.isOpen) this.#peer.notify("$/cancelRequest", { id });
  }

  /** An error that belongs to no single call: to a whole batch, or to nobody knows what. */
  #orphan(message: Message): void {
    const error = toError("a message", message.error);
    const { firstId } = (error.data ?? {}) as { firstId?: unknown };
    const ids = this.#batches.get(firstId);
    if (ids === undefined) {
      this.#logger.warn(`The server refused a message: ${error.message} (${error.code})`);
    }
    for (const id of ids ?? []) this.#pending.fail(id, error);
  }

  /** Ends everything that waits, and everything to come. */
  #fail(why: string): void {
    this.#state = "closed";
    const unsent = new Set(this.#unsent.flatMap(({ ids }) => ids));
    this.#unsent = [];
    this.#posts?.close();
    this.#pending.failAll((id, method) =>
      new RpcConnectionError(
        `No answer to "${method}": ${why}`,
        unsent.has(id) ? "unsent" : "unknown",
      )
    );
  }

  #closed(code: number, reason: string): void {
    if (this.#state !== "closed") {
      this.#fail(`the connection was closed (${code}${reason === "" ? "" : `: ${reason}`})`);
    }
    this.#peer = undefined;
    this.#subscriptions.clear();
    this.#streams.fail(
      new RpcConnectionError("No more items: the connection was closed", "unknown"),
    );
    this.#whenClosed?.();
    this.#whenClosed = undefined;
    this.dispatchEvent(new ClientCloseEvent(code, reason));
  }
}

// How long a server may take to answer a close.
const CLOSE_MS = 1000;

function closedError(action: string): RpcConnectionError {
  return new RpcConnectionError(`Cannot ${action}: the client is closed`);
}
