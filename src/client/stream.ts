/**
 * Reads streams: results of methods that return generators, and the subscriptions by id that Ethereum's
 * nodes have. It is a module of its own, so that a page loads it only if it uses it.
 *
 * ```ts ignore
 * import { connect } from "@x/jsonrpc/client";
 * import { stream } from "@x/jsonrpc/stream";
 *
 * const client = await connect("wss://example.com");
 * for await (const line of stream(client, "lines", ["app.log"])) console.log(line);
 * ```
 *
 * @module
 */

import { RpcConnectionError } from "../protocol/errors.ts";
import { readQueue } from "./event_queue.ts";
import type { EventQueue, ReadOptions } from "./event_queue.ts";
import type { Api, ParamsFor, ResultOf, UnknownApi } from "../core/api.ts";
import type { Json } from "../core/json.ts";
import { toError } from "../core/pending_calls.ts";
import { ResultStream } from "./result_stream.ts";
import type { ResultStreamOptions, StreamClient } from "./result_stream.ts";

export { StreamCutError } from "./result_stream.ts";
export type { ResultStreamOptions, StreamClient } from "./result_stream.ts";

/** How a subscription by id is called on the server, and how it is read. */
export interface StreamOptions extends ReadOptions {
  /** The method that ends the stream. */
  readonly unsubscribe: string;
  /** The notification that carries its items. */
  readonly notification: string;
  /**
   * If given, the stream begins anew after the connection was lost, and the loop goes on. Items of the
   * time between may be missing: this is where to take note of that, or to ask for them. Without it the
   * loop throws.
   *
   * @param last The last item that came; `undefined` if there was none.
   * @returns The params to begin with.
   */
  readonly resume?: ((last: unknown) => unknown) | undefined;
}

/**
 * An item of a stream, as JSON gives it: of a method that `rpc.stream` registered, what its source yields; of any
 * other, an element of its result. It is `unknown` if the client does not know the server.
 */
export type StreamItem<M> = M extends { readonly "~item": infer Item } ? Json<Item>
  : ResultOf<M> extends readonly (infer Item)[] ? Item
  : ResultOf<M>;

/**
 * Reads a stream in a loop. The stream begins when the loop begins, and ends when the loop is left.
 *
 * Without `unsubscribe` and `notification`, it is the result of a method whose handler returns a generator or
 * a `ReadableStream`: the server sends at most `credit` items ahead. If the method gives an array, or
 * the server knows no streams, the loop gets the items of the array; any other result is one item.
 *
 * @param typed The client. From then on it has a method of the notification's name.
 * @param method The method that begins the stream.
 * @param params Its params.
 * @param options How it is read; for a subscription by id, its names.
 * @returns The items. The loop throws what the server ended the stream with, and
 * {@linkcode RpcConnectionError} if the connection ends or more than `maxWaiting` items wait; of a result that
 * was cut it is {@linkcode StreamCutError}, which says how many items came.
 * @throws {TypeError} If the client has a method of the notification's name already.
 * @throws {RangeError} If `credit` is not a whole number from 1.
 *
 * @example
 * ```ts
 * import { JsonRpc } from "@x/jsonrpc";
 * import { stream } from "@x/jsonrpc/stream";
 * import { testClient } from "@x/jsonrpc/testing";
 *
 * const rpc = new JsonRpc().method("count", async function* ([to]: [number]) {
 *   for (let i = 1; i <= to; i++) yield i;
 * });
 * await using client = await testClient(rpc);
 * let sum = 0;
 * for await (const item of stream(client, "count", [1000])) {
 *   sum += item as number;
 *   if (sum > 10) break; // ends the generator
 * }
 * console.assert(sum === 15);
 * ```
 *
 * @example A subscription of an Ethereum node
 * ```ts ignore
 * const names = { unsubscribe: "eth_unsubscribe", notification: "eth_subscription" };
 * for await (const head of stream(client, "eth_subscribe", ["newHeads"], names)) console.log(head);
 * ```
 */
export function stream<
  const Name extends keyof A["methods"] & string,
  A extends Api = UnknownApi,
