/**
 * One topic with subscribers: it listens to the broker and passes each event to all of them.
 *
 * @module
 */

import { SharedText } from "../core/channel.ts";
import type { SubscriberConnection } from "../core/connection.ts";
import { SEND } from "../core/internal.ts";
import type { EventCounts } from "./event_counts.ts";
import type { SlowSubscribers } from "./slow_subscribers.ts";
import type {
  BrokerEvent,
  BrokerHistory,
  BrokerSink,
  HistoryQuery,
  Position,
} from "../brokers/broker.ts";
import type { TopicDeclaration } from "./registry.ts";
import type { BrokerListener, BrokerListeners } from "./broker_listener.ts";
import { before } from "../brokers/broker.ts";
import type { Newest, Subscriber, SubscriberSource, TopicMemory } from "./subscriber.ts";
import { PlainSubscriber } from "./plain_subscriber.ts";
import { RecoveringSubscriber } from "./recovering_subscriber.ts";
import type { Since } from "./recovering_subscriber.ts";
import { isThenable, mapMaybe } from "../util/maybe_promise.ts";
import type { MaybePromise } from "../util/maybe_promise.ts";
import { TopicEvent } from "./event.ts";
import type { TopicEncoder } from "./event.ts";
import { isFresh } from "./options.ts";
import type { SlowConsumer } from "./options.ts";

/** How a connection subscribes to a topic. */
export interface JoinOptions {
  /** Whether its events carry positions, so that it can recover. */
  readonly recover: boolean;
  /** With `recover`: the position after which it goes on. */
  readonly since: Since;
  /** How many kept events it asks for. */
  readonly last: number;
  /**
   * Whether it only renews a subscription of before, so that it gets no retained event.
   *
   * @default {false}
   */
  readonly renews?: boolean;
  /**
   * Whether the retained event comes once more for a connection that is subscribed already.
   *
   * @default {false}
   */
  readonly repeats?: boolean;
}

/** What all topics of a server share. */
export interface SharedByTopics {
  /** Open listeners at the broker. */
  readonly listeners: BrokerListeners;
  readonly slowSubscribers: SlowSubscribers;
  readonly counts: EventCounts;
  /** Counts the memory that subscriptions take. */
  readonly memory: TopicMemory;
}

/** A topic with subscribers. */
export class Topic implements BrokerSink, SubscriberSource {
  encoder: TopicEncoder;
  readonly slowSubscribers: SlowSubscribers;
  readonly counts: EventCounts;
  readonly memory: TopicMemory;
  /** How the topic was declared. */
  declaration: TopicDeclaration;
  position: Position = UNKNOWN;
  /** How often an event was passed to a connection. */
  deliveries = 0;
  readonly #listeners: BrokerListeners;
  #listener: BrokerListener | undefined;
  // Connections that events are simply passed on to: most of them.
  readonly #plain = new Set<SubscriberConnection>();
  // Connections that need more: they join, recover, or read too slowly.
  readonly #subscribers = new Map<SubscriberConnection, Subscriber>();

  /**
   * Makes a topic that starts to listen when the first connection joins.
   *
   * @param declaration How the topic was declared.
   * @param encoder Encodes its events.
   * @param shared What all topics of the server share.
   */
  constructor(declaration: TopicDeclaration, encoder: TopicEncoder, shared: SharedByTopics) {
    this.declaration = declaration;
    this.encoder = encoder;
    this.#listeners = shared.listeners;
    this.slowSubscribers = shared.slowSubscribers;
    this.counts = shared.counts;
    this.memory = shared.memory;
  }

  get slowConsumer(): SlowConsumer {
    return this.declaration.options.slowConsumer ?? "close";
  }

