/**
 * Follows one topic of a store whose live delivery may lose events: delivers them in order, each
 * once, and reports what is lost.
 *
 * @module
 */

import { unref } from "../../util/timer.ts";
import type { Timer } from "../../util/timer.ts";
import type { BrokerEvent, BrokerHistory, BrokerSink, HistoryQuery, Position } from "../broker.ts";
import { RecentEvents } from "./recent_events.ts";

/** What a store delivers as it happens. */
export interface LiveEvent {
  /** Where it stands. */
  readonly position: Position;
  /**
   * The event before it in its topic; `undefined` if the store no longer has one. Stores that know
   * the offset only leave out the `id`.
   */
  readonly previous: { readonly offset: number; readonly id?: string } | undefined;
  /** The event; `undefined` for a message that only takes up a position. */
  readonly event: BrokerEvent | undefined;
}

/** Reads history. Does not reject while the reader is needed. */
export type ReadHistory = (query: HistoryQuery) => Promise<BrokerHistory>;

// How many live events may wait while history is read. The reader drops the older half of more, and reads
// that again. More than a busy topic gets in the time of a few reads, or the reader would never be live.
const MAX_WAITING = 10_000;
const MAX_WAITING_LENGTH = 8 * 1024 * 1024;
// How much history is in memory at the same time.
const PAGE = 1_000;
// How long an event that has its place in the topic may take to arrive here.
const ARRIVAL_MS = 1_000;
// How long the reader asks again before it believes a store that no longer has what it delivered: a
// server that lost its leadership a moment ago may have answered.
const DOUBT_MS = 3_000;
const ASK_AGAIN_MS = 250;
// For how long the last events before such a gap may come again: their publishers, which had no answer yet,
// send them again to a cluster that has lost them.
const COMES_AGAIN_MS = 30_000;

/** What to do with history: look whether it still has the last event, or deliver what follows it. */
type Work = "verify" | "read";

/** One sink's place in its topic. */
export class TopicReader {
  readonly #sink: BrokerSink;
  readonly #read: ReadHistory;
  #at: Position | undefined;
  // Set while history is read, and until there is a position: live events wait.
  #busy = true;
  #next: Work | undefined;
  #ended = false;
  // Whether live events prove a hole. If not, what history lacks may still arrive by itself.
  #missing = false;
  #awaited: { readonly position: Position; readonly timer: Timer } | undefined;
  #waiting: LiveEvent[] | undefined;
  #waitingLength = 0;
  readonly #recent: RecentEvents<TopicReader>;
  // The last events that were delivered before the store lost some of them.
  #lost: { readonly ids: Set<string>; readonly until: number } | undefined;

  /**
   * @param sink Where the events go.
   * @param read Reads history.
   * @param recent Shared by the readers of one broker.
   */
  constructor(
    sink: BrokerSink,
    read: ReadHistory,
    recent: RecentEvents<TopicReader> = new RecentEvents(),
  ) {
    this.#sink = sink;
    this.#read = read;
    this.#recent = recent;
  }

