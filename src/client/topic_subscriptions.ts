/**
 * The client's side of topics: many handlers share one subscription on the server.
 *
 * @module
 */

import type { Method } from "../core/dispatcher.ts";
import { mayRetry } from "../core/pending_calls.ts";
import type { CallRequest } from "../core/pending_calls.ts";
import { describeError, RpcConnectionError, RpcInvalidParamsError } from "../protocol/errors.ts";
import type { Logger } from "../util/logger.ts";
import { runSafely } from "../util/maybe_promise.ts";

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

/** Options of {@linkcode JsonRpcClient.subscribe}. */
export interface SubscribeOptions {
  /**
   * Whether the client fetches the events that it missed while it was not connected, as far as the
   * server has kept them.
   *
   * @default {false}
   */
  readonly recover?: boolean | undefined;
  /**
   * Called, with `recover`, if events were missed that the server no longer has: load the whole again.
   */
  readonly onGap?: ((gap: { readonly topic: string }) => unknown) | undefined;
  /**
   * Called if the subscription has ended although the program did not end it: the server has removed
   * the topic, has refused it after a reconnect, or has closed the connection for good.
   */
  readonly onError?: ((error: Error) => unknown) | undefined;
}

/** One handler of a topic. */
export interface Listener extends SubscribeOptions {
  /** Called with the data of each event. */
  readonly handle: (data: never) => unknown;
  /** Called if the topic ends, without an error if the program ended it. */
  readonly ended?: (error?: Error) => void;
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

/** One topic that the client is subscribed to, or is about to be. */
interface TopicSubscription {
  // Records instead of functions, since a program may subscribe one function twice.
  readonly listeners: Set<Listener>;
  readonly method: Method;
  ready: Promise<unknown> | undefined;
  /** Whether the server has granted it. */
  live: boolean;
  recover: boolean;
  /** With `recover`: the position of the last event. */
  position: unknown;
  /** Positions of the last events, to recognize one that the server sends twice. */
  readonly seen: Set<unknown>;
}

type TopicEntry = readonly [topic: string, subscription: TopicSubscription];

/** The topics that a client is subscribed to. */
export class TopicSubscriptions {
  readonly #topics = new Map<string, TopicSubscription>();
  readonly #options: TopicSubscriptionsOptions;
  readonly #message: Method = { invoke: (params) => this.#recoverable(params) };

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
          this.#lost(((params ?? {}) as Recoverable).topic as string);
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
    const subscription = this.#get(topic);
    const listener = { ...options };
    subscription.listeners.add(listener);
    if (listener.recover && !subscription.recover) {
      subscription.recover = true;
      subscription.ready = undefined; // with `recover` it is another request
    }
    // The topic may have been unsubscribed and subscribed to again: then it is not ours to end.
    const isLast = (): boolean =>
      subscription.listeners.delete(listener) && subscription.listeners.size === 0 &&
      this.#topics.get(topic) === subscription;
    try {
      await (subscription.ready ??= this.#options.call({
        ...this.#request([[topic, subscription]], subscription.recover),
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
    this.#end(topic, subscription);
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
    const restored = await Promise.all([false, true].map(async (recover) => {
      const entries = [...this.#topics].filter(([_topic, { live, recover: recovers }]) =>
        live && recovers === recover
      );
      const topics = entries.map(([topic]) => topic);
      if (topics.length === 0) return [];
      try {
        // The call ends with its session, and the next session tries again.
        await call({
          ...this.#request(entries, recover),
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
    const topics = [...this.#topics];
    this.#topics.clear();
    for (const [topic, subscription] of topics) this.#end(topic, subscription, error, byServer);
  }

  #get(topic: string): TopicSubscription {
    let subscription = this.#topics.get(topic);
    if (subscription === undefined) {
      const listeners: TopicSubscription["listeners"] = new Set();
      subscription = {
        listeners,
        method: { invoke: (data) => this.#deliver(topic, listeners, data) },
        ready: undefined,
        live: false,
        recover: false,
        position: undefined,
        seen: new Set(),
      };
      this.#topics.set(topic, subscription);
    }
    return subscription;
  }

  #request(entries: readonly TopicEntry[], recover: boolean): CallRequest {
    const topics = entries.map(([topic]) => topic);
    const method = "subscribe";
    if (!recover) {
      return { method, params: topics, onResult: (answer) => this.#granted(entries, answer) };
    }
    const since = new Map(
      entries.flatMap(([topic, { position }]) =>
        position === undefined ? [] : [[topic, position] as const]
      ),
    );
    const params = { topics, recover, ...since.size > 0 && { since: Object.fromEntries(since) } };
    return { method, params, onResult: (answer) => this.#recovered(entries, answer, since) };
  }

  // The entries as they were when the request was made: a topic may have ended or begun since.
  #granted(entries: readonly TopicEntry[], subscriptions: unknown): void {
    for (const [topic, subscription] of entries) {
      const granted = Array.isArray(subscriptions) && subscriptions.includes(topic);
      const lost = subscription.live && !granted && this.#topics.get(topic) === subscription;
      subscription.live = granted;
      if (lost) this.#lost(topic);
    }
  }

  #recovered(
    entries: readonly TopicEntry[],
    answer: unknown,
    since: ReadonlyMap<string, unknown>,
  ): void {
    const { subscriptions, positions, recovered } = (answer ?? {}) as Recovery;
    this.#granted(entries, subscriptions);
    for (const [topic, subscription] of entries) {
      // The events that the server recovers follow this answer, and move the position themselves.
      if (!subscription.live || (since.has(topic) && recovered?.[topic] === true)) continue;
      moveTo(subscription, positions?.[topic]);
      if (since.has(topic)) this.#gap(topic, subscription);
    }
  }

  #recoverable(params: unknown): void {
    const { topic, position, data, gap } = (params ?? {}) as Recoverable;
    const subscription = this.#topics.get(topic as string);
    if (subscription === undefined) return;
    if (gap === true) {
      moveTo(subscription, position);
      return this.#gap(topic as string, subscription);
    }
    const { seen, listeners } = subscription;
    if (seen.has(position)) return;
    subscription.position = position;
    seen.add(position);
    if (seen.size > MAX_SEEN) {
      const [oldest] = seen;
      seen.delete(oldest);
    }
    this.#deliver(topic as string, listeners, data);
  }

  #gap(topic: string, { listeners }: TopicSubscription): void {
    for (const { onGap } of [...listeners]) this.#run(topic, () => onGap?.({ topic }));
  }

  #deliver(topic: string, listeners: ReadonlySet<Listener>, data: unknown): void {
    // A copy, since a handler may subscribe another one, which must not get this event.
    for (const listener of [...listeners]) {
      if (listeners.has(listener)) this.#run(topic, () => listener.handle(data as never));
    }
  }

  #run(topic: string, handler: () => unknown): void {
    runSafely(handler, (error) => {
      this.#options.logger.error(`A handler of topic "${topic}" failed: ${describeError(error)}`);
    });
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
    this.#end(topic, subscription, error, true);
    lost(topic, error);
  }

  #end(
    topic: string,
    subscription: TopicSubscription | undefined,
    error?: Error,
    isTold = false,
  ): void {
    for (const { ended, onError } of [...subscription?.listeners ?? []]) {
      ended?.(error);
      if (error && isTold) this.#run(topic, () => onError?.(error));
    }
  }
}

/** Sets the position without an event, so that events before it do not count as seen. */
function moveTo(subscription: TopicSubscription, position: unknown): void {
  subscription.position = position;
  subscription.seen.clear();
  subscription.seen.add(position);
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

/** The params of the notifications below. */
interface Recoverable {
  readonly topic?: unknown;
  readonly position?: unknown;
  readonly data?: unknown;
  readonly gap?: unknown;
}

// The notification that carries an event with its position.
const MESSAGE = "rpc.message";
// The notification that a topic has ended.
const REMOVED = "rpc.removed";
// How many positions of a topic are remembered.
const MAX_SEEN = 1024;
// To subscribe or unsubscribe twice does no harm, so the calls may be sent again.
const RESENT = { options: { idempotent: true } } as const;
