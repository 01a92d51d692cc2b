/**
 * Subscribers whose peers read too slowly: which of them wait, how much is held for each connection,
 * and how many events were dropped.
 *
 * @module
 */

import type { SubscriberConnection } from "../core/connection.ts";
import { COUNT_DROPPED } from "../core/internal.ts";
import { unref } from "../util/timer.ts";
import type { Timer } from "../util/timer.ts";

/** A subscriber that has more to send as soon as its peer reads. */
export interface SlowSubscriber {
  /** Sends as much as the peer takes; calls `done` when nothing is left. Does not throw. */
  pump(): void;
}

/** Called when events of a topic were dropped for a connection. */
export type DropHook = (connection: SubscriberConnection, topic: string, count: number) => void;

/** The slow subscribers of all topics of one server. */
export class SlowSubscribers {
  /** A connection with this many unread bytes is slow: its events are held back. */
  readonly highWaterMark: number;
  readonly #onDrop: DropHook;
  readonly #waiting = new Set<SlowSubscriber>();
  readonly #held = new WeakMap<SubscriberConnection, number>();
  #timer: Timer | undefined;

  /**
   * @param maxBufferedBytes Bytes that a peer may leave unread.
   * @param onDrop Called when events were dropped.
   */
  constructor(maxBufferedBytes: number, onDrop: DropHook) {
    this.highWaterMark = Math.ceil(maxBufferedBytes / 2);
    this.#onDrop = onDrop;
  }

  /** Tells whether a peer leaves so much unread that its events are held back. */
  isSlow(connection: SubscriberConnection): boolean {
    return connection.bufferedAmount >= this.highWaterMark;
  }

  /** Calls the subscriber's `pump` regularly. No runtime tells of all its sockets when they drain. */
  wait(subscriber: SlowSubscriber): void {
    this.#waiting.add(subscriber);
    this.#timer ??= unref(setInterval(() => this.#pump(), POLL_MS));
  }

  /** Stops calling the subscriber's `pump`. It need not be waiting. */
  done(subscriber: SlowSubscriber): void {
    if (!this.#waiting.delete(subscriber) || this.#waiting.size > 0) return;
    clearInterval(this.#timer);
    this.#timer = undefined;
  }

  /**
   * Adds to the length of the events that are held for a connection, over all its topics.
   *
   * @returns By how much the connection is over the limit; negative if it is below.
   */
  hold(connection: SubscriberConnection, length: number): number {
    const held = (this.#held.get(connection) ?? 0) + length;
    this.#held.set(connection, held);
    return held - this.highWaterMark;
  }

  /** Counts events that were dropped for a connection. */
  drop(connection: SubscriberConnection, topic: string, count: number): void {
    if (count === 0) return;
    connection[COUNT_DROPPED](count);
    this.#onDrop(connection, topic, count);
  }

  #pump(): void {
    // A copy, since a subscriber that waits again during the loop would be visited again.
    for (const subscriber of [...this.#waiting]) {
      if (this.#waiting.has(subscriber)) subscriber.pump();
    }
  }
}

const POLL_MS = 50;
