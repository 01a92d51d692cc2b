/**
 * The client's side of subscriptions by id, as Ethereum's nodes have them. A door of its own, so
 * that a page which needs none of it need not load it.
 *
 * @module
 */

import { RpcConnectionError } from "../protocol/errors.ts";
import { EventQueue } from "./event_queue.ts";
import { toError } from "../core/pending_calls.ts";

/** How a subscription by id is called on the server. */
export interface StreamOptions {
  /** The method that ends it. */
  readonly unsubscribe: string;
  /** The notification that carries items. */
  readonly notification: string;
  /** Items that may wait to be taken; with one more the stream fails. @default {1024} */
  readonly maxWaiting?: number;
}

/** What is used of a client. */
export interface StreamClient {
  /** Calls the server. */
  call(method: never, ...rest: never): Promise<unknown>;
  /** Takes a notification of the server. */
  method(name: string, handler: (params: unknown) => unknown): unknown;
  /** Tells when the connection has ended. */
  addEventListener(type: "close", listener: () => void): void;
}

/**
 * Reads a subscription by id. It begins with the first item that is asked for, and ends when the
 * loop is left.
 *
 * @param client Who subscribes. The notification's name is taken on it from then on.
 * @param method The method that begins it.
 * @param params Its params.
 * @param options The method that ends it, and the notification that carries items.
 * @returns The items. Throws what the server ended it with, and {@linkcode RpcConnectionError}
 * where the connection ends, or more items wait than `maxWaiting`.
 * @throws {TypeError} Where the client offers a method of the notification's name itself.
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
export async function* stream(
  client: StreamClient,
  method: string,
  params: unknown,
  options: StreamOptions,
): AsyncGenerator<unknown, void, void> {
  const { notification, unsubscribe, maxWaiting = 1024 } = options;
  const call = client.call.bind(client) as (method: string, params: unknown) => Promise<unknown>;
  const queues = queuesOf(client, notification);
  const [id, queue] = await queues.open(call(method, params), maxWaiting);
  try {
    for (;;) {
      const item = await queue.take();
      if (item === undefined) return;
      yield item.value;
    }
  } finally {
    queues.delete(id, queue);
    // Where the server ended it there is nothing left to end.
    if (!queue.ended) await call(unsubscribe, [id]);
  }
}

// For each client, by the name of the notification.
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

/** All streams of one notification, by their id. */
class EventQueues {
  readonly #byId = new Map<unknown, EventQueue>();
  // Items may come before the answer with their id was looked at.
  readonly #early = new Map<unknown, Item[]>();
  #opening = 0;

  /** Waits for the id; items that come meanwhile are kept until it is known whose they are. */
  async open(
    call: Promise<unknown>,
    maxWaiting: number,
  ): Promise<[id: unknown, queue: EventQueue]> {
    this.#opening++;
    try {
      const id = await call;
      const queue = new EventQueue(maxWaiting);
      this.#byId.set(id, queue);
      for (const item of this.#early.get(id) ?? []) put(queue, item);
      this.#early.delete(id);
      return [id, queue];
    } finally {
      this.#opening--;
    }
  }

  delete(id: unknown, queue: EventQueue): void {
    // A server may give an id again on another connection.
    if (this.#byId.get(id) === queue) this.#byId.delete(id);
  }

  fail(): void {
    const error = new RpcConnectionError("No more items: the connection has ended", "unknown");
    for (const queue of this.#byId.values()) queue.end(error);
    this.#byId.clear();
    this.#early.clear();
  }

  route(item: Item): void {
    const { subscription } = item ?? {};
    const queue = this.#byId.get(subscription);
    if (queue !== undefined) return put(queue, item);
    if (this.#opening === 0) return this.#early.clear();
    const early = this.#early.get(subscription);
    if (early === undefined) this.#early.set(subscription, [item]);
    else early.push(item);
  }
}

function put(queue: EventQueue, { error, done, result }: Item): void {
  if (error !== undefined) queue.end(toError("a stream", error));
  else if (done === true) queue.end();
  else queue.push(result);
}
