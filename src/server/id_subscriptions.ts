/**
 * Subscriptions by id, as in the JSON-RPC API of Ethereum nodes: a call returns an id, and items follow
 * as notifications that carry the id.
 *
 * @see {@link https://geth.ethereum.org/docs/interacting-with-geth/rpc/pubsub}
 *
 * @module
 */

import { ErrorCode } from "../protocol/error_code.ts";
import {
  describeError,
  quoted,
  RpcError,
  RpcInternalError,
  RpcServerError,
} from "../protocol/errors.ts";
import type { Limits } from "../protocol/limits.ts";
import { sourceOf } from "./item_reader.ts";
import type { Source } from "./item_reader.ts";
import type { MethodRegistry } from "./methods.ts";
import type { Context } from "../core/api.ts";
import type { Sendable } from "../core/json.ts";
import type { DeclaredIn, HandlerParams, MethodOptions, UserIn } from "../core/method.ts";
import type { Plugin, PluginMethod } from "../core/plugin.ts";
import { abortRequest, afterAnswer } from "../core/server_request.ts";
import type { RpcRequest } from "../core/request.ts";
import type { Connection } from "../core/connection.ts";

/**
 * The options of a stream method: those of any method, and the names of its counterparts.
 *
 * @example Counting
 * ```ts
 * import { connect, JsonRpc } from "@x/jsonrpc";
 * import { stream } from "@x/jsonrpc/stream";
 * import { linkedSockets } from "@x/jsonrpc/testing";
 *
 * const names = { unsubscribe: "count_unsubscribe", notification: "count_item" };
 * const rpc = new JsonRpc()
 *   .stream("count_subscribe", { ...names, notifyEnd: true }, function* ([to]: [number]) {
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
export interface StreamMethodOptions extends MethodOptions {
  /** The method that ends a subscription: it takes the id, and answers whether there was one. */
  readonly unsubscribe: string;
  /** The notification that carries items: `{ subscription: id, result }`. */
  readonly notification: string;
  /**
   * Makes the id of a subscription: a text or a number that no other subscription of the connection has.
   * Clients of Solana expect numbers, those of Ethereum texts of hexadecimal digits.
   *
   * @default {crypto.randomUUID}
   */
  readonly id?: (() => string | number) | undefined;
  /**
   * Whether a notification tells the client that the items have ended: `{ subscription, done: true }`, or
   * `{ subscription, error }` if the source has thrown. Clients of Ethereum nodes know no such notification,
   * and some fail for want of a `result`; but without it a client waits for ever. `stream` of `./stream`
   * reads it.
   *
   * @default {false}
   */
  readonly notifyEnd?: boolean | undefined;
}

/** Gives the items of one subscription, for {@linkcode JsonRpc.stream}. */
export type SourceOf<C extends Context, Options, Params, Item> = (
  params: HandlerParams<Options, Params>,
  request: RpcRequest<UserIn<C["user"], Options>, C, DeclaredIn<Options>>,
) => AsyncIterable<Item & Sendable<Item>> | Iterable<Item & Sendable<Item>>;

/** Gives the items of one subscription. `request.signal` aborts when the subscription ends. */
export type StreamSource = (
  params: never,
  request: never,
) => AsyncIterable<unknown> | Iterable<unknown>;

interface IdSubscription {
  readonly id: string | number;
  readonly form: StreamForm;
  readonly request: RpcRequest;
  readonly items: Source | Iterator<unknown>;
}

/** How the subscriptions of one method are told to clients. */
type StreamForm = Pick<StreamMethodOptions, "notification" | "id" | "notifyEnd">;

/** The subscriptions by id of one server. */
export class IdSubscriptions {
  readonly #limits: Limits;
  readonly #open = new Map<Connection, Map<unknown, IdSubscription>>();

  /** @param limits The limits that hold. */
  constructor(limits: Limits) {
    this.#limits = limits;
  }

