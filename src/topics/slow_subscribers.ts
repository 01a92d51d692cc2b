/**
 * Events that wait for a peer to read again, and those that were not kept for it.
 *
 * @module
 */

import type { Connection } from "../core/request.ts";
import { countDropped } from "../server/guest.ts";
import { quiet } from "../util/timer.ts";
import type { Timer } from "../util/timer.ts";

/** Something that has more to send, once its peer reads. */
export interface Waiting {
  /** Sends what the peer takes; ends its wait by itself when nothing is left. Does not throw. */
  pump(): void;
}

/** Is told of events that a connection does not get. */
export type DroppedHook = (connection: Connection, topic: string, count: number) => void;

/** What waits, for all topics and connections of one server. */
export class Backlog {
  /** Bytes unread by a peer from which on events are held back. */
  readonly mark: number;
  readonly #onDropped: DroppedHook;
  readonly #waiting = new Set<Waiting>();
  readonly #held = new WeakMap<Connection, number>();
  #timer: Timer | undefined;

  /**
   * @param maxBufferedBytes What a peer may leave unread.
   * @param onDropped Is told what was dropped.
   */
  constructor(maxBufferedBytes: number, onDropped: DroppedHook) {
    this.mark = Math.ceil(maxBufferedBytes / 2);
    this.#onDropped = onDropped;
  }

  /** Whether a peer leaves so much unread that its events wait. */
  isSlow(connection: Connection): boolean {
    return connection.bufferedAmount >= this.mark;
  }

  /** Calls `pump` from time to time. No runtime tells of all its sockets when they drain. */
  wait(member: Waiting): void {
    this.#waiting.add(member);
    this.#timer ??= quiet(setInterval(() => this.#pump(), POLL_MS));
  }

  /** Ends the wait of a member, which may not have waited. */
  done(member: Waiting): void {
    if (!this.#waiting.delete(member) || this.#waiting.size > 0) return;
    clearInterval(this.#timer);
    this.#timer = undefined;
  }

  /** Notes how much is held back for a connection; answers by how much that is too much. */
  hold(connection: Connection, length: number): number {
    const held = (this.#held.get(connection) ?? 0) + length;
    this.#held.set(connection, held);
    return held - this.mark;
  }

  /** Notes that a connection does not get some events. */
  drop(connection: Connection, topic: string, count: number): void {
    if (count === 0) return;
    countDropped(connection, count);
    this.#onDropped(connection, topic, count);
  }

  #pump(): void {
    for (const member of this.#waiting) member.pump();
  }
}

const POLL_MS = 50;
