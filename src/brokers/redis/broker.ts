/**
 * Topics of many servers through Redis, or Valkey: streams keep events, publish and subscribe brings
 * them round.
 *
 * ```ts ignore
 * import { JsonRpc } from "@x/jsonrpc";
 * import { redisBroker } from "@x/jsonrpc/redis";
 *
 * const rpc = new JsonRpc({ broker: redisBroker({ url: "redis://127.0.0.1:6379" }) })
 *   .topic("news", { history: { size: 100, ageMs: 3_600_000 } });
 * ```
 *
 * @module
 */

import { checkMs } from "../../util/check_option.ts";
import { Semaphore } from "../../util/semaphore.ts";
import { MAX_TIMER_MS } from "../../util/timer.ts";
import type { Logger } from "../../util/logger.ts";
import type {
  Broker,
  BrokerEvent,
  BrokerHistory,
  BrokerSink,
  BrokerSubscription,
  HistoryQuery,
  Position,
  Retention,
} from "../broker.ts";
import { RetryQueue } from "../remote/retry_queue.ts";
import { TopicReader } from "../remote/topic_reader.ts";
import type { LiveEvent } from "../remote/topic_reader.ts";
import { isAway, isUndone, RedisConnection } from "./connection.ts";
import type { RedisTarget } from "./connection.ts";
import { PUBLISH, READ } from "./scripts.ts";
import type { Script } from "./scripts.ts";
import { PeriodicCheck } from "../remote/periodic_check.ts";
import { escapeTopic } from "../remote/topic_name.ts";

export type { RedisTarget } from "./connection.ts";

/** Where Redis is, and how the broker uses it. */
export interface RedisBrokerOptions extends RedisTarget {
  /**
   * What the names of all keys and channels begin with. Servers that share topics share it; others
   * on the same Redis have their own.
   *
   * @default {"jsonrpc:"}
   */
  readonly prefix?: string;
  /**
   * How long publishing, subscribing and reading may wait for Redis, in milliseconds.
   *
   * @default {5000}
   */
  readonly publishTimeoutMs?: number;
  /**
   * Told when Redis goes out of reach, and when it is back.
   *
   * @default {console}
   */
  readonly logger?: Logger;
}

/**
 * Makes a broker that shares topics with all other servers on the same Redis. It connects with its
 * first use: once for commands and once to listen, however many topics there are.
 *
 * @throws {TypeError} Where an option is none.
 * @throws {RangeError} Where a number is out of bounds.
 */
export function redisBroker(options: RedisBrokerOptions = {}): Broker {
  return new RedisBroker(options);
}

const DEFAULT_TIMEOUT_MS = 5_000;
// A topic that is silent keeps its place for at least so long.
const MIN_PLACE_MS = 24 * 60 * 60 * 1000;
// How long it may take until the loss of a topic's last event is seen, where an engine of several
// servers loses one between them. Also keeps the places of topics that are heard.
const ROUND_MS = 60_000;
// So many topics read at the same time, where all have to after an outage.
const READS_AT_ONCE = 64;

/** What `READ` answers. */
type Reply = [epoch: string, offset: string, entries: [id: string, fields: string[]][]];

class RedisBroker implements Broker {
  readonly #prefix: string;
  readonly #queue: RetryQueue;
  readonly #commands: RedisConnection;
  readonly #listeners: RedisConnection;
  readonly #reads: Semaphore = new Semaphore({ concurrency: READS_AT_ONCE, maxWaiting: Infinity });
  readonly #readers = new Set<TopicReader>();
  readonly #channels = new Map<string, Set<TopicReader>>();
  #periodicCheck: PeriodicCheck<TopicReader> | undefined;
  #prepared: Promise<void> | undefined;
  #closed = false;

