/**
 * Topics of many servers through NATS: a stream of JetStream keeps the events, and publishes them again
 * to every server with subscribers. Needs the packages `@nats-io/transport-node` and
 * `@nats-io/jetstream`, and a nats-server with JetStream (`nats-server -js`).
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
import type { NatsConnection, Subscription } from "@nats-io/transport-node";
import { Semaphore } from "../../util/semaphore.ts";
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
import { PeriodicCheck } from "../remote/periodic_check.ts";
import { RetryQueue } from "../remote/retry_queue.ts";
import { RecentEvents } from "../remote/recent_events.ts";
import type { RemoteStore } from "../remote/subscribe.ts";
import { subscribeTo } from "../remote/subscribe.ts";
import type { TopicReader } from "../remote/topic_reader.ts";
import { escapeTopic } from "../remote/topic_name.ts";
import { readHistory } from "./history.ts";
import { LeaderWatch } from "./leader_watch.ts";
import { answeringFirst } from "./probe.ts";
import { isAway, isRefusal, isUndone } from "./api_errors.ts";
import { checkOptions, isAtLeast } from "./options.ts";
import type { NatsBrokerOptions } from "./options.ts";
import { liveEvent, NatsStream } from "./stream.ts";
import type { StreamOptions } from "./stream_config.ts";

export type { NatsBrokerOptions } from "./options.ts";

/**
 * Makes a broker that shares topics with all other servers on the same NATS. It connects once, with
 * its first use, however many topics there are. The server must have JetStream on (`nats-server -js`)
 * and be of version 2.9 or later; 2.12 or later is recommended, and 2.10.23 the least for `replicas`
 * above 1.
 *
 * @param options Where NATS is, and how to use it.
 * @returns The broker.
 * @throws {TypeError} If a name or a choice is not one.
 * @throws {RangeError} If a number is out of bounds.
 */
export function natsBroker(options: NatsBrokerOptions = {}): Broker {
  return new NatsBroker(options);
}

const DEFAULT_TIMEOUT_MS = 5_000;
const DEFAULT_SERVER = "127.0.0.1:4222";
const PING_MS = 5_000;
// How long it may take to see that live delivery has lost a topic's last event between the servers
// of a cluster. With more than 1,500 topics it takes longer: 100 a second are looked at.
const ROUND_MS = 15_000;
const CHECKS_PER_SECOND = 100;
const WATCH_MS = 3_000;
// So many topics are subscribed to or read at the same time; others wait for their turn.
const TURNS_AT_ONCE = 128;
// Servers before this one may lose what a cluster has acknowledged (nats-server #5957 and #5987).
const SAFE_CLUSTER = [2, 10, 23] as const;

