/**
 * A broker in the SQLite database of a Durable Object: what topics keep is there again when the object
 * comes back into memory.
 *
 * @see {@link https://developers.cloudflare.com/durable-objects/api/sqlite-storage-api/}
 *
 * @module
 */

import { before } from "../../brokers/broker.ts";
import type {
  Broker,
  BrokerEvent,
  BrokerHistory,
  BrokerSink,
  BrokerSubscription,
  HistoryQuery,
  Position,
  Retention,
} from "../../brokers/broker.ts";
import type { ObjectStorage, SqlStorage } from "./object_state.ts";

/**
 * Makes a broker that keeps events in the SQLite database of a Durable Object: in the tables
 * `jsonrpc_topics` and `jsonrpc_events`. Topics with neither `retain` nor `history` write nothing.
 *
 * @param storage The storage of the object, whose class must be declared under `new_sqlite_classes`.
 * @returns The broker, for one server.
 *
 * @example
 * ```ts ignore
 * const rpc = new JsonRpc({ broker: storageBroker(state.storage) }).topic("news", { retain: true });
 * ```
 */
export function storageBroker(storage: Pick<ObjectStorage, "sql">): Broker {
  return new StorageBroker(storage.sql);
}

class StorageBroker implements Broker {
  readonly #sql: SqlStorage;
  // One for all topics that are kept, so that one without events has a lasting position too.
  readonly #epoch: string;
  readonly #sinks = new Map<string, Map<BrokerSink, Position>>();
  // Where topics with subscribers stand. Those that keep nothing begin an epoch with the first of them.
  readonly #positions = new Map<string, Position>();
  // Events published while another was being delivered: each sink gets them in order.
  readonly #waiting: (readonly [topic: string, event: BrokerEvent])[] = [];
  #delivering = false;

  constructor(sql: SqlStorage) {
    this.#sql = sql;
    sql.exec(`
      CREATE TABLE IF NOT EXISTS jsonrpc_epoch (epoch TEXT NOT NULL);
      CREATE TABLE IF NOT EXISTS jsonrpc_topics (
        topic TEXT PRIMARY KEY, last INTEGER NOT NULL
      ) WITHOUT ROWID;
      CREATE TABLE IF NOT EXISTS jsonrpc_events (
        topic TEXT NOT NULL, number INTEGER NOT NULL, at INTEGER NOT NULL, data TEXT NOT NULL,
        PRIMARY KEY (topic, number)
      ) WITHOUT ROWID;
    `);
    const stored = sql.exec("SELECT epoch FROM jsonrpc_epoch").toArray()[0]?.epoch;
    this.#epoch = (stored ?? newEpoch()) as string;
    if (stored === undefined) sql.exec("INSERT INTO jsonrpc_epoch VALUES (?)", this.#epoch);
  }

  publish(topic: string, data: string, keep: Retention): Position {
    const { epoch, offset } = this.#position(topic, keep);
    const position = { epoch, offset: offset + 1 };
    const event = { position, data, at: Date.now() };
    if (keep.size > 0) this.#store(topic, event, keep);
    if (this.#sinks.has(topic)) {
      this.#positions.set(topic, position);
      this.#deliver(topic, event);
    }
    return position;
  }

  subscribe(topic: string, keep: Retention, sink: BrokerSink): BrokerSubscription {
    const position = this.#position(topic, keep);
    this.#positions.set(topic, position);
    const sinks = this.#sinks.get(topic) ?? new Map<BrokerSink, Position>();
    this.#sinks.set(topic, sinks.set(sink, position));
    return {
      position,
      unsubscribe: () => {
        sinks.delete(sink);
        if (sinks.size > 0 || this.#sinks.get(topic) !== sinks) return;
        this.#sinks.delete(topic);
        this.#positions.delete(topic);
      },
    };
  }

  history(topic: string, keep: Retention, query: HistoryQuery): BrokerHistory {
    const { since, limit = Infinity, first = Infinity } = query;
    const position = this.#position(topic, keep);
    this.#trim(topic, keep, position);
    const isKnown = since !== undefined && since.epoch === position.epoch &&
      since.offset <= position.offset;
    const kept = this.#read(topic, isKnown ? since.offset : 0);
    const wanted = kept.slice(Math.max(0, kept.length - limit));
    const events = wanted.slice(0, first);
    const next = wanted[events.length];
    return {
      events,
      position,
      reached: next === undefined ? position : before(next.position),
      complete: since === undefined ||
        (isKnown && wanted.length === position.offset - since.offset),
    };
  }

  forget(topic: string): void {
    // Its row in jsonrpc_topics stays: if the topic is declared again, no old position may fit.
    this.#sql.exec("DELETE FROM jsonrpc_events WHERE topic = ?", topic);
  }

  close(): void {
    this.#sinks.clear();
    this.#positions.clear();
  }

  #position(topic: string, { size }: Retention): Position {
    const known = this.#positions.get(topic);
    const isStored = known?.epoch === this.#epoch;
    // A topic may be declared anew, and then keep events, or keep none any more.
    if (known !== undefined && isStored === size > 0) return known;
    if (size === 0) return { epoch: newEpoch(), offset: 0 };
    const [row] = this.#sql.exec("SELECT last FROM jsonrpc_topics WHERE topic = ?", topic)
      .toArray();
    return { epoch: this.#epoch, offset: (row?.last ?? 0) as number };
  }

  #store(topic: string, { position, at, data }: BrokerEvent, keep: Retention): void {
    this.#sql.exec(
      `INSERT INTO jsonrpc_topics VALUES (?, ?)
        ON CONFLICT (topic) DO UPDATE SET last = excluded.last`,
      ...[topic, position.offset],
    );
    this.#sql.exec(
      "INSERT INTO jsonrpc_events VALUES (?, ?, ?, ?)",
      ...[topic, position.offset, at, data],
    );
    this.#trim(topic, keep, position);
  }

  #read(topic: string, after: number): BrokerEvent[] {
    const rows = this.#sql.exec(
      "SELECT number, at, data FROM jsonrpc_events WHERE topic = ? AND number > ? ORDER BY number",
      ...[topic, after],
    ).toArray() as unknown as { number: number; at: number; data: string }[];
    return rows.map(({ number, at, data }) => ({
      position: { epoch: this.#epoch, offset: number },
      data,
      at,
    }));
  }

  #trim(topic: string, { size, ageMs }: Retention, { offset }: Position): void {
    const oldestAt = ageMs === Infinity ? 0 : Date.now() - ageMs;
    // All up to the last one that is too old: the clock may have gone back between two events.
    this.#sql.exec(
      `DELETE FROM jsonrpc_events WHERE topic = ? AND (number <= ? OR number <=
        (SELECT MAX(number) FROM jsonrpc_events WHERE topic = ? AND at < ?))`,
      ...[topic, size === Infinity ? 0 : offset - size, topic, oldestAt],
    );
  }

  #deliver(topic: string, event: BrokerEvent): void {
    this.#waiting.push([topic, event]);
    if (this.#delivering) return;
    this.#delivering = true;
    for (let next = this.#waiting.shift(); next !== undefined; next = this.#waiting.shift()) {
      const [name, { position }] = next;
      // A sink that began during the delivery got a position that includes this event.
      for (const [sink, from] of this.#sinks.get(name) ?? []) {
        if (position.epoch !== from.epoch || position.offset > from.offset) sink.event(next[1]);
      }
    }
    this.#delivering = false;
  }
}

function newEpoch(): string {
  return crypto.randomUUID().slice(-12);
}
