/**
 * Events that wait for a peer to read again, and those that were not kept for it.
 *
 * @module
 */

import type { SubscriberConnection } from "../core/connection.ts";
import { COUNT_DROPPED } from "../core/internal.ts";
import { unref } from "../util/timer.ts";
import type { Timer } from "../util/timer.ts";

/** Something that has more to send, once its peer reads. */
export interface SlowSubscriber {
  /** Sends what the peer takes; ends its wait by itself when nothing is left. Does not throw. */
  pump(): void;
}

/** Is told of events that a connection does not get. */
export type DroppedHook = (connection: SubscriberConnection, topic: string, count: number) => void;

/** What waits, for all topics and connections of one server. */
export class SlowSubscribers {
  /** Bytes unread by a peer from which on events are held back. */
  readonly highWaterMark: number;
  readonly #onDropped: DroppedHook;
  readonly #waiting = new Set<SlowSubscriber>();
  readonly #held = new WeakMap<SubscriberConnection, number>();
  #timer: Timer | undefined;

  /**
   * @param maxBufferedBytes What a peer may leave unread.
   * @param onDropped Is told what was dropped.
   */
  constructor(maxBufferedBytes: number, onDropped: DroppedHook) {
    this.highWaterMark = Math.ceil(maxBufferedBytes / 2);
    this.#onDropped = onDropped;
  }

  /** Whether a peer leaves so much unread that its events wait. */
  isSlow(connection: SubscriberConnection): boolean {
    return connection.bufferedAmount >= this.highWaterMark;
  }

  /** Calls `pump` from time to time. No runtime tells of all its sockets when they drain. */
  wait(subscriber: SlowSubscriber): void {
    this.#waiting.add(subscriber);
    this.#timer ??= unref(setInterval(() => this.#pump(), POLL_MS));
  }

  /** Ends the wait of a subscriber, which may not have waited. */
  done(subscriber: SlowSubscriber): void {
    if (!this.#waiting.delete(subscriber) || this.#waiting.size > 0) return;
    clearInterval(this.#timer);
    this.#timer = undefined;
  }

  /** Notes how much is held back for a connection; answers by how much that is too much. */
  hold(connection: SubscriberConnection, length: number): number {
    const held = (this.#held.get(connection) ?? 0) + length;
    this.#held.set(connection, held);
    return held - this.highWaterMark;
  }

  /** Notes that a connection does not get some events. */
  drop(connection: SubscriberConnection, topic: string, count: number): void {
    if (count === 0) return;
    connection[COUNT_DROPPED](count);
    this.#onDropped(connection, topic, count);
  }

  #pump(): void {
    for (const subscriber of this.#waiting) subscriber.pump();
  }
}

const POLL_MS = 50;
