/**
 * The client's side of topics: many handlers share one subscription on the server.
 *
 * @module
 */

import type { Method } from "../core/dispatcher.ts";
import { mayRetry } from "../core/pending_calls.ts";
import type { CallRequest } from "../core/pending_calls.ts";
import { RpcConnectionError, RpcInvalidParamsError } from "../protocol/errors.ts";
import type { Logger } from "../util/logger.ts";
import { TopicSubscription } from "./topic_subscription.ts";
import type { Listener, TopicMessage } from "./topic_subscription.ts";

/** The subscription of one handler to a topic. */
export interface Subscription {
  /** The topic's name. */
  readonly topic: string;
  /**
   * Ends the subscription of this handler. With the last handler of a topic the client unsubscribes.
   *
   * @returns Resolves when the server knows.
   */
  unsubscribe(): Promise<void>;
  /** The same as {@linkcode Subscription.unsubscribe}, for `await using`. */
  [Symbol.asyncDispose](): Promise<void>;
}

/** What the topics of a client are made of. */
export interface TopicSubscriptionsOptions {
  /** Calls the server, as soon as there is a session. */
  readonly call: CallServer;
  /** Whether there is a session. */
  readonly isOpen: () => boolean;
  /** Where a handler's failure is written. */
  readonly logger: Logger;
  /** Called for each topic that the server has ended. */
  readonly lost: (topic: string, error: Error) => void;
}

/** Makes a call to the server: on the session of now, or as soon as there is one. */
export type CallServer = (request: CallRequest) => Promise<unknown>;

