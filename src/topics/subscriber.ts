/**
 * One connection's share in one topic, where events cannot simply be passed on: while it joins, and
 * while its peer does not read.
 *
 * @module
 */

import type { SubscriberConnection } from "../core/connection.ts";
import type { SlowSubscriber, SlowSubscribers } from "./slow_subscribers.ts";
import type { BrokerEvent, BrokerHistory, HistoryQuery, Position } from "../brokers/broker.ts";
import type { MaybePromise } from "../util/maybe_promise.ts";
import type { TopicEncoder, TopicEvent } from "./event.ts";
import type { SlowConsumer } from "./options.ts";

/** What a subscriber needs of its topic. */
export interface SubscriberSource {
  /** How its events look. */
  readonly encoder: TopicEncoder;
  /** What happens to events for a peer that does not read. */
  readonly slowConsumer: SlowConsumer;
  /** Where it stands, as far as events came here. */
  readonly position: Position;
  /** Who waits, and what was dropped. */
  readonly slowSubscribers: SlowSubscribers;
  /** Reads what the broker keeps of it. */
  history(query: HistoryQuery): MaybePromise<BrokerHistory>;
  /** What a newcomer begins with: the last event, where it is kept and fresh, and what follows. */
  newest(): MaybePromise<Newest>;
  /** Takes note that a subscriber is up to date. */
  settled(subscriber: Subscriber): void;
}

/** Where a newcomer begins. */
export interface Newest {
  /** What follows comes after this. */
  readonly from: Position;
  /** The last event. */
  readonly last: BrokerEvent | undefined;
}

/** Whether an event at `position` is part of what somebody has who stands at `at`. */
export function includes(at: Position, position: Position): boolean {
  return at.epoch === position.epoch && position.offset <= at.offset;
}

/** The position that an event at `position` comes after. */
export function before({ epoch, offset }: Position): Position {
  return { epoch, offset: offset - 1 };
}

/** Takes the events of one topic for one connection. */
export abstract class Subscriber implements SlowSubscriber {
  /** Whom the events are for. */
  readonly connection: SubscriberConnection;
  /** Whether they carry positions. */
  abstract readonly recovers: boolean;
  /** Up to here the connection has everything. */
  position: Position;
  /** Up to here it has everything, or has it waiting. */
  protected queuedUpTo: Position;
  /** Settles when it is known what the connection is sent first. Rejects where the broker fails. */
  ready: MaybePromise<unknown> = undefined;
  /** Calls to `subscribe` that are not answered yet, and that brought or share it. */
  pendingCalls = 0;
  /** Milliseconds since the last event, where that is sent first. */
  ageMs: number | undefined;
  /** Whether its call's answer has not gone yet. */
  joining = true;
  protected readonly source: SubscriberSource;
  /** What waits to be sent, in order; `undefined` where events are passed on as they come. */
  protected queue: TopicEvent[] | undefined = [];
  protected ended = false;

  constructor(connection: SubscriberConnection, source: SubscriberSource) {
    this.connection = connection;
    this.source = source;
    this.position = this.queuedUpTo = source.position;
  }

  /** Takes an event: passes it on, or holds it back. */
  take(event: TopicEvent): void {
    // Part of the history that it was given.
    if (includes(this.queuedUpTo, event.position)) return;
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

  /** Begins to send: the answer has gone. */
  release(): void {
    this.joining = false;
    if (this.queue !== undefined) this.pump();
  }

  /** Ends it: nothing is sent any more. */
  end(): void {
    this.ended = true;
    this.source.slowSubscribers.done(this);
  }

  /** How many events may be held back. */
  protected get room(): number {
    return this.joining ? MAX_JOINING : MAX_HELD;
  }

  /** Finds out what to send first. */
  abstract load(): MaybePromise<unknown>;
  abstract pump(): void;
  protected abstract hold(event: TopicEvent): void;
  protected abstract send(event: TopicEvent): void;

  /** Puts what was kept in front of what came meanwhile, which may be part of it. */
  protected putFirst(kept: readonly TopicEvent[]): void {
    const last = kept.at(-1)?.position ?? this.position;
    const later = (this.queue ?? []).filter(({ position }) => !includes(last, position));
    this.queue = [...kept, ...later];
    this.queuedUpTo = later.at(-1)?.position ?? last;
  }

  /** Passes on as it comes from now on. */
  protected settle(): void {
    this.queue = undefined;
    this.source.slowSubscribers.done(this);
    this.source.settled(this);
  }
}

// Where the peer does not read.
const MAX_HELD = 64;
// Where it reads, and only its answer is late: it should lose nothing by that.
const MAX_JOINING = 1024;
