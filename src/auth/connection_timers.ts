/**
 * Timers that belong to connections.
 *
 * @module
 */

import type { Connection } from "../core/connection.ts";
import { MAX_TIMER_MS, unref } from "../util/timer.ts";
import type { Timer } from "../util/timer.ts";

/** At most one timer for each connection. The timers do not keep the process alive. */
export class ConnectionTimers {
  readonly #timers = new Map<Connection, Timer>();

  /**
   * Sets the timer of a connection, in place of the one that was set before. Does nothing if the
   * connection has ended.
   *
   * @param connection The connection.
   * @param at When to call back, in milliseconds of the epoch, however far away; `Infinity` for never.
   * @param callback Called at that time or later, never before `set` returns.
   */
  set(connection: Connection, at: number, callback: () => void): void {
    this.clear(connection);
    if (!connection.isOpen || at === Infinity) return;
    const fire = (): void => {
      this.#timers.delete(connection);
      // The time has not come yet if it was further away than a timer can wait, or if the clock was
      // set back.
      if (Date.now() < at) this.set(connection, at, callback);
      else callback();
    };
    const delayMs = Math.min(Math.max(at - Date.now(), 0), MAX_TIMER_MS);
    this.#timers.set(connection, unref(setTimeout(fire, delayMs)));
  }

  /**
   * Removes the timer of a connection. Call it when the connection has ended.
   *
   * @param connection The connection.
   */
  clear(connection: Connection): void {
    clearTimeout(this.#timers.get(connection));
    this.#timers.delete(connection);
  }
}
