/**
 * The parts of one server, put together: registry, topics, plugins, request handler. `JsonRpc` is the
 * typed face of it.
 *
 * @module
 */

import { memoryBroker } from "../brokers/memory.ts";
import type { CloseOptions } from "../core/close_options.ts";
import type { Plugin } from "../core/plugin.ts";
import type { CallMiddleware, Handler } from "../core/request.ts";
import type { ServerStats } from "../core/stats.ts";
import type { Trace } from "../core/trace.ts";
import { resolveLimits } from "../protocol/limits.ts";
import type { Limits } from "../protocol/limits.ts";
import { bunWebSocketHandler } from "../runtimes/bun.ts";
import type { BunWebSocketHandler } from "../runtimes/bun.ts";
import { Topics } from "../topics/topics.ts";
import { discovery } from "./discovery.ts";
import { IdSubscriptions } from "./id_subscriptions.ts";
import type { StreamMethodOptions, StreamSource } from "./id_subscriptions.ts";
import { MemoryBudget } from "./memory_budget.ts";
import { MethodRegistry, methodsOf } from "./methods.ts";
import type { MethodEntry } from "./methods.ts";
import { Registrations } from "./registrations.ts";
import type { TopicOptions } from "../topics/options.ts";
import type { Registration } from "../util/registration.ts";
import type { MethodOptions } from "../core/method.ts";
import type { ClientMethodInfo } from "./open_rpc.ts";
import type { JsonRpcOptions } from "./options.ts";
import { PluginHooks } from "./plugin_hooks.ts";
import { RequestHandler } from "./request_handler.ts";
import { ResultStreams } from "./result_streams.ts";

/** All that a server is made of. */
export class ServerCore {
  /** The limits that hold. */
  readonly limits: Limits;
  /** The topics. */
  readonly topics: Topics;
  /** Answers requests and holds connections. */
  readonly requests: RequestHandler;
  readonly #methods: MethodRegistry;
  readonly #streams: IdSubscriptions;
  readonly #hooks: PluginHooks;
  readonly #traces: Trace[] = [];
  readonly #separator: string;
  readonly #clientMethods = new Map<string, ClientMethodInfo>();
  readonly #registrations: Registrations;
  readonly #budget: MemoryBudget;
  #bunHandler: BunWebSocketHandler | undefined;
  #closed: Promise<void> | undefined;

