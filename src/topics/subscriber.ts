/**
 * One subscription of one connection to one topic, as long as its events cannot simply be passed on:
 * while it joins, and while its peer reads too slowly. The two kinds are `PlainSubscriber` and
 * `RecoveringSubscriber`.
 *
 * @module
 */

import type { SubscriberConnection } from "../core/connection.ts";
import type { SlowSubscriber, SlowSubscribers } from "./slow_subscribers.ts";
import type { BrokerEvent, BrokerHistory, HistoryQuery, Position } from "../brokers/broker.ts";
import type { MaybePromise } from "../util/maybe_promise.ts";
import type { EventCounts } from "./event_counts.ts";
import type { TopicEncoder, TopicEvent } from "./event.ts";
import type { SlowConsumer } from "./options.ts";

/** Counts the memory that subscriptions take. */
export interface TopicMemory {
  /** Whether none is left for more subscriptions. */
  readonly isFull: boolean;
  /** Counts bytes. */
  add(bytes: number): void;
  /** Takes back what was counted. */
  release(bytes: number): void;
}

/** What a subscriber needs of its topic. */
export interface SubscriberSource {
  /** Encodes the topic's events. */
  readonly encoder: TopicEncoder;
  /** What to do if a peer reads too slowly. */
  readonly slowConsumer: SlowConsumer;
  /** The position of the newest event that has arrived in this process. */
  readonly position: Position;
  /** The slow subscribers of the server. */
  readonly slowSubscribers: SlowSubscribers;
  /** The events of the server. */
  readonly counts: EventCounts;
  /** Counts the memory that subscriptions take. */
  readonly memory: TopicMemory;
  /** Reads the events that the broker keeps. */
  history(query: HistoryQuery): MaybePromise<BrokerHistory>;
  /** Reads the kept events that a new subscriber gets: the newest `last`, or the retained one. */
  newest(last: number): MaybePromise<Newest>;
  /** Notes that a subscriber has sent all that was held for it. */
  caughtUp(subscriber: Subscriber): void;
}

/** Where a new subscriber begins. */
export interface Newest {
  /** The position that the first event comes after. */
  readonly from: Position;
  /** The position of the topic when it was read. */
  readonly until: Position;
  /** The kept events, the oldest first. */
  readonly events: readonly BrokerEvent[];
}

/** Tells whether a subscriber that has reached `at` has the event at `position`. */
export function includes(at: Position, position: Position): boolean {
  return at.epoch === position.epoch && position.offset <= at.offset;
}

/** Passes the events of one topic to one connection, or holds them back. */
export abstract class Subscriber implements SlowSubscriber {
  /** The connection that the events go to. */
  readonly connection: SubscriberConnection;
  /** Whether its events carry positions. */
  abstract readonly recovers: boolean;
  /** The position up to which the connection has been sent everything. */
  position: Position;
  /** Whether plugins know of the subscription: their `onSubscribe` was called. */
  begun: boolean;
  /** Fulfilled when it is known which events to send first. Rejects if the broker fails. */
  ready: MaybePromise<unknown> = undefined;
  /** Whether `ready` is still pending. */
  loading = false;
  /** The number of `subscribe` calls for this subscription that have not been answered yet. */
  pendingCalls = 0;
  /** The age of the last event in milliseconds, if a kept event is sent first. */
  ageMs: number | undefined;
  /** Whether the answer to `subscribe` has not been sent yet. Until then, no event may be sent. */
  joining = true;
  protected readonly source: SubscriberSource;
  /** The position up to which everything was sent or is in the queue. */
  protected queuedUpTo: Position;
  /** The events to send, in order; `undefined` if events are passed on as they arrive. */
  protected queue: TopicEvent[] | undefined = [];
  protected ended = false;

  /**
   * @param connection The connection that the events go to.
   * @param source The topic.
   * @param begun Whether plugins know of the subscription already.
   */
  constructor(connection: SubscriberConnection, source: SubscriberSource, begun: boolean) {
    this.connection = connection;
    this.source = source;
    this.begun = begun;
    this.position = this.queuedUpTo = source.position;
  }

  /** Passes an event on, or holds it back. */
  take(event: TopicEvent): void {
    // The history that was read may contain this event already.
    if (this.ended || includes(this.queuedUpTo, event.position)) return;
    this.queuedUpTo = event.position;
    if (this.queue === undefined) {
      const { slowConsumer, slowSubscribers } = this.source;
      if (slowConsumer === "close" || !slowSubscribers.isSlow(this.connection)) {
        return this.send(event);
      }
      this.queue = [];
      slowSubscribers.wait(this);
    }
    this.hold(event);
  }

  /** Starts to send. Called when the answer to `subscribe` was sent. */
  release(): void {
    this.joining = false;
    if (this.queue !== undefined) this.pump();
  }

  /** Ends the subscription: nothing is sent any more. */
  end(): void {
    this.ended = true;
    this.source.slowSubscribers.done(this);
  }

  /** How many events may be held back. */
  protected get capacity(): number {
    return this.joining ? MAX_JOINING : MAX_HELD;
  }

  /** Finds out which events to send first. */
  abstract load(): MaybePromise<unknown>;
  abstract pump(): void;
  /** Holds an event back. */
  protected abstract hold(event: TopicEvent): void;
  /** Sends an event. */
  protected abstract send(event: TopicEvent): void;

  /** Puts kept events in front of those that have arrived meanwhile, some of which they may contain. */
  protected prepend(kept: readonly TopicEvent[]): void {
    const last = kept.at(-1)?.position ?? this.position;
    const later = (this.queue ?? []).filter(({ position }) => !includes(last, position));
    this.queue = [...kept, ...later];
    this.queuedUpTo = later.at(-1)?.position ?? last;
  }

  /** Passes events on as they arrive, from now on. */
  protected passOn(): void {
    this.queue = undefined;
    this.source.slowSubscribers.done(this);
    this.source.caughtUp(this);
  }
}

// A peer that reads too slowly: the limit is low, since many such peers may exist.
const MAX_HELD = 64;
// A peer that reads well and only waits for its answer should lose nothing: the limit is high.
const MAX_JOINING = 1024;
