/**
 * Topics: who is subscribed to what, and one event to all of them.
 *
 * @module
 */

import { describeError, quoted } from "../protocol/errors.ts";
import { checkLength } from "../protocol/limits.ts";
import { RawJson } from "../protocol/message.ts";
import type { Limits } from "../protocol/limits.ts";
import type { Logger } from "../util/logger.ts";
import type { Plugin } from "../core/plugin.ts";
import type { RpcRequest } from "../core/request.ts";
import { toSubscriber } from "../core/connection.ts";
import type { Connection, SubscriberConnection } from "../core/connection.ts";
import { REMOVE_TOPIC } from "../core/internal.ts";
import { validate } from "../core/schema.ts";
import type { PlainIssue, Schema } from "../core/schema.ts";
import { SlowSubscribers } from "./slow_subscribers.ts";
import type { DroppedHook } from "./slow_subscribers.ts";
import type { Broker, Position } from "../brokers/broker.ts";
import { mayUse, TopicRegistry } from "./registry.ts";
import type { TopicDeclaration } from "./registry.ts";
import { BrokerListeners } from "./broker_listener.ts";
import { PublishResult } from "./publish_result.ts";
import { subscribe, topicNames } from "./subscribe.ts";
import type { TopicTable } from "./subscribe.ts";
import { Topic } from "./topic.ts";
import { TopicEncoder } from "./event.ts";
import type { TopicOptions } from "./options.ts";

/** What the server decides for all topics. */
export interface TopicsOptions {
  /** Which bounds hold. */
  readonly limits: Limits;
  /** Where failures are written. */
  readonly logger: Logger;
  /** Who keeps events and brings them round. */
  readonly broker: Broker;
  /** Whether events that are no array or object are sent in a one-element array. */
  readonly wrapScalars: boolean;
  /** Whether a connection may subscribe to anything at all. */
  readonly maySubscribe: (connection: Connection) => boolean;
  /** Is told of events that a connection does not get. */
  readonly dropped: DroppedHook;
}

/** The topics of one server. */
export class Topics implements TopicTable {
  readonly maxSubscriptions: number;
  readonly #options: TopicsOptions;
  readonly #broker: Broker;
  readonly #listeners: BrokerListeners;
  readonly #slowSubscribers: SlowSubscribers;
  readonly #registry = new TopicRegistry();
  // Those that somebody hears.
  readonly #live = new Map<string, Topic>();
  // Events that the broker's engine did not take, since the last that it took.
  #refused = 0;

  /** @param options What holds for all topics. */
  constructor(options: TopicsOptions) {
    const { broker, logger, limits } = options;
    users.set(broker, (users.get(broker) ?? 0) + 1);
    this.#options = options;
    this.#broker = broker;
    this.#listeners = new BrokerListeners(broker, logger);
    this.#slowSubscribers = new SlowSubscribers(limits.maxBufferedBytes, options.dropped);
    this.maxSubscriptions = limits.maxSubscriptions;
  }

  /**
   * Declares a topic, or all topics that fit a pattern: `room.*` fits `room.7`, not `room.7.log`.
   *
   * @throws {TypeError} Where the name is empty or taken.
   */
  add(name: string, options: TopicOptions): void {
    const declaration = this.#registry.add(name, options);
    // One of that name may be heard already, by a pattern.
    const topic = this.#live.get(name);
    if (topic === undefined) return;
    topic.redeclare(declaration);
    for (const connection of topic.all()) this.#check(name, connection);
  }

  /** Takes a topic or a pattern back, and tells those who hear it; answers whether there was one. */
  remove(name: string): boolean {
    const declaration = this.#registry.remove(name);
    if (declaration === undefined) return false;
    for (const [concrete, topic] of this.#live) {
      if (topic.declaration !== declaration) continue;
      const told = [...topic];
      for (const connection of topic.all()) this.leave(concrete, connection);
      for (const connection of told) connection.notify("rpc.removed", { topic: concrete });
    }
    this.#broker.forget?.(name);
    return true;
  }

  /**
   * Publishes an event.
   *
   * @throws {TypeError} Where there is no such topic, or the data has no JSON or breaks the schema.
   * @throws {RangeError} Where the event is longer than a message may be.
   */
  publish(name: string, data: unknown): PublishResult {
    const topic = this.#live.get(name);
    const declaration = topic?.declaration ?? this.#registry.find(name);
    if (declaration === undefined) throw new TypeError(`Cannot notify "${name}": no such topic`);
    const { schema } = declaration.options;
    const text = this.#encode(name, schema === undefined ? data : fitting(name, schema, data));
    const before = topic?.deliveries ?? 0;
    const position = this.#broker.publish(name, text, declaration.keep);
    if (position instanceof Promise) this.#watch(name, position);
    return new PublishResult((topic?.deliveries ?? 0) - before, position);
  }

