/**
 * Topics of many servers through NATS: a stream of JetStream keeps events, and publishes them again
 * to whoever hears a topic.
 *
 * ```ts ignore
 * import { JsonRpc } from "@x/jsonrpc";
 * import { natsBroker } from "@x/jsonrpc/nats";
 *
 * const rpc = new JsonRpc({ broker: natsBroker({ servers: "127.0.0.1:4222" }) })
 *   .topic("news", { history: { size: 100, ageMs: 3_600_000 } });
 * ```
 *
 * @module
 */

import { connect } from "@nats-io/transport-node";
import type {
  Msg,
  NatsConnection,
  NodeConnectionOptions,
  Subscription,
} from "@nats-io/transport-node";
import { checkMs } from "../../util/check_option.ts";
import { Semaphore } from "../../util/semaphore.ts";
import { MAX_TIMER_MS } from "../../util/timer.ts";
import type { Logger } from "../../util/logger.ts";
import type {
  Broker,
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
import { isStart, publishedAt } from "./pull.ts";
import { isAway, livePosition, NatsStream } from "./stream.ts";
import type { HistoryPage, StreamOptions } from "./stream.ts";
import { PeriodicCheck } from "../remote/periodic_check.ts";
import { escapeTopic } from "../remote/topic_name.ts";

/** Where NATS is, and how the broker uses it. */
export interface NatsBrokerOptions {
  /**
   * Servers of one cluster, each as `host:port`.
   *
   * @default {"127.0.0.1:4222"}
   */
  readonly servers?: string | readonly string[];
  /** More for the connection: what `connect` of `@nats-io/transport-node` takes, such as `tls`. */
  readonly connection?: NodeConnectionOptions;
  /**
   * The name of the stream, and what all subjects begin with. Servers that share topics share it;
   * others on the same NATS have their own.
   *
   * @default {"jsonrpc"}
   */
  readonly stream?: string;
  /**
   * Where the stream, if it has to be made, keeps its events.
   *
   * @default {"file"}
   */
  readonly storage?: "file" | "memory";
  /**
   * On how many servers the stream, if it has to be made, keeps its events.
   *
   * @default {1}
   */
  readonly replicas?: number;
  /**
   * How long publishing, subscribing and reading may wait for NATS, in milliseconds.
   *
   * @default {5000}
   */
  readonly publishTimeoutMs?: number;
  /**
   * Told when NATS goes out of reach, and when it is back.
   *
   * @default {console}
   */
  readonly logger?: Logger;
}

/**
 * Makes a broker that shares topics with all other servers on the same NATS. It connects once, with
 * its first use, however many topics there are. The server must have JetStream on (`nats-server -js`)
 * and be of version 2.9 or later.
 *
 * @throws {TypeError} Where an option is none.
 * @throws {RangeError} Where a number is out of bounds.
 */
export function natsBroker(options: NatsBrokerOptions = {}): Broker {
  return new NatsBroker(options);
}

const DEFAULT_TIMEOUT_MS = 5_000;
const PING_MS = 5_000;
// How long it may take until the loss of a topic's last event is seen, where one is lost between the
// servers of a cluster.
const ROUND_MS = 15_000;
// So many topics are subscribed to or read at the same time; the others wait for them.
const TURNS_AT_ONCE = 128;

class NatsBroker implements Broker {
  readonly #options: NatsBrokerOptions;
  readonly #stream: StreamOptions;
  readonly #queue: RetryQueue;
  readonly #id: string = crypto.randomUUID();
  readonly #semaphore: Semaphore = new Semaphore({
    concurrency: TURNS_AT_ONCE,
    maxWaiting: Infinity,
  });
  readonly #listeners = new Map<TopicReader, NatsListener>();
  readonly #readers = new Set<TopicReader>();
  #opening: Promise<Open> | undefined;
  #periodicCheck: PeriodicCheck<TopicReader> | undefined;
  #flushing: Promise<void> | undefined;
  #published = 0;
  #closed = false;

  constructor(options: NatsBrokerOptions) {
    const { logger = console, publishTimeoutMs = DEFAULT_TIMEOUT_MS } = checkOptions(options);
    const { replicas = 1, storage = "file", stream = "jsonrpc" } = options;
    this.#options = options;
    this.#stream = { name: stream, replicas, storage, retryMs: publishTimeoutMs };
    this.#queue = new RetryQueue({
      name: "NATS",
      timeoutMs: publishTimeoutMs,
      logger,
      isAway,
      isUndone: () => true,
      probe: () => this.#probe(),
    });
  }

  publish(topic: string, data: string, keep: Retention): Promise<Position> {
    const name = escapeTopic(topic);
    const id = `${this.#id}-${++this.#published}`;
    return this.#queue.run({
      action: `publish to ${JSON.stringify(topic)}`,
      attempt: async () => {
        const { stream } = await this.#open();
        return stream.append(stream.subject(name), data, id, keep);
      },
    });
  }

  async subscribe(
    topic: string,
    keep: Retention,
    sink: BrokerSink,
  ): Promise<BrokerSubscription> {
    const reader: TopicReader = new TopicReader(
      sink,
      (query) =>
        this.#queue.retryUntil(
          () => this.#readers.has(reader),
          () => this.history(topic, keep, query),
        ),
    );
    const unsubscribe = () => this.#leave(reader);
    try {
      const position = await this.#queue.run({
        action: `subscribe to ${JSON.stringify(topic)}`,
        attempt: (isOver) =>
          this.#turn(isOver, async () => {
            const open = await this.#open();
            if (!isOver()) this.#join(reader, escapeTopic(topic), open);
            // The server knows of the subscription before it is asked where the topic stands.
            await this.#flush(open);
            return (await this.#read(topic, keep, { limit: 0 })).position;
          }),
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
      attempt: (isOver) => this.#turn(isOver, () => this.#read(topic, keep, query)),
      patient: true,
    });
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    this.#queue.close();
    this.#periodicCheck?.end();
    for (const reader of this.#readers) reader.end();
    this.#readers.clear();
    this.#listeners.clear();
    const open = await this.#opening?.catch(() => {});
    await open?.connection.close();
  }

  #open(): Promise<Open> {
    this.#opening ??= this.#connect().catch((error) => {
      this.#opening = undefined;
      throw error;
    });
    return this.#opening;
  }

  async #connect(): Promise<Open> {
    const { connection: more, servers } = this.#options;
    const connection = await connect({
      ...{ noAsyncTraces: true, pingInterval: PING_MS, timeout: this.#stream.retryMs },
      ...(servers === undefined ? {} : { servers: [servers].flat() }),
      ...more,
      ...{ reconnect: true, maxReconnectAttempts: -1, ignoreAuthErrorAbort: true },
      ...{ reconnectTimeWait: 250, waitOnFirstConnect: false },
    });
    const open = { connection, stream: await NatsStream.on(connection, this.#stream) };
    void this.#watch(open);
    connection.closed().then((error) => {
      if (this.#closed) return;
      this.#opening = undefined;
      this.#queue.interrupt(error ?? new Error("the connection was closed"));
    });
    for (const listener of this.#listeners.values()) {
      listener.subscription = this.#listen(listener, open);
    }
    this.#catchUp(); // they may have heard nothing for a while
    return open;
  }

  async #watch({ connection, stream }: Open): Promise<void> {
    for await (const { type } of connection.status()) {
      if (this.#closed) return;
      if (type === "disconnect") {
        stream.invalidate();
        this.#queue.interrupt(new Error("the connection was lost"));
      }
      if (type === "reconnect") this.#catchUp();
    }
  }

  async #probe(): Promise<void> {
    const { connection, stream } = await this.#open();
    stream.invalidate();
    await connection.flush();
    await stream.require({ size: 0, ageMs: 0 });
  }

  /** Resolves when the server has had what was sent until now; many at once share one round trip. */
  #flush({ connection }: Open): Promise<void> {
    this.#flushing ??= new Promise((resolve) => setTimeout(resolve, 0)).then(() => {
      this.#flushing = undefined;
      return connection.flush();
    });
    return this.#flushing;
  }

  #catchUp(): void {
    for (const reader of this.#readers) reader.check();
  }

  #join(reader: TopicReader, name: string, open: Open): void {
    if (this.#listeners.has(reader)) return;
    this.#periodicCheck ??= new PeriodicCheck(this.#readers, ROUND_MS);
    const listener: NatsListener = { reader, name, subscription: undefined };
    listener.subscription = this.#listen(listener, open);
    this.#listeners.set(reader, listener);
    this.#readers.add(reader);
  }

  #listen({ reader, name }: NatsListener, { connection, stream }: Open): Subscription {
    return connection.subscribe(`${this.#stream.name}.live.${name}`, {
      callback: (error, message) => {
        if (error !== null) return this.#queue.lost(error);
        const live = parseLive(message, stream.epoch);
        if (live === undefined) return; // somebody else's
        reader.take(live);
        if (stream.notice(live.position)) this.#catchUp();
      },
    });
  }

  #leave(reader: TopicReader): void {
    reader.end();
    this.#readers.delete(reader);
    this.#listeners.get(reader)?.subscription?.unsubscribe();
    this.#listeners.delete(reader);
  }

  /** Does what many may want at once, a few at a time. */
  #turn<T>(isOver: () => boolean, work: () => Promise<T>): Promise<T> {
    return this.#semaphore.run(() => isOver() ? Promise.reject(new Error("too late")) : work());
  }

  async #read(topic: string, keep: Retention, query: HistoryQuery): Promise<BrokerHistory> {
    const { stream } = await this.#open();
    const subject = stream.subject(escapeTopic(topic));
    const { epoch, message } = await stream.last(subject, keep);
    const { first = Infinity, limit, since } = query;
    const last = message.seq;
    const known = since?.epoch === epoch && since.offset <= last;
    const place = { epoch, last, from: known ? since.offset : -1 };
    const read = (): HistoryPage | Promise<HistoryPage> => {
      if (place.from === last || keep.size === 0 || limit === 0) return NOTHING;
      if (limit === 1 && since === undefined) return { ...NOTHING, messages: [message] };
      return stream.read(subject, { from: Math.max(place.from, 1), to: last, most: first + 1 });
    };
    return historyOf(place, await read(), keep, query);
  }
}

