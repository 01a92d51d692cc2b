/**
 * The server: methods, topics and plugins behind one `fetch`.
 *
 * @module
 */

import type {
  Api,
  EmptyApi,
  GroupOf,
  NameOf,
  OneMethod,
  SubscriptionMethods,
  TopicNames,
  WithMethods,
  WithPlugin,
  WithTopic,
} from "../core/api.ts";
import type { CloseOptions } from "../core/close_options.ts";
import type { Connection } from "../core/connection.ts";
import type { UserBehind } from "../core/guard.ts";
import type { Plugin } from "../core/plugin.ts";
import type { CallMiddleware, Handler, RpcRequest } from "../core/request.ts";
import type { StandardSocket } from "../core/web_socket_channel.ts";
import type { Limits } from "../protocol/limits.ts";
import type { BunWebSocketHandler } from "../runtimes/bun.ts";
import type { TopicOptions } from "../topics/options.ts";
import type { PublishResult } from "../topics/publish_result.ts";
import type { StreamMethodOptions } from "./id_subscriptions.ts";
import type { MethodOptions } from "./methods.ts";
import type { AttachOptions, JsonRpcOptions } from "./options.ts";
import { ServerCore } from "./server_core.ts";

/**
 * A JSON-RPC 2.0 server.
 *
 * Methods are called over WebSocket and HTTP POST alike. On a WebSocket the server can also call
 * its clients, and send them the events of topics.
 *
 * @typeParam A What it offers; gathered by `method`, `addMethods`, `topic` and `use`.
 *
 * @example
 * ```ts ignore
 * import { JsonRpc } from "@x/jsonrpc";
 *
 * const rpc = new JsonRpc()
 *   .method("add", ({ a, b }: { a: number; b: number }) => a + b)
 *   .topic("clock");
 *
 * setInterval(() => rpc.publish("clock", new Date().toISOString()), 1000);
 * Deno.serve(rpc.fetch);
 * ```
 */
export class JsonRpc<A extends Api = EmptyApi> {
  /** Only a type, which `connect<typeof rpc>()` reads. Never set. */
  declare readonly "~api": A;
  /** The limits that hold. */
  readonly limits: Limits;
  readonly #core: ServerCore;

  /**
   * @param options Limits, origins and the like. Never written to.
   * @throws {RangeError} If a limit is neither a whole number nor `Infinity`, or too small.
   * @throws {TypeError} If `origins` or `hosts` have the wrong type.
   */
  constructor(options: JsonRpcOptions = {}) {
    this.#core = new ServerCore(options);
    this.limits = this.#core.limits;
    // So that `const { fetch } = rpc` and `Deno.serve(rpc.fetch)` work.
    this.fetch = this.fetch.bind(this);
    this.handleUpgrade = this.handleUpgrade.bind(this);
  }

