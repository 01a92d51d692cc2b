/**
 * A subscriber that hears what comes, and gets no second chance.
 *
 * @module
 */

import type { Connection } from "../request.ts";
import { Member } from "./member.ts";
import type { Source } from "./member.ts";
import { then } from "./soon.ts";
import type { Soon } from "./soon.ts";
import { TopicEvent } from "./topic_event.ts";

/** Hears events as notifications whose method is the topic. */
export class PlainMember extends Member {
  override readonly recovers = false;
  readonly #newcomer: boolean;
  #length = 0;

  /** @param newcomer Whether it gets the last event. */
  constructor(connection: Connection, source: Source, newcomer: boolean) {
    super(connection, source);
    this.#newcomer = newcomer;
  }

  override load(): Soon<void> {
    if (!this.#newcomer) return;
    return then(this.source.newest(), ({ last }) => {
      if (last === undefined) return;
      this.ageMs = Math.max(0, Date.now() - last.at);
      const event = TopicEvent.of(this.source.form, last);
      this.putFirst([event]);
      this.#count();
    });
  }

  override pump(): void {
    if (this.joining || this.ended || this.queue === undefined) return;
    const { slow, backlog } = this.source;
    while (this.queue.length > 0) {
      if (slow !== "close" && backlog.isSlow(this.connection)) return backlog.wait(this);
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
    if (text !== undefined) this.connection.send(text);
  }

  protected override hold(event: TopicEvent): void {
    const { slow } = this.source;
    const queue = this.queue as TopicEvent[];
    if (slow === "latest") this.#drop(queue.splice(0));
    queue.push(event);
    if (!this.#count() && queue.length <= this.room) return;
    this.#drop(slow === "drop-newest" ? queue.splice(-1) : queue.splice(0, 1));
  }

  #drop(events: readonly TopicEvent[]): void {
    const { backlog, form } = this.source;
    this.#count();
    backlog.drop(this.connection, form.name, events.length);
  }

  /** Counts what is held back; answers whether the connection has too much of it. */
  #count(): boolean {
    const length = (this.queue ?? []).reduce((sum, each) => sum + each.length, 0);
    const more = length - this.#length;
    this.#length = length;
    return this.source.backlog.hold(this.connection, more);
  }
}
