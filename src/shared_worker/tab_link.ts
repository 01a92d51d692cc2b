/**
 * The shared worker's end of one tab's port: it waits for the tab, opens its session, and notices when the tab is
 * gone without a word.
 *
 * @module
 */

import type { Port } from "../transports/port_events.ts";
import { unref } from "../util/timer.ts";
import type { Timer } from "../util/timer.ts";
import { ownLocks, watchLock } from "./locks.ts";
import type { Tab } from "./tab.ts";
import { TabPort } from "./tab_port.ts";
import type { Signal } from "./tab_port.ts";

/** What a link reports. */
export interface TabLinkEvents {
  /** The tab wants a session. */
  ready(): void;
  /** The user looks at the tab. */
  active(tab: Tab): void;
  /** The port has ended. */
  ended(): void;
}

/** The end of one tab's port. */
export class TabLink {
  readonly #port: TabPort;
  readonly #heartbeatMs: number;
  readonly #events: TabLinkEvents;
  #tab: Tab | undefined;
  #stopWatching: (() => void) | undefined;
  #timer: Timer | undefined;
  #heardAt = performance.now();
  #isGreeted = false;

  /**
   * @param port The port.
   * @param heartbeatMs Milliseconds between signs of life, if there are no locks.
   * @param events Where it reports.
   */
  constructor(port: Port, heartbeatMs: number, events: TabLinkEvents) {
    this.#heartbeatMs = heartbeatMs;
    this.#events = events;
    this.#port = new TabPort(port, {
      signal: (signal) => this.#take(signal),
      ended: () => this.#ended(),
    });
  }

  /**
   * Opens the session of the tab.
   *
   * @param make Makes the session.
   * @param lock The name of the lock that this worker holds.
   * @returns The session.
   */
  open(make: (port: TabPort) => Tab, lock: string | undefined): Tab {
    this.#port.tell({ kind: "opened", lock });
    return this.#tab = make(this.#port);
  }

  /** Tells the tab that it gets no session. */
  refuse(code: number, reason: string): void {
    this.#port.close(code, reason);
  }

  #take(signal: Signal): void {
    this.#heardAt = performance.now();
    if (signal.kind === "hello") {
      // A second session on the same port would leave the first one open for ever.
      if (this.#isGreeted) return;
      this.#isGreeted = true;
      this.#watch(signal.lock);
      this.#events.ready();
    } else if (signal.kind === "active" && this.#tab !== undefined) {
      this.#events.active(this.#tab);
    }
  }

  #watch(lock: string | undefined): void {
    const locks = ownLocks();
    if (lock !== undefined && locks !== undefined) {
      this.#stopWatching = watchLock(locks, lock, () => this.#port.end(1006, "The tab is gone"));
    } else if (this.#heartbeatMs > 0) {
      this.#timer = unref(setInterval(() => this.#beat(), this.#heartbeatMs));
    }
  }

  #beat(): void {
    if (performance.now() - this.#heardAt < 3 * this.#heartbeatMs) return this.#port.ask();
    // A tab that was only frozen reads this once it goes on, and connects anew.
    this.#port.close(1006, "The tab gave no sign of life");
  }

  #ended(): void {
    this.#stopWatching?.();
    clearInterval(this.#timer);
    this.#events.ended();
  }
}
