/**
 * The client's side of topics: many handlers, one subscription on the wire.
 *
 * @module
 */

import { runSafely } from "../util/maybe_promise.ts";
import { describeError, RpcConnectionError, RpcInvalidParamsError } from "../protocol/errors.ts";
import type { Logger } from "../util/logger.ts";
import { mayRetry } from "../core/pending_calls.ts";
import type { CallRequest } from "../core/pending_calls.ts";
import type { Method } from "../core/dispatcher.ts";

/** One handler of a topic, and the way to end it. */
export interface Subscription {
  /** The topic. */
  readonly topic: string;
  /** Ends it. The last handler of a topic tells the server. */
  unsubscribe(): Promise<void>;
  /** The same, for `await using`. */
  [Symbol.asyncDispose](): Promise<void>;
}

/** How a topic is heard. */
export interface SubscribeOptions {
  /**
   * Whether events that were missed while there was no connection are fetched, as far as the server
   * has kept them.
   *
   * @default {false}
   */
  readonly recover?: boolean | undefined;
  /** Called, with `recover`, where events were missed for good: time to load the whole anew. */
  readonly onGap?: ((gap: { readonly topic: string }) => unknown) | undefined;
}

/** Who hears a topic. */
export interface Listener extends SubscribeOptions {
  /** Takes the data of one event. */
  readonly handle: (data: never) => unknown;
  /** Called where the topic is heard no more; without an error where all its handlers were ended. */
  readonly ended?: (error?: Error) => void;
}

/** Makes a call to the server: on the connection of now, or as soon as there is one. */
export type CallServer = (request: CallRequest) => Promise<unknown>;

/** What a topic is heard with. */
interface TopicSubscription {
  // Records, not the functions: one function may be given twice.
  readonly listeners: Set<Listener>;
  readonly method: Method;
  ready: Promise<unknown> | undefined;
  /** Whether the server has granted it. */
  live: boolean;
  recover: boolean;
  /** Where it stands, with `recover`: what came last. */
  position: unknown;
  /** What came before that, as far as it might come again. */
  readonly seen: Set<unknown>;
}

type RestoredTopic = readonly [topic: string, heard: TopicSubscription];

/** The topics that a client hears. */
export class TopicSubscriptions {
  readonly #topics = new Map<string, TopicSubscription>();
  readonly #call: CallServer;
  readonly #isOpen: () => boolean;
  readonly #logger: Logger;
  readonly #message: Method = { invoke: (params) => this.#take(params) };

  /**
   * @param call Calls the server, as soon as there is a connection.
   * @param isOpen Whether there is one.
   * @param logger Where a handler that fails is written.
   */
  constructor(call: CallServer, isOpen: () => boolean, logger: Logger) {
    this.#call = call;
    this.#isOpen = isOpen;
    this.#logger = logger;
  }