  /**
   * Starts at a position. Events that came since wait for the next turn, so that the
   * subscriber learns the position first.
   */
  begin(position: Position): void {
    this.#at = position;
    setTimeout(() => this.#settle(false), 0);
  }

  /** Takes what the store delivers. */
  take(live: LiveEvent): void {
    if (this.#ended) return;
    if (this.#busy) this.#hold(live);
    else if (!this.#advance(live)) this.#fillHole();
    else if (this.#isOld(live)) this.#request("verify");
  }

  /** Catches up with the store, after live delivery may have been interrupted. */
  check(): void {
    if (!this.#ended) this.#request("read");
  }

  /** Delivers nothing from now on. */
  end(): void {
    this.#ended = true;
    this.#dropWaiting();
    this.#stopAwaiting();
  }

  #hold(live: LiveEvent): void {
    const waiting = this.#waiting ??= [];
    waiting.push(live);
    this.#waitingLength += live.event?.data.length ?? 0;
    if (waiting.length <= MAX_WAITING && this.#waitingLength <= MAX_WAITING_LENGTH) return;
    // The chain of those that stay says that these are missing.
    for (const { event } of waiting.splice(0, Math.ceil(waiting.length / 2))) {
      this.#waitingLength -= event?.data.length ?? 0;
    }
  }

  #dropWaiting(): void {
    this.#waiting = undefined;
    this.#waitingLength = 0;
  }

  /** Delivers an event that is the next one; `false` if something before it is missing. */
  #advance({ position, previous, event }: LiveEvent): boolean {
    const at = this.#at as Position;
    if (position.epoch !== at.epoch) return false;
    if (position.offset < at.offset) return true;
    if (position.offset === at.offset) return isSame(position, at);
    if (previous !== undefined && !isSame(previous, at)) {
      const awaited = this.#awaitedAt(previous.offset);
      if (awaited === undefined) return false;
      // The event before this one was awaited, and live delivery has skipped it.
      this.#lose(awaited);
      if (this.#ended) return true;
    }
    this.#at = position;
    if (event !== undefined) this.#deliver(event);
    return true;
  }

  #deliver(event: BrokerEvent): void {
    const { id } = event.position;
    if (id !== undefined) {
      if (this.#lost !== undefined && this.#comesAgain(id)) return;
      this.#recent.add(this, id);
    }
    this.#sink.event(event);
  }

  /** Whether an event is one that the store had lost. Ids are short: each counts once, and for a while. */
  #comesAgain(id: string): boolean {
    const { ids, until } = this.#lost as { ids: Set<string>; until: number };
    if (performance.now() > until) this.#lost = undefined;
    return ids.delete(id);
  }

  /**
   * Whether an event lies before the last one. The reader may have read it from history; or the
   * store has lost events, and gives lower offsets than before.
   */
  #isOld({ position }: LiveEvent): boolean {
    return position.offset < (this.#at as Position).offset;
  }

  #fillHole(): void {
    this.#missing = true;
    this.#request("read");
  }

  #request(work: Work): void {
    if (!this.#busy) void this.#work(work);
    else if (this.#next !== "read") this.#next = work;
  }

  async #work(work: Work): Promise<void> {
    const missing = this.#missing;
    this.#missing = false;
    this.#busy = true;
    this.#next = undefined;
    let history: BrokerHistory;
    try {
      history = await this.#ask(work);
    } catch {
      return; // the reader has ended
    }
    if (this.#ended) return;
    if (history.replaced) {
      const until = performance.now() + COMES_AGAIN_MS;
      const ids = this.#recent.of(this);
      // Those of other topics may have taken the place of this one.
      if (this.#at?.id !== undefined) ids.add(this.#at.id);
      this.#lost = { ids, until };
      this.#lose(history.position);
      this.#next = "read"; // time has passed since
    } else if (missing || !this.#mayArrive(history)) this.#take(history, work);
    this.#settle(true);
  }

  async #ask(work: Work): Promise<BrokerHistory> {
    const query = { since: this.#at as Position, first: work === "verify" ? 1 : PAGE };
    const deadline = performance.now() + DOUBT_MS;
    let doubtful: BrokerHistory | undefined;
    for (;;) {
      const history = await this.#read(query);
      if (!history.replaced || this.#ended) return history;
      // What came after the first such answer need not be lost too.
      doubtful ??= history;
      if (performance.now() > deadline) return doubtful;
      await new Promise((resolve) => setTimeout(resolve, ASK_AGAIN_MS));
    }
  }

  /** Whether what history lacks may be on its way; looks again later. */
  #mayArrive({ complete, position }: BrokerHistory): boolean {
    const { epoch, offset } = this.#at as Position;
    if (complete || position.epoch !== epoch || position.offset <= offset) return false;
    this.#stopAwaiting();
    this.#awaited = { position, timer: unref(setTimeout(() => this.#late(), ARRIVAL_MS)) };
    return true;
  }

  /** The position at an offset, if it is awaited and has not come yet. */
  #awaitedAt(offset: number): Position | undefined {
    const at = this.#at as Position;
    const { position } = this.#awaited ?? {};
    const isAwaited = position?.epoch === at.epoch && position.offset === offset &&
      offset > at.offset;
    return isAwaited ? position : undefined;
  }

  #late(): void {
    const { epoch, offset } = this.#awaited?.position as Position;
    this.#awaited = undefined;
    const at = this.#at as Position;
    if (at.epoch !== epoch || at.offset < offset) this.#fillHole();
  }

  #stopAwaiting(): void {
    clearTimeout(this.#awaited?.timer);
    this.#awaited = undefined;
  }

  #take({ complete, events, position, reached }: BrokerHistory, work: Work): void {
    if (!complete) return this.#lose(position);
    if (work === "verify") return;
    this.#at = reached;
    if (reached.offset < position.offset) this.#next = "read";
    for (const event of events) {
      if (!this.#ended) this.#deliver(event);
    }
  }

  #lose(position: Position): void {
    this.#stopAwaiting();
    this.#at = position;
    this.#sink.gap(position);
  }

  /**
   * Goes on with the events that have waited, and is live again if nothing is missing.
   *
   * @param verifies Whether events that lie before the last one are a reason to look for that again.
   */
  #settle(verifies: boolean): void {
    const waiting = this.#waiting ?? [];
    this.#dropWaiting();
    let hasOld = false;
    for (const live of waiting) {
      if (this.#ended) return;
      if (!this.#advance(live)) {
        this.#next = "read";
        this.#missing = true;
        break;
      }
      hasOld ||= this.#isOld(live);
    }
    if (this.#ended) return;
    if (hasOld && verifies) this.#next ??= "verify";
    if (this.#next !== undefined) void this.#work(this.#next);
    else this.#busy = false;
  }
}

/** Whether two places of one epoch hold the same event, as far as both say which. */
function isSame(
  one: { readonly offset: number; readonly id?: string },
  other: { readonly offset: number; readonly id?: string },
): boolean {
  return one.offset === other.offset &&
    (one.id === undefined || other.id === undefined || one.id === other.id);
}
