/**
 * Results of methods that are streams: the client grants credit, and the server sends no more items than that.
 *
 * @module
 */

import type { Api, UnknownApi } from "../core/api.ts";
import { ErrorCode } from "../protocol/error_code.ts";
import { RpcConnectionError, RpcError } from "../protocol/errors.ts";
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
  /**
   * If given, the method is called anew after the connection was lost, and the loop goes on. For methods whose
   * params say where to begin. Without it the loop throws {@linkcode StreamCutError}.
   *
   * @param last The last item that came; `undefined` if there was none.
   * @returns The params to begin with.
   */
  readonly resume?: ((last: unknown) => unknown) | undefined;
}

/**
 * The connection was lost in the middle of a result. The loop throws it after the items that had come: nothing
 * tells whether there were more.
 */
export class StreamCutError extends RpcConnectionError {
  /** How many items came before. */
  readonly received: number;

  /**
   * @param method The method whose result it was.
   * @param received How many items came before.
   * @param cause How the connection ended.
   */
  constructor(method: string, received: number, cause: Error) {
    super(`Stream "${method}" was cut after ${received} items: ${cause.message}`, "unknown", {
      cause,
    });
    this.received = received;
  }
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
  readonly #method: string;
  readonly #credit: number;
  readonly #resume: ResultStreamOptions["resume"];
  readonly #items: AsyncGenerator<unknown, void, void>;
  #params: unknown;
  #token = ++lastToken;
  #received = 0;
  #last: unknown;
  // Items that wait for the loop.
  #waiting = 0;
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
    const { credit = 32, signal, resume } = options;
    if (!Number.isSafeInteger(credit) || credit < 1) {
      throw new RangeError(`Expected \`credit\` to be a whole number from 1, got \`${credit}\``);
    }
    this.#client = client;
    this.#method = stream.method;
    this.#params = stream.params;
    this.#credit = credit;
    this.#resume = resume;
    // What may wait is bounded by the credit; an array is there as a whole.
    this.#items = readQueue((queue) => this.#begin(queue), { signal, maxWaiting: Infinity });
  }

  async next(): Promise<IteratorResult<unknown, void>> {
    const result = await this.#items.next();
    if (result.done) return result;
    this.#waiting--;
    if (++this.#taken * 2 >= this.#credit && this.#isOpen) {
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
    const controller = new AbortController();
    void this.#run(queue, controller).then(() => queue.end(), queue.end);
    return Promise.resolve(() => controller.abort());
  }

  /** Reads the result to its end; again after a cut, if the loop wants that. */
  async #run(queue: EventQueue, controller: AbortController): Promise<void> {
    for (;;) {
      try {
        return await this.#read(queue, controller);
      } catch (error) {
        // A connection that was never there has cut nothing.
        const isCut = error instanceof RpcConnectionError && error.outcome === "unknown";
        if (!isCut || controller.signal.aborted) throw error;
        if (!this.#resume) throw new StreamCutError(this.#method, this.#received, error);
        this.#params = this.#resume(this.#last);
        this.#token = ++lastToken;
      }
    }
  }

  /** Calls the method once; in the plain way if the server has no streams. */
  async #read(queue: EventQueue, controller: AbortController): Promise<void> {
    const { signal } = controller;
    const open = openOf(this.#client);
    const [token, method, params] = [this.#token, this.#method, this.#params];
    // What waits counts as granted: the server is never further ahead than the credit, after a cut neither.
    const credit = Math.max(1, this.#credit - this.#waiting);
    this.#taken = this.#credit - this.#waiting - credit;
    open.set(token, (item) => {
      if (this.#waiting <= this.#credit) this.#push(queue, item);
      else controller.abort(this.#tooMany());
    });
    this.#isOpen = true;
    try {
      const asked = { method, params, token, credit };
      const answer = await this.#call("rpc.stream", asked, { signal, timeoutMs: 0 });
      const { result } = isObject(answer) ? answer : this.#fail(controller);
      if (result !== undefined) this.#pushAll(queue, result);
    } catch (error) {
      const isMissing = error instanceof RpcError && error.code === ErrorCode.methodNotFound;
      if (!isMissing) throw error;
      this.#pushAll(queue, await this.#call(method, params, { signal }));
    } finally {
      this.#isOpen = false;
      open.delete(token);
    }
  }

  /** Aborts, so that `resume` does not ask the same server again and again. */
  #fail(controller: AbortController): never {
    const error = new RpcConnectionError(
      `Stream "${this.#method}" ended: the server answered rpc.stream with no object`,
      "unknown",
    );
    controller.abort(error);
    throw error;
  }

  /** The credit bounds what waits here, so a server that ignores it would fill memory. */
  #tooMany(): RpcConnectionError {
    return new RpcConnectionError(
      `Stream "${this.#method}" ended: the server sent more than ${this.#credit} items ahead (credit)`,
      "unknown",
    );
  }

  #pushAll(queue: EventQueue, result: unknown): void {
    for (const item of Array.isArray(result) ? result : [result]) this.#push(queue, item);
  }

  #push(queue: EventQueue, item: unknown): void {
    this.#received++;
    this.#waiting++;
    this.#last = item;
    queue.push(item);
  }

  #call(method: string, params: unknown, options: object): Promise<unknown> {
    const call = this.#client.call.bind(this.#client) as (
      ...args: [method: string, params: unknown, options: object]
    ) => Promise<unknown>;
    return call(method, params, options);
  }

  #notify(method: string, params: unknown): void {
    const notify = this.#client.notify.bind(this.#client) as (
      ...args: [method: string, params: unknown]
    ) => void;
    notify(method, params);
  }
}

function isObject(answer: unknown): answer is { result?: unknown } {
  return typeof answer === "object" && answer !== null && !Array.isArray(answer);
}

let lastToken = 0;

// What takes the items of the streams of each client, by their token.
const known = new WeakMap<StreamClient, Map<unknown, (item: unknown) => void>>();

function openOf(client: StreamClient): Map<unknown, (item: unknown) => void> {
  const before = known.get(client);
  if (before !== undefined) return before;
  const open = new Map<unknown, (item: unknown) => void>();
  client.method("rpc.item", (params) => {
    const { token, value } = Object(params) as { token: unknown; value: unknown };
    open.get(token)?.(value);
  });
  known.set(client, open);
  return open;
}