  /**
   * What to run for what the server tells.
   *
   * @param own What the client itself has by that name: it runs where no topic has, and beside ours
   * where a topic is removed.
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
   * Adds a listener. The first of a topic subscribes; the others wait for the same answer.
   *
   * @throws {RpcInvalidParamsError} Where the server does not have the topic for this client.
   */
  async add(topic: string, options: Listener): Promise<Subscription> {
    const heard = this.#hear(topic);
    const listener = { ...options };
    heard.listeners.add(listener);
    if (listener.recover && !heard.recover) {
      heard.recover = true;
      heard.ready = undefined; // on the wire it is another kind of subscription
    }
    // Only of its own subscription: by now the topic may be heard by a later one.
    const isLast = (): boolean =>
      heard.listeners.delete(listener) && heard.listeners.size === 0 &&
      this.#topics.get(topic) === heard;
    try {
      await (heard.ready ??= this.#call({
        ...this.#request([[topic, heard]], heard.recover),
        ...RESENT,
      }));
      if (!heard.live) throw this.#notGranted(topic);
    } catch (error) {
      // Those who heard it before go on, and who comes later asks again.
      heard.ready = undefined;
      if (isLast()) this.#topics.delete(topic);
      throw error;
    }
    const leave = async (): Promise<void> => {
      if (isLast()) await this.remove(topic);
    };
    return { topic, unsubscribe: leave, [Symbol.asyncDispose]: leave };
  }

  /** Ends all handlers of a topic. */
  async remove(topic: string): Promise<void> {
    const heard = this.#topics.get(topic);
    this.#topics.delete(topic);
    end(heard);
    // A server that is not there knows of nothing that would have to end.
    if (heard === undefined || (heard.live && !this.#isOpen())) return;
    await this.#call({ method: "unsubscribe", params: [topic], ...RESENT });
  }

  /**
   * Subscribes anew, on a new connection, to what was heard on the last one.
   *
   * @param call Calls on the new connection.
   * @returns The topics that are heard again.
   */
  async restore(call: CallServer): Promise<string[]> {
    const restored = await Promise.all([false, true].map(async (recover) => {
      const entries = [...this.#topics].filter(([_topic, heard]) =>
        heard.live && heard.recover === recover
      );
      const topics = entries.map(([topic]) => topic);
      if (topics.length === 0) return [];
      try {
        // A bound call ends with its connection: the next one will try again.
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

  /** Forgets everything: there will be no connection any more. */
  clear(error: Error): void {
    this.#topics.forEach((heard) => end(heard, error));
    this.#topics.clear();
  }

  #hear(topic: string): TopicSubscription {
    let heard = this.#topics.get(topic);
    if (heard === undefined) {
      const listeners: TopicSubscription["listeners"] = new Set();
      heard = {
        listeners,
        method: { invoke: (data) => this.#tell(topic, listeners, data) },
        ready: undefined,
        live: false,
        recover: false,
        position: undefined,
        seen: new Set(),
      };
      this.#topics.set(topic, heard);
    }
    return heard;
  }

  #request(entries: readonly RestoredTopic[], recover: boolean): CallRequest {
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

  // The topics as they were when it was asked: by now they may be heard no more, or by others.
  #granted(entries: readonly RestoredTopic[], subscriptions: unknown): void {
    for (const [topic, heard] of entries) {
      const granted = Array.isArray(subscriptions) && subscriptions.includes(topic);
      const lost = heard.live && !granted && this.#topics.get(topic) === heard;
      heard.live = granted;
      if (lost) this.#lost(topic);
    }
  }

  #recovered(
    entries: readonly RestoredTopic[],
    answer: unknown,
    since: ReadonlyMap<string, unknown>,
  ): void {
    const { subscriptions, positions, recovered } = (answer ?? {}) as Recovery;
    this.#granted(entries, subscriptions);
    for (const [topic, heard] of entries) {
      // What was recovered is still to come: until then nothing newer was heard.
      if (!heard.live || (since.has(topic) && recovered?.[topic] === true)) continue;
      this.#stand(heard, positions?.[topic]);
      if (since.has(topic)) this.#gap(topic, heard);
    }
  }

  #take(params: unknown): void {
    const { topic, position, data, gap } = (params ?? {}) as Recoverable;
    const heard = this.#topics.get(topic as string);
    if (heard === undefined) return;
    if (gap === true) {
      this.#stand(heard, position);
      return this.#gap(topic as string, heard);
    }
    if (heard.seen.has(position)) return;
    heard.position = position;
    heard.seen.add(position);
    if (heard.seen.size > SEEN) {
      const [oldest] = heard.seen;
      heard.seen.delete(oldest);
    }
    this.#tell(topic as string, heard.listeners, data);
  }

  #stand(heard: TopicSubscription, position: unknown): void {
    heard.position = position;
    heard.seen.clear();
    heard.seen.add(position);
  }

  #gap(topic: string, { listeners }: TopicSubscription): void {
    for (const { onGap } of listeners) this.#run(topic, () => onGap?.({ topic }));
  }

  #tell(topic: string, listeners: ReadonlySet<Listener>, data: unknown): void {
    for (const { handle } of listeners) this.#run(topic, () => handle(data as never));
  }

  #run(topic: string, handler: () => unknown): void {
    runSafely(handler, (error) => {
      this.#logger.error(`A handler of topic "${topic}" failed: ${describeError(error)}`);
    });
  }

  #notRestored(topics: readonly string[], error: Error): void {
    if (error instanceof RpcConnectionError || mayRetry(error)) return;
    for (const topic of topics) this.#lost(topic, error);
  }

  #lost(topic: string, error: Error = this.#notGranted(topic)): void {
    const heard = this.#topics.get(topic);
    if (!this.#topics.delete(topic)) return;
    this.#logger.warn(`No more events of topic "${topic}": ${error.message}`);
    end(heard, error);
  }

  #notGranted(topic: string): RpcInvalidParamsError {
    return new RpcInvalidParamsError({
      message: `Cannot subscribe to "${topic}": no such topic, or not for this client`,
    });
  }
}

function end(heard: TopicSubscription | undefined, error?: Error): void {
  heard?.listeners.forEach(({ ended }) => ended?.(error));
}

interface Recovery {
  readonly subscriptions?: unknown;
  readonly positions?: Readonly<Record<string, unknown>>;
  readonly recovered?: Readonly<Record<string, unknown>>;
}

interface Recoverable {
  readonly topic?: unknown;
  readonly position?: unknown;
  readonly data?: unknown;
  readonly gap?: unknown;
}

// What carries the events of topics that recover.
const MESSAGE = "rpc.message";
// What says that a topic is no more.
const REMOVED = "rpc.removed";
// Positions of a topic that are remembered, to know an event that comes again.
const SEEN = 1024;
// Subscribing twice does no harm.
const RESENT = { options: { idempotent: true } } as const;
