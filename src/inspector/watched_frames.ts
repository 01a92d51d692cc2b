/**
 * The frames of all connections of a server, for those who watch them in the inspector.
 *
 * @module
 */

import type { Channel, Receiver } from "../core/channel.ts";
import type { Connection } from "../core/connection.ts";
import { WireTrace } from "../core/wire_trace.ts";
import type { TraceFrame } from "../core/wire_trace.ts";

/** The method that begins and ends watching, and the notification with the frames. */
export const FRAMES = "rpc.frames";

interface Watcher {
  /** What was not sent yet. */
  waiting: TraceFrame[];
  /** How many frames were left out since the last notification. */
  lost: number;
}

/** Traces a server while somebody watches. Its own notifications, and the frames of those who watch, are left out. */
export class WatchedFrames extends WireTrace {
  readonly #watchers = new Map<object, Watcher>();
  readonly #numbers = new WeakMap<object, number>();
  readonly #quiet = new Set<number>();
  #isPlanned = false;

  constructor() {
    super((frame) => this.#add(frame), false);
  }

  override open(channel: Channel, opened: (channel: Channel) => Receiver): Receiver {
    return super.open(channel, (traced) => {
      const receiver = opened(traced);
      // Without a dialect, the receiver is the connection that handlers see.
      this.#numbers.set(receiver, this.connections);
      return receiver;
    });
  }

  override frame(direction: TraceFrame["direction"], connection: number, text: string): void {
    // While nobody watches, no text is read.
    if (this.#watchers.size === 0 || this.#quiet.has(connection)) return;
    if (direction === "out" && text.startsWith(OWN)) return;
    super.frame(direction, connection, text);
  }

  /**
   * Lets a connection watch, or no more.
   *
   * @param connection The connection.
   * @param on Whether it watches.
   */
  watch(connection: Connection, on: boolean): void {
    const number = this.#numbers.get(connection);
    if (on && !this.#watchers.has(connection)) {
      this.#watchers.set(connection, { waiting: [], lost: 0 });
      connection.logger.warn("inspector: a client watches the frames of all connections");
    }
    if (!on) this.#watchers.delete(connection);
    if (number !== undefined) this.#quiet[on ? "add" : "delete"](number);
  }

  #add(frame: TraceFrame): void {
    const text = frame.text.length > MAX_TEXT ? `${frame.text.slice(0, MAX_TEXT)}…` : frame.text;
    for (const watcher of this.#watchers.values()) {
      watcher.waiting.push({ ...frame, text });
      if (watcher.waiting.length <= MAX_WAITING) continue;
      watcher.waiting.shift();
      watcher.lost++;
    }
    if (this.#isPlanned) return;
    this.#isPlanned = true;
    setTimeout(() => this.#send(), SEND_MS);
  }

  #send(): void {
    this.#isPlanned = false;
    for (const [watcher, state] of this.#watchers) {
      const connection = watcher as Connection;
      const { waiting: frames, lost } = state;
      if (frames.length === 0) continue;
      state.waiting = [];
      // A watcher that reads too slowly loses frames, rather than memory of the server.
      if (connection.bufferedAmount > MAX_UNREAD) state.lost += frames.length;
      else {
        state.lost = 0;
        connection.notify(FRAMES, { frames, lost });
      }
    }
  }
}

const OWN = `{"jsonrpc":"2.0","method":"${FRAMES}"`;
const SEND_MS = 50;
const MAX_WAITING = 1000;
const MAX_TEXT = 4096;
const MAX_UNREAD = 1024 * 1024;
