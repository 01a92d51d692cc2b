/**
 * The client's side of topics: many handlers, one subscription on the wire.
 *
 * @module
 */

import type { Method } from "./dispatch.ts";
import { describeError, RpcInvalidParamsError } from "./errors.ts";
import type { Logger } from "./logger.ts";
import { isThenable } from "./middleware.ts";

/** One handler of a topic, and the way to end it. */
export interface Subscription {
  /** The topic. */
  readonly topic: string;
  /** Ends it. The last handler of a topic tells the server. */
  unsubscribe(): Promise<void>;
  /** The same, for `await using`. */
  [Symbol.asyncDispose](): Promise<void>;
}

/** Takes the data of one event. */
export type TopicHandler = (data: unknown) => unknown;

/** What a topic is heard with. */
interface Heard {
  // Records, not the functions: one function may be given twice.
  readonly handlers: Set<{ readonly handle: TopicHandler }>;
  readonly method: Method;
  ready: Promise<void> | undefined;
}

/** The topics that a client hears. */
export class Subscriptions {
  readonly #topics = new Map<string, Heard>();
  readonly #call: (method: string, params: unknown) => Promise<unknown>;
  readonly #logger: Logger;

  /**
   * @param call Calls the server.
   * @param logger Where a handler that fails is written.
   */
  constructor(call: (method: string, params: unknown) => Promise<unknown>, logger: Logger) {
    this.#call = call;
    this.#logger = logger;
  }

  /** What to run for an event of a topic; `undefined` where nobody hears it. */
  find(topic: string): Method | undefined {
    return this.#topics.get(topic)?.method;
  }

  /**
   * Adds a handler. The first of a topic subscribes; the others wait for the same answer.
   *
   * @throws {RpcInvalidParamsError} Where the server does not have the topic for this client.
   */
  async add(topic: string, handle: TopicHandler): Promise<Subscription> {
    const heard = this.#hear(topic);
    const record = { handle };
    heard.handlers.add(record);
    try {
      await (heard.ready ??= this.#subscribe(topic));
    } catch (error) {
      if (this.#topics.get(topic) === heard) this.#topics.delete(topic);
      throw error;
    }
    const leave = async (): Promise<void> => {
      // Only of its own subscription: by now the topic may be heard by a later one.
      const last = heard.handlers.delete(record) && heard.handlers.size === 0;
      if (last && this.#topics.get(topic) === heard) await this.remove(topic);
    };
    return { topic, unsubscribe: leave, [Symbol.asyncDispose]: leave };
  }

  /** Ends all handlers of a topic. */
  async remove(topic: string): Promise<void> {
    if (this.#topics.delete(topic)) await this.#call("unsubscribe", [topic]);
  }

  /** Forgets everything: the connection is gone. */
  clear(): void {
    this.#topics.clear();
  }

  #hear(topic: string): Heard {
    let heard = this.#topics.get(topic);
    if (heard === undefined) {
      const handlers: Heard["handlers"] = new Set();
      const invoke = (data: unknown): void => {
        for (const { handle } of handlers) this.#run(topic, handle, data);
      };
      heard = { handlers, method: { invoke, scalarParams: true }, ready: undefined };
      this.#topics.set(topic, heard);
    }
    return heard;
  }

  #run(topic: string, handle: TopicHandler, data: unknown): void {
    const failed = (error: unknown): void => {
      this.#logger.error(`A handler of topic "${topic}" failed: ${describeError(error)}`);
    };
    try {
      const result: unknown = handle(data);
      if (isThenable(result)) result.then(undefined, failed);
    } catch (error) {
      failed(error);
    }
  }

  async #subscribe(topic: string): Promise<void> {
    const subscriptions = await this.#call("subscribe", [topic]);
    if (Array.isArray(subscriptions) && subscriptions.includes(topic)) return;
    throw new RpcInvalidParamsError({
      message: `Cannot subscribe to "${topic}": no such topic, or not for this client`,
    });
  }
}
