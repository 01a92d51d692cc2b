/**
 * A subscriber that hears what comes, and gets no second chance.
 *
 * @module
 */

import type { SubscriberConnection } from "../core/connection.ts";
import { SEND } from "../core/internal.ts";
import { Subscriber } from "./subscriber.ts";
import type { SubscriberSource } from "./subscriber.ts";
import { mapMaybe } from "../util/maybe_promise.ts";
import type { MaybePromise } from "../util/maybe_promise.ts";
import { TopicEvent } from "./event.ts";

/** Hears events as notifications whose method is the topic. */
export class PlainSubscriber extends Subscriber {
  override readonly recovers = false;
  readonly #isNew: boolean;
  #length = 0;

  /** @param newcomer Whether it gets the last event. */
  constructor(connection: SubscriberConnection, source: SubscriberSource, newcomer: boolean) {
    super(connection, source);
    this.#isNew = newcomer;
  }

  override load(): MaybePromise<void> {
    if (!this.#isNew) return;
    return mapMaybe(this.source.newest(), ({ last }) => {
      if (last === undefined) return;
      this.ageMs = Math.max(0, Date.now() - last.at);
      const event = TopicEvent.of(this.source.encoder, last);
      this.putFirst([event]);
      this.#count();
    });
  }

  override pump(): void {
    if (this.joining || this.ended || this.queue === undefined) return;
    const { slowConsumer, slowSubscribers } = this.source;
    while (this.queue.length > 0) {
      if (slowConsumer !== "close" && slowSubscribers.isSlow(this.connection)) {
        return slowSubscribers.wait(this);
      }
      const event = this.queue.shift() as TopicEvent;
      this.#count();
      this.send(event);
    }
    if (!this.ended) this.settle();
  }

  override end(): void {
    super.end();
    this.queue = [];
    this.#count();
  }

  protected override send(event: TopicEvent): void {
    this.position = event.position;
    const text = event.plain();
    if (text !== undefined) this.connection[SEND](text);
  }

  protected override hold(event: TopicEvent): void {
    const { slowConsumer } = this.source;
    const queue = this.queue as TopicEvent[];
    if (slowConsumer === "latest") this.#drop(queue.splice(0));
    queue.push(event);
    const excess = this.#count();
    if (excess <= 0 && queue.length <= this.room) return;
    // Of what others hold no more than the event itself takes.
    const count = slowConsumer === "drop-newest"
      ? -1
      : oldest(queue, Math.min(excess, event.length));
    this.#drop(count < 0 ? queue.splice(count) : queue.splice(0, count));
  }

  #drop(events: readonly TopicEvent[]): void {
    const { slowSubscribers, encoder } = this.source;
    this.#count();
    slowSubscribers.drop(this.connection, encoder.name, events.length);
  }

  /** Counts what is held back; answers by how much the connection has too much of it. */
  #count(): number {
    const length = (this.queue ?? []).reduce((sum, each) => sum + each.length, 0);
    const more = length - this.#length;
    this.#length = length;
    return this.source.slowSubscribers.hold(this.connection, more);
  }
}

/** How many of the oldest events have this length together: one at least. */
function oldest(queue: readonly TopicEvent[], length: number): number {
  let count = 0;
  for (let room = 0; count === 0 || (room < length && count < queue.length); count++) {
    room += (queue[count] as TopicEvent).length;
  }
  return count;
}