  /**
   * Makes the two methods of a kind of subscription.
   *
   * @param source Gives the items.
   * @param form How they are told to clients.
   * @returns The method that begins a subscription, and the one that ends it.
   */
  methods(source: StreamSource, form: StreamForm): [PluginMethod, PluginMethod] {
    const begin = (params: unknown, request: RpcRequest) => {
      // Refuse before the source starts anything: what it starts would never be ended.
      if (request.aborted) throw new RpcError(ErrorCode.requestCancelled, "The caller is gone");
      this.#checkLimit(request.connection);
      // First too: if this throws, nothing was started.
      const id = this.#newId(form, request.connection);
      const items = (source as AnySource)(params, request);
      return this.#begin({
        id,
        form,
        request,
        items: Symbol.asyncIterator in items ? sourceOf(items) : items[Symbol.iterator](),
      });
    };
    const end = (params: unknown, { connection }: RpcRequest) => {
      const { subscription } = (params ?? {}) as { subscription?: unknown };
      return this.#end(connection, Array.isArray(params) ? params[0] : subscription);
    };
    return [{ handler: begin, socketOnly: true }, { handler: end, socketOnly: true }];
  }

  /**
   * Makes the plugin that ends subscriptions with their connection, or when its user loses the right.
   *
   * @param methods Says which methods a connection may use.
   * @returns The plugin.
   */
  plugin(methods: MethodRegistry): Plugin {
    return {
      name: "id subscriptions",
      onClose: (connection) => this.#prune(connection, () => false),
      onUserChange: (connection) =>
        this.#prune(connection, (name) => methods.admits(name, connection)),
    };
  }

  /** Ends all subscriptions that a method has begun, and tells their clients. */
  endAll(method: string): void {
    for (const [connection, subscriptions] of [...this.#open]) {
      for (const subscription of [...subscriptions.values()]) {
        if (subscription.request.method !== method) continue;
        if (this.#end(connection, subscription.id)) this.#fail(subscription, REMOVED);
      }
    }
  }

  /** Ends the subscriptions of a connection that it may no longer have. */
  #prune(connection: Connection, mayHave: (method: string) => boolean): void {
    for (const { id, request } of this.#open.get(connection)?.values() ?? []) {
      if (!mayHave(request.method)) this.#end(connection, id);
    }
  }

  #checkLimit(connection: Connection): void {
    const { maxSubscriptions } = this.#limits;
    if ((this.#open.get(connection)?.size ?? 0) < maxSubscriptions) return;
    throw new RpcServerError(
      ErrorCode.tooManySubscriptions,
      `Too many subscriptions: ${maxSubscriptions} a connection (maxSubscriptions)`,
    );
  }

  #newId({ id: make }: StreamForm, connection: Connection): string | number {
    if (make === undefined) return crypto.randomUUID();
    const id = make();
    const isId = typeof id === "string" || Number.isSafeInteger(id);
    if (isId && !this.#open.get(connection)?.has(id)) return id;
    throw new TypeError(`Expected \`id\` to make a new text or whole number, got \`${id}\``);
  }

  #begin(subscription: IdSubscription): string | number {
    const { id, request: { connection } } = subscription;
    let subscriptions = this.#open.get(connection);
    if (subscriptions === undefined) this.#open.set(connection, subscriptions = new Map());
    subscriptions.set(id, subscription);
    // Send the id first: without it the caller could not match the items with their subscription.
    afterAnswer(subscription.request, (succeeded) => {
      // The source itself may have closed the connection: then onClose came too early to end this.
      if (succeeded && connection.isOpen) void this.#pump(subscription);
      else this.#end(connection, id);
    });
    return id;
  }

  #end(connection: Connection, id: unknown): boolean {
    const subscription = this.#open.get(connection)?.get(id);
    if (subscription === undefined) return false;
    this.#drop(subscription);
    abortRequest(
      subscription.request,
      new RpcError(ErrorCode.requestCancelled, "Subscription ended"),
    );
    // Later: the source may have caused this itself, and a generator cannot be ended while it runs. If
    // ending it fails, there is no caller left to tell.
    void Promise.resolve().then(() => subscription.items.return?.()).catch(() => {});
    return true;
  }

  #drop({ id, request: { connection } }: IdSubscription): boolean {
    const subscriptions = this.#open.get(connection);
    const dropped = subscriptions?.delete(id) === true;
    if (subscriptions?.size === 0) this.#open.delete(connection);
    return dropped;
  }

  #has({ id, request: { connection } }: IdSubscription): boolean {
    return this.#open.get(connection)?.has(id) === true;
  }

  async #pump(subscription: IdSubscription): Promise<void> {
    const { id, items, request: { connection } } = subscription;
    try {
      for (let sent = 1; this.#has(subscription); sent++) {
        const { done, value } = await items.next();
        if (!this.#has(subscription)) return;
        if (done) {
          this.#drop(subscription);
          return this.#notifyEnd(subscription, { done: true });
        }
        this.#notify(subscription, { result: value ?? null });
        // A source that never waits must neither block other work nor fill the peer's buffer.
        if (sent % ITEMS_PER_TURN === 0) await pause(0);
        while (this.#has(subscription) && this.#isSlow(connection)) await pause(50);
      }
    } catch (error) {
      // If only the item could not be sent, its source is still running: end it.
      if (this.#end(connection, id)) this.#fail(subscription, error);
    }
  }

  #isSlow(connection: Connection): boolean {
    return connection.bufferedAmount > this.#limits.maxBufferedBytes / 2;
  }

  #notify({ id, form, request }: IdSubscription, item: Record<string, unknown>): void {
    request.connection.notify(form.notification, { subscription: id, ...item });
  }

  #notifyEnd(subscription: IdSubscription, end: Record<string, unknown>): void {
    if (subscription.form.notifyEnd) this.#notify(subscription, end);
  }

  /** Sends the error that ended a subscription. The details of anything but an RpcError are only logged. */
  #fail(subscription: IdSubscription, error: unknown): void {
    const { method, connection } = subscription.request;
    const isForCaller = error instanceof RpcError;
    if (!isForCaller) {
      connection.logger.error(`Stream ${quoted(method)} failed: ${describeError(error)}`);
    }
    const { code, message, data } = isForCaller ? error : new RpcInternalError();
    try {
      this.#notifyEnd(subscription, { error: { code, message, data } });
    } catch (cause) {
      // The error's data may have no JSON.
      if (isForCaller) this.#fail(subscription, cause);
    }
  }
}

const REMOVED = new RpcError(ErrorCode.requestCancelled, "The server has removed the method");

type AnySource = (
  params: unknown,
  request: RpcRequest,
) => AsyncIterable<unknown> | Iterable<unknown>;

// Items that one subscription may send before other work gets its turn.
const ITEMS_PER_TURN = 64;

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
