/**
 * The broker of one process: topics and their history in its memory.
 *
 * @module
 */

import type {
  Broker,
  BrokerEvent,
  BrokerHistory,
  BrokerSink,
  BrokerSubscription,
  HistoryQuery,
  Position,
  Retention,
} from "./broker.ts";

/** How much a {@linkcode memoryBroker} holds. */
export interface MemoryBrokerOptions {
  /**
   * Topics under patterns that are remembered although nobody hears them; past it, the one that was
   * silent for longest is forgotten. Those of which nothing is kept are counted apart, up to 1,000.
   *
   * @default {10000}
   */
  readonly maxIdleTopics?: number;
}

/**
 * Makes the broker that a server has by default: it answers at once, and forgets with its process.
 * Several servers of one process may share one.
 *
 * @throws {RangeError} Where the bound makes no sense.
 *
 * @example Two servers, one topic
 * ```ts
 * import { JsonRpc } from "@x/jsonrpc";
 * import { memoryBroker } from "@x/jsonrpc/memory";
 *
 * const broker = memoryBroker();
 * const open = new JsonRpc({ broker }).topic("news", { history: { size: 100 } });
 * const inner = new JsonRpc({ broker }).topic("news", { history: { size: 100 } });
 *
 * inner.publish("news", "Heard at both");
 * ```
 */
export function memoryBroker(options: MemoryBrokerOptions = {}): Broker {
  const { maxIdleTopics = 10_000 } = options;
  if (!(Number.isSafeInteger(maxIdleTopics) || maxIdleTopics === Infinity) || maxIdleTopics < 0) {
    throw new RangeError(
      `Expected \`maxIdleTopics\` to be a whole number from 0, or Infinity, got \`${maxIdleTopics}\` (${typeof maxIdleTopics})`,
    );
  }
  return new MemoryBroker(maxIdleTopics);
}

class MemoryBroker implements Broker {
  readonly #maxIdleTopics: number;
  readonly #logs = new Map<string, TopicLog>();
  // Those of them that nobody hears and whose names clients chose, the longest silent first.
  readonly #idle = new Map<string, TopicLog>();
  // The same of those of which nothing is kept: strangers can ask for as many names as they like, and
  // push nothing out by it but such names.
  readonly #empty = new Map<string, TopicLog>();

  constructor(maxIdleTopics: number) {
    this.#maxIdleTopics = maxIdleTopics;
  }

  publish(topic: string, data: string, keep: Retention): Position {
    const log = this.#log(topic, keep);
    const position = log.append(data);
    this.#rest(topic, log);
    return position;
  }

  subscribe(topic: string, keep: Retention, sink: BrokerSink): BrokerSubscription {
    const log = this.#log(topic, keep);
    const listener = { sink, from: log.position.offset };
    log.listeners.add(listener);
    this.#wake(topic);
    return {
      position: log.position,
      unsubscribe: () => {
        if (log.listeners.delete(listener)) this.#rest(topic, log);
      },
    };
  }

  history(topic: string, keep: Retention, query: HistoryQuery): BrokerHistory {
    const log = this.#log(topic, keep);
    this.#rest(topic, log);
    return log.read(query);
  }

  forget(topic: string): void {
    const log = this.#logs.get(topic);
    if (log === undefined) return;
    // Somebody else's still: it goes as others do, once nobody hears it.
    if (log.listeners.size > 0) log.fixed = false;
    else this.#drop(topic);
  }

  close(): void {
    for (const log of this.#logs.values()) log.listeners.clear();
    this.#logs.clear();
    this.#idle.clear();
    this.#empty.clear();
  }

  #log(topic: string, keep: Retention): TopicLog {
    let log = this.#logs.get(topic);
    if (log === undefined) {
      log = new TopicLog();
      this.#logs.set(topic, log);
    }
    if (keep !== log.keep) this.#widen(topic, log, keep);
    return log;
  }

