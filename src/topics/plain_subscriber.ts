/**
 * A subscriber whose events are plain notifications. An event that it misses is not sent again.
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

/** Sends each event as a notification whose method is the topic. */
export class PlainSubscriber extends Subscriber {
  override readonly recovers = false;
  readonly #isNew: boolean;
  readonly #last: number;
  // How many events at the front of the queue are kept ones.
  #kept = 0;
  #heldLength = 0;

  /**
   * @param connection The connection that the events go to.
   * @param source The topic.
   * @param begun Whether the subscription existed before, so that it gets no retained event.
   * @param last How many kept events it asks for.
   */
  constructor(
    connection: SubscriberConnection,
    source: SubscriberSource,
    begun: boolean,
    last = 0,
  ) {
    super(connection, source, begun);
    this.#isNew = !begun;
    this.#last = last;
  }

  override load(): MaybePromise<void> {
    if (!this.#isNew && this.#last === 0) return;
    return mapMaybe(this.source.newest(this.#last), ({ events }) => {
      const last = events.at(-1);
      if (last === undefined) return;
      this.ageMs = Math.max(0, Date.now() - last.at);
      this.prepend(events.map((event) => TopicEvent.of(this.source.encoder, event)));
      this.#kept = events.length;
      this.#count();
    });
  }

  override pump(): void {
    if (this.joining || this.ended || this.queue === undefined) return;
    const { slowConsumer, slowSubscribers } = this.source;
    while (this.queue.length > 0) {
      // Kept events wait for a slow peer under every policy: all at once they could close the connection.
      const mayWait = slowConsumer !== "close" || this.#kept > 0;
      if (mayWait && slowSubscribers.isSlow(this.connection)) return slowSubscribers.wait(this);
      const event = this.queue.shift() as TopicEvent;
      this.#kept = Math.max(0, this.#kept - 1);
      this.#count();
      this.send(event);
    }
    if (!this.ended) this.passOn();
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
    if (excess <= 0 && queue.length - this.#kept <= this.capacity) return;
    // The policy "close" drops nothing: it sends on, and closes the connection if too much is unread.
    if (slowConsumer === "close" && !this.joining) return this.#sendAll();
    // Drop no more than the new event needs: other topics hold the rest of the excess.
    const count = slowConsumer === "drop-newest"
      ? -1
      : oldest(queue, Math.min(excess, event.length));
    this.#drop(count < 0 ? queue.splice(count) : queue.splice(0, count));
  }

  #sendAll(): void {
    this.#kept = 0;
    this.pump();
  }

  #drop(events: readonly TopicEvent[]): void {
    const { slowSubscribers, encoder } = this.source;
    if (this.source.slowConsumer !== "drop-newest") {
      this.#kept = Math.max(0, this.#kept - events.length);
    }
    this.#count();
    slowSubscribers.drop(this.connection, encoder.name, events.length);
  }

  /** Counts the length of what is held; returns by how much the connection is over the limit. */
  #count(): number {
    // Kept events do not count, so that they push no event of another topic out.
    const held = (this.queue ?? []).slice(this.#kept);
    const length = held.reduce((sum, each) => sum + each.length, 0);
    const more = length - this.#heldLength;
    this.#heldLength = length;
    return this.source.slowSubscribers.hold(this.connection, more);
  }
}

/** Counts how many of the oldest events have a total length of at least `length`; at least one. */
function oldest(queue: readonly TopicEvent[], length: number): number {
  let count = 0;
  for (let freed = 0; count === 0 || (freed < length && count < queue.length); count++) {
    freed += (queue[count] as TopicEvent).length;
  }
  return count;
}
