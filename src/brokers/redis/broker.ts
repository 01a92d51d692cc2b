/**
 * Topics of many servers through Redis or Valkey: streams keep the events, and publish/subscribe
 * delivers them to every server with subscribers. Needs the package `redis`.
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

import { Semaphore } from "../../util/semaphore.ts";
import type {
  Broker,
  BrokerHistory,
  BrokerSink,
  BrokerSubscription,
  HistoryQuery,
  Position,
  Retention,
} from "../broker.ts";
import { PeriodicCheck } from "../remote/periodic_check.ts";
import { RetryQueue } from "../remote/retry_queue.ts";
import { RecentEvents } from "../remote/recent_events.ts";
import type { RemoteStore } from "../remote/subscribe.ts";
import { subscribeTo } from "../remote/subscribe.ts";
import type { TopicReader } from "../remote/topic_reader.ts";
import { escapeTopic } from "../remote/topic_name.ts";
import { isAway, isRefusal, isUndone, RedisConnection } from "./connection.ts";
import { historyOf, liveEvent, NameMaker, NO_EVENT_ID } from "./events.ts";
import type { ReadReply } from "./events.ts";
import { checkOptions } from "./options.ts";
import type { RedisBrokerOptions } from "./options.ts";
import { ReplicaWait } from "./replica_wait.ts";
import { FORGET, PUBLISH, READ } from "./scripts.ts";
import { EmptyTopics } from "./empty_topics.ts";

export type { RedisTarget } from "./connection.ts";
export type { RedisBrokerOptions } from "./options.ts";

/**
 * Makes a broker that shares topics with all other servers on the same Redis. It connects with its
 * first use: once for commands and once to listen, however many topics there are, and once more for
 * reading if `waitReplicas` is set.
 *
 * @param options Where Redis is, and how to use it.
 * @returns The broker.
 * @throws {TypeError} If `prefix` or `url` is malformed, or more than one target is given.
 * @throws {RangeError} If a number is out of bounds.
 */
export function redisBroker(options: RedisBrokerOptions = {}): Broker {
  return new RedisBroker(options);
}

const DEFAULT_TIMEOUT_MS = 5_000;
// Redis keeps the position of a silent topic for at least so long.
const MIN_PLACE_MS = 24 * 60 * 60 * 1000;
// The same for a topic without events, at least: long enough for a client that reconnects.
const MIN_EMPTY_MS = 10 * 60 * 1000;
// How long it may take to see that live delivery has lost a topic's last event between several
// servers. With more than 6,000 topics it takes longer: 100 a second are looked at. The same look
// renews the expiry of topics with subscribers.
const ROUND_MS = 60_000;
const CHECKS_PER_SECOND = 100;
const DEFAULT_IDLE_TOPICS = 10_000;
// A WAIT holds up all that comes after it over the same connection.
const MAX_WAIT_MS = 2_000;
// So many topics are read at the same time, if all have to be after an outage.
const READS_AT_ONCE = 64;

class RedisBroker implements Broker {
  readonly #prefix: string;
  readonly #queue: RetryQueue;
  readonly #commands: RedisConnection;
  // The same as #commands, unless that is blocked by WAIT now and then.
  readonly #reading: RedisConnection;
  readonly #listening: RedisConnection;
  readonly #replicas: ReplicaWait | undefined;
  readonly #reads: Semaphore = new Semaphore({ concurrency: READS_AT_ONCE, maxWaiting: Infinity });
  readonly #readers = new Set<TopicReader>();
  readonly #store: RemoteStore = {
    recent: new RecentEvents(),
    join: async ({ name, keep }, reader, isOver) => {
      await this.#join(this.#keysOf(name).channel, reader, isOver);
      return (await this.#read(name, keep, { limit: 0 })).position;
    },
    isListening: (reader) => this.#readers.has(reader),
    history: ({ name, keep }, query) =>
      this.#reads.run(async () => await this.history(name, keep, query)),
    leave: ({ name }, reader) => this.#leave(this.#keysOf(name).channel, reader),
  };
  readonly #channels = new Map<string, Channel>();
  readonly #emptyTopics: EmptyTopics;
  readonly #names: NameMaker = new NameMaker();
  // Names this broker in Redis, as a listener.
  readonly #id: string = this.#names.next();
  #periodicCheck: PeriodicCheck<TopicReader> | undefined;
  #closed = false;