const NOTHING: HistoryPage = { messages: [], count: 0, isWhole: true };

interface Open {
  readonly connection: NatsConnection;
  readonly stream: NatsStream;
}

interface NatsListener {
  readonly reader: TopicReader;
  readonly name: string;
  subscription: Subscription | undefined;
}

function parseLive(message: Msg, epoch: string): LiveEvent | undefined {
  const { headers } = message;
  if (headers === undefined) return undefined;
  const [position, previous] = livePosition(headers, epoch);
  const at = publishedAt(headers, Date.now());
  const event = isStart(headers) ? undefined : { position, data: message.string(), at };
  return { position, previous, event };
}

interface TopicPlace {
  readonly epoch: string;
  readonly last: number;
  /** The offset that was asked from, where it may be one of the topic; else -1. */
  readonly from: number;
}

function historyOf(
  { epoch, from, last }: TopicPlace,
  { messages, count, isWhole }: HistoryPage,
  { size, ageMs }: Retention,
  { first = Infinity, limit = Infinity, since }: HistoryQuery,
): BrokerHistory {
  const position = { epoch, offset: last };
  // The message that was asked from is still there: then all after it are. Or the next one stands
  // right behind. The stream may keep more than this topic declares.
  const [oldestKept] = messages;
  const distance = from === last ? 0 : from < 0 ? Infinity : (oldestKept?.seq ?? Infinity) - from;
  const reaches = isWhole && distance <= 1 && count - (distance === 0 ? 1 : 0) <= size;
  const after = messages.filter(({ data, seq }) => data !== undefined && seq > from);
  const oldest = Date.now() - ageMs;
  const young = after.filter(({ at }) => at >= oldest);
  const most = Math.min(limit, first === Infinity ? size : Infinity);
  const newest = most === 0 ? [] : young.slice(-most);
  const whole = newest.length === after.length && (from === last || messages.length > 0);
  const events = newest.slice(0, first).map(({ seq, data = "", at }) => (
    { position: { epoch, offset: seq }, data, at }
  ));
  return { events, position, complete: since === undefined || (reaches && whole) };
}

function checkOptions(options: NatsBrokerOptions): NatsBrokerOptions {
  const { publishTimeoutMs, stream, storage, replicas } = options;
  if (publishTimeoutMs !== undefined) {
    checkMs("publishTimeoutMs", publishTimeoutMs, 1, MAX_TIMER_MS);
  }
  if (stream !== undefined && !/^[\w-]+$/.test(stream)) {
    throw new TypeError(`Expected \`stream\` to be letters, digits, - and _, got \`${stream}\``);
  }
  if (storage !== undefined && storage !== "file" && storage !== "memory") {
    throw new TypeError(`Expected \`storage\` to be "file" or "memory", got \`${storage}\``);
  }
  if (replicas !== undefined && !(Number.isInteger(replicas) && replicas >= 1 && replicas <= 5)) {
    throw new RangeError(`Expected \`replicas\` to be a number from 1 to 5, got \`${replicas}\``);
  }
  return options;
}