  constructor(options: RedisBrokerOptions) {
    const { prefix = "jsonrpc:", publishTimeoutMs = DEFAULT_TIMEOUT_MS, logger = console } =
      checkOptions(options);
    this.#prefix = prefix;
    const failed = (error: unknown) => this.#queue.lost(error);
    this.#commands = new RedisConnection(options, { failed, connected() {} }, prefix);
    this.#listeners = new RedisConnection(
      options,
      { failed, connected: () => this.#catchUp() },
      prefix,
    );
    this.#queue = new RetryQueue({
      name: "Redis",
      timeoutMs: publishTimeoutMs,
      logger,
      isAway,
      isUndone,
      probe: async () => {
        await this.#commands.prepare([PUBLISH, READ]);
        await this.#listeners.probe();
      },
    });
  }

  async publish(topic: string, data: string, keep: Retention): Promise<Position> {
    const { keys, channel } = this.#names(topic);
    const args = [newEpoch(), place(keep), channel, data, String(keep.size), age(keep)];
    const reply = await this.#queue.run({
      action: `publish to ${JSON.stringify(topic)}`,
      attempt: () => this.#run(PUBLISH, keys, args),
      again: false,
    });
    const [epoch, offset] = reply as [string, string];
    return { epoch, offset: Number(offset) };
  }

  async subscribe(
    topic: string,
    keep: Retention,
    sink: BrokerSink,
  ): Promise<BrokerSubscription> {
    const { channel } = this.#names(topic);
    const reader: TopicReader = new TopicReader(
      sink,
      (query) =>
        this.#queue.retryUntil(
          () => this.#readers.has(reader),
          () => this.#reads.run(async () => await this.history(topic, keep, query)),
        ),
    );
    const unsubscribe = () => this.#leave(channel, reader);
    try {
      const position = await this.#queue.run({
        action: `subscribe to ${JSON.stringify(topic)}`,
        attempt: async (isOver) => {
          await this.#join(channel, reader, isOver);
          const { position } = await this.#read(topic, keep, { limit: 0 });
          return position;
        },
        patient: true,
      });
      reader.begin(position);
      return { position, unsubscribe };
    } catch (error) {
      unsubscribe();
      throw error;
    }
  }

  history(topic: string, keep: Retention, query: HistoryQuery): Promise<BrokerHistory> {
    return this.#queue.run({
      action: `read the history of ${JSON.stringify(topic)}`,
      attempt: () => this.#read(topic, keep, query),
      patient: true,
    });
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#queue.close();
    this.#periodicCheck?.end();
    for (const reader of this.#readers) reader.end();
    this.#readers.clear();
    this.#channels.clear();
    this.#commands.close();
    this.#listeners.close();
  }

  #names(topic: string): { keys: [string, string]; channel: string } {
    const name = `${this.#prefix}{${escapeTopic(topic)}}`;
    return { keys: [`${name}:place`, `${name}:events`], channel: name };
  }

  async #run(script: Script, keys: readonly string[], args: readonly string[]): Promise<unknown> {
    this.#prepared ??= this.#commands.prepare([PUBLISH, READ]);
    try {
      await this.#prepared;
    } catch (error) {
      this.#prepared = undefined;
      throw error;
    }
    return await this.#commands.run(script, keys, args);
  }

  async #read(topic: string, keep: Retention, query: HistoryQuery): Promise<BrokerHistory> {
    const { since, limit = Infinity, first = Infinity } = query;
    const [side, most] = first < limit ? ["oldest", first] : ["newest", limit];
    const count = keep.size === 0 ? 0 : side === "oldest" ? most : Math.min(most, keep.size);
    const reply = await this.#run(READ, this.#names(topic).keys, [
      ...[newEpoch(), place(keep), since?.epoch ?? "", String(since?.offset ?? "0")],
      ...[String(count), age(keep), side],
    ]);
    return historyOf(reply as Reply, query, side);
  }

  async #join(channel: string, reader: TopicReader, isOver: () => boolean): Promise<void> {
    await this.#listeners.open();
    if (isOver()) return;
    this.#periodicCheck ??= new PeriodicCheck(this.#readers, ROUND_MS);
    this.#readers.add(reader);
    const readers = this.#channels.get(channel) ?? new Set();
    this.#channels.set(channel, readers.add(reader));
    await this.#listeners.subscribe(channel, this.#hear);
  }

  #leave(channel: string, reader: TopicReader): void {
    reader.end();
    this.#readers.delete(reader);
    const readers = this.#channels.get(channel);
    if (!readers?.delete(reader) || readers.size > 0) return;
    this.#channels.delete(channel);
    this.#listeners.unsubscribe(channel, this.#hear).catch(() => {});
  }

  readonly #hear = (message: string, channel: string): void => {
    const readers = this.#channels.get(channel);
    if (readers === undefined) {
      // Redis was away when the last reader left.
      if (!this.#closed) this.#listeners.unsubscribe(channel, this.#hear).catch(() => {});
      return;
    }
    const live = parseLive(message);
    if (live !== undefined) { for (const reader of readers) reader.take(live); }
  };

  #catchUp(): void {
    for (const reader of this.#readers) reader.check();
  }
}

