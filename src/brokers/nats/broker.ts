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
import { checkMs } from "../../util/milliseconds.ts";
import { Turnstile } from "../../util/semaphore.ts";
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
import { Engine } from "../remote/retry_queue.ts";
import { Follower } from "../remote/topic_reader.ts";
import type { LiveEvent } from "../remote/topic_reader.ts";
import { isStart, publishedAt } from "./pull.ts";
import { isAway, livePosition, NatsStream } from "./stream.ts";
import type { KeptPart, StreamOptions } from "./stream.ts";
import { Rounds } from "../remote/periodic_check.ts";
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
const MAX_TIMER_MS = 2 ** 31 - 1;
const PING_MS = 5_000;
// How long it may take until the loss of a topic's last event is seen, where one is lost between the
// servers of a cluster.
const ROUND_MS = 15_000;
// So many topics are subscribed to or read at the same time; the others wait for them.
const TURNS_AT_ONCE = 128;

class NatsBroker implements Broker {
  readonly #options: NatsBrokerOptions;
  readonly #stream: StreamOptions;
  readonly #engine: Engine;
  readonly #id: string = crypto.randomUUID();
  readonly #turns: Turnstile = new Turnstile({ atOnce: TURNS_AT_ONCE, maxWaiting: Infinity });
  readonly #ears = new Map<Follower, Ear>();
  readonly #followers = new Set<Follower>();
  #opening: Promise<Open> | undefined;
  #rounds: Rounds<Follower> | undefined;
  #flushing: Promise<void> | undefined;
  #published = 0;
  #closed = false;

  constructor(options: NatsBrokerOptions) {
    const { logger = console, publishTimeoutMs = DEFAULT_TIMEOUT_MS } = checkOptions(options);
    const { replicas = 1, storage = "file", stream = "jsonrpc" } = options;
    this.#options = options;
    this.#stream = { name: stream, replicas, storage, retryMs: publishTimeoutMs };
    this.#engine = new Engine({
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
    return this.#engine.run({
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
    const follower: Follower = new Follower(
      sink,
      (query) =>
        this.#engine.insist(
          () => this.#followers.has(follower),
          () => this.history(topic, keep, query),
        ),
    );
    const unsubscribe = () => this.#leave(follower);
    try {
      const position = await this.#engine.run({
        action: `subscribe to ${JSON.stringify(topic)}`,
        attempt: (isOver) =>
          this.#turn(isOver, async () => {
            const open = await this.#open();
            if (!isOver()) this.#join(follower, escapeTopic(topic), open);
            // The server knows of the subscription before it is asked where the topic stands.
            await this.#flush(open);
            return (await this.#read(topic, keep, { limit: 0 })).position;
          }),
        patient: true,
      });
      follower.begin(position);
      return { position, unsubscribe };
    } catch (error) {
      unsubscribe();
      throw error;
    }
  }

  history(topic: string, keep: Retention, query: HistoryQuery): Promise<BrokerHistory> {
    return this.#engine.run({
      action: `read the history of ${JSON.stringify(topic)}`,
      attempt: (isOver) => this.#turn(isOver, () => this.#read(topic, keep, query)),
      patient: true,
    });
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    this.#engine.close();
    this.#rounds?.end();
    for (const follower of this.#followers) follower.end();
    this.#followers.clear();
    this.#ears.clear();
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
      this.#engine.interrupt(error ?? new Error("the connection was closed"));
    });
    for (const ear of this.#ears.values()) ear.subscription = this.#listen(ear, open);
    this.#catchUp(); // they may have heard nothing for a while
    return open;
  }

  async #watch({ connection, stream }: Open): Promise<void> {
    for await (const { type } of connection.status()) {
      if (this.#closed) return;
      if (type === "disconnect") {
        stream.doubt();
        this.#engine.interrupt(new Error("the connection was lost"));
      }
      if (type === "reconnect") this.#catchUp();
    }
  }

  async #probe(): Promise<void> {
    const { connection, stream } = await this.#open();
    stream.doubt();
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
    for (const follower of this.#followers) follower.check();
  }

  #join(follower: Follower, name: string, open: Open): void {
    if (this.#ears.has(follower)) return;
    this.#rounds ??= new Rounds(this.#followers, ROUND_MS);
    const ear: Ear = { follower, name, subscription: undefined };
    ear.subscription = this.#listen(ear, open);
    this.#ears.set(follower, ear);
    this.#followers.add(follower);
  }

  #listen({ follower, name }: Ear, { connection, stream }: Open): Subscription {
    return connection.subscribe(`${this.#stream.name}.live.${name}`, {
      callback: (error, message) => {
        if (error !== null) return this.#engine.lost(error);
        const live = parseLive(message, stream.epoch);
        if (live === undefined) return; // somebody else's
        follower.take(live);
        if (stream.notice(live.position)) this.#catchUp();
      },
    });
  }

  #leave(follower: Follower): void {
    follower.end();
    this.#followers.delete(follower);
    this.#ears.get(follower)?.subscription?.unsubscribe();
    this.#ears.delete(follower);
  }

  /** Does what many may want at once, a few at a time. */
  #turn<T>(isOver: () => boolean, work: () => Promise<T>): Promise<T> {
    return this.#turns.pass(() => isOver() ? Promise.reject(new Error("too late")) : work());
  }

  async #read(topic: string, keep: Retention, query: HistoryQuery): Promise<BrokerHistory> {
    const { stream } = await this.#open();
    const subject = stream.subject(escapeTopic(topic));
    const { epoch, message } = await stream.last(subject, keep);
    const { first = Infinity, limit, since } = query;
    const last = message.seq;
    const known = since?.epoch === epoch && since.offset <= last;
    const place = { epoch, last, from: known ? since.offset : -1 };
    const read = (): KeptPart | Promise<KeptPart> => {
      if (place.from === last || keep.size === 0 || limit === 0) return NOTHING;
      if (limit === 1 && since === undefined) return { ...NOTHING, messages: [message] };
      return stream.read(subject, { from: Math.max(place.from, 1), to: last, most: first + 1 });
    };
    return historyOf(place, await read(), keep, query);
  }
}

const NOTHING: KeptPart = { messages: [], count: 0, isWhole: true };

interface Open {
  readonly connection: NatsConnection;
  readonly stream: NatsStream;
}

interface Ear {
  readonly follower: Follower;
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

interface Place {
  readonly epoch: string;
  readonly last: number;
  /** The offset that was asked from, where it may be one of the topic; else -1. */
  readonly from: number;
}

function historyOf(
  { epoch, from, last }: Place,
  { messages, count, isWhole }: KeptPart,
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
