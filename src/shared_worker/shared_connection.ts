/**
 * One connection to a server for all tabs of a site. It runs in the shared worker.
 *
 * @module
 */

import { SEND } from "../core/internal.ts";
import type { Method } from "../core/dispatcher.ts";
import type { CallRequest } from "../core/pending_calls.ts";
import type { IncomingRequest, RpcRequest } from "../core/request.ts";
import { Calls } from "../client/calls.ts";
import { resolveClientLimits } from "../client/options.ts";
import type { AllClientLimits, ClientOptions, ClientTarget } from "../client/options.ts";
import { toTransport } from "../client/transport.ts";
import { REQUEST_CANCELLED } from "../protocol/codes.ts";
import { RpcError, RpcInvalidRequestError, RpcMethodNotFoundError } from "../protocol/errors.ts";
import { requestText } from "../protocol/message.ts";
import type { Port } from "../transports/port_events.ts";
import { isThenable } from "../util/maybe_promise.ts";
import { checkLimits } from "../util/check_option.ts";
import { IdStreams } from "./id_streams.ts";
import type { SharedStreamNames } from "./id_streams.ts";
import { holdLock, ownLocks } from "./locks.ts";
import type { HeldLock } from "./locks.ts";
import { SharedTopics } from "./shared_topics.ts";
import { Tab } from "./tab.ts";
import type { TabHost } from "./tab.ts";
import { TabLink } from "./tab_link.ts";

/**
 * Options of {@linkcode shareConnection}: how the shared connection is made, as a client's options say it, and what
 * one tab may have. The limits of sessions hold for each tab too.
 */
export interface SharedConnectionOptions extends Omit<ClientOptions, "headers" | "fetch"> {
  /** Topics that one tab may be subscribed to. @default {1000} */
  readonly maxSubscriptions?: number;
  /**
   * Milliseconds between two signs of life of a tab, in browsers and on pages without Web Locks. A tab that gives
   * none for three times as long is given up. 0: never.
   *
   * @default {10000}
   */
  readonly tabHeartbeatMs?: number;
  /**
   * Methods that begin a subscription by id, as those of Ethereum nodes, with their counterparts. The items of such
   * a subscription then go to its tab alone, and it ends with its tab.
   *
   * @default {{}}
   */
  readonly streams?: Readonly<Record<string, SharedStreamNames>>;
}

/** One connection that all tabs of a site share. */
export interface SharedConnection {
  /** How many tabs use it. */
  readonly tabs: number;
  /**
   * Adds a tab by hand. `shareConnection` adds each tab that connects to the shared worker by itself.
   *
   * @param port This end of the tab's port.
   */
  attach(port: Port): void;
  /**
   * Closes the connection, and those of all tabs, for good.
   *
   * @returns Resolves when the server has closed too.
   */
  close(): Promise<void>;
}

/** The implementation of {@linkcode SharedConnection}. */
export class TabConnections implements SharedConnection {
  readonly #target: ClientTarget;
  readonly #options: SharedConnectionOptions;
  readonly #limits: AllClientLimits;
  readonly #own: { readonly maxSubscriptions: number; readonly tabHeartbeatMs: number };
  readonly #topics: SharedTopics;
  readonly #streams: IdStreams;
  readonly #tabHost: TabHost;
  readonly #tabs = new Set<Tab>();
  // Ports whose tabs wait for the connection, and those that have a session.
  readonly #waiting = new Set<TabLink>();
  readonly #lock: Promise<HeldLock | undefined>;
  // The connection of now; made anew after it has ended for good.
  #calls: Calls | undefined;
  #lastActive = 0;
  #closed = false;

