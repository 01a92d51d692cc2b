/**
 * A subscriber that loses nothing: what it did not get is read again, and what cannot be read is
 * told as a gap.
 *
 * @module
 */

import { describeError, quoted } from "../protocol/errors.ts";
import type { SubscriberConnection } from "../core/connection.ts";
import { SEND } from "../core/internal.ts";
import type { BrokerEvent, BrokerHistory, Position } from "../brokers/broker.ts";
import { before, includes, Subscriber } from "./subscriber.ts";
import type { Newest, SubscriberSource } from "./subscriber.ts";
import { mapMaybe } from "../util/maybe_promise.ts";
import type { MaybePromise } from "../util/maybe_promise.ts";
import { TopicEvent } from "./event.ts";

/** From where a subscriber wants to go on: a position, or `"lost"` where it named one that is none. */
export type Since = Position | "lost" | undefined;

/** Hears events as `rpc.message`, each with its position. */
export class RecoveringSubscriber extends Subscriber {
  override readonly recovers = true;
  /** Whether nothing was lost before what follows. */
  recovered = true;
  readonly #since: Since;
  readonly #isNew: boolean;
  // Whether there is more than the queue holds: it is read when the queue is empty.
  #behind = false;
  #reading = false;
  // Events that were not held: they are read again, or lost.
  #missed = 0;
  // Of what was held while it joined.
  #heldLength = 0;
  #next = 0;
  #retryAt = 0;

  /** @param newcomer Whether it gets the last event, where it recovers from nowhere. */
  constructor(
    connection: SubscriberConnection,
    source: SubscriberSource,
    since: Since,
    newcomer: boolean,
  ) {
    super(connection, source);
    this.#since = since;
    this.#isNew = newcomer;
  }

  override load(): MaybePromise<void> {
    const since = this.#since;
    if (since === undefined) {
      return this.#isNew ? this.#begin() : this.#stand(this.source.position);
    }
    if (since === "lost") return this.#lose();
    return mapMaybe(this.source.history({ since, first: PAGE }), (history) => {
      if (!history.complete) return this.#lose();
      this.position = since;
      this.#put(history);
    });
  }

  override pump(): void {
    while (!this.joining && !this.ended && !this.#reading && this.queue !== undefined) {
      if (!this.#sendQueue()) return this.source.slowSubscribers.wait(this);
      if (this.ended) return;
      if (!this.#behind) return this.settle();
      if (Date.now() < this.#retryAt) return this.source.slowSubscribers.wait(this);
      this.#readOn();
    }
  }

  protected override send(event: TopicEvent): void {
    this.position = event.position;
    this.connection[SEND](event.recovering());
  }

  protected override hold(event: TopicEvent): void {
    const queue = this.queue as TopicEvent[];
    if (this.joining) this.#heldLength += event.length;
    const tooLong = this.joining && this.#heldLength > this.source.slowSubscribers.highWaterMark;
    if (!this.#behind && !tooLong && queue.length - this.#next < this.room) queue.push(event);
    else {
      this.#behind = true;
      this.#missed++;
    }
  }

  /** Sends what waits, as long as the peer reads; answers whether all of it has gone. */
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

  /** Reads what it was too far behind to be given. */
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

  /** Puts what was read in front of what came meanwhile. */
  #put({ events }: BrokerHistory): void {
    const { encoder } = this.source;
    this.putFirst(events.map((event) => TopicEvent.of(encoder, event)));
    if (events.length < PAGE) {
      if (!this.#behind) this.#missed = 0;
      return;
    }
    // There may be more: what came meanwhile is read in its turn.
    this.#missed += (this.queue as TopicEvent[]).length - events.length;
    this.queue?.splice(events.length);
    this.#behind = true;
  }

  /** Tells that events are lost, and goes on as a newcomer does. */
  #tellGap(): MaybePromise<void> {
    return mapMaybe(this.source.newest(), ({ from, last }) => {
      const { encoder, slowSubscribers } = this.source;
      const held = last === undefined ? this.queue?.[0] : undefined;
      const gap = new TopicEvent(
        encoder,
        held === undefined ? from : before(held.position),
        undefined,
      );
      this.putFirst([gap, ...this.#eventsOf(last)]);
      // One at least: nobody can tell how many were lost elsewhere.
      slowSubscribers.drop(
        this.connection,
        encoder.name,
        Math.max(1, this.#missed - (last ? 1 : 0)),
      );
      if (!this.#behind) this.#missed = 0;
    });
  }

  #lose(): MaybePromise<void> {
    this.recovered = false;
    return this.#begin();
  }

  #begin(): MaybePromise<void> {
    return mapMaybe(this.source.newest(), (newest) => this.#stand(newest.from, newest));
  }

  #stand(position: Position, newest?: Newest): void {
    this.position = position;
    const last = newest?.last;
    if (last !== undefined) this.ageMs = Math.max(0, Date.now() - last.at);
    this.putFirst(this.#eventsOf(last));
  }

  #eventsOf(last: BrokerEvent | undefined): TopicEvent[] {
    return last === undefined || includes(this.position, last.position)
      ? []
      : [TopicEvent.of(this.source.encoder, last)];
  }
}

/** How many events of a history are read at once. */
const PAGE = 128;
// How long to leave an engine alone that did not answer.
const RETRY_MS = 1000;