function checkOptions(options: RedisBrokerOptions): RedisBrokerOptions {
  const { cluster, prefix, publishTimeoutMs, sentinel, url } = options;
  if (prefix !== undefined && (typeof prefix !== "string" || /[{}]/.test(prefix))) {
    throw new TypeError(`Expected \`prefix\` to be a text without braces, got \`${prefix}\``);
  }
  if (publishTimeoutMs !== undefined) {
    checkMs("publishTimeoutMs", publishTimeoutMs, 1, MAX_TIMER_MS);
  }
  // What was given is not repeated: it may hold a password.
  if (url !== undefined && !/^(?:rediss?|unix):\/\/./.test(url)) {
    throw new TypeError("Expected `url` to begin with redis:, rediss: or unix:");
  }
  const places = Object.entries({ url, cluster, sentinel }).filter(([, place]) =>
    place !== undefined
  );
  if (places.length > 1) {
    const names = places.map(([name]) => `\`${name}\``).join(" and ");
    throw new TypeError(`Expected one of \`url\`, \`cluster\` and \`sentinel\`, got ${names}`);
  }
  return options;
}

function newEpoch(): string {
  return crypto.randomUUID().slice(0, 18);
}

/** How long a topic's place is kept: longer than its events, so that their end is no new beginning. */
function place({ size, ageMs }: Retention): string {
  if (size > 0 && ageMs === Infinity) return "";
  return String(size === 0 ? MIN_PLACE_MS : Math.max(Math.ceil(2 * ageMs), MIN_PLACE_MS));
}

function age({ ageMs }: Retention): string {
  return ageMs === Infinity ? "" : String(Math.max(1, Math.ceil(ageMs)));
}

function parseLive(message: string): LiveEvent | undefined {
  const [, epoch = "", offset, previous, data = ""] = /^(\S+) (\d+) (\d+) (.*)$/s.exec(message) ??
    [];
  if (offset === undefined) return undefined; // somebody else's
  const event = eventOf(epoch, offset, data);
  return { position: event.position, previous: Number(previous), event };
}

function historyOf(
  [epoch, offset, entries]: Reply,
  { since, first }: HistoryQuery,
  side: string,
): BrokerHistory {
  if (side === "newest") entries.reverse();
  const position = { epoch, offset: Number(offset) };
  const events = entries.map(([id, fields]) => eventOf(epoch, id.slice(0, -2), fields[3] ?? ""));
  // Each event names the one before it; and nothing fits in just before one.
  const before = entries.length > 0 ? Number(entries[0]?.[1][1]) : position.offset;
  const from = since?.epoch === epoch ? since.offset : undefined;
  const reaches = from === before || from === (events[0]?.position.offset ?? NaN) - 1;
  const complete = since === undefined || reaches;
  return { events: events.slice(0, first), position, complete };
}

/** An offset is a time in microseconds. */
function eventOf(epoch: string, digits: string, data: string): BrokerEvent {
  const offset = Number(digits);
  return { position: { epoch, offset }, data, at: Math.floor(offset / 1000) };
}