class NatsBroker implements Broker {
  readonly #options: NatsBrokerOptions;
  readonly #stream: StreamOptions;
  readonly #logger: Logger;
  readonly #queue: RetryQueue;
  // What the ids of its messages begin with: enough of it that no other broker has the same.
  readonly #id: string = crypto.randomUUID().slice(-17);
  readonly #semaphore: Semaphore = new Semaphore({
    concurrency: TURNS_AT_ONCE,
    maxWaiting: Infinity,
  });
  // One entry a reader, with the subscription that feeds it.
  readonly #listeners = new Map<TopicReader, NatsListener>();
  readonly #readers = new Set<TopicReader>();
  readonly #store: RemoteStore = {
    recent: new RecentEvents(),
    join: ({ name, keep }, reader, isOver) =>
      this.#turn(isOver, async () => {
        const open = await this.#open();
        if (!isOver()) this.#join(reader, escapeTopic(name), open);
        // The server must know of the subscription before it is asked where the topic stands.
        await this.#flush(open);
        return (await this.#read(name, keep, { limit: 0 })).position;
      }),
    isListening: (reader) => this.#readers.has(reader),
    history: ({ name, keep }, query) => this.history(name, keep, query),
    leave: (_topic, reader) => this.#leave(reader),
  };
  #opening: Promise<Open> | undefined;
  // What #opening resolves to, once it has.
  #opened: Open | undefined;
  #periodicCheck: PeriodicCheck<TopicReader> | undefined;
  #flushing: Promise<void> | undefined;
  #published = 0;
  #hasWarned = false;
  #closed = false;
  // Ends what happens before there is a connection.
  readonly #closing = new AbortController();

  constructor(options: NatsBrokerOptions) {
    const { logger = console, publishTimeoutMs = DEFAULT_TIMEOUT_MS } = checkOptions(options);
    const { replicas = 1, storage = "file", stream = "jsonrpc" } = options;
    this.#options = options;
    this.#logger = logger;
    this.#stream = { name: stream, replicas, storage, retryMs: publishTimeoutMs };
    this.#queue = new RetryQueue({
      name: "NATS",
      timeoutMs: publishTimeoutMs,
      logger,
      isAway,
      isUndone,
      isRefusal,
      probe: () => this.#probe(),
    });
  }

  publish(topic: string, data: string, keep: Retention): Promise<Position> {
    const name = escapeTopic(topic);
    const id = `${this.#id}-${(++this.#published).toString(36)}`;
    return this.#queue.run({
      action: "publish to",
      topic,
      attempt: async (isOver, sent) => {
        const { stream } = this.#opened ?? await this.#open();
        return stream.append(stream.subject(name), { data, id, isOver, sent }, keep);
      },
      doing: "published",
    });
  }

  subscribe(name: string, keep: Retention, sink: BrokerSink): Promise<BrokerSubscription> {
    return subscribeTo(this.#queue, this.#store, { name, keep }, sink);
  }

  history(topic: string, keep: Retention, query: HistoryQuery): Promise<BrokerHistory> {
    return this.#queue.run({
      action: "read the history of",
      topic,
      attempt: (isOver) => this.#turn(isOver, () => this.#read(topic, keep, query)),
      patient: true,
    });
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    this.#closing.abort();
    this.#queue.close();
    this.#periodicCheck?.end();
    for (const reader of this.#readers) reader.end();
    this.#readers.clear();
    this.#listeners.clear();
    const open = await this.#opening?.catch(() => undefined);
    open?.watch.end();
    await open?.connection.close();
    discardSocket(open?.connection);
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
    const own = [more?.servers ?? servers ?? DEFAULT_SERVER].flat();
    const isSilentFirst = typeof more?.tls === "object" && more.tls?.handshakeFirst === true;
    const known = isSilentFirst ? own : await answeringFirst(
      more?.noRandomize ? own : own.toSorted(() => Math.random() - 0.5),
      { timeoutMs: this.#stream.retryMs, signal: this.#closing.signal },
    );
    if (this.#closed) throw new Error("the broker is closed");
    const connection = await connect({
      ...{ noAsyncTraces: true, pingInterval: PING_MS, timeout: this.#stream.retryMs },
      ...more,
      ...{ servers: known, noRandomize: true },
      ...{ reconnect: true, maxReconnectAttempts: -1, ignoreAuthErrorAbort: true },
      ...{ reconnectTimeWait: 250, waitOnFirstConnect: false },
    });
    this.#warn(connection, this.#stream.replicas);
    const stream = await NatsStream.on(connection, this.#stream);
    const open = { connection, stream, watch: this.#watchLeader(connection, stream) };
    void this.#watchConnection(open);
    connection.closed().then((error) => {
      open.watch.end();
      if (this.#closed) return;
      this.#opening = this.#opened = undefined;
      this.#queue.interrupt(error ?? new Error("the connection was closed"));
    });
    for (const listener of this.#listeners.values()) {
      listener.subscription = this.#listen(listener, open);
    }
    this.#catchUp(); // after the loss of an earlier connection
    this.#opened = open;
    return open;
  }

  #watchLeader(connection: NatsConnection, stream: NatsStream): LeaderWatch {
    return new LeaderWatch({
      everyMs: WATCH_MS,
      isNeeded: () => (this.#readers.size > 0 || this.#queue.isBusy) && !connection.isClosed(),
      ask: async () => {
        const state = await stream.look();
        if (state !== undefined) this.#warn(connection, state.replicas);
        return state;
      },
      onChange: () => {
        // The old leader will not answer what was sent to it.
        this.#queue.retryAll();
        this.#periodicCheck?.hurry();
      },
    });
  }

  /** Warns once of a server that is too old to keep several copies. */
  #warn({ info }: NatsConnection, replicas: number): void {
    if (this.#hasWarned || replicas === 1 || isAtLeast(info?.version, SAFE_CLUSTER)) return;
    this.#hasWarned = true;
    this.#logger.warn(
      `nats-server ${info?.version} may lose acknowledged events of a stream with ${replicas} ` +
        `replicas: upgrade to ${SAFE_CLUSTER.join(".")} or later (2.12 is recommended)`,
    );
  }

  async #watchConnection({ connection, stream, watch }: Open): Promise<void> {
    for await (const { type } of connection.status()) {
      if (this.#closed) return;
      if (type === "disconnect") {
        stream.invalidate();
        this.#queue.interrupt(new Error("the connection was lost"));
      }
      if (type === "reconnect") {
        this.#catchUp();
        void watch.look();
      }
    }
  }

  async #probe(): Promise<void> {
    const { connection, stream } = await this.#open();
    stream.invalidate();
    await connection.flush();
    await stream.require({ size: 0, ageMs: 0 });
  }

  /** Resolves when the server has received all that was sent; calls at the same time share one round trip. */
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
    this.#periodicCheck ??= new PeriodicCheck(this.#readers, {
      everyMs: ROUND_MS,
      mostPerSecond: CHECKS_PER_SECOND,
    });
    const listener: NatsListener = { reader, name, subscription: undefined };
    listener.subscription = this.#listen(listener, open);
    this.#listeners.set(reader, listener);
    this.#readers.add(reader);
  }

  #listen({ reader, name }: NatsListener, { connection, stream }: Open): Subscription {
    return connection.subscribe(`${this.#stream.name}.live.${name}`, {
      callback: (error, message) => {
        if (error !== null) return this.#queue.lost(error);
        const live = liveEvent(message, stream.epoch);
        if (live === undefined) return; // not a message of the stream
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

  /** Limits how many do this at the same time. */
  #turn<T>(isOver: () => boolean, work: () => Promise<T>): Promise<T> {
    return this.#semaphore.run(() => isOver() ? Promise.reject(new Error("too late")) : work());
  }

  async #read(topic: string, keep: Retention, query: HistoryQuery): Promise<BrokerHistory> {
    const { stream } = await this.#open();
    const subject = stream.subject(escapeTopic(topic));
    const { epoch, isEmpty, message } = await stream.last(subject, keep);
    const history = await readHistory(
      stream.log(subject),
      { epoch, last: message, isEmpty },
      keep,
      query,
    );
    // Perhaps the stream has lost what topics without events have their position from.
    if (isEmpty && !history.complete) stream.invalidate();
    return history;
  }
}

/**
 * Ends the socket of a client that was closed while it connected again: it leaves that socket open if
 * the server accepts it and does not answer.
 */
function discardSocket(connection: NatsConnection | undefined): void {
  // The client's own name for that; nothing public ends such a socket.
  const { protocol } = (connection ?? {}) as { protocol?: { transport?: { discard?(): void } } };
  protocol?.transport?.discard?.();
}

interface Open {
  readonly connection: NatsConnection;
  readonly stream: NatsStream;
  readonly watch: LeaderWatch;
}

interface NatsListener {
  readonly reader: TopicReader;
  readonly name: string;
  subscription: Subscription | undefined;
}
