/**
 * The server: methods, topics and plugins behind one `fetch`.
 *
 * @module
 */

import type {
  Context,
  ContextFor,
  ContextOf,
  EventOf,
  GroupPart,
  MethodPart,
  NameOf,
  Offer,
  StreamParts,
  TopicNames,
  TopicPart,
  TopicsOf,
  WithMethods,
  WithUser,
} from "../core/api.ts";
import type { Connection } from "../core/connection.ts";
import type { Plugin } from "../core/plugin.ts";
import type { ServerStats } from "../core/stats.ts";
import type { CallMiddleware, Handler } from "../core/request.ts";
import type { TopicOptions } from "../topics/options.ts";
import type { PublishResult } from "../topics/publish_result.ts";
import type { SourceOf, StreamMethodOptions, StreamSource } from "./id_subscriptions.ts";
import type {
  CheckedOptions,
  HandlerOf,
  MethodOptions,
  ParamsBound,
  PlainHandler,
  Structured,
} from "../core/method.ts";
import type { Sendable, SendableGroup } from "../core/json.ts";
import type { ClientMethodInfo } from "./open_rpc.ts";
import type { JsonRpcOptions } from "./options.ts";
import { RequestServer } from "./request_server.ts";
import { ServerCore } from "./server_core.ts";
import type { GroupArguments } from "./server_core.ts";
import type { Registration } from "../util/registration.ts";

/**
 * A JSON-RPC 2.0 server.
 *
 * Clients call its methods over WebSocket and over HTTP POST. On a WebSocket the server can also call
 * its clients, and send them the events of topics.
 *
 * @typeParam Parts What the server offers, as a union: `method`, `addMethods`, `stream`, `topic` and `use` add to it.
 * @typeParam C What handlers see: `use`, `client` and `state` change it.
 *
 * @example A server on Deno
 * ```ts ignore
 * const rpc = new JsonRpc().method("add", ({ a, b }: { a: number; b: number }) => a + b);
 * Deno.serve(rpc.fetch);
 * ```
 */
export class JsonRpc<Parts = never, C extends Context = ContextFor<Parts>> extends RequestServer {
  /** Only a type, which `connect<typeof rpc>()` reads. Never set. */
  declare readonly "~api": Offer<Parts, C>;
  readonly #core: ServerCore;

  /**
   * @param options Limits, origins and the like. Never written to.
   * @throws {RangeError} If a limit is neither a whole number nor `Infinity`, or too small.
   * @throws {TypeError} If `origins` or `hosts` have the wrong type.
   */
  constructor(options: JsonRpcOptions = {}) {
    const core = new ServerCore(options);
    super(core);
    this.#core = core;
  }

  /** The connections that are open. */
  get connections(): Iterable<Connection<C["user"], C>> & { readonly size: number } {
    return this.#core.requests.connections as unknown as this["connections"];
  }

  /**
   * Adds a middleware around every call, or mounts a plugin.
   *
   * @param brought A middleware, or a plugin. It also applies to methods that are registered already.
   * @returns The same server, with the plugin in its type.
   * @throws {TypeError} If a plugin brings a method whose name is taken.
   *
   * @example Logging each call
   * ```ts
   * import { JsonRpc } from "@x/jsonrpc";
   *
   * const rpc = new JsonRpc().use((request, next) => (console.log(request.method), next()));
   * ```
   */
  use(brought: CallMiddleware): JsonRpc<Parts, C>;
  // deno-lint-ignore ban-types -- the default of Plugin
  use<User, Methods extends object = {}>(
    brought: Plugin<User, Methods>,
  ): JsonRpc<WithMethods<Parts, Methods>, WithUser<C, User>>;
  use(brought: CallMiddleware | Plugin): unknown {
    this.#core.mount(brought);
    return this;
  }