  /** The connections that are subscribed to any of these topics, each once. */
  *subscribers(names: Iterable<string>): IterableIterator<Connection> {
    const seen = new Set<Connection>();
    for (const name of names) {
      for (const connection of this.#live.get(name) ?? []) {
        if (!seen.has(connection)) yield connection;
        seen.add(connection);
      }
    }
  }

  /** What pub/sub brings to a server: its methods, and its share in the life of connections. */
  plugin(): Plugin {
    const options = { scalarParams: true, socketOnly: true };
    return {
      name: "topics",
      methods: {
        get_topics: {
          handler: (_: unknown, { connection }: RpcRequest) => this.#registry.listFor(connection),
        },
        get_subscriptions: {
          handler: (_: unknown, { connection }: RpcRequest) => [...connection.subscriptions],
          socketOnly: true,
        },
        subscribe: {
          handler: (params: unknown, request: RpcRequest) => subscribe(params, request, this),
          ...options,
        },
        unsubscribe: {
          handler: (params: unknown, { connection }: RpcRequest) => {
            const subscriber = toSubscriber(connection);
            for (const name of topicNames(params)) this.leave(name, subscriber);
            return [...connection.subscriptions];
          },
          ...options,
        },
      },
      onClose: (connection) => {
        const subscriber = toSubscriber(connection);
        for (const name of connection.subscriptions) this.leave(name, subscriber);
      },
      onUserChange: (connection) => {
        const subscriber = toSubscriber(connection);
        for (const name of connection.subscriptions) this.#check(name, subscriber);
      },
      dispose: () => this.#release(),
    };
  }

  has(name: string, connection: Connection): boolean {
    const declaration = this.#registry.find(name);
    return declaration !== undefined && mayUse(declaration, name, connection);
  }

  open(name: string): Topic {
    let topic = this.#live.get(name);
    if (topic === undefined) {
      const { limits: { maxMessageBytes }, logger, wrapScalars } = this.#options;
      const encoder = new TopicEncoder(name, { maxMessageBytes, logger, wrapScalars });
      const declaration = this.#registry.find(name) as TopicDeclaration;
      topic = new Topic(declaration, encoder, this.#listeners, this.#slowSubscribers);
      this.#live.set(name, topic);
    }
    return topic;
  }

  leave(name: string, connection: SubscriberConnection): void {
    if (!connection.subscriptions.has(name)) return;
    connection[REMOVE_TOPIC](name);
    const topic = this.#live.get(name);
    topic?.leave(connection);
    if (topic?.isEmpty) this.#live.delete(name);
  }

  /** Closes the broker, unless another server goes on with it. */
  #release(): void | Promise<void> {
    const others = (users.get(this.#broker) ?? 1) - 1;
    users.set(this.#broker, others);
    if (others === 0) return this.#broker.close();
  }

  /** Takes a topic from a connection that may not have it any more. */
  #check(name: string, connection: SubscriberConnection): void {
    const may = this.#options.maySubscribe(connection) && this.has(name, connection);
    if (!may) this.leave(name, connection);
  }

  #encode(name: string, data: unknown): string {
    const text = data === undefined ? "" : jsonOf(name, data);
    const { limits: { maxMessageBytes }, logger, wrapScalars } = this.#options;
    // As a rule it is plain to see that the message is short enough.
    if ((name.length + text.length) * 3 + 300 > maxMessageBytes) {
      const encoder = new TopicEncoder(name, { maxMessageBytes, logger, wrapScalars });
      checkLength(encoder.plain(text), maxMessageBytes, `notify "${name}"`);
    }
    return text;
  }

  /** Says once that events get lost, and once that they no longer do. */
  #watch(name: string, position: Promise<Position>): void {
    const { logger } = this.#options;
    position.then(() => {
      if (this.#refused > 0) logger.warn(`Events are published again: ${this.#refused} were not`);
      this.#refused = 0;
    }, (error) => {
      if (this.#refused++ > 0) return;
      logger.error(`Cannot publish an event of topic ${quoted(name)}: ${describeError(error)}`);
    });
  }
}

// How many servers of this process share a broker: those that are not closed.
const users = new WeakMap<Broker, number>();

function jsonOf(name: string, data: unknown): string {
  if (data instanceof RawJson) return data.text;
  const text: string | undefined = JSON.stringify(data);
  if (text !== undefined) return text;
  throw new TypeError(`Cannot notify "${name}": a ${typeof data} has no JSON`);
}

/** The event as its topic's schema gives it. Publishing is synchronous, and so must the schema be. */
function fitting(name: string, schema: Schema, data: unknown): unknown {
  const value = validate(schema, data, (issues: readonly PlainIssue[]) => {
    const why = issues.map(({ message }) => message).join("; ");
    return new TypeError(`Cannot notify "${name}": the data does not fit its schema (${why})`);
  });
  if (!(value instanceof Promise)) return value;
  value.catch(() => {}); // nobody waits for it
  throw new TypeError(`Cannot notify "${name}": its schema is asynchronous`);
}