>(
  typed: StreamClient<A>,
  method: Name,
  params?: ParamsFor<A["methods"], Name>,
  options: StreamOptions | ResultStreamOptions = {},
): AsyncGenerator<StreamItem<A["methods"][Name]>, void, void> {
  type Items = AsyncGenerator<StreamItem<A["methods"][Name]>, void, void>;
  const client = typed as unknown as StreamClient;
  if (!("notification" in options)) {
    return new ResultStream(client, { method, params }, options) as Items;
  }
  const { notification, unsubscribe, resume } = options;
  const call = client.call.bind(client) as (method: string, params: unknown) => Promise<unknown>;
  return readQueue(async (queue) => {
    const queues = queuesOf(client, notification);
    const again = resume && ((last: unknown) => call(method, resume(last)));
    const end = (id: unknown): Promise<unknown> => call(unsubscribe, [id]);
    const reading = { queue, unsubscribe: end, again, last: undefined };
    await queues.open(call(method, params), reading);
    return () => {
      const id = queues.delete(reading);
      if (id !== undefined) return end(id);
    };
  }, options) as Items;
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

// How many items are kept whose stream is not known yet: as many as may wait to be read by default.
const MAX_EARLY = 1024;

interface Item {
  readonly subscription?: unknown;
  readonly result?: unknown;
  readonly error?: unknown;
  readonly done?: unknown;
}

/** One subscription by id that is read. */
interface Reading {
  readonly queue: EventQueue;
  /** Ends it on the server. */
  readonly unsubscribe: (id: unknown) => Promise<unknown>;
  /** Begins it anew, on another connection. */
  readonly again: ((last: unknown) => Promise<unknown>) | undefined;
  /** The last item that came. */
  last: unknown;
}

/** The streams of one notification, by their id. */
class EventQueues {
  readonly #byId = new Map<unknown, Reading>();
  // Items that came before the answer with their id was handled.
  readonly #early = new Map<unknown, Item[]>();
  // Those that begin anew, and are not wanted any more.
  readonly #left = new WeakSet<Reading>();
  #earlyCount = 0;
  #opening = 0;

  /** Waits for the id. Items that come meanwhile are kept. */
  async open(call: Promise<unknown>, reading: Reading): Promise<unknown> {
    this.#opening++;
    try {
      const id = await call;
      this.#byId.set(id, reading);
      if (this.#earlyCount > MAX_EARLY) this.#failEarly(reading.queue);
      for (const item of this.#early.get(id) ?? []) this.#put(id, reading, item);
      this.#early.delete(id);
      return id;
    } finally {
      // The next one counts anew.
      if (--this.#opening === 0) this.#forgetEarly();
    }
  }

  /** Forgets a stream; gives its id, if the server still has it. */
  delete(reading: Reading): unknown {
    this.#left.add(reading);
    for (const [id, each] of this.#byId) {
      if (each !== reading) continue;
      this.#byId.delete(id);
      return id;
    }
    return undefined;
  }

  /** The connection is lost, and with it all ids. */
  fail(): void {
    const lost = [...this.#byId.values()];
    this.#byId.clear();
    this.#forgetEarly();
    const error = new RpcConnectionError("Stream ended: the connection was closed", "unknown");
    for (const reading of lost) {
      if (reading.again === undefined) reading.queue.end(error);
      else this.#resume(reading, reading.again);
    }
  }

  route(item: Item): void {
    const { subscription } = item ?? {};
    const reading = this.#byId.get(subscription);
    if (reading !== undefined) return this.#put(subscription, reading, item);
    if (this.#opening === 0 || ++this.#earlyCount > MAX_EARLY) return;
    const early = this.#early.get(subscription);
    if (early === undefined) this.#early.set(subscription, [item]);
    else early.push(item);
  }

  /** Some may have been items of this stream, and a loop must not miss any silently. */
  #failEarly(queue: EventQueue): void {
    queue.end(
      new RpcConnectionError(
        `Stream ended: over ${MAX_EARLY} items came before the answer with their id`,
        "unknown",
      ),
    );
  }

  #forgetEarly(): void {
    this.#early.clear();
    this.#earlyCount = 0;
  }

  async #resume(reading: Reading, again: (last: unknown) => Promise<unknown>): Promise<void> {
    try {
      const id = await this.open(again(reading.last), reading);
      // The loop was left meanwhile.
      if (this.#left.has(reading) && this.#byId.delete(id)) await reading.unsubscribe(id);
    } catch (error) {
      reading.queue.end(error as Error);
    }
  }

  #put(id: unknown, reading: Reading, item: Item): void {
    const { queue } = reading;
    const { error, done, result } = item;
    if (error === undefined && done !== true) {
      reading.last = result;
      return queue.push(result);
    }
    // The stream has ended on the server, which no longer knows the id.
    this.#byId.delete(id);
    queue.end(error === undefined ? undefined : toError("a stream", { error }));
  }
}