  /**
   * Registers a method.
   *
   * @param name The name that callers use. Names that start with `rpc.` are reserved.
   * @param handler Gets the params and the request; returns the result or a promise of it.
   * @returns The same server, with the method in its type.
   * @throws {TypeError} If the name is reserved or taken.
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
  method<const Name extends string, Params extends Structured = undefined, Result = unknown>(
    name: Name,
    handler: PlainHandler<C, Params, Result>,
  ): JsonRpc<Parts | MethodPart<Name, unknown, Params, Result>, C>;
  method<
    const Name extends string,
    const Options extends MethodOptions,
    Params extends ParamsBound<Options> = undefined,
    Result = unknown,
  >(
    name: Name,
    options: Options & CheckedOptions<Options>,
    handler: HandlerOf<C, Options, Params, Result>,
  ): JsonRpc<Parts | MethodPart<Name, Options, Params, Result>, C>;
  method(name: string, ...rest: [Handler] | [MethodOptions, Handler]): unknown {
    const [options, handler] = rest.length === 1 ? [{}, rest[0]] : rest;
    this.#core.addMethod(name, handler, options);
    return this;
  }

  /**
   * Registers all functions of an object, a class instance or a module, or one named function. `this`
   * inside them stays the object; names that start with `_` are left out.
   *
   * @param prefix Goes before each name, with the separator between.
   * @param thing The object with the functions.
   * @param options Apply to each of the methods.
   * @returns The same server, with the methods in its type.
   * @throws {TypeError} If the object has no functions, or a name is reserved or taken.
   *
   * @example A module
   * ```ts ignore
   * rpc.addMethods("math", await import("./math.ts")); // math.add, math.multiply, …
   * ```
   */
  addMethods<Group extends object, const Options extends MethodOptions = MethodOptions>(
    group: Group & SendableGroup<Group>,
    options?: Options,
  ): JsonRpc<Parts | GroupPart<"", Group, Options>, C>;
  addMethods<
    const Prefix extends string,
    Group extends object,
    const Options extends MethodOptions = MethodOptions,
  >(
    prefix: Prefix,
    group: Group & SendableGroup<Group>,
    options?: Options,
  ): JsonRpc<Parts | GroupPart<Prefix, Group, Options>, C>;
  addMethods(...args: GroupArguments): unknown {
    this.#core.addGroup(...args);
    return this;
  }

  /**
   * Registers a method that streams, as the subscriptions of Ethereum nodes do: the call returns an id,
   * and each item follows as a notification `{ subscription: id, result }`. With `notifyEnd` the last one
   * has `done: true`, or an `error`, instead. A plain method may return a generator too.
   *
   * @param name The method that begins a subscription.
   * @param options The method that ends one, the notification, and the options of any method: see
   * {@linkcode StreamMethodOptions} for an example.
   * @param source Gives the items, usually a generator. The server ends it with the subscription, at the
   * latest with the connection.
   * @returns The same server, with both methods in its type.
   * @throws {TypeError} If a name is reserved, taken or missing.
   */
  stream<
    const Name extends string,
    const Options extends StreamMethodOptions,
    Params extends ParamsBound<Options> = undefined,
    Item = unknown,
  >(
    name: Name,
    options: Options & CheckedOptions<Options>,
    source: SourceOf<C, Options, Params, Item>,
  ): JsonRpc<Parts | StreamParts<Name, Options, Params, Item>, C> {
    this.#core.addStream(name, options, source as StreamSource);
    return this as unknown as JsonRpc<Parts | StreamParts<Name, Options, Params, Item>, C>;
  }

  /**
   * Declares a topic, or a pattern such as `room.*`, where `*` stands for one segment of the name.
   *
   * @param name The topic's name, or the pattern. Names that start with `rpc.` or `$/` are reserved.
   * @param options Who may subscribe, which events are kept, what events are.
   * @returns The same server, with the topic in its type.
   * @throws {TypeError} If the name is reserved or taken.
   */
  topic<const Name extends string, Payload = unknown>(
    name: Name,
    options: TopicOptions<Payload & Sendable<Payload>> = {},
  ): JsonRpc<Parts | TopicPart<TopicNames<Name>, Payload>, C> {
    this.#core.addTopic(name, options);
    return this as unknown as JsonRpc<Parts | TopicPart<TopicNames<Name>, Payload>, C>;
  }

  /**
   * Registers things that can be taken back together, such as those of a module that is loaded again.
   *
   * @param register Gets this server, and calls its `method`, `addMethods`, `stream`, `topic` and `use`
   * at once. If it throws, nothing of it stays.
   * @returns Takes all of it back: call it, or let `using` do so. Calls that run are answered; streams and
   * subscriptions end; plugins are disposed, and what they have set stays, such as users.
   * @throws What `register` throws.
   *
   * @example
   * ```ts
   * import { JsonRpc } from "@x/jsonrpc";
   *
   * const rpc = new JsonRpc();
   * const takeBack = rpc.register((rpc) => rpc.method("ping", () => "pong").topic("clock"));
   * takeBack();
   * ```
   */
  register(register: (rpc: this) => unknown): Registration {
    return this.#core.register(() => void register(this));
  }