  /**
   * @param target Where to connect.
   * @param options How to connect, and what a tab may have.
   * @throws {RangeError} If a limit is not a whole number, or too small.
   * @throws {TypeError} If the target is no URL of a WebSocket.
   */
  constructor(target: ClientTarget, options: SharedConnectionOptions) {
    this.#target = target;
    this.#options = options;
    this.#limits = resolveClientLimits(options);
    this.#own = checkLimits(options, { maxSubscriptions: 1000, tabHeartbeatMs: 10_000 });
    if (toTransport(target, options).isConnectionless) {
      throw new TypeError(
        "Cannot share HTTP POST: it has no connection. Expected a ws: or wss: URL",
      );
    }
    const call = (request: CallRequest): Promise<unknown> => this.#call(request);
    const { maxSubscriptions } = this.#own;
    this.#topics = new SharedTopics({ maxSubscriptions, call });
    this.#streams = new IdStreams({
      streams: options.streams ?? {},
      call,
      notify: (method, params) => this.#calls?.notify(method, params),
    });
    this.#tabHost = {
      limits: this.#limits,
      logger: options.logger ?? console,
      find: (tab, name) => this.#find(tab, name),
      ended: (tab) => this.#left(tab),
    };
    this.#lock = holdLock(ownLocks());
  }

  get tabs(): number {
    return this.#tabs.size;
  }

  attach(port: Port): void {
    const link: TabLink = new TabLink(port, this.#own.tabHeartbeatMs, {
      ready: () => this.#join(link),
      active: (tab) => this.#markActive(tab),
      ended: () => this.#waiting.delete(link) && this.#leaveIfUnused(),
    });
  }

  async close(): Promise<void> {
    this.#closed = true;
    this.#refuse(1001, "The shared connection is closed");
    for (const tab of [...this.#tabs]) tab.close(1001, "The shared connection is closed");
    await this.#calls?.connection.close();
    (await this.#lock)?.release();
  }

  /** Opens the session of a tab, now or once there is a connection. */
  #join(link: TabLink): void {
    if (this.#closed) return link.refuse(1001, "The shared connection is closed");
    this.#waiting.add(link);
    const { connection } = this.#calls ??= this.#connect();
    if (connection.state === "open") void this.#openAll();
    if (connection.state !== "idle") return;
    connection.connect().catch((error) => this.#refuse(1006, error.message));
  }

  async #openAll(): Promise<void> {
    const lock = await this.#lock;
    if (this.#calls?.connection.state !== "open") return;
    for (const link of [...this.#waiting]) {
      this.#waiting.delete(link);
      const tab = link.open((port) => new Tab(this.#tabHost, port), lock?.name);
      this.#tabs.add(tab);
      this.#markActive(tab);
    }
  }

  #refuse(code: number, reason: string): void {
    const waiting = [...this.#waiting];
    this.#waiting.clear();
    for (const link of waiting) link.refuse(code, reason);
  }

  #left(tab: Tab): void {
    if (!this.#tabs.delete(tab)) return;
    if (this.#calls?.connection.state === "open") {
      this.#topics.leaveAll(tab);
      this.#streams.leaveAll(tab);
    }
    this.#leaveIfUnused();
  }

  /** Closes the connection with its last tab. */
  #leaveIfUnused(): void {
    if (this.#tabs.size > 0 || this.#waiting.size > 0) return;
    const calls = this.#calls;
    this.#calls = undefined;
    void calls?.connection.close();
    this.#forget();
  }

  #forget(): void {
    this.#topics.clear();
    this.#streams.clear();
  }

  #markActive(tab: Tab): void {
    tab.activeAt = ++this.#lastActive;
  }

  #connect(): Calls {
    const { logger = console, errors, prepare, reconnect } = this.#options;
    const calls: Calls = new Calls({
      limits: this.#limits,
      logger,
      errors,
      transport: toTransport(this.#target, this.#options),
      ...prepare && { prepare },
      ...reconnect !== undefined && { reconnect },
      find: (name) => ({ invoke: (params, request) => this.#received(name, params, request) }),
      // Over a WebSocket, which tells everything.
      listens: () => true,
      opened: () => void this.#openAll(),
      closed: (code, reason, final) => {
        if (this.#calls !== calls) return;
        if (final) this.#calls = undefined;
        this.#ended(code, reason);
        if (final) this.#refuse(code, reason);
      },
      reconnecting: (attempt, delayMs) => {
        if (this.#calls !== calls) return;
        const why = `Attempt ${attempt - 1} to reconnect failed; the next is in ${
          Math.round(delayMs)
        } ms`;
        this.#refuse(1006, why);
      },
      lost() {},
    });
    return calls;
  }

  /** Tells each tab that the connection has ended, as if it had been its own. */
  #ended(code: number, reason: string): void {
    const tabs = [...this.#tabs];
    this.#tabs.clear();
    this.#forget();
    for (const tab of tabs) tab.close(code, reason);
  }

  /** Finds what answers a call of a tab. */
  #find(tab: Tab, method: string): Method {
    // Not the members of every object, such as "toString".
    const own = Object.hasOwn(OWN, method) ? OWN[method] : undefined;
    return {
      invoke: (params, received) => {
        const request = received as IncomingRequest;
        if (own) return answered(own({ tab, params, request, topics: this.#topics }), request);
        this.#markActive(tab);
        if (request.id === undefined) return this.#notify(tab, method, params);
        return answered(this.#forward(tab, request), request);
      },
    };
  }

  #notify(tab: Tab, method: string, params: unknown): void {
    if (method === "rpc.credit") this.#streams.credit(tab, params);
    else this.#calls?.notify(method, params);
  }

  /** Passes a call of a tab on to the server. */
  #forward(tab: Tab, request: IncomingRequest): Promise<unknown> {
    const { method, params, signal } = request;
    const stream = method === "rpc.stream" ? this.#streams.begin(tab, params) : undefined;
    const names = this.#streams.namesOf(method);
    this.#streams.closed(method, params);
    return this.#call({
      method,
      params: stream === undefined ? params : stream.params,
      connectionOnly: true,
      options: { timeoutMs: 0, signal, onProgress: (value) => request.progress(value) },
      onResult: (result) => {
        if (names !== undefined) this.#streams.opened(result, tab, names);
        tab.answerNow(request, result);
      },
    }).finally(() => stream?.end());
  }

  #call(request: CallRequest): Promise<unknown> {
    return (this.#calls as Calls).call(request);
  }

  /** Handles a call or notification of the server. */
  #received(name: string, params: unknown, request: RpcRequest): unknown {
    if (request.id !== undefined) return this.#callTab(name, params, request);
    if (name === "rpc.message") return this.#topics.message(params);
    if (name === "rpc.item") return this.#streams.item(params);
    const text = requestText(undefined, name, params);
    for (const tab of this.#receiversOf(name, params)) tab[SEND](text);
  }

  #receiversOf(name: string, params: unknown): Iterable<Tab> {
    if (name === "rpc.removed") {
      return this.#topics.removed((params as { topic?: string } | undefined)?.topic ?? "");
    }
    const owner = this.#streams.ownerOf(name, params);
    return owner === undefined ? [...this.#tabs] : [owner];
  }

  /** Asks the tab that was active last; if it does not have the method, the one that was active before it. */
  async #callTab(name: string, params: unknown, request: RpcRequest): Promise<unknown> {
    const { signal } = request;
    for (const tab of [...this.#tabs].sort((a, b) => b.activeAt - a.activeAt)) {
      if (!tab.isOpen) continue;
      try {
        const onProgress = (value: unknown): void => request.progress(value);
        return await tab.call(name, params, { timeoutMs: 0, signal, onProgress });
      } catch (error) {
        if (error instanceof RpcMethodNotFoundError) continue;
        if (error instanceof RpcError || signal.aborted) throw error;
        throw new RpcError(REQUEST_CANCELLED, "The tab that had the call is gone");
      }
    }
    throw new RpcMethodNotFoundError();
  }
}

/** A call that the shared worker answers by itself. */
interface OwnCall {
  readonly tab: Tab;
  readonly params: unknown;
  readonly request: IncomingRequest;
  readonly topics: SharedTopics;
}

const OWN: Readonly<Record<string, (call: OwnCall) => unknown>> = {
  // Whether the server is there is for the shared connection to know.
  "rpc.ping": () => "pong",
  subscribe: ({ tab, request, topics }) => topics.subscribe(tab, request),
  unsubscribe: ({ tab, params, topics }) => topics.unsubscribe(tab, params),
  get_subscriptions: ({ tab }) => [...tab.topics],
};

/** What a tab's call is answered with: nothing if the connection has ended, as that ends the tab's session too. */
function answered(result: unknown, request: IncomingRequest): unknown {
  if (!isThenable(result)) return result;
  return Promise.resolve(result).catch((error: unknown) => {
    if (error instanceof RpcError) throw error;
    if (error instanceof RangeError) throw new RpcInvalidRequestError({ message: error.message });
    if (request.aborted) throw error;
    return new Promise(() => {});
  });
}
