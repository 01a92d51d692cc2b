/**
 * Results of methods that are streams: the client grants credit, and the server sends no more items than that.
 *
 * @module
 */

import type { Api, UnknownApi } from "../core/api.ts";
import { ErrorCode } from "../protocol/error_code.ts";
import { RpcError } from "../protocol/errors.ts";
import { readQueue } from "./event_queue.ts";
import type { EventQueue } from "./event_queue.ts";

/**
 * The members that are used of a {@linkcode JsonRpcClient}.
 *
 * @typeParam A What the server offers.
 */
export interface StreamClient<A extends Api = UnknownApi> {
  /** Only a type. Never set. */
  readonly "~api"?: A;
  /** Calls the server. */
  call(method: never, ...rest: never): Promise<unknown>;
  /** Sends a notification. */
  notify(method: never, ...rest: never): void;
  /** Handles a notification of the server. */
  method(name: string, handler: (params: unknown) => unknown): unknown;
  /** Listens for the end of the connection. */
  addEventListener(type: "close", listener: () => void): void;
}

/** How a result is read that is a stream. */
export interface ResultStreamOptions {
  /** How many items the server may send ahead of the loop: a whole number from 1. @default {32} */
  readonly credit?: number | undefined;
  /** Ends the loop when it aborts: the loop throws the signal's reason. */
  readonly signal?: AbortSignal | undefined;
}

/** A method, and what it is called with. */
export interface StreamCall {
  /** The method's name. */
  readonly method: string;
  /** Its params. */
  readonly params: unknown;
}

/** The items of one result. */
export class ResultStream implements AsyncGenerator<unknown, void, void> {
  readonly #client: StreamClient;
  readonly #stream: StreamCall;
  readonly #credit: number;
  readonly #items: AsyncGenerator<unknown, void, void>;
  readonly #token = ++lastToken;
  // Items that the loop has taken, and for which no new credit was granted.
  #taken = 0;
  #isOpen = false;

  /**
   * @param client The client.
   * @param stream The method.
   * @param options How it is read.
   * @throws {RangeError} If `credit` is not a whole number from 1.
   */
  constructor(client: StreamClient, stream: StreamCall, options: ResultStreamOptions) {
    const { credit = 32, signal } = options;
    if (!Number.isSafeInteger(credit) || credit < 1) {
      throw new RangeError(`Expected \`credit\` to be a whole number from 1, got \`${credit}\``);
    }
    this.#client = client;
    this.#stream = stream;
    this.#credit = credit;
    // What may wait is bounded by the credit; an array is there as a whole.
    this.#items = readQueue((queue) => this.#begin(queue), { signal, maxWaiting: Infinity });
  }

  async next(): Promise<IteratorResult<unknown, void>> {
    const result = await this.#items.next();
    if (this.#isOpen && !result.done && ++this.#taken * 2 >= this.#credit) {
      this.#notify("rpc.credit", { token: this.#token, credit: this.#taken });
      this.#taken = 0;
    }
    return result;
  }

  return(): Promise<IteratorResult<unknown, void>> {
    return this.#items.return();
  }

  throw(error: unknown): Promise<IteratorResult<unknown, void>> {
    return this.#items.throw(error);
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.return();
  }

  #begin(queue: EventQueue): Promise<() => unknown> {
    const token = this.#token;
    const open = openOf(this.#client);
    const controller = new AbortController();
    const params = { ...this.#stream, token, credit: this.#credit };
    open.set(token, queue);
    this.#isOpen = true;
    this.#call("rpc.stream", params, controller.signal).then((answer) => {
      const { result } = answer as { result?: unknown };
      if (result !== undefined) pushAll(queue, result);
      queue.end();
    }).catch((error) => this.#failed(error, queue)).finally(() => {
      this.#isOpen = false;
      open.delete(token);
    });
    return Promise.resolve(() => controller.abort());
  }

  /** Ends the loop; calls the method itself if the server has no streams. */
  async #failed(error: unknown, queue: EventQueue): Promise<void> {
    try {
      const isMissing = error instanceof RpcError && error.code === ErrorCode.methodNotFound;
      if (!isMissing) throw error;
      const { method, params } = this.#stream;
      pushAll(queue, await this.#call(method, params));
      queue.end();
    } catch (reason) {
      queue.end(reason as Error);
    }
  }

  #call(method: string, params: unknown, signal?: AbortSignal): Promise<unknown> {
    const call = this.#client.call.bind(this.#client) as (
      ...args: [method: string, params: unknown, options: object]
    ) => Promise<unknown>;
    return call(method, params, signal === undefined ? {} : { signal, timeoutMs: 0 });
  }

  #notify(method: string, params: unknown): void {
    const notify = this.#client.notify.bind(this.#client) as (
      ...args: [method: string, params: unknown]
    ) => void;
    notify(method, params);
  }
}

function pushAll(queue: EventQueue, result: unknown): void {
  for (const item of Array.isArray(result) ? result : [result]) queue.push(item);
}

let lastToken = 0;

// The streams of each client that are open, by their token.
const known = new WeakMap<StreamClient, Map<unknown, EventQueue>>();

function openOf(client: StreamClient): Map<unknown, EventQueue> {
  const before = known.get(client);
  if (before !== undefined) return before;
  const open = new Map<unknown, EventQueue>();
  client.method("rpc.item", (params) => {
    const { token, value } = params as { token: unknown; value: unknown };
    open.get(token)?.push(value);
  });
  known.set(client, open);
  return open;
}
