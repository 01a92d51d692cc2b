/**
 * One alarm for each connection, at most; it is gone with the connection.
 *
 * @module
 */

import type { Connection } from "../core/connection.ts";
import { MAX_TIMER_MS, unref } from "../util/timer.ts";
import type { Timer } from "../util/timer.ts";

/** Alarms by connection. */
export class ConnectionTimers {
  readonly #timers = new Map<Connection, Timer>();

  /**
   * Rings at a point in time, in place of any earlier alarm of the connection; never before this
   * returns, and never once the connection has ended.
   *
   * @param at Milliseconds of the epoch, however far away; `Infinity` is never.
   */
  set(connection: Connection, at: number, ring: () => void): void {
    this.clear(connection);
    if (!connection.isOpen || at === Infinity) return;
    const tick = (): void => {
      this.#timers.delete(connection);
      // Too early: a far alarm, or a clock that was set back.
      if (Date.now() < at) this.set(connection, at, ring);
      else ring();
    };
    const wait = Math.min(Math.max(at - Date.now(), 0), MAX_TIMER_MS);
    this.#timers.set(connection, unref(setTimeout(tick, wait)));
  }

  /** Takes the alarm of a connection away. To be called when the connection has ended. */
  clear(connection: Connection): void {
    clearTimeout(this.#timers.get(connection));
    this.#timers.delete(connection);
  }
}
