/**
 * The broker of one process: it keeps topics and their history in memory, answers at once, and forgets
 * everything when its process ends. A server has one by default; give several servers of one process
 * the same broker, and they share their topics.
 *
 * @module
 */

import { before } from "./broker.ts";
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
   * How many topics under patterns are remembered while they have no subscriber. Past that number
   * the broker forgets the topic that has been silent longest. Topics that keep no event are counted
   * separately, up to 1,000.
   *
   * @default {10000}
   */
  readonly maxIdleTopics?: number;
}

/**
 * Makes the broker that a server has by default. It answers without promises, and what it keeps ends
 * with its process. Several servers of one process may share one.
 *
 * @param options How much it holds.
 * @returns The broker.
 * @throws {RangeError} If `maxIdleTopics` is neither a whole number from 0 nor `Infinity`.
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
 * inner.publish("news", "Reaches the subscribers of both");
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
  // Topics without subscribers whose names clients chose, the longest silent first.
  readonly #idle = new Map<string, TopicLog>();
  // The same for topics that keep no event. Clients can ask for any number of names, and must not be
  // able to push topics with events out.
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
    // Another server of this process still has subscribers: drop it when the last one leaves.
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

  /** Keeps the most that any server sharing the topic asks for. */
  #widen(topic: string, log: TopicLog, keep: Retention): void {
    log.size = Math.max(log.size, keep.size);
    log.ageMs = Math.max(log.ageMs, keep.ageMs);
    log.keep = keep;
    if (!keep.fixed || log.fixed) return;
    log.fixed = true;
    this.#wake(topic);
  }

  /** Queues a topic without subscribers behind the other idle ones, and drops the first if there are too many. */
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

// How many topics without an event are remembered. A client that comes back to a forgotten one gets
// `recovered: false`.
const MAX_EMPTY = 1000;

interface LogListener {
  readonly sink: BrokerSink;
  readonly from: number;
}

/** One topic: where it stands, what it has kept, and its listeners. */
class TopicLog {
  readonly listeners = new Set<LogListener>();
  position: Position = { epoch: newEpoch(), offset: 0 };
  size = 0;
  ageMs = 0;
  fixed = false;
  /** What it was last asked to keep: the same object need not be looked at again. */
  keep: Retention | undefined;
  // Events before #start are dropped, many at once, when they are half of the array.
  readonly #events: (BrokerEvent | undefined)[] = [];
  #start = 0;
  #delivering = false;
  // Events published while another was being delivered: each listener gets them in order.
  #waiting: BrokerEvent[] | undefined;

  /** Whether no event is kept, as of the last time that it was trimmed. */
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
    const events = this.#events.slice(from, from + Math.min(given, first)) as BrokerEvent[];
    const next = this.#events[from + events.length];
    return {
      events,
      position,
      reached: next === undefined ? position : before(next.position),
      complete: since === undefined || behind === given,
    };
  }

  #deliver(first: BrokerEvent): void {
    this.#delivering = true;
    let event: BrokerEvent | undefined = first;
    while (event !== undefined) {
      // A listener that began during the delivery got a position that includes this event.
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
    if (this.#start > 32 && this.#start * 2 > events.length) {
      events.splice(0, this.#start);
      this.#start = 0;
    }
  }
}

let lastEpoch = 0;
let processName: string | undefined;

function newEpoch(): string {
  // Not while the module loads: some runtimes have no randomness yet at that time.
  processName ??= crypto.randomUUID().slice(-12);
  return `${processName}.${(lastEpoch++).toString(36)}`;
}