  /** Applies another declaration from now on. */
  redeclare(declaration: TopicDeclaration, encoder: TopicEncoder): void {
    this.declaration = declaration;
    this.encoder = encoder;
    if (this.slowConsumer === "close") return;
    // Events are passed to these connections without a look at how much they leave unread.
    for (const connection of [...this.#plain]) {
      const subscriber = new PlainSubscriber(connection, this, true);
      this.#plain.delete(connection);
      this.#subscribers.set(connection, subscriber);
      subscriber.release();
    }
  }

  /** Whether no connection is subscribed. */
  get isEmpty(): boolean {
    return this.size === 0;
  }

  /** How many connections are subscribed. */
  get size(): number {
    return this.#plain.size + this.#subscribers.size;
  }

  /** The connections whose subscription is complete. */
  *[Symbol.iterator](): IterableIterator<SubscriberConnection> {
    yield* this.#plain;
    for (const subscriber of this.#subscribers.values()) {
      if (!subscriber.joining) yield subscriber.connection;
    }
  }

  /** All connections, those that are about to join too. */
  all(): SubscriberConnection[] {
    return [...this.#plain, ...this.#subscribers.keys()];
  }

  /** Tells whether events are simply passed on to a connection. */
  hasPlain(connection: SubscriberConnection): boolean {
    return this.#plain.has(connection);
  }

  /** Returns the subscriber of a connection, unless events are simply passed on to it. */
  subscriberOf(connection: SubscriberConnection): Subscriber | undefined {
    return this.#subscribers.get(connection);
  }

  /**
   * Adds a connection, or changes how it is subscribed. Its events are held back until `release`.
   *
   * @param connection The connection.
   * @param options How it subscribes.
   */
  join(connection: SubscriberConnection, options: JoinOptions): Subscriber {
    const previous = this.#subscribers.get(connection);
    const begun = previous?.begun ?? this.#plain.has(connection);
    const { recover, since, last, renews = false, repeats = false } = options;
    const isKnown = begun || renews;
    // A handler of the client joins late: the others must miss nothing and get nothing twice.
    const isLate = since === undefined && (last > 0 || repeats) &&
      previous instanceof RecoveringSubscriber;
    const { reached, replayedTo } = isLate ? previous : NEW;
    this.#remove(connection);
    const subscriber = recover
      ? new RecoveringSubscriber(connection, this, { since, last, reached, replayedTo, isKnown })
      : new PlainSubscriber(connection, this, isKnown, last);
    subscriber.begun = begun;
    this.#subscribers.set(connection, subscriber);
    subscriber.ready = this.#load(subscriber);
    if (isThenable(subscriber.ready)) {
      subscriber.loading = true;
      const loaded = (): void => void (subscriber.loading = false);
      // Each caller that waits for `ready` handles a rejection; without one it must not end the process.
      subscriber.ready.then(loaded, loaded);
    }
    return subscriber;
  }

  /**
   * Removes a connection.
   *
   * @returns Whether its subscription had begun, as far as plugins know.
   */
  leave(connection: SubscriberConnection): boolean {
    const begun = this.#plain.has(connection) || this.#subscribers.get(connection)?.begun === true;
    this.#remove(connection);
    if (this.isEmpty) this.close();
    return begun;
  }

  /** Stops listening to the broker. */
  close(): void {
    if (this.#listener !== undefined) this.#listeners.close(this.encoder.name, this.#listener);
    this.#listener = undefined;
  }

  event(event: BrokerEvent): void {
    const { position } = event;
    // The broker has begun a new epoch without telling a gap: what was in between is lost.
    if (position.epoch !== this.position.epoch && this.position !== UNKNOWN) {
      this.gap(before(position));
    }
    this.position = position;
    const { size } = this;
    this.deliveries += size;
    this.counts.delivered += size;
    if (this.#subscribers.size > 0) return this.#pass(TopicEvent.of(this.encoder, event));
    const text = this.encoder.plain(event.data);
    if (this.encoder.isTooLong(text)) return this.#pass(TopicEvent.of(this.encoder, event));
    const message = new SharedText(text);
    // Copies nothing: what joins during the loop joins as a subscriber, not as a plain connection.
    for (const connection of this.#plain) connection[SEND](message);
  }

  gap(position: Position): void {
    this.position = position;
    const event = new TopicEvent(this.encoder, position, undefined);
    // Plain subscribers were promised nothing.
    for (const subscriber of [...this.#subscribers.values()]) {
      if (subscriber.recovers) subscriber.take(event);
    }
  }

  history(query: HistoryQuery): MaybePromise<BrokerHistory> {
    return this.#listeners.broker.history(this.encoder.name, this.declaration.keep, query);
  }

  newest(last: number): MaybePromise<Newest> {
    const { retain } = this.declaration.options;
    const limit = Math.max(Math.min(last, MAX_LAST), retain ? 1 : 0);
    const { position } = this;
    if (limit === 0) return { from: position, until: position, events: [] };
    return mapMaybe(this.history({ limit }), (history) => this.#newestOf(history, last));
  }

  caughtUp(subscriber: Subscriber): void {
    const { connection } = subscriber;
    // Events are passed on without a subscriber if it does nothing more than that.
    if (subscriber.recovers || this.slowConsumer !== "close") return;
    this.#subscribers.delete(connection);
    this.#plain.add(connection);
  }

  /** Leaves out the events that are too old, by `retain` and by `history`. */
  #newestOf({ events, position }: BrokerHistory, last: number): Newest {
    const { retain, history } = this.declaration.options;
    const oldestAt = last > 0 && history ? Date.now() - (history.ageMs ?? Infinity) : Infinity;
    const newest = events.at(-1);
    const isOld = (event: BrokerEvent): boolean =>
      event.at < oldestAt && !(event === newest && retain && isFresh(event.at, retain));
    // Without a hole, although the clocks of publishers may differ.
    const kept = events.slice(events.findLastIndex(isOld) + 1);
    const [first] = kept;
    const from = first === undefined ? position : before(first.position);
    return { from, until: position, events: kept };
  }

  #load(subscriber: Subscriber): MaybePromise<unknown> {
    const isCurrent = () => this.#subscribers.get(subscriber.connection) === subscriber;
    try {
      return mapMaybe(this.#listen(), () => isCurrent() ? subscriber.load() : undefined);
    } catch (error) {
      return Promise.reject(error);
    }
  }

  /** Makes sure that the topic listens to the broker. */
  #listen(): MaybePromise<unknown> {
    if (this.#listener === undefined) {
      const listener = this.#listeners.open(this.encoder.name, this.declaration.keep, this);
      this.#listener = listener;
      const failed = (): void => {
        // The next connection that joins tries again.
        if (this.#listener === listener) this.#listener = undefined;
      };
      const listening = mapMaybe(listener.ready as MaybePromise<Position>, (position) => {
        // Events may have arrived before this answer of the broker.
        if (this.position === UNKNOWN) this.position = position;
      });
      if (listening instanceof Promise) listening.catch(failed);
    }
    return this.#listener.ready;
  }

  #pass(event: TopicEvent): void {
    const text = this.#plain.size > 0 ? event.plain() : undefined;
    if (text !== undefined) { for (const connection of this.#plain) connection[SEND](text); }
    // Copies nothing: a connection that joins meanwhile stands at this event already, and ignores it.
    for (const subscriber of this.#subscribers.values()) subscriber.take(event);
  }

  #remove(connection: SubscriberConnection): void {
    this.#plain.delete(connection);
    this.#subscribers.get(connection)?.end();
    this.#subscribers.delete(connection);
  }
}

// How many kept events a new subscriber gets at most: all of them are in memory at once.
const MAX_LAST = 1024;
// Where a subscription stands that is new.
const NEW: { readonly reached?: Position; readonly replayedTo?: Position } = {};
// Before the broker has said where the topic stands.
const UNKNOWN: Position = Object.freeze({ epoch: "", offset: 0 });