  /** The connections that are open. */
  get connections(): Iterable<Connection<A["user"]>> & { readonly size: number } {
    return this.#core.requests.connections as unknown as Iterable<Connection<A["user"]>> & {
      size: number;
    };
  }

  /** What `Bun.serve` takes as `websocket`. */
  get websocket(): BunWebSocketHandler {
    return this.#core.websocket;
  }

  /**
   * Puts a layer around every call, or mounts a plugin.
   *
   * @param brought A middleware, or the record of a plugin. It holds for methods registered before
   * and after.
   * @throws {TypeError} Where a plugin brings a method whose name is taken.
   */
  use(brought: CallMiddleware): JsonRpc<A>;
  // deno-lint-ignore ban-types -- the default of Plugin
  use<User, Methods extends object = {}>(
    brought: Plugin<User, Methods>,
  ): JsonRpc<WithPlugin<A, User, Methods>>;
  use(brought: CallMiddleware | Plugin): JsonRpc<never> {
    this.#core.mount(brought);
    return this as unknown as JsonRpc<never>;
  }

  /**
   * Registers a method.
   *
   * @param name What it is called by. Names that start with `rpc.` or `$/` are not yours.
   * @param handler Gets the params and the request; returns the result or a promise of it.
   * @throws {TypeError} Where the name is reserved or taken.
   *
   * @example Positional params, an option, an error
   * ```ts
   * import { JsonRpc, RpcInvalidParamsError } from "@x/jsonrpc";
   *
   * const rpc = new JsonRpc()
   *   .method("sum", (numbers: number[]) => numbers.reduce((a, b) => a + b, 0))
   *   .method("divide", { names: ["a", "b"] }, ({ a, b }: { a: number; b: number }) => {
   *     if (b === 0) throw new RpcInvalidParamsError({ data: "Cannot divide by 0" });
   *     return a / b;
   *   });
   * ```
   */
  method<const Name extends string, Params, Result>(
    name: Name,
    handler: (params: Params, request: RpcRequest<A["user"]>) => Result,
  ): JsonRpc<WithMethods<A, OneMethod<Name, Params, Result>>>;
  method<
    const Name extends string,
    Params,
    Returned,
    const Use extends readonly CallMiddleware[] = readonly CallMiddleware[],
    Input = Params,
    Result = Returned,
  >(
    name: Name,
    options: MethodOptions<Use, Params, Input, Result>,
    handler: (params: Params, request: RpcRequest<UserBehind<A["user"], Use>>) => Returned,
  ): JsonRpc<WithMethods<A, OneMethod<Name, Input, Result>>>;
  method(name: string, ...rest: [Handler] | [MethodOptions, Handler]): JsonRpc<never> {
    const [options, handler] = rest.length === 1 ? [{}, rest[0]] : rest;
    this.#core.addMethod(name, handler, options);
    return this as unknown as JsonRpc<never>;
  }

  /**
   * Registers all functions of an object, a class instance or a module, or one named function.
   * `this` is kept; names that start with `_` are left out.
   *
   * @param prefix Goes before each name, with the separator between.
   * @param thing What has the functions.
   * @param options Hold for each of them.
   * @throws {TypeError} Where there are none, or a name is reserved or taken.
   *
   * @example A module
   * ```ts ignore
   * rpc.addMethods("math", await import("./math.ts")); // math.add, math.multiply, …
   * ```
   */
  addMethods<Thing extends object>(
    thing: Thing,
    options?: MethodOptions,
  ): JsonRpc<WithMethods<A, GroupOf<Thing, "">>>;
  addMethods<const Prefix extends string, Thing extends object>(
    prefix: Prefix,
    thing: Thing,
    options?: MethodOptions,
  ): JsonRpc<WithMethods<A, GroupOf<Thing, `${Prefix}.`>>>;
  addMethods(
    first: string | object,
    second?: object | MethodOptions,
    third?: MethodOptions,
  ): JsonRpc<never> {
    const [prefix, thing, options] = typeof first === "string"
      ? [first, second as object, third]
      : ["", first, second as MethodOptions];
    this.#core.addGroup(prefix, thing, options);
    return this as unknown as JsonRpc<never>;
  }

  /**
   * Registers a subscription by id, as Ethereum's nodes have them: the call answers an id, and each
   * item follows as a notification `{ subscription: id, result }`. The last one has `done: true`, or
   * an `error`, in place of `result`.
   *
   * @param name The method that begins it.
   * @param options The method that ends it, the notification, and what `method` takes.
   * @param source Gives the items: a generator. It is ended with the subscription, at the latest with
   * the connection.
   * @throws {TypeError} Where a name is reserved or taken.
   *
   * @example
   * ```ts
   * import { connect, JsonRpc } from "@x/jsonrpc";
   * import { stream } from "@x/jsonrpc/stream";
   * import { linkedSockets } from "@x/jsonrpc/testing";
   *
   * const names = { unsubscribe: "count_unsubscribe", notification: "count_item" };
   * const rpc = new JsonRpc()
   *   .stream("count_subscribe", names, function* ([to]: [number]) {
   *     for (let i = 1; i <= to; i++) yield i;
   *   });
   * const [near, far] = linkedSockets();
   * rpc.attach(far);
   *
   * const client = await connect(near);
   * let sum = 0;
   * for await (const item of stream(client, "count_subscribe", [3], names)) sum += item as number;
   * console.assert(sum === 6);
   * await client.close();
   * ```
   */
  stream<
    const Name extends string,
    const End extends string,
    Params,
    const Use extends readonly CallMiddleware[] = readonly CallMiddleware[],
    Input = Params,
  >(
    name: Name,
    options: StreamMethodOptions<Use, Params, Input, End>,
    source: (
      params: Params,
      request: RpcRequest<UserBehind<A["user"], Use>>,
    ) => AsyncIterable<unknown> | Iterable<unknown>,
  ): JsonRpc<WithMethods<A, SubscriptionMethods<Name, End, Input>>> {
    this.#core.addStream(name, options as unknown as StreamMethodOptions, source);
    return this as unknown as JsonRpc<WithMethods<A, SubscriptionMethods<Name, End, Input>>>;
  }

  /**
   * Declares a topic, or with `*` for a segment all topics that fit: `room.*`.
   *
   * @param name The topic's name, or a pattern. Names that start with `rpc.` or `$/` are not yours.
   * @param options Who may subscribe, whether the last event is kept, what events are.
   * @throws {TypeError} Where the name is reserved or taken.
   */
  topic<const Name extends string, Payload = unknown>(
    name: Name,
    options: TopicOptions<Payload> = {},
  ): JsonRpc<WithTopic<A, TopicNames<Name>, Payload>> {
    this.#core.topics.add(name, options);
    return this as unknown as JsonRpc<WithTopic<A, TopicNames<Name>, Payload>>;
  }

  /**
   * Publishes an event: all subscribers of the topic get it. It is encoded once, however many there
   * are.
   *
   * @returns To how many connections it went, and where it stands in its topic.
   * @throws {TypeError} Where there is no such topic, or the data has no JSON or breaks the schema.
   * @throws {RangeError} Where the event is over `maxMessageBytes`.
   */
  publish<Topic extends NameOf<A["topics"]>>(
    topic: Topic,
    data?: A["topics"][Topic],
  ): PublishResult {
    return this.#core.topics.publish(topic, data);
  }

  /**
   * Takes a topic back, or a pattern with all topics that fit it alone. Subscribers are dropped, and
   * told by a notification `rpc.removed` with `{ topic }`.
   *
   * @param name As it was given to `topic`.
   * @returns Whether there was one.
   */
  removeTopic(name: NameOf<A["topics"]>): boolean {
    return this.#core.topics.remove(name);
  }

  /** The connections that are subscribed to any of these topics, each once. */
  subscribers(topics: Iterable<string>): Iterable<Connection<A["user"]>> {
    return this.#core.topics.subscribers(topics) as Iterable<Connection<A["user"]>>;
  }

  /**
   * Answers a request: an upgrade to WebSocket, a POST, or a GET of a method that allows it.
   *
   * @param request A standard request.
   * @param host What the runtime passes beside it; hand it through from your own `fetch`.
   */
  fetch(request: Request, host?: unknown): Response | Promise<Response> {
    return this.#core.requests.fetch(request, host);
  }

  /**
   * Turns a request into a WebSocket that this server talks on.
   *
   * @param request One that asks for it.
   * @param host What the runtime passes beside it.
   * @returns What your `fetch` has to return.
   */
  handleUpgrade(request: Request, host?: unknown): Response | Promise<Response> {
    return this.#core.requests.upgrade(request, host);
  }

  /**
   * Talks on a socket that came some other way: any standard WebSocket, or one of
   * `linkedSockets()`.
   *
   * @param socket Open, or about to open.
   * @param handshake What is known of the peer.
   * @throws {TypeError} Where the server is closed or has no place left.
   */
  attach(socket: StandardSocket, handshake: AttachOptions = {}): void {
    this.#core.requests.attach(socket, handshake);
  }

  /**
   * Ends connections at once, with 1008: those of a user whose account was closed, say. For less
   * than that, give a connection a changed user with `connection.login(user)`.
   *
   * @param predicate Answers `true` for each connection to end.
   * @returns How many that were. Those whose handshake is under way are asked about when they open,
   * and are not counted.
   */
  revoke(predicate: (connection: Connection<A["user"]>) => boolean): number {
    return this.#core.requests.revoke(predicate as (connection: Connection) => boolean);
  }

  /**
   * Ends the server: at once, or after a drain in which calls under way finish.
   *
   * New WebSockets and POSTs are refused with 503, new calls on open connections with -32009 and
   * `data: { retry: true }`: they have not run. A connection on which no call is left is closed with
   * 1012; the reason, `retry-after=MS`, says when to come back. What is left at `drainMs` is given up,
   * connections with 1001, POSTs with 503. Called again, it can only shorten the drain.
   *
   * @param options How long calls have, and when clients may come back.
   * @returns Resolves when all connections are gone and all plugins closed; rejects then where one of
   * them failed to.
   * @throws {RangeError} Where an option is no number from 0.
   */
  close(options: CloseOptions = {}): Promise<void> {
    return this.#core.close(options);
  }

  /** The same as {@linkcode JsonRpc.close}, for `await using`. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}