  /**
   * Declares what clients offer to this server. It only gives types to `request.call`, `connection.call` and the
   * `method` of a typed client; see docs/types.md.
   *
   * @typeParam Methods Functions by name, each with the params as its one argument.
   * @param described What `rpc.discover` tells of them: descriptions, and schemas of params and results.
   * @returns The same server.
   */
  client<Methods extends object & SendableGroup<Methods>>(
    described: { readonly [Name in keyof Methods & string]?: ClientMethodInfo } = {},
  ): JsonRpc<Parts, ContextOf<C["user"], Methods, C["state"]>> {
    this.#core.addClientMethods(described as Readonly<Record<string, ClientMethodInfo>>);
    return this as unknown as JsonRpc<Parts, ContextOf<C["user"], Methods, C["state"]>>;
  }

  /**
   * Declares what handlers keep in `connection.state`. It only gives types. A new connection has an empty state, so
   * each member may be `undefined`.
   *
   * @typeParam State The members.
   * @returns The same server.
   */
  state<State extends object>(): JsonRpc<Parts, ContextOf<C["user"], C["client"], Partial<State>>> {
    return this as unknown as JsonRpc<Parts, ContextOf<C["user"], C["client"], Partial<State>>>;
  }

  /**
   * Declares who the users are, for a server whose handlers or plugins call `connection.login(user)` themselves.
   * It only gives types. Backends such as `passwd` and `jwt` declare theirs.
   *
   * @typeParam User A user. A connection without one has `null`.
   * @returns The same server.
   *
   * @example
   * ```ts
   * import { JsonRpc } from "@x/jsonrpc";
   *
   * const rpc = new JsonRpc()
   *   .user<{ name: string }>()
   *   .method("enter", ([name]: [string], { connection }) => connection.login({ name }))
   *   .method("whoami", (_, { user }) => user?.name ?? "nobody");
   * ```
   */
  user<User extends NonNullable<unknown>>(): JsonRpc<
    Parts,
    ContextOf<User | null, C["client"], C["state"]>
  > {
    return this as unknown as JsonRpc<Parts, ContextOf<User | null, C["client"], C["state"]>>;
  }

  /**
   * Sends an event to all subscribers of a topic. It is encoded once, however many there are.
   *
   * @param topic The topic's name.
   * @param data The event. Anything that has JSON.
   * @returns How many connections it was sent to, and its position in the topic.
   * @throws {TypeError} If no such topic is declared, or the data has no JSON or does not fit the schema.
   * @throws {RangeError} If the event is longer than `maxMessageBytes`.
   *
   * @example
   * ```ts
   * import { JsonRpc } from "@x/jsonrpc";
   * const rpc = new JsonRpc().topic("room.*");
   * rpc.publish("room.kitchen", { temperature: 21 });
   * ```
   */
  publish<Topic extends NameOf<TopicsOf<Parts>>>(
    topic: Topic,
    data?: EventOf<Parts, Topic>,
  ): PublishResult {
    return this.#core.topics.publish(topic, data);
  }

  /**
   * Removes a topic, or a pattern with all topics that fit no other declaration. Their subscriptions
   * end; each subscriber gets a notification `rpc.removed` with `{ topic }`.
   *
   * @param name The name or pattern that was given to `topic`.
   * @returns Whether it was declared.
   */
  removeTopic(name: NameOf<TopicsOf<Parts>>): boolean {
    return this.#core.topics.remove(name);
  }

  /** Counts what the server does at the moment. It looks at each connection: call it now and then. */
  stats(): ServerStats {
    return this.#core.stats();
  }

  /**
   * Finds subscribers.
   *
   * @param topics The names of topics.
   * @returns The connections that are subscribed to any of them, each once.
   */
  subscribers(topics: Iterable<string>): Iterable<Connection<C["user"], C>> {
    return this.#core.topics.subscribers(topics) as Iterable<Connection<C["user"], C>>;
  }

  /**
   * Closes connections at once, with 1008: for example those of a user whose account was closed. If a
   * user only loses some rights, give the connection the changed user with `connection.login(user)`.
   *
   * @param predicate Answers `true` for each connection to close. Connections whose handshake is under
   * way are checked when they open.
   * @returns How many open connections were closed.
   */
  revoke(predicate: (connection: Connection<C["user"], C>) => boolean): number {
    return this.#core.requests.revoke(predicate as (connection: Connection) => boolean);
  }
}
