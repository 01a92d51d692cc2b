/**
 * Reads streams, the subscriptions by id that Ethereum's nodes have and that `rpc.stream` serves. It is
 * a module of its own, so that a page loads it only if it uses it.
 *
 * ```ts ignore
 * import { connect } from "@x/jsonrpc/client";
 * import { stream } from "@x/jsonrpc/stream";
 *
 * const client = await connect("wss://ethereum.example");
 * const names = { unsubscribe: "eth_unsubscribe", notification: "eth_subscription" };
 * for await (const head of stream(client, "eth_subscribe", ["newHeads"], names)) console.log(head);
 * ```
 *
 * @module
 */

import { RpcConnectionError } from "../protocol/errors.ts";
import { EventQueue } from "./event_queue.ts";
import type { ReadOptions } from "./event_queue.ts";
import { toError } from "../core/pending_calls.ts";

/** How a stream is called on the server, and how it is read. */
export interface StreamOptions extends ReadOptions {
  /** The method that ends the stream. */
  readonly unsubscribe: string;
  /** The notification that carries its items. */
  readonly notification: string;
}

/** The members that are used of a {@linkcode JsonRpcClient}. */
export interface StreamClient {
  /** Calls the server. */
  call(method: never, ...rest: never): Promise<unknown>;
  /** Handles a notification of the server. */
  method(name: string, handler: (params: unknown) => unknown): unknown;
  /** Listens for the end of the connection. */
  addEventListener(type: "close", listener: () => void): void;
}

/**
 * Reads a stream in a loop. The stream begins when the loop begins, and ends when the loop is left.
 *
 * @param client The client. From then on it has a method of the notification's name.
 * @param method The method that begins the stream.
 * @param params Its params.
 * @param options The method that ends the stream, and the notification that carries its items.
 * @returns The items. The loop throws what the server ended the stream with, and
 * {@linkcode RpcConnectionError} if the connection ends or more than `maxWaiting` items wait.
 * @throws {TypeError} If the client has a method of the notification's name already.
 *
 * @example
 * ```ts ignore
 * import { connect } from "@x/jsonrpc/client";
 * import { stream } from "@x/jsonrpc/stream";
 *
 * const client = await connect("wss://ethereum.example");
 * const names = { unsubscribe: "eth_unsubscribe", notification: "eth_subscription" };
 * for await (const head of stream(client, "eth_subscribe", ["newHeads"], names)) console.log(head);
 * ```
 */
export function stream(
  client: StreamClient,
  method: string,
  params: unknown,
  options: StreamOptions,
): AsyncGenerator<unknown, void, void> {
  const { notification, unsubscribe } = options;
  const call = client.call.bind(client) as (method: string, params: unknown) => Promise<unknown>;
  return new EventQueue(async (queue) => {
    const queues = queuesOf(client, notification);
    const id = await queues.open(call(method, params), queue);
    return () => {
      queues.delete(id, queue);
      return call(unsubscribe, [id]);
    };
  }, options);
}

// The queues of each client, by the name of the notification.
const known = new WeakMap<StreamClient, Map<string, EventQueues>>();

function queuesOf(client: StreamClient, notification: string): EventQueues {
  let byName = known.get(client);
  if (byName === undefined) known.set(client, byName = new Map());
  let queues = byName.get(notification);
  if (queues === undefined) {
    const made = queues = new EventQueues();
    client.method(notification, (item) => made.route(item as Item));
    client.addEventListener("close", () => made.fail());
    byName.set(notification, made);
  }
  return queues;
}

interface Item {
  readonly subscription?: unknown;
  readonly result?: unknown;
  readonly error?: unknown;
  readonly done?: unknown;
}

/** The streams of one notification, by their id. */
class EventQueues {
  readonly #byId = new Map<unknown, EventQueue>();
  // Items that came before the answer with their id was handled.
  readonly #early = new Map<unknown, Item[]>();
  #opening = 0;

  /** Waits for the id. Items that come meanwhile are kept. */
  async open(call: Promise<unknown>, queue: EventQueue): Promise<unknown> {
    this.#opening++;
    try {
      const id = await call;
      this.#byId.set(id, queue);
      for (const item of this.#early.get(id) ?? []) this.#put(id, queue, item);
      this.#early.delete(id);
      return id;
    } finally {
      this.#opening--;
    }
  }

  delete(id: unknown, queue: EventQueue): void {
    // On another connection the server may give the same id to another stream.
    if (this.#byId.get(id) === queue) this.#byId.delete(id);
  }

  fail(): void {
    const error = new RpcConnectionError("Stream ended: the connection was closed", "unknown");
    for (const queue of this.#byId.values()) queue.end(error);
    this.#byId.clear();
    this.#early.clear();
  }

  route(item: Item): void {
    const { subscription } = item ?? {};
    const queue = this.#byId.get(subscription);
    if (queue !== undefined) return this.#put(subscription, queue, item);
    if (this.#opening === 0) return this.#early.clear();
    const early = this.#early.get(subscription);
    if (early === undefined) this.#early.set(subscription, [item]);
    else early.push(item);
  }

  #put(id: unknown, queue: EventQueue, { error, done, result }: Item): void {
    if (error === undefined && done !== true) return queue.push(result);
    // The stream has ended on the server, which no longer knows the id.
    this.delete(id, queue);
    queue.end(error === undefined ? undefined : toError("a stream", error));
  }
}
