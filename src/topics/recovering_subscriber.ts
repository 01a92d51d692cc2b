/**
 * A subscriber that misses no event silently: events that it was not sent are read from the broker, and
 * it is told of a gap if they cannot be read.
 *
 * @module
 */

import { describeError, quoted } from "../protocol/errors.ts";
import type { SubscriberConnection } from "../core/connection.ts";
import { SEND } from "../core/internal.ts";
import { before, positionText } from "../brokers/broker.ts";
import type { BrokerEvent, BrokerHistory, Position } from "../brokers/broker.ts";
import { includes, Subscriber } from "./subscriber.ts";
import type { Newest, SubscriberSource } from "./subscriber.ts";
import type { Timer } from "../util/timer.ts";
import { mapMaybe } from "../util/maybe_promise.ts";
import type { MaybePromise } from "../util/maybe_promise.ts";
import { TopicEvent } from "./event.ts";

/** The position after which a subscriber goes on; `"lost"` if it named one that cannot be read. */
export type Since = Position | "lost" | undefined;

/** Where a recovering subscriber begins. */
export interface RecoveryStart {
  /** The position after which it goes on, if it has one. */
  readonly since: Since;
  /** How many kept events it asks for, if it cannot go on after `since`. */
  readonly last: number;
  /**
   * The position that the connection has reached by a subscription that this one replaces. The `last`
   * events are then for a handler that joins late, and what follows this position is for all handlers.
   */
  readonly reached: Position | undefined;
  /** If that subscription has not sent all events that a late handler asked for: how far it has come. */
  readonly replayedTo: Position | undefined;
  /** Whether the subscription existed before, so that it gets no retained event. */
  readonly isKnown: boolean;
}

/** Sends each event as `rpc.message`, with its position. */
export class RecoveringSubscriber extends Subscriber {
  override readonly recovers = true;
  /** Whether nothing was lost before the first event. */
  recovered = true;
  readonly #start: RecoveryStart;
  readonly #isNew: boolean;
  // What it counts in the memory of the server.
  readonly #bytes: number;
  // Up to this position, events are sent because the subscription is new, and are marked as retained.
  #retainedUpTo: Position | undefined;
  // Whether the broker has events that the queue has not: they are read when the queue is empty.
  #behind = false;
  #reading = false;
  // The number of events that were not queued: they are read later, or lost.
  #missed = 0;
  // The length of what was held back while it joined.
  #heldLength = 0;
  #next = 0;
  #retryAt = 0;
  // The event that the peer had last, if the broker did not know it. It may arrive here all the same,
  // and others before it that the peer had too: at the first of them the broker is asked once more.
  #had: Position | undefined;
  #isDoubtful = false;
  #pausing: { readonly timer: Timer; resume(): void } | undefined;

