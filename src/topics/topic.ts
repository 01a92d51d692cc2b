/**
 * One topic that somebody hears: its subscribers, and what comes for them.
 *
 * @module
 */

import { SharedText } from "../core/channel.ts";
import type { SubscriberConnection } from "../core/connection.ts";
import { SEND } from "../core/internal.ts";
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
import { before } from "./subscriber.ts";
import type { Newest, Subscriber, SubscriberSource } from "./subscriber.ts";
import { PlainSubscriber } from "./plain_subscriber.ts";
import { RecoveringSubscriber } from "./recovering_subscriber.ts";
import type { Since } from "./recovering_subscriber.ts";
import { mapMaybe } from "../util/maybe_promise.ts";
import type { MaybePromise } from "../util/maybe_promise.ts";
import { TopicEvent } from "./event.ts";
import type { TopicEncoder } from "./event.ts";
import { isFresh } from "./options.ts";
import type { SlowConsumer } from "./options.ts";

/** How a connection wants to hear a topic. */
export interface JoinOptions {
  /** With positions. */
  readonly recover: boolean;
  /** What came after this position, too. */
  readonly since: Since;
}

/** A topic with subscribers. */
export class Topic implements BrokerSink, SubscriberSource {
  readonly encoder: TopicEncoder;
  readonly slowSubscribers: SlowSubscribers;
  /** How it was declared. */
  declaration: TopicDeclaration;
  position: Position = NOWHERE;
  /** How often an event went to a connection. */
  deliveries = 0;
  readonly #listeners: BrokerListeners;
  #listener: BrokerListener | undefined;
  // Those to whom events are simply passed on: most of them, as a rule.
  readonly #plain = new Set<SubscriberConnection>();
  readonly #subscribers = new Map<SubscriberConnection, Subscriber>();

  /** Hears nothing until somebody joins. */
  constructor(
    declaration: TopicDeclaration,
    encoder: TopicEncoder,
    listeners: BrokerListeners,
    slowSubscribers: SlowSubscribers,
  ) {
    this.declaration = declaration;
    this.encoder = encoder;
    this.#listeners = listeners;
    this.slowSubscribers = slowSubscribers;
  }

  get slowConsumer(): SlowConsumer {
    return this.declaration.options.slowConsumer ?? "close";
  }

  /** Goes by another declaration from now on. */
  redeclare(declaration: TopicDeclaration): void {
    this.declaration = declaration;
    if (this.slowConsumer === "close") return;
    // Nobody looks whether those read to whom events are simply passed on.
    for (const connection of this.#plain) {
      const subscriber = new PlainSubscriber(connection, this, false);
      this.#plain.delete(connection);
      this.#subscribers.set(connection, subscriber);
      subscriber.release();
    }
  }

  /** Whether nobody is subscribed. */
  get isEmpty(): boolean {
    return this.#plain.size === 0 && this.#subscribers.size === 0;
  }

  /** Those who hear it. */
  *[Symbol.iterator](): IterableIterator<SubscriberConnection> {
    yield* this.#plain;
    for (const subscriber of this.#subscribers.values()) {
      if (!subscriber.joining) yield subscriber.connection;
    }
  }