  /** Keeps what any of those who share a topic asks for. */
  #widen(topic: string, log: TopicLog, keep: Retention): void {
    log.size = Math.max(log.size, keep.size);
    log.ageMs = Math.max(log.ageMs, keep.ageMs);
    log.keep = keep;
    if (!keep.fixed || log.fixed) return;
    log.fixed = true;
    this.#wake(topic);
  }

  /** Puts a topic that nobody hears behind the others, and forgets the first where it is too many. */
  #rest(topic: string, log: TopicLog): void {
    if (log.fixed || log.listeners.size > 0 || this.#logs.get(topic) !== log) return;
    this.#wake(topic);
    const [idle, most] = log.isEmpty
      ? [this.#empty, Math.min(MAX_EMPTY, this.#maxIdleTopics)]
      : [this.#idle, this.#maxIdleTopics];
    idle.set(topic, log);
    if (idle.size <= most) return;
    for (const oldest of idle.keys()) return this.#drop(oldest);
  }

  #wake(topic: string): void {
    this.#idle.delete(topic);
    this.#empty.delete(topic);
  }

  #drop(topic: string): void {
    this.#logs.delete(topic);
    this.#wake(topic);
  }
}

// Names without an event. Whoever comes back to one that was forgotten is told of a gap.
const MAX_EMPTY = 1000;

interface LogListener {
  readonly sink: BrokerSink;
  readonly from: number;
}

/** One topic: where it stands, what it has kept, and who hears it. */
class TopicLog {
  readonly listeners = new Set<LogListener>();
  position: Position = { epoch: newEpoch(), offset: 0 };
  size = 0;
  ageMs = 0;
  fixed = false;
  /** What it was asked to keep last, so that the same need not be looked at again. */
  keep: Retention | undefined;
  // Those that are no longer kept make room from time to time, all at once.
  readonly #events: (BrokerEvent | undefined)[] = [];
  #start = 0;
  #delivering = false;
  // Events that came while another was on its way round: each listener hears them in order.
  #waiting: BrokerEvent[] | undefined;

  /** Whether no event is kept, as far as was looked. */
  get isEmpty(): boolean {
    return this.#start === this.#events.length;
  }

  append(data: string): Position {
    const { epoch, offset } = this.position;
    const position = { epoch, offset: offset + 1 };
    const event = { position, data, at: Date.now() };
    this.position = position;
    if (this.size > 0) {
      this.#events.push(event);
      this.#trim();
    }
    if (this.#delivering) (this.#waiting ??= []).push(event);
    else if (this.listeners.size > 0) this.#deliver(event);
    return position;
  }

  read({ since, limit = Infinity, first = Infinity }: HistoryQuery): BrokerHistory {
    this.#trim();
    const { position } = this;
    const kept = this.#events.length - this.#start;
    const behind = since !== undefined && since.epoch === position.epoch
      ? position.offset - since.offset
      : -1;
    const wanted = behind < 0 ? kept : Math.min(behind, kept);
    const given = Math.min(wanted, limit);
    const from = this.#events.length - given;
    return {
      events: this.#events.slice(from, from + Math.min(given, first)) as BrokerEvent[],
      position,
      complete: since === undefined || behind === given,
    };
  }

  #deliver(first: BrokerEvent): void {
    this.#delivering = true;
    let event: BrokerEvent | undefined = first;
    while (event !== undefined) {
      // One that began to hear while it was on its way has it in its past.
      for (const { sink, from } of this.listeners) {
        if (event.position.offset > from) sink.event(event);
      }
      event = this.#waiting?.shift();
    }
    this.#delivering = false;
  }

  #trim(): void {
    const events = this.#events;
    const oldestAt = this.ageMs === Infinity ? -Infinity : Date.now() - this.ageMs;
    while (this.#start < events.length) {
      const tooMany = events.length - this.#start > this.size;
      if (!tooMany && (events[this.#start] as BrokerEvent).at >= oldestAt) break;
      events[this.#start++] = undefined;
    }
    // Now and then the places of those that are gone are given back, many at once.
    if (this.#start > 32 && this.#start * 2 > events.length) {
      events.splice(0, this.#start);
      this.#start = 0;
    }
  }
}

let lastEpoch = 0;
let processName: string | undefined;

function newEpoch(): string {
  // Not before it is needed: some runtimes have no randomness yet while modules are loaded.
  processName ??= crypto.randomUUID().slice(-12);
  return `${processName}.${(lastEpoch++).toString(36)}`;
}