/** The topics that a client is subscribed to. */
export class TopicSubscriptions {
  readonly #topics = new Map<string, TopicSubscription>();
  readonly #options: TopicSubscriptionsOptions;
  readonly #message: Method = {
    invoke: (params) => {
      const message = (params ?? {}) as TopicMessage;
      this.#topics.get(message.topic as string)?.message(message);
    },
  };

  /** @param options What they are made of. */
  constructor(options: TopicSubscriptionsOptions) {
    this.#options = options;
  }

  /**
   * Finds what handles a notification of the server.
   *
   * @param name The notification's method.
   * @param own The client's own method of that name. It runs if no topic has the name.
   * @returns The method to run, or `undefined` if there is none.
   */
  find(name: string, own: Method | undefined): Method | undefined {
    if (name === REMOVED) {
      return {
        invoke: (params, request) => {
          this.#lost(((params ?? {}) as TopicMessage).topic as string);
          return own?.invoke(params, request);
        },
      };
    }
    return this.#topics.get(name)?.method ?? (name === MESSAGE ? this.#message : own);
  }

  /**
   * Adds a handler. The first of a topic subscribes; later ones wait for the same answer.
   *
   * @param topic The topic's name.
   * @param options The handler, and how it subscribes.
   * @returns The subscription. Rejects with `RpcInvalidParamsError` if the server does not have the
   * topic for this client.
   */
  async add(topic: string, options: Listener): Promise<Subscription> {
    const { last = 0 } = options;
    if (!(Number.isSafeInteger(last) && last >= 0)) {
      throw new RangeError(`Expected \`last\` to be a whole number from 0, got \`${last}\``);
    }
    const subscription = this.#get(topic);
    // Others have the topic already: the kept events are then for this handler alone.
    const isLate = last > 0 && subscription.listeners.size > 0;
    const listener: Listener = { ...options, waits: isLate };
    subscription.listeners.add(listener);
    if (isLate || ((listener.recover || last > 0) && !subscription.recover)) {
      subscription.recover = true;
      subscription.ready = undefined; // with `recover` or `last` it is another request
    }
    // The topic may have been unsubscribed and subscribed to again: then it is not ours to end.
    const isLast = (): boolean =>
      subscription.listeners.delete(listener) && subscription.listeners.size === 0 &&
      this.#topics.get(topic) === subscription;
    try {
      await (subscription.ready ??= this.#options.call({
        ...(isLate
          ? this.#lateRequest(subscription, listener)
          : this.#request([subscription], subscription.recover)),
        ...RESENT,
      }));
      if (!subscription.live) throw notGranted(topic);
    } catch (error) {
      // Earlier handlers go on, and a later one asks again.
      subscription.ready = undefined;
      if (isLast()) this.#topics.delete(topic);
      throw error;
    }
    const unsubscribe = async (): Promise<void> => {
      if (isLast()) await this.remove(topic);
    };
    return { topic, unsubscribe, [Symbol.asyncDispose]: unsubscribe };
  }

  /**
   * Ends all handlers of a topic.
   *
   * @param topic The topic's name.
   */
  async remove(topic: string): Promise<void> {
    const subscription = this.#topics.get(topic);
    this.#topics.delete(topic);
    subscription?.end();
    // Without a session the server has no subscription to end.
    if (subscription === undefined || (subscription.live && !this.#options.isOpen())) return;
    await this.#options.call({ method: "unsubscribe", params: [topic], ...RESENT });
  }

  /**
   * Subscribes again, on a new session, to the topics of the last one.
   *
   * @param call Calls the server on the new session.
   * @returns The topics that the server has granted again.
   */
  async restore(call: CallServer): Promise<string[]> {
    for (const subscription of this.#topics.values()) subscription.interrupt();
    const restored = await Promise.all([false, true].map(async (recover) => {
      const subscriptions = [...this.#topics.values()].filter(({ live, recover: recovers }) =>
        live && recovers === recover
      );
      const topics = subscriptions.map(({ topic }) => topic);
      if (topics.length === 0) return [];
      try {
        // The call ends with its session, and the next session tries again.
        await call({
          ...this.#request(subscriptions, recover),
          connectionOnly: true,
          options: { timeoutMs: 0 },
        });
      } catch (error) {
        this.#notRestored(topics, error as Error);
        return [];
      }
      return topics.filter((topic) => this.#topics.has(topic));
    }));
    return restored.flat();
  }

  /**
   * Ends all topics, because the client is closed.
   *
   * @param error What the loops throw.
   * @param byServer Whether it was not the program that closed it: handlers then get the error too.
   */
  clear(error: Error, byServer: boolean): void {
    const subscriptions = [...this.#topics.values()];
    this.#topics.clear();
    for (const subscription of subscriptions) subscription.end(error, byServer);
  }

  #get(topic: string): TopicSubscription {
    let subscription = this.#topics.get(topic);
    if (subscription === undefined) {
      subscription = new TopicSubscription(topic, this.#options.logger);
      this.#topics.set(topic, subscription);
    }
    return subscription;
  }

  // What is asked for is noted here: a topic may have ended or begun again when the answer comes.
  #request(subscriptions: readonly TopicSubscription[], recover: boolean): CallRequest {
    const topics = subscriptions.map(({ topic }) => topic);
    const method = "subscribe";
    if (!recover) {
      return { method, params: topics, onResult: (answer) => this.#granted(subscriptions, answer) };
    }
    const since = record(subscriptions, ({ position }) => position);
    const last = record(subscriptions, ({ last }) => last || undefined);
    return {
      method,
      params: { topics, recover, since, last },
      onResult: (answer) => this.#recovered(subscriptions, answer, since ?? {}),
    };
  }

  /** Asks for kept events for one handler. The server goes on for the others where it stands. */
  #lateRequest(subscription: TopicSubscription, listener: Listener): CallRequest {
    const { topic } = subscription;
    return {
      method: "subscribe",
      params: { topics: [topic], recover: true, last: { [topic]: listener.last } },
      onResult: (answer) => {
        const { subscriptions, positions, recovered } = (answer ?? {}) as Recovery;
        this.#granted([subscription], subscriptions);
        subscription.joined(listener, positions?.[topic], recovered?.[topic] !== false);
      },
    };
  }

  #granted(subscriptions: readonly TopicSubscription[], answer: unknown): void {
    for (const subscription of subscriptions) {
      const { topic, live } = subscription;
      const granted = Array.isArray(answer) && answer.includes(topic);
      subscription.live = granted;
      if (live && !granted && this.#topics.get(topic) === subscription) this.#lost(topic);
    }
  }

  #recovered(
    subscriptions: readonly TopicSubscription[],
    answer: unknown,
    since: Readonly<Record<string, unknown>>,
  ): void {
    const { subscriptions: granted, positions, recovered } = (answer ?? {}) as Recovery;
    this.#granted(subscriptions, granted);
    for (const subscription of subscriptions) {
      const { topic, live } = subscription;
      const wasThere = Object.hasOwn(since, topic);
      // The events that the server recovers follow this answer, and move the position themselves.
      if (!live || (wasThere && recovered?.[topic] === true)) continue;
      subscription.moveTo(positions?.[topic]);
      if (wasThere) subscription.tellGap();
    }
  }

  #notRestored(topics: readonly string[], error: Error): void {
    if (error instanceof RpcConnectionError || mayRetry(error)) return;
    for (const topic of topics) this.#lost(topic, error);
  }

  #lost(topic: string, error: Error = notGranted(topic)): void {
    const subscription = this.#topics.get(topic);
    if (!this.#topics.delete(topic)) return;
    const { logger, lost } = this.#options;
    logger.warn(`Subscription to topic "${topic}" ended: ${error.message}`);
    subscription?.end(error, true);
    lost(topic, error);
  }
}

/** What topics have, by their names; `undefined` if none has it. */
function record(
  subscriptions: readonly TopicSubscription[],
  of: (subscription: TopicSubscription) => unknown,
): Record<string, unknown> | undefined {
  const entries = subscriptions.map((each) => [each.topic, of(each)])
    .filter(([, value]) => value !== undefined);
  return entries.length > 0 ? Object.fromEntries(entries) : undefined;
}

function notGranted(topic: string): RpcInvalidParamsError {
  return new RpcInvalidParamsError({
    message: `Cannot subscribe to "${topic}": no such topic, or not for this client`,
  });
}

/** The server's answer to a `subscribe` with `recover`. */
interface Recovery {
  readonly subscriptions?: unknown;
  readonly positions?: Readonly<Record<string, unknown>>;
  readonly recovered?: Readonly<Record<string, unknown>>;
}

// The notification that carries an event with its position.
const MESSAGE = "rpc.message";
// The notification that a topic has ended.
const REMOVED = "rpc.removed";
// To subscribe or unsubscribe twice does no harm, so the calls may be sent again.
const RESENT = { options: { idempotent: true } } as const;
