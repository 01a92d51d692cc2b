/**
 * Subscriptions by id, as Ethereum's nodes have them: a call answers an id, items follow as
 * notifications that carry it.
 *
 * @module
 */

import {
  describeError,
  ErrorCode,
  RpcError,
  RpcInternalError,
  RpcServerError,
} from "../protocol/errors.ts";
import type { Limits } from "../protocol/limits.ts";
import type { MethodOptions, MethodRegistry } from "./methods.ts";
import type { Plugin, PluginMethod } from "../core/plugin.ts";
import { abortRequest, afterAnswer } from "../core/request.ts";
import type { CallMiddleware, RpcRequest } from "../core/request.ts";
import type { Connection } from "../core/connection.ts";

/**
 * How a subscription by id is called.
 *
 * @typeParam Use The layers, from which the user's type is known.
 * @typeParam Params What the source gets.
 * @typeParam Input What callers pass.
 * @typeParam End The name of the method that ends it.
 */
export interface StreamMethodOptions<
  Use extends readonly CallMiddleware[] = readonly CallMiddleware[],
  Params = unknown,
  Input = unknown,
  End extends string = string,
> extends MethodOptions<Use, Params, Input> {
  /** The method that ends it: takes the id, answers whether there was one. */
  readonly unsubscribe: End;
  /** The notification that carries items: `{ subscription: id, result }`. */
  readonly notification: string;
}

/** Gives the items of one subscription. Ends with `request.signal`. */
export type StreamSource = (
  params: never,
  request: never,
) => AsyncIterable<unknown> | Iterable<unknown>;

interface IdSubscription {
  readonly id: string;
  readonly notification: string;
  readonly request: RpcRequest;
  readonly items: AsyncIterator<unknown> | Iterator<unknown>;
}

/** The subscriptions by id of one server. */
export class IdSubscriptions {
  readonly #limits: Limits;
  readonly #open = new Map<Connection, Map<unknown, IdSubscription>>();

  /** @param limits Which bounds hold. */
  constructor(limits: Limits) {
    this.#limits = limits;
  }

  /** The two methods of a subscription: the one that begins it, the one that ends it. */
  methods(source: StreamSource, notification: string): [PluginMethod, PluginMethod] {
    const begin = (params: unknown, request: RpcRequest) => {
      // Nobody would end it.
      if (request.aborted) throw new RpcError(ErrorCode.requestCancelled, "The caller is gone");
      // Before the source begins anything: what is refused has nobody who would end it.
      this.#checkRoom(request.connection);
      const items = (source as Source)(params, request);
      return this.#begin({
        id: crypto.randomUUID(),
        notification,
        request,
        items: Symbol.asyncIterator in items
          ? items[Symbol.asyncIterator]()
          : items[Symbol.iterator](),
      });
    };
    const end = (params: unknown, { connection }: RpcRequest) => {
      const { subscription } = (params ?? {}) as { subscription?: unknown };
      return this.#end(connection, Array.isArray(params) ? params[0] : subscription);
    };
    return [{ handler: begin, socketOnly: true }, { handler: end, socketOnly: true }];
  }

  /** Their share in the life of connections. */
  plugin(methods: MethodRegistry): Plugin {
    return {
      name: "id subscriptions",
      onClose: (connection) => this.#prune(connection, () => false),
      onUserChange: (connection) =>
        this.#prune(connection, (name) => methods.admits(name, connection)),
    };
  }

  /** Ends the subscriptions of a connection that it may no longer have. */
  #prune(connection: Connection, mayHave: (method: string) => boolean): void {
    for (const { id, request } of this.#open.get(connection)?.values() ?? []) {
      if (!mayHave(request.method)) this.#end(connection, id);
    }
  }

  #checkRoom(connection: Connection): void {
    const { maxSubscriptions } = this.#limits;
    if ((this.#open.get(connection)?.size ?? 0) < maxSubscriptions) return;
    throw new RpcServerError(
      ErrorCode.tooManySubscriptions,
      `Too many subscriptions: ${maxSubscriptions} a connection (maxSubscriptions)`,
    );
  }

  #begin(stream: IdSubscription): string {
    const { id, request: { connection } } = stream;
    let streams = this.#open.get(connection);
    if (streams === undefined) this.#open.set(connection, streams = new Map());
    streams.set(id, stream);
    // The id goes first: without it the caller could not tell whose the items are.
    afterAnswer(stream.request, (succeeded) => {
      // A source may have closed the connection, before anybody could have ended it.
      if (succeeded && connection.isOpen) void this.#pump(stream);
      else this.#end(connection, id);
    });
    return id;
  }

  #end(connection: Connection, id: unknown): boolean {
    const stream = this.#open.get(connection)?.get(id);
    if (stream === undefined) return false;
    this.#drop(stream);
    abortRequest(stream.request, new RpcError(ErrorCode.requestCancelled, "Subscription ended"));
    // Not at once: a source may have led to this itself, and none can be ended while it runs. Where it
    // fails to end, nobody is left to be told.
    void Promise.resolve().then(() => stream.items.return?.()).catch(() => {});
    return true;
  }

  #drop({ id, request: { connection } }: IdSubscription): boolean {
    const streams = this.#open.get(connection);
    const dropped = streams?.delete(id) === true;
    if (streams?.size === 0) this.#open.delete(connection);
    return dropped;
  }

  #has({ id, request: { connection } }: IdSubscription): boolean {
    return this.#open.get(connection)?.has(id) === true;
  }

  async #pump(stream: IdSubscription): Promise<void> {
    const { id, items, request: { connection } } = stream;
    try {
      for (let sent = 1; this.#has(stream); sent++) {
        const { done, value } = await items.next();
        if (!this.#has(stream)) return;
        if (done) {
          this.#drop(stream);
          return this.#tell(stream, { done: true });
        }
        this.#tell(stream, { result: value ?? null });
        // A source that never waits must not keep others waiting, nor fill the peer's buffer.
        if (sent % TURN === 0) await pause(0);
        while (this.#has(stream) && this.#isSlow(connection)) await pause(50);
      }
    } catch (error) {
      // It may be the item that could not be sent: its source has more.
      if (this.#end(connection, id)) this.#fail(stream, error);
    }
  }

  #isSlow(connection: Connection): boolean {
    return connection.bufferedAmount > this.#limits.maxBufferedBytes / 2;
  }

  #tell({ id, notification, request }: IdSubscription, what: Record<string, unknown>): void {
    request.connection.notify(notification, { subscription: id, ...what });
  }

  /** Says why no more comes: what is for the caller to know, and of all else only that it failed. */
  #fail(stream: IdSubscription, error: unknown): void {
    const { method, connection } = stream.request;
    const isForCaller = error instanceof RpcError;
    if (!isForCaller) {
      connection.logger.error(`Subscription "${method}" failed: ${describeError(error)}`);
    }
    const { code, message, data } = isForCaller ? error : new RpcInternalError();
    try {
      this.#tell(stream, { error: { code, message, data } });
    } catch (cause) {
      // Its data has no JSON, say.
      if (isForCaller) this.#fail(stream, cause);
    }
  }
}

type Source = (
  params: unknown,
  request: RpcRequest,
) => AsyncIterable<unknown> | Iterable<unknown>;

// Items that may go out before others get their turn.
const TURN = 64;

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
