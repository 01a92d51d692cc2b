/**
 * One tab, as the shared worker sees it: a session whose calls go to the server over the shared connection.
 *
 * @module
 */

import { CHANNEL, DISPATCHER, OPEN, PENDING, SEND } from "../core/internal.ts";
import type { Outgoing } from "../core/channel.ts";
import { Dispatcher } from "../core/dispatcher.ts";
import type { Method } from "../core/dispatcher.ts";
import { PendingCalls } from "../core/pending_calls.ts";
import type { IncomingRequest } from "../core/request.ts";
import { RpcSession } from "../core/session.ts";
import type { SessionLimits } from "../protocol/limits.ts";
import type { Logger } from "../util/logger.ts";
import { OneShotTimer } from "../util/timer.ts";
import type { TabPort } from "./tab_port.ts";

/** What a tab needs of the shared connection. */
export interface TabHost {
  readonly limits: SessionLimits;
  readonly logger: Logger;
  /** Finds what answers a call of the tab. */
  find(tab: Tab, name: string): Method;
  /** Called once, when the tab is gone. */
  ended(tab: Tab): void;
}

/** The session of one tab. */
export class Tab extends RpcSession {
  protected override readonly [DISPATCHER]: TabDispatcher;
  protected override readonly [PENDING]: PendingCalls;
  readonly #ended: () => void;
  readonly #unreadTimer = new OneShotTimer();
  #isLate = false;
  /** The topics that it is subscribed to. */
  readonly topics: Set<string> = new Set();
  /** When the user was last seen to use it: a number that grows. */
  activeAt = 0;

  /**
   * @param host The shared connection.
   * @param port The port to the tab.
   */
  constructor(host: TabHost, port: TabPort) {
    const { limits, logger } = host;
    const find = (name: string): Method => host.find(this, name);
    super({ limits, logger, find }, {
      url: "a tab",
      headers: new Headers(),
      remoteAddress: undefined,
      user: null,
    });
    this.#ended = () => host.ended(this);
    this[PENDING] = new PendingCalls({
      limits,
      logger,
      cancel: (id) => this.notify("$/cancelRequest", { id }),
    });
    this[DISPATCHER] = new TabDispatcher({ limits, logger, find }, this, () => this[PENDING]);
    this[OPEN](port);
    port.maxUnread = limits.maxBufferedBytes;
    port.receiver = this;
  }

  /** Notes a sign of life. */
  markAlive(): void {}

  override [SEND](message: Outgoing): void {
    if (!this.isOpen) return;
    this[CHANNEL].send(message);
    this.#checkUnread();
  }

  /** Answers a call before anything else is sent to the tab. */
  answerNow(request: IncomingRequest, result: unknown): void {
    this[DISPATCHER].answerNow(request, result);
  }

  /** Ends the session of a tab that leaves too much unread, such as one that the browser has frozen. */
  #checkUnread(): void {
    const { maxBufferedBytes } = this[DISPATCHER].limits;
    const unread = this.bufferedAmount;
    if (unread > MOST_UNREAD * maxBufferedBytes) return this.#endUnread(maxBufferedBytes);
    if (unread <= maxBufferedBytes || this.#isLate) return;
    this.#isLate = true;
    this.#unreadTimer.setDeadline(UNREAD_MS, () => {
      this.#isLate = false;
      if (this.bufferedAmount >= unread) this.#endUnread(maxBufferedBytes);
      else this.#checkUnread();
    });
  }

  #endUnread(maxBytes: number): void {
    this.close(1013, `Over ${maxBytes} bytes unread (maxBufferedBytes)`);
  }

  protected override ended(): void {
    super.ended();
    this.#unreadTimer.clear();
    this.#ended();
  }
}

/** Runs the messages of a tab. */
class TabDispatcher extends Dispatcher {
  get limits(): SessionLimits {
    return this.host.limits;
  }

  /**
   * Answers a call whose handler has returned a promise, without waiting for that promise: what the server sends
   * after its answer must reach the tab after it too.
   */
  answerNow(request: IncomingRequest, result: unknown): void {
    if (!this.finished(request)) return;
    // The promise counts down once more.
    this.inFlight++;
    this.succeed(request, result);
  }
}

// How long a tab may leave too much unread, without reading any of it.
const UNREAD_MS = 10_000;
// How many times maxBufferedBytes may be unread for that long: a long history is sent in one turn.
const MOST_UNREAD = 16;
