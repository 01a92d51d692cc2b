/**
 * Follows one topic of an engine whose live delivery may lose events: in order, each once, and honest
 * about what is lost.
 *
 * @module
 */

import { unref } from "../../util/timer.ts";
import type { Timer } from "../../util/timer.ts";
import type { BrokerEvent, BrokerHistory, BrokerSink, HistoryQuery, Position } from "../broker.ts";

/** What an engine brings as it happens. */
export interface LiveEvent {
  /** Where it stands. */
  readonly position: Position;
  /**
   * The offset of what stood before it in its topic; `undefined` where the engine has nothing left of
   * that.
   */
  readonly previous: number | undefined;
  /** What it brings; `undefined` for what only takes up a position. */
  readonly event: BrokerEvent | undefined;
}

/** Reads history. Does not reject while the reader is needed. */
export type ReadHistory = (query: HistoryQuery) => Promise<BrokerHistory>;

// What may wait while history is read. Past it the rest is read from there as well.
const MAX_WAITING = 1_000;
const MAX_WAITING_LENGTH = 8 * 1024 * 1024;
// How much history is in memory at the same time.
const PAGE = 1_000;
// How long what has its place in the topic may be on its way here.
const WAY_MS = 1_000;

/** One sink's place in its topic. */
export class TopicReader {
  readonly #sink: BrokerSink;
  readonly #read: ReadHistory;
  #at: Position | undefined;
  // While history is read, and until there is a position: what comes waits.
  #filling = true;
  #again = false;
  #ended = false;
  // Whether a hole was seen: else what history does not have may still come by itself.
  #missing = false;
  #awaited: { readonly position: Position; readonly timer: Timer } | undefined;
  #waiting: LiveEvent[] = [];
  #waitingLength = 0;

  /**
   * @param sink Where the events go.
   * @param read Fills holes.
   */
  constructor(sink: BrokerSink, read: ReadHistory) {
    this.#sink = sink;
    this.#read = read;
  }

  /** Says where the topic stood. What has come since waits a moment: the sink is to know it first. */
  begin(position: Position): void {
    this.#at = position;
    setTimeout(() => this.#settle(), 0);
  }

  /** Takes what the engine brings. */
  take(live: LiveEvent): void {
    if (this.#ended) return;
    if (this.#filling) this.#keep(live);
    else if (!this.#advance(live)) this.#fillHole();
  }

  /** Catches up with the engine: it may have been out of reach. */
  check(): void {
    if (this.#ended) return;
    if (this.#filling) this.#again = true;
    else void this.#fill();
  }

  /** Nothing reaches the sink from now on. */
  end(): void {
    this.#ended = true;
    this.#forget();
    this.#stopAwaiting();
  }

  #keep(live: LiveEvent): void {
    this.#waiting.push(live);
    this.#waitingLength += live.event?.data.length ?? 0;
    if (this.#waiting.length <= MAX_WAITING && this.#waitingLength <= MAX_WAITING_LENGTH) return;
    this.#forget();
    this.#again = true;
    this.#missing = true;
  }

  #forget(): void {
    this.#waiting = [];
    this.#waitingLength = 0;
  }

  /** Whether an event was the next one, or came before: else something is missing. */
  #advance({ position, previous, event }: LiveEvent): boolean {
    const at = this.#at as Position;
    if (position.epoch !== at.epoch) return false;
    if (position.offset <= at.offset) return true;
    if (previous !== undefined && previous !== at.offset) {
      if (!this.#isAwaited({ epoch: at.epoch, offset: previous })) return false;
      // It comes right behind what was awaited, and that has not come.
      this.#lose({ epoch: at.epoch, offset: previous });
      if (this.#ended) return true;
    }
    this.#at = position;
    if (event !== undefined) this.#sink.event(event);
    return true;
  }

  #fillHole(): void {
    this.#missing = true;
    void this.#fill();
  }

  async #fill(): Promise<void> {
    const missing = this.#missing;
    this.#missing = false;
    this.#filling = true;
    this.#again = false;
    let history: BrokerHistory;
    try {
      history = await this.#read({ since: this.#at as Position, first: PAGE });
    } catch {
      return; // nobody needs it any more
    }
    if (this.#ended) return;
    if (missing || !this.#mayCome(history)) this.#take(history);
    this.#settle();
  }

  /** Whether what is missing from history may be on its way; looks again later. */
  #mayCome({ complete, position }: BrokerHistory): boolean {
    const { epoch, offset } = this.#at as Position;
    if (complete || position.epoch !== epoch || position.offset <= offset) return false;
    this.#stopAwaiting(); // what is awaited now comes later
    this.#awaited = { position, timer: unref(setTimeout(() => this.#late(), WAY_MS)) };
    return true;
  }

  /** Whether something up to there is awaited, and has not come yet. */
  #isAwaited({ epoch, offset }: Position): boolean {
    const { position } = this.#awaited ?? {};
    const at = this.#at as Position;
    return position?.epoch === epoch && position.offset === offset && offset > at.offset;
  }

  #late(): void {
    const { epoch, offset } = this.#awaited?.position as Position;
    this.#awaited = undefined;
    const at = this.#at as Position;
    if (at.epoch === epoch && at.offset >= offset) return;
    if (this.#filling) this.#again = this.#missing = true;
    else this.#fillHole();
  }

  #stopAwaiting(): void {
    clearTimeout(this.#awaited?.timer);
    this.#awaited = undefined;
  }

  #take({ complete, events, position }: BrokerHistory): void {
    if (!complete) return this.#lose(position);
    const last = events[PAGE - 1]?.position;
    this.#at = last ?? position;
    if (last !== undefined) this.#again = true;
    for (const event of events) {
      if (!this.#ended) this.#sink.event(event);
    }
  }

  #lose(position: Position): void {
    this.#stopAwaiting();
    this.#at = position;
    this.#sink.gap(position);
  }

  /** Goes on with what has waited, and is live again where nothing is missing. */
  #settle(): void {
    const waiting = this.#waiting;
    this.#forget();
    for (const live of waiting) {
      if (this.#ended) return;
      if (!this.#advance(live)) {
        this.#again = this.#missing = true;
        break;
      }
    }
    if (this.#ended) return;
    if (this.#again) void this.#fill();
    else this.#filling = false;
  }
}
