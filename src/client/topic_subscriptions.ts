/**
 * The client's side of topics: many handlers share one subscription on the server.
 *
 * @module
 */

import type { Method } from "../core/dispatcher.ts";
import { mayRetry } from "../core/pending_calls.ts";
import type { CallRequest } from "../core/pending_calls.ts";
import { RpcConnectionError, RpcInvalidParamsError, shortMessage } from "../protocol/errors.ts";
import { rangeError } from "../util/check_option.ts";
import type { Calls } from "./calls.ts";
import type { ClientHost } from "./host.ts";
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

/** Makes a call to the server: on the session of now, or as soon as there is one. */
export type CallServer = (request: CallRequest) => Promise<unknown>;

/** The topics that a client is subscribed to. */
export class TopicSubscriptions {
  readonly #topics = new Map<string, TopicSubscription>();
  readonly #host: ClientHost;
  readonly #calls: Calls;
  // Handles the notification that carries an event with its position.
  readonly #message: Method = {
    invoke: (params) => {
      const message = (params ?? {}) as TopicMessage;
      this.#topics.get(message.topic as string)?.message(message);
    },
  };

  /**
   * @param host The client.
   * @param calls Its calls.
   */
  constructor(host: ClientHost, calls: Calls) {
    this.#host = host;
    this.#calls = calls;
  }

  /**
   * Finds what handles a notification of the server.
   *
   * @param name The notification's method.
   * @param own The client's own method of that name. It runs if no topic has the name.
   * @returns The method to run, or `undefined` if there is none.
   */
  find(name: string, own: Method | undefined): Method | undefined {
    if (name === "rpc.removed") {
      return {
        invoke: (params, request) => {
          this.#lost(((params ?? {}) as TopicMessage).topic as string);
          return own?.invoke(params, request);
        },
      };
    }
    return this.#topics.get(name)?.method ?? (name === "rpc.message" ? this.#message : own);
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
    if (!Number.isSafeInteger(last) || last < 0) {
      throw rangeError("last", last, "a whole number from 0");
    }
    let subscription = this.#topics.get(topic);
    if (!subscription) {
      this.#topics.set(topic, subscription = new TopicSubscription(topic, this.#host.logger));
    }
    const { listeners } = subscription;
    const isLate = last > 0 && listeners.size > 0;
    const listener: Listener = { ...options, waits: isLate };
    listeners.add(listener);
    if (isLate || ((listener.recover || last > 0) && !subscription.recover)) {
      subscription.recover = true;
      subscription.ready = undefined; // with `recover` or `last` it is another request
    }
    // The topic may have been unsubscribed and subscribed to again: then it is not ours to end.
    const isLast = (): boolean =>
      listeners.delete(listener) && listeners.size === 0 &&
      this.#topics.get(topic) === subscription;
    try {
      // Without the answer, which a server may make as long as a message may be.
      await (subscription.ready ??= this.#calls.call({
        ...this.#request([subscription], subscription.recover, isLate ? listener : undefined),
        ...RESENT,
      }).then(() => {}));
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
    if (!subscription) return;
    subscription.end();
    // Without a session the server has no subscription to end.
    if (subscription.live && this.#calls.connection.state !== "open") return;
    await this.#calls.call({ method: "unsubscribe", params: [topic], ...RESENT });
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
      const subscriptions = [...this.#topics.values()].filter((each) =>
        each.live && each.recover === recover
      );
      if (subscriptions.length === 0) return [];
      const topics = subscriptions.map(({ topic }) => topic);
      try {
        // The call ends with its session, and the next session tries again.
        await call({
          ...this.#request(subscriptions, recover),
          connectionOnly: true,
          options: { timeoutMs: 0 },
        });
      } catch (error) {
        const isAway = error instanceof RpcConnectionError || mayRetry(error);
        if (!isAway) { for (const topic of topics) this.#lost(topic, error as Error); }
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

  /**
   * Makes the call that subscribes.
   *
   * @param subscriptions The topics.
   * @param recover Whether their events carry positions.
   * @param late A handler that joins late, and alone gets the kept events that it asks for: the server
   * goes on for the others where it stands.
   */
  #request(
    subscriptions: readonly TopicSubscription[],
    recover: boolean,
    late?: Listener,
  ): CallRequest {
    const topics = subscriptions.map(({ topic }) => topic);
    // Noted here: a topic may have ended or begun again when the answer comes.
    const since = late ? undefined : record(subscriptions, ({ position }) => position);
    const last = record(subscriptions, (each) => (late ?? each).last || undefined);
    return {
      method: "subscribe",
      params: recover ? { topics, recover, since, last } : topics,
      onResult: (answer) => {
        const recovery = (answer ?? {}) as Recovery;
        const granted = recover ? recovery.subscriptions : answer;
        for (const subscription of subscriptions) {
          const { topic, live } = subscription;
          subscription.live = Array.isArray(granted) && granted.includes(topic);
          if (!subscription.live) {
            if (live && this.#topics.get(topic) === subscription) this.#lost(topic);
          } else if (recover) {
            const position = recovery.positions?.[topic];
            const recovered = recovery.recovered?.[topic];
            if (late) subscription.joined(late, position, recovered !== false);
            else {subscription.restored(
                position,
                Object.hasOwn(since ?? {}, topic),
                recovered === true,
              );}
          }
        }
      },
    };
  }

  #lost(topic: string, error: Error = notGranted(topic)): void {
    const subscription = this.#topics.get(topic);
    if (!this.#topics.delete(topic)) return;
    this.#host.logger.warn(`Subscription to topic "${topic}" ended: ${shortMessage(error)}`);
    subscription?.end(error, true);
    this.#host.lost(topic, error);
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

// To subscribe or unsubscribe twice does no harm, so the calls may be sent again.
const RESENT = { options: { idempotent: true } } as const;