  constructor(options: RedisBrokerOptions) {
    const { prefix = "jsonrpc:", publishTimeoutMs = DEFAULT_TIMEOUT_MS, logger = console } =
      checkOptions(options);
    const { maxIdleTopics = DEFAULT_IDLE_TOPICS, waitReplicas = 0 } = options;
    this.#prefix = prefix;
    const failed = (error: unknown) => this.#queue.lost(error);
    const connect = (connected: () => void) =>
      new RedisConnection(options, { failed, connected }, prefix);
    this.#commands = connect(() => {});
    this.#reading = waitReplicas === 0 ? this.#commands : connect(() => {});
    this.#listening = connect(() => this.#catchUp());
    this.#replicas = waitReplicas === 0 ? undefined : new ReplicaWait({
      replicas: waitReplicas,
      timeoutMs: Math.min(Math.ceil(publishTimeoutMs / 2), MAX_WAIT_MS),
      generation: () => this.#commands.generation,
      send: (key, command) => this.#commands.send(key, command),
    });
    this.#emptyTopics = new EmptyTopics({
      max: maxIdleTopics,
      expiresMs: () => this.#emptyMs,
      // If that fails Redis forgets it a little later by itself.
      forget: (channel) => void this.#forget(channel).catch(() => {}),
    });
    this.#queue = new RetryQueue({
      name: "Redis",
      timeoutMs: publishTimeoutMs,
      logger,
      isAway,
      isUndone,
      isRefusal,
      probe: async () => {
        await this.#commands.revive();
        if (this.#reading !== this.#commands) await this.#reading.revive();
        await this.#listening.probe();
      },
    });
  }

  publish(topic: string, data: string, keep: Retention): Promise<Position> {
    const { keys, channel } = this.#keysOf(topic);
    const id = this.#names.next();
    const epoch = this.#names.epoch(id);
    const args = [epoch, placeMs(keep), channel, data, String(keep.size), age(keep), id];
    return this.#queue.run({
      action: "publish to",
      topic,
      attempt: (_isOver, sent) =>
        this.#commands.isPrepared
          ? this.#append(keys, args, sent)
          : this.#commands.prepare().then(() => this.#append(keys, args, sent)),
      doing: "published",
      again: false,
    });
  }

  subscribe(name: string, keep: Retention, sink: BrokerSink): Promise<BrokerSubscription> {
    return subscribeTo(this.#queue, this.#store, { name, keep }, sink);
  }

  history(topic: string, keep: Retention, query: HistoryQuery): Promise<BrokerHistory> {
    return this.#queue.run({
      action: "read the history of",
      topic,
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
    for (const each of [this.#commands, this.#reading, this.#listening]) each.close();
  }

  /** How long Redis keeps a topic without events: several times as long as a round of checks takes. */
  get #emptyMs(): number {
    return Math.max(MIN_EMPTY_MS, 3 * 1000 * this.#readers.size / CHECKS_PER_SECOND);
  }

  async #forget(channel: string): Promise<void> {
    await this.#reading.prepare();
    if (this.#channels.has(channel)) return; // subscribed to again
    await this.#reading.run(FORGET, [`${channel}:place`], [this.#id]);
  }

  #keysOf(topic: string): { keys: [string, string]; channel: string } {
    const name = `${this.#prefix}{${escapeTopic(topic)}}`;
    return { keys: [`${name}:place`, `${name}:events`], channel: name };
  }

  async #append(
    keys: readonly [string, string],
    args: readonly string[],
    sent: () => void,
  ): Promise<Position> {
    let confirmed: Promise<void> | undefined;
    const reply = await this.#commands.run(PUBLISH, keys, args, () => {
      sent();
      // The WAIT has to go out right behind the event, over the same connection.
      confirmed = this.#replicas?.confirm(keys[0]);
    });
    if (confirmed !== undefined) await confirmed;
    const [epoch = "", offset] = String(reply).split(" ");
    return { epoch, offset: Number(offset), id: args.at(-1) as string };
  }

  async #read(topic: string, keep: Retention, query: HistoryQuery): Promise<BrokerHistory> {
    const { since, limit = Infinity, first = Infinity } = query;
    const order = limit === Infinity && first < Infinity ? "oldest" : "newest";
    const count = keep.size === 0 ? 0 : order === "oldest" ? first : Math.min(limit, keep.size);
    const { keys, channel } = this.#keysOf(topic);
    await this.#reading.prepare();
    const isListening = this.#channels.has(channel);
    const reply = await this.#reading.run(READ, keys, [
      ...[
        this.#names.epoch(this.#names.next()),
        placeMs(keep),
        since?.epoch ?? "",
        String(since?.offset ?? "0"),
      ],
      ...[String(count), age(keep), order],
      ...[keep.fixed ? "" : String(this.#emptyMs), isListening ? this.#id : ""],
    ]) as ReadReply;
    if (!keep.fixed) this.#noteEmpty(channel, reply[2] === NO_EVENT_ID);
    return historyOf(reply, query, order);
  }

  #noteEmpty(channel: string, isEmpty: boolean): void {
    const listened = this.#channels.get(channel);
    if (listened !== undefined) listened.isEmpty = isEmpty;
    else if (isEmpty && !this.#closed) this.#emptyTopics.add(channel);
  }

  async #join(channel: string, reader: TopicReader, isOver: () => boolean): Promise<void> {
    await this.#listening.open();
    if (isOver()) return;
    this.#periodicCheck ??= new PeriodicCheck(this.#readers, {
      everyMs: ROUND_MS,
      mostPerSecond: CHECKS_PER_SECOND,
    });
    this.#readers.add(reader);
    const listened = this.#channels.get(channel) ?? { readers: new Set(), isEmpty: false };
    listened.readers.add(reader);
    this.#channels.set(channel, listened);
    this.#emptyTopics.delete(channel);
    await this.#listening.subscribe(channel, this.#take);
  }

  #leave(channel: string, reader: TopicReader): void {
    reader.end();
    this.#readers.delete(reader);
    const listened = this.#channels.get(channel);
    if (!listened?.readers.delete(reader) || listened.readers.size > 0) return;
    this.#channels.delete(channel);
    if (listened.isEmpty) this.#emptyTopics.add(channel);
    this.#listening.unsubscribe(channel, this.#take).catch(() => {});
  }

  readonly #take = (message: string, channel: string): void => {
    const listened = this.#channels.get(channel);
    if (listened === undefined) {
      // Redis was out of reach when the last reader left, and did not get the UNSUBSCRIBE.
      if (!this.#closed) this.#listening.unsubscribe(channel, this.#take).catch(() => {});
      return;
    }
    const live = liveEvent(message);
    if (live === undefined) return;
    listened.isEmpty = false;
    for (const reader of listened.readers) reader.take(live);
  };

  #catchUp(): void {
    for (const reader of this.#readers) reader.check();
  }
}

/** What this process listens to. */
interface Channel {
  readonly readers: Set<TopicReader>;
  /** Whether the topic had no event when Redis was last asked. */
  isEmpty: boolean;
}

/** How long a topic's position is kept: longer than its events, whose end must not begin a new epoch. */
function placeMs({ size, ageMs }: Retention): string {
  if (size > 0 && ageMs === Infinity) return "";
  return String(size === 0 ? MIN_PLACE_MS : Math.max(Math.ceil(2 * ageMs), MIN_PLACE_MS));
}

function age({ ageMs }: Retention): string {
  return ageMs === Infinity ? "" : String(Math.max(1, Math.ceil(ageMs)));
}