  /**
   * @param options The server's options. Never written to.
   * @throws {RangeError} If a limit is neither a whole number nor `Infinity`, or too small.
   * @throws {TypeError} If `origins` or `hosts` have the wrong type.
   */
  constructor(options: JsonRpcOptions) {
    const limits = this.limits = resolveLimits(options);
    const logger = options.logger ?? console;
    const methods = this.#methods = new MethodRegistry(options.scalarParams);
    const hooks = this.#hooks = new PluginHooks(logger);
    this.#separator = options.separator ?? ".";
    const { explainRefusals = false, dialect } = options;
    if (options.trace !== undefined) this.#traces.push(options.trace);
    if (explainRefusals) {
      logger.warn("explainRefusals is on: callers are told what there is that they may not use");
    }
    const budget = this.#budget = new MemoryBudget(limits.maxTotalBytes);
    const { errors } = options;
    const parts = {
      errors,
      limits,
      logger,
      budget,
      methods,
      hooks,
      traces: this.#traces,
      dialect,
      explainRefusals,
    };
    this.requests = new RequestHandler(parts, options);
    this.topics = new Topics({
      limits,
      logger,
      budget,
      broker: options.broker ?? memoryBroker(),
      wrapScalars: options.wrapScalars ?? false,
      maySubscribe: (connection) => methods.admits("subscribe", connection),
      onDrop: (...args) => void hooks.call("onDrop", ...args),
      onSubscribe: (...args) => void hooks.call("onSubscribe", ...args),
      onUnsubscribe: (...args) => void hooks.call("onUnsubscribe", ...args),
    });
    this.#registrations = new Registrations(logger);
    this.#streams = new IdSubscriptions(limits);
    this.mount(this.topics.plugin());
    this.mount(this.#streams.plugin(methods));
    this.mount(new ResultStreams(limits, methods).plugin());
    this.mount(discovery(methods, {
      info: options.info ?? { title: "JSON-RPC", version: "0" },
      version: options.openRpcVersion ?? "1.2.6",
      servers: options.servers,
      topics: (connection) => this.topics.describe(connection),
      clientMethods: this.#clientMethods,
    }));
  }

  /** What `Bun.serve` takes as `websocket`; made when it is first read. */
  get websocket(): BunWebSocketHandler {
    return this.#bunHandler ??= bunWebSocketHandler(this.limits);
  }

  /**
   * Mounts a middleware or a plugin.
   *
   * @param brought The function, or the record.
   * @throws {TypeError} If a plugin brings a method whose name is taken.
   */
  mount(brought: CallMiddleware | Plugin): void {
    const plugin: Plugin = typeof brought === "function"
      ? { name: brought.name || "middleware", middleware: brought }
      : brought;
    const { middleware, handshake, methods = {} } = plugin;
    this.#hooks.add(plugin);
    this.#registrations.note(() => this.#unmount(plugin));
    if (middleware !== undefined) this.#methods.use(middleware);
    if (handshake !== undefined) this.requests.checks.add(handshake);
    if (plugin.trace !== undefined) this.#traces.unshift(plugin.trace);
    for (const [name, method] of Object.entries(methods)) this.#addEntry({ ...method, name });
    plugin.onMount?.(this);
  }

  /** Counts what the server does at the moment. */
  stats(): ServerStats {
    const { topics, requests } = this;
    return { ...requests.stats(), memoryBytes: this.#budget.bytes, ...topics.stats() };
  }

  /** Whether a method of this name is registered. */
  hasMethod(name: string): boolean {
    return this.#methods.has(name);
  }

  #unmount(plugin: Plugin): void | Promise<void> {
    this.#hooks.remove(plugin);
    if (plugin.middleware !== undefined) this.#methods.unuse(plugin.middleware);
    if (plugin.handshake !== undefined) this.requests.checks.remove(plugin.handshake);
    if (plugin.trace !== undefined) this.#traces.splice(this.#traces.indexOf(plugin.trace), 1);
    this.#hooks.leave(plugin, this.requests.connections);
    return plugin.dispose?.();
  }

  /**
   * Declares a topic.
   *
   * @param name The name or the pattern.
   * @param options The options of the topic.
   * @throws {TypeError} If the name is empty, reserved or taken, or an option is invalid.
   * @throws {RangeError} If a number among the options is out of range.
   */
  addTopic(name: string, options: TopicOptions): void {
    const declaration = this.topics.add(name, options);
    this.#registrations.note(() => void this.topics.remove(name, declaration));
  }

  /**
   * Runs a function, and remembers all that it registers.
   *
   * @param run The function. If it throws, what it has registered is taken back.
   * @returns Takes back what the function has registered.
   */
  register(run: () => void): Registration {
    return this.#registrations.collect(run);
  }

  /**
   * Registers one method.
   *
   * @param name The name that callers use.
   * @param handler Answers the calls.
   * @param options How it is registered.
   * @throws {TypeError} If the name is reserved or taken.
   */
  addMethod(name: string, handler: Handler, options: MethodOptions = {}): void {
    this.#add(name, handler, options);
  }

  /**
   * Notes what clients offer, for `rpc.discover`.
   *
   * @param methods The methods by name.
   */
  addClientMethods(methods: Readonly<Record<string, ClientMethodInfo>>): void {
    for (const [name, info] of Object.entries(methods)) this.#clientMethods.set(name, info);
  }

  /**
   * Registers all functions of a thing.
   *
   * @param args What goes before each name, with the separator between; an object, a class instance, a
   * module or a named function; and options that hold for each of the methods.
   * @throws {TypeError} If the thing has no functions, or a name is reserved or taken.
   */
  addGroup(...args: GroupArguments): void {
    const [prefix, thing, options = {}] = typeof args[0] === "string"
      ? args as [prefix: string, thing: object, options?: MethodOptions]
      : ["", ...args as [thing: object, options?: MethodOptions]] as const;
    const start = prefix === "" ? "" : `${prefix}${this.#separator}`;
    for (const { path, handler, options: own } of methodsOf(thing)) {
      this.addMethod(start + path.join(this.#separator), handler, merge(options, own));
    }
  }

  /**
   * Registers the two methods of a subscription by id.
   *
   * @param name The method that begins it.
   * @param options The method that ends it, the notification, and how both are registered.
   * @param source Gives the items.
   * @throws {TypeError} If a name is reserved, taken or missing.
   */
  addStream(name: string, options: StreamMethodOptions, source: StreamSource): void {
    const { unsubscribe, notification, id, notifyEnd, ...rest } = options;
    for (const [option, given] of Object.entries({ unsubscribe, notification })) {
      if (typeof given === "string" && given !== "") continue;
      throw new TypeError(`Cannot register "${name}": its \`${option}\` is no name`);
    }
    const [begin, end] = this.#streams.methods(source, { notification, id, notifyEnd });
    const socketOnly = true;
    this.#add(name, begin.handler, { ...rest, socketOnly }, { unsubscribe, notification });
    this.#add(unsubscribe, end.handler, { use: rest.use ?? [], socketOnly });
    this.#registrations.note(() => this.#streams.endAll(name));
  }

  /**
   * Shuts the server down, then its plugins.
   *
   * @param options How long calls have, and when clients may come back.
   * @returns Resolves when all connections are gone and all plugins are disposed; rejects then if one
   * of them failed.
   * @throws {RangeError} If an option is not a number from 0.
   */
  close(options: CloseOptions): Promise<void> {
    const gone = this.requests.close(options);
    return this.#closed ??= this.#dispose(gone);
  }

  async #dispose(gone: Promise<void>): Promise<void> {
    await gone;
    const disposals = this.#hooks.plugins.map(async (plugin) => await plugin.dispose?.());
    // Wait for all of them first: one that fails must not keep the others from ending.
    await Promise.allSettled(disposals);
    await Promise.all(disposals);
  }

  #add(
    name: string,
    handler: Handler,
    options: MethodOptions,
    stream?: NonNullable<MethodEntry["stream"]>,
  ): void {
    if (/^(?:rpc\.|\$\/cancelRequest$)/.test(name)) {
      throw new TypeError(
        `Cannot register "${name}": the name is reserved. A plugin may bring methods under "rpc."`,
      );
    }
    this.#addEntry({ ...options, name, handler, ...stream && { stream } });
  }

  #addEntry(entry: MethodEntry): void {
    const replaced = this.#methods.add(entry);
    this.#registrations.note(() => {
      this.#methods.remove(entry);
      if (replaced !== undefined) this.#methods.add(replaced);
    });
  }
}

/** What `addMethods` takes: a prefix, or none, the thing, and options. */
export type GroupArguments =
  | [prefix: string, thing: object, options?: MethodOptions]
  | [thing: object, options?: MethodOptions];

/** The options of a method in a group: its own before the group's, but guards and errors of both. */
function merge(group: MethodOptions, own: MethodOptions): MethodOptions {
  if (group.use !== undefined && !Array.isArray(group.use)) return group; // refused by the registry
  const use = own.use === undefined ? group.use : [...group.use ?? [], ...own.use];
  const errors = own.errors === undefined ? group.errors : { ...group.errors, ...own.errors };
  return { ...group, ...own, ...use && { use }, ...errors && { errors } };
}