  /**
   * @param connection The connection that the events go to.
   * @param source The topic.
   * @param start Where it begins.
   */
  constructor(connection: SubscriberConnection, source: SubscriberSource, start: RecoveryStart) {
    super(connection, source, start.isKnown);
    this.#start = start;
    this.#isNew = !start.isKnown;
    this.#bytes = SUBSCRIBER_BYTES + positionBytes(start.since);
    source.memory.add(this.#bytes);
  }

  /** The position that the connection has reached, also while it is sent older events once more. */
  get reached(): Position {
    const { reached } = this.#start;
    return reached !== undefined && includes(reached, this.position) ? reached : this.position;
  }

  /** How far it has come, while it sends older events once more. */
  get replayedTo(): Position | undefined {
    return this.reached === this.position ? undefined : this.position;
  }

  override end(): void {
    clearTimeout(this.#pausing?.timer);
    this.#pausing?.resume();
    if (!this.ended) this.source.memory.release(this.#bytes);
    super.end();
  }

  override load(): MaybePromise<void> {
    const { since, last, reached } = this.#start;
    if (since === "lost") return this.#lose();
    if (since !== undefined) return this.#goOn(since);
    if (reached !== undefined) return this.#repeat(reached, last);
    return this.#isNew || last > 0 ? this.#begin() : this.#stand(this.source.position);
  }

  override take(event: TopicEvent): void {
    const isBack = event.isGap && includes(this.queuedUpTo, event.position);
    if (isBack && !this.ended) return this.#goBack(event.position);
    if (this.#isDoubtful && this.#mayBeHad(event)) this.#askAgain();
    super.take(event);
  }

  override pump(): void {
    while (!this.joining && !this.ended && !this.#reading && this.queue !== undefined) {
      if (!this.#sendQueue()) return this.source.slowSubscribers.wait(this);
      if (this.ended) return;
      if (!this.#behind) return this.passOn();
      if (Date.now() < this.#retryAt) return this.source.slowSubscribers.wait(this);
      this.#readOn();
    }
  }

  protected override send(event: TopicEvent): void {
    this.position = event.position;
    if (this.#had !== undefined && this.#hasHad(event)) return;
    const text = event.recovering();
    if (text.data === undefined) this.source.counts.gaps++;
    this.connection[SEND](text);
  }

  protected override hold(event: TopicEvent): void {
    const queue = this.queue as TopicEvent[];
    if (this.joining) this.#heldLength += event.length;
    const tooLong = this.joining && this.#heldLength > this.source.slowSubscribers.highWaterMark;
    if (!this.#behind && !tooLong && queue.length - this.#next < this.capacity) queue.push(event);
    else {
      this.#behind = true;
      this.#missed++;
    }
  }

  /**
   * The broker has lost events that arrived here, and goes on behind them. Its history tells whether
   * the peer has missed others by that.
   */
  #goBack(position: Position): void {
    this.queuedUpTo = position;
    this.queue ??= [];
    this.#behind = true;
    this.#missed++;
    this.pump();
  }

  /** Sends the queue as long as the peer reads; returns whether all of it was sent. */
  #sendQueue(): boolean {
    const queue = this.queue as TopicEvent[];
    while (this.#next < queue.length) {
      if (this.source.slowSubscribers.isSlow(this.connection)) return false;
      this.send(queue[this.#next++] as TopicEvent);
      if (this.ended) return true;
    }
    this.queue = [];
    this.#next = 0;
    return true;
  }

  /** Reads the events that were not queued. */
  #readOn(): void {
    this.#behind = false;
    this.#reading = true;
    const failed = (error: unknown): void => {
      this.#reading = false;
      this.#behind = true;
      this.queue = [];
      this.#retryAt = Date.now() + RETRY_MS;
      const { encoder, slowSubscribers } = this.source;
      const topic = quoted(encoder.name);
      encoder.logger.warn(`Cannot read the history of topic ${topic}: ${describeError(error)}`);
      if (!this.ended) slowSubscribers.wait(this);
    };
    try {
      const reading = mapMaybe(
        this.source.history({ since: this.position, first: PAGE }),
        (history) => history.complete ? this.#put(history) : this.#tellGap(),
      );
      const done = mapMaybe(reading, () => {
        this.#reading = false;
      });
      if (done instanceof Promise) done.then(() => this.pump(), failed);
    } catch (error) {
      failed(error);
    }
  }

  /**
   * Goes on after a position, or begins anew if the broker does not reach back to it. While one server of
   * the store takes over from another, this process and the one that the peer comes from may ask different
   * servers. So what the store does not know is asked for again before it counts as lost.
   */
  #goOn(since: Position, tries = 0): MaybePromise<void> {
    return mapMaybe(this.source.history({ since, first: PAGE }), (history) => {
      const pauseMs = DOUBT_MS[tries];
      if (history.replaced && pauseMs !== undefined && !this.ended) {
        return this.#pause(pauseMs)
          .then(() => this.ended ? undefined : this.#goOn(since, tries + 1));
      }
      if (history.replaced) return mapMaybe(this.#lose(), () => this.#doubt(since));
      if (!history.complete) return this.#lose();
      this.position = since;
      this.#put(history);
    });
  }

  /** Sends the newest events once more, for a handler that joins late, and then goes on. */
  #repeat(reached: Position, last: number): MaybePromise<void> {
    return mapMaybe(this.source.newest(last), (newest) => {
      const { replayedTo } = this.#start;
      // Another handler still waits for older events than these.
      const isEarlier = replayedTo !== undefined && includes(newest.from, replayedTo);
      const from = isEarlier ? replayedTo : newest.from;
      // The connection is behind all of these events, or the topic has begun anew.
      if (!includes(reached, from)) return this.#goOn(reached);
      if (!isEarlier) return this.#beginWith({ ...newest, until: reached });
      this.#retainedUpTo = reached;
      return this.#goOn(from);
    });
  }

  /** Puts what was read in front of what has arrived meanwhile. */
  #put({ events, position, reached }: BrokerHistory): void {
    if (events.length === 0) this.position = reached;
    this.prepend(events.map((event) => this.#event(event)));
    if (includes(reached, position)) {
      if (!this.#behind) this.#missed = 0;
      return;
    }
    // The broker may have more: what has arrived meanwhile is read in its turn.
    this.#missed += (this.queue as TopicEvent[]).length - events.length;
    this.queue?.splice(events.length);
    this.#behind = true;
  }

  /** Tells the peer that events are lost, and goes on as a new subscriber does. */
  #tellGap(): MaybePromise<void> {
    return mapMaybe(this.source.newest(0), ({ from, until, events }) => {
      const { encoder, slowSubscribers } = this.source;
      const held = events.length === 0 ? this.queue?.[0] : undefined;
      const gap = new TopicEvent(
        encoder,
        held === undefined ? from : before(held.position),
        undefined,
      );
      this.#retainedUpTo = until;
      this.prepend([gap, ...this.#eventsOf(events)]);
      // At least one event is lost; how many were lost elsewhere is not known.
      slowSubscribers.drop(
        this.connection,
        encoder.name,
        Math.max(1, this.#missed - events.length),
      );
      if (!this.#behind) this.#missed = 0;
    });
  }

  /** Notes which event the peer had last, although the broker does not know it. */
  #doubt(had: Position): void {
    this.#had = had;
    this.#isDoubtful = true;
    if (this.queue?.some((event) => this.#mayBeHad(event))) this.#askAgain();
  }

  #mayBeHad({ isGap, isRetained, position }: TopicEvent): boolean {
    return !isGap && !isRetained && includes(this.#had as Position, position);
  }

  /** Asks whether the broker knows the event now that the peer had last; if so, goes on after it. */
  #askAgain(): void {
    const had = this.#had as Position;
    this.#isDoubtful = false;
    this.#reading = true;
    this.queue ??= [];
    const done = (history?: BrokerHistory): void => {
      this.#reading = false;
      if (history?.complete && !this.ended) {
        this.queue = this.queue?.slice(this.#next);
        this.#next = 0;
        this.position = had;
        this.#put(history);
      }
      this.pump();
    };
    Promise.resolve(this.source.history({ since: had, first: PAGE })).then(done, () => done());
  }

  #pause(ms: number): Promise<void> {
    return new Promise((resume) => this.#pausing = { resume, timer: setTimeout(resume, ms) });
  }

  /** Whether the peer had this event before the broker lost it. */
  #hasHad(event: TopicEvent): boolean {
    const { position } = event;
    const { epoch, id, offset } = this.#had as Position;
    if (position.epoch !== epoch || position.offset > offset) {
      this.#had = undefined;
      this.#isDoubtful = false;
      return false;
    }
    return this.#mayBeHad(event) && position.offset === offset && position.id === id;
  }

  #lose(): MaybePromise<void> {
    this.recovered = false;
    this.source.counts.gaps++;
    return this.#begin();
  }

  #begin(): MaybePromise<void> {
    return mapMaybe(this.source.newest(this.#start.last), (newest) => this.#beginWith(newest));
  }

  #beginWith({ from, until, events }: Newest): void {
    this.#retainedUpTo = until;
    this.#stand(from, events);
  }

  #stand(position: Position, events: readonly BrokerEvent[] = []): void {
    this.position = position;
    const last = events.at(-1);
    if (last !== undefined) this.ageMs = Math.max(0, Date.now() - last.at);
    this.prepend(this.#eventsOf(events));
  }

  #eventsOf(events: readonly BrokerEvent[]): TopicEvent[] {
    return events.filter(({ position }) => !includes(this.position, position))
      .map((event) => this.#event(event));
  }

  #event(event: BrokerEvent): TopicEvent {
    const upTo = this.#retainedUpTo;
    const retained = upTo !== undefined && includes(upTo, event.position);
    return TopicEvent.of(this.source.encoder, event, retained);
  }
}

function positionBytes(since: Since): number {
  return since === undefined || since === "lost" ? 0 : 2 * positionText(since).length;
}

// An estimate of what it makes a server keep beside its position.
const SUBSCRIBER_BYTES = 640;
// How many events of a history are read at once.
const PAGE = 128;
// How long to wait before a broker that has failed is asked again.
const RETRY_MS = 1000;
// How long to wait, each time, before a broker is asked again for an event that it does not know.
const DOUBT_MS = [250, 750, 2_000] as const;