  /** Those who hear it, and those who are about to. */
  all(): SubscriberConnection[] {
    return [...this.#plain, ...this.#subscribers.keys()];
  }

  /** Whether a connection hears what comes, and there is no more to it. */
  hasPlain(connection: SubscriberConnection): boolean {
    return this.#plain.has(connection);
  }

  /** The share of a connection, where there is more to it than hearing what comes. */
  subscriberOf(connection: SubscriberConnection): Subscriber | undefined {
    return this.#subscribers.get(connection);
  }

  /** Begins a connection's share; its events are held back until `release`. */
  join(connection: SubscriberConnection, { recover, since }: JoinOptions): Subscriber {
    const newcomer = !this.#subscribers.has(connection) && !this.#plain.has(connection);
    this.#remove(connection);
    const subscriber = recover
      ? new RecoveringSubscriber(connection, this, since, newcomer)
      : new PlainSubscriber(connection, this, newcomer);
    this.#subscribers.set(connection, subscriber);
    subscriber.ready = this.#begin(subscriber);
    if (subscriber.ready instanceof Promise) subscriber.ready.catch(() => {}); // whoever waits sees it
    return subscriber;
  }

  /** Ends the share of a connection. */
  leave(connection: SubscriberConnection): void {
    this.#remove(connection);
    if (this.isEmpty) this.close();
  }

  /** Hears nothing any more. */
  close(): void {
    if (this.#listener !== undefined) this.#listeners.close(this.encoder.name, this.#listener);
    this.#listener = undefined;
  }

  event(event: BrokerEvent): void {
    const { position } = event;
    // An engine that begins anew and does not say so: what was between is lost.
    if (position.epoch !== this.position.epoch && this.position !== NOWHERE) {
      this.gap(before(position));
    }
    this.position = position;
    this.deliveries += this.#plain.size + this.#subscribers.size;
    if (this.#subscribers.size > 0) return this.#spread(TopicEvent.of(this.encoder, event));
    const text = this.encoder.plain(event.data);
    if (this.encoder.isTooLong(text)) return this.#spread(TopicEvent.of(this.encoder, event));
    const message = new SharedText(text);
    for (const connection of this.#plain) connection[SEND](message);
  }

  gap(position: Position): void {
    this.position = position;
    const event = new TopicEvent(this.encoder, position, undefined);
    // Those who hear it plainly were promised nothing.
    for (const subscriber of this.#subscribers.values()) {
      if (subscriber.recovers) subscriber.take(event);
    }
  }

  history(query: HistoryQuery): MaybePromise<BrokerHistory> {
    return this.#listeners.broker.history(this.encoder.name, this.declaration.keep, query);
  }

  newest(): MaybePromise<Newest> {
    const { retain } = this.declaration.options;
    if (!retain) return { from: this.position, last: undefined };
    return mapMaybe(this.history({ limit: 1 }), ({ events, position }) => {
      const last = events.at(-1);
      if (last === undefined || !isFresh(last.at, retain)) {
        return { from: position, last: undefined };
      }
      return { from: before(last.position), last };
    });
  }

  settled(subscriber: Subscriber): void {
    const { connection } = subscriber;
    // The fast way, for those who take everything as it comes.
    if (subscriber.recovers || this.slowConsumer !== "close") return;
    this.#subscribers.delete(connection);
    this.#plain.add(connection);
  }

  #begin(subscriber: Subscriber): MaybePromise<unknown> {
    const isHere = () => this.#subscribers.get(subscriber.connection) === subscriber;
    try {
      return mapMaybe(this.#hear(), () => isHere() ? subscriber.load() : undefined);
    } catch (error) {
      return Promise.reject(error);
    }
  }

  /** Makes sure that events come here. */
  #hear(): MaybePromise<unknown> {
    if (this.#listener === undefined) {
      const listener = this.#listeners.open(this.encoder.name, this.declaration.keep, this);
      this.#listener = listener;
      const failed = (): void => {
        // The next to join tries again.
        if (this.#listener === listener) this.#listener = undefined;
      };
      const heard = mapMaybe(listener.ready as MaybePromise<Position>, (position) => {
        // Events may have come before this answer.
        if (this.position === NOWHERE) this.position = position;
      });
      if (heard instanceof Promise) heard.catch(failed);
    }
    return this.#listener.ready;
  }

  #spread(event: TopicEvent): void {
    const text = this.#plain.size > 0 ? event.plain() : undefined;
    if (text !== undefined) { for (const connection of this.#plain) connection[SEND](text); }
    for (const subscriber of this.#subscribers.values()) subscriber.take(event);
  }

  #remove(connection: SubscriberConnection): void {
    this.#plain.delete(connection);
    this.#subscribers.get(connection)?.end();
    this.#subscribers.delete(connection);
  }
}

const NOWHERE: Position = Object.freeze({ epoch: "", offset: 0 });
