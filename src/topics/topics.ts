/**
 * The topics of one server: declaring, publishing, subscribing, and what plugins are told of it.
 *
 * @module
 */

import { describeError, quoted } from "../protocol/errors.ts";
import { checkLength } from "../protocol/limits.ts";
import { RawJson } from "../protocol/message.ts";
import type { Limits } from "../protocol/limits.ts";
import type { Logger } from "../util/logger.ts";
import { isThenable } from "../util/maybe_promise.ts";
import type { Plugin, UnsubscribeReason } from "../core/plugin.ts";
import type { RpcRequest } from "../core/request.ts";
import type { ServerStats } from "../core/stats.ts";
import { toSubscriber } from "../core/connection.ts";
import type { Connection, SubscriberConnection } from "../core/connection.ts";
import { REMOVE_TOPIC } from "../core/internal.ts";
import { validate } from "../core/schema.ts";
import type { PlainIssue, Schema } from "../core/schema.ts";
import { SlowSubscribers } from "./slow_subscribers.ts";
import type { DropHook } from "./slow_subscribers.ts";
import type { Broker, Position } from "../brokers/broker.ts";
import { matches } from "./pattern.ts";
import { TopicRegistry } from "./registry.ts";
import type { TopicDeclaration } from "./registry.ts";
import { BrokerListeners } from "./broker_listener.ts";
import { PublishResult } from "./publish_result.ts";
import { subscribe, topicNames } from "./subscribe.ts";
import type { TopicTable } from "./subscribe.ts";
import { newEventCounts } from "./event_counts.ts";
import type { EventCounts } from "./event_counts.ts";
import { TOPIC_METHODS } from "./method_documents.ts";
import { Topic } from "./topic.ts";
import type { SharedByTopics } from "./topic.ts";
import type { TopicMemory } from "./subscriber.ts";
import { TopicEncoder } from "./event.ts";
import type { TopicOptions } from "./options.ts";

/** What a server decides for all of its topics. */
export interface TopicsOptions {
  /** The limits of the server. */
  readonly limits: Limits;
  /** The log for failures. */
  readonly logger: Logger;
  /** Counts the memory that subscriptions take. */
  readonly budget: TopicMemory;
  /** Keeps events and brings them to this process. */
  readonly broker: Broker;
  /** Whether events that are neither an array nor an object are sent in a one-element array. */
  readonly wrapScalars: boolean;
  /** Tells whether a connection may use the method `subscribe`. */
  readonly maySubscribe: (connection: Connection) => boolean;
  /** Called when events were dropped for a connection. */
  readonly onDrop: DropHook;
  /** Called when a connection is subscribed to a topic. */
  readonly onSubscribe: (connection: Connection, topic: string) => void;
  /** Called when a connection is no longer subscribed to a topic. */
  readonly onUnsubscribe: (
    connection: Connection,
    topic: string,
    reason: UnsubscribeReason,
  ) => void;
}

/** The topics of one server. */
export class Topics implements TopicTable {
  readonly maxSubscriptions: number;
  readonly #options: TopicsOptions;
  readonly #broker: Broker;
  readonly #counts: EventCounts = newEventCounts();
  readonly #shared: SharedByTopics;
  readonly #registry = new TopicRegistry();
  // Topics with subscribers.
  readonly #live = new Map<string, Topic>();
  // The number of events that the broker has rejected since it last accepted one.
  #rejected = 0;

  /** @param options What holds for all topics. */
  constructor(options: TopicsOptions) {
    const { broker, logger, limits } = options;
    users.set(broker, (users.get(broker) ?? 0) + 1);
    this.#options = options;
    this.#broker = broker;
    const dropped: DropHook = (connection, topic, count) => {
      this.#counts.dropped += count;
      options.onDrop(connection, topic, count);
    };
    this.#shared = {
      listeners: new BrokerListeners(broker, logger),
      slowSubscribers: new SlowSubscribers(limits.maxBufferedBytes, dropped),
      counts: this.#counts,
      memory: options.budget,
    };
    this.maxSubscriptions = limits.maxSubscriptions;
  }

  /**
   * Declares a topic, or all topics that match a pattern: `room.*` matches `room.7`, not `room.7.log`.
   * Subscribers that its guards do not admit are removed.
   *
   * @param name The name or the pattern.
   * @param options The options of the topic.
   * @returns The declaration.
   * @throws {TypeError} If the name is empty, reserved or taken, or an option is invalid.
   * @throws {RangeError} If a number among the options is out of range.
   */
  add(name: string, options: TopicOptions): TopicDeclaration {
    const declaration = this.#registry.add(name, options);
    this.#review(declaration);
    return declaration;
  }

  /**
   * Removes a topic or a pattern, and notifies the subscribers of each topic that is then declared no
   * more.
   *
   * @param name The name or the pattern, as it was declared.
   * @param only Removes no other declaration than this one. @default {any}
   * @returns Whether it was declared.
   */
  remove(name: string, only?: TopicDeclaration): boolean {
    if (only !== undefined && this.#registry.get(name) !== only) return false;
    const removed = this.#registry.remove(name);
    if (removed === undefined) return false;
    this.#review(removed);
    this.#broker.forget?.(name);
    return true;
  }

  /** Lists the topics and patterns that a connection may use, with the schemas of their events. */
  describe(connection: Connection): { name: string; schema: TopicOptions["schema"] }[] {
    return this.#registry.describe(connection);
  }

  /**
   * Publishes an event.
   *
   * @param name The topic.
   * @param data The event's data; `undefined` for none.
   * @throws {TypeError} If there is no such topic, or the data has no JSON or does not fit the schema.
   * @throws {RangeError} If the event is over `maxMessageBytes`.
   */
  publish(name: string, data: unknown): PublishResult {
    const topic = this.#live.get(name);
    const declaration = topic?.declaration ?? this.#registry.find(name);
    if (declaration === undefined) {
      throw new TypeError(
        `Cannot publish to "${name}": no such topic. Declare it with rpc.topic()`,
      );
    }
    const { schema } = declaration.options;
    const value = schema === undefined ? data : checkSchema(name, schema, data);
    const text = this.#encode(name, declaration, value);
    const before = topic?.deliveries ?? 0;
    const position = this.#broker.publish(name, text, declaration.keep);
    if (isThenable(position)) this.#watch(name, position);
    else this.#counts.published++;
    return new PublishResult((topic?.deliveries ?? 0) - before, position);
  }

  /** Counts subscriptions and events. */
  stats(): Pick<ServerStats, "subscriptions" | "topics" | "events"> {
    let subscriptions = 0;
    for (const topic of this.#live.values()) subscriptions += topic.size;
    return { subscriptions, topics: this.#live.size, events: { ...this.#counts } };
  }

  /** Yields the connections that are subscribed to any of these topics, each once. */
  *subscribers(names: Iterable<string>): IterableIterator<Connection> {
    const seen = new Set<Connection>();
    for (const name of names) {
      for (const connection of [...this.#live.get(name) ?? []]) {
        if (!seen.has(connection)) yield connection;
        seen.add(connection);
      }
    }
  }

  /** Returns the plugin that adds the methods of topics to a server. */
  plugin(): Plugin {
    const options = { scalarParams: true, socketOnly: true };
    return {
      name: "topics",
      methods: {
        get_topics: {
          document: TOPIC_METHODS.get_topics,
          handler: (_: unknown, { connection }: RpcRequest) => this.#registry.listFor(connection),
        },
        get_subscriptions: {
          document: TOPIC_METHODS.get_subscriptions,
          handler: (_: unknown, { connection }: RpcRequest) => [...connection.subscriptions],
          socketOnly: true,
        },
        subscribe: {
          document: TOPIC_METHODS.subscribe,
          handler: (params: unknown, request: RpcRequest) => subscribe(params, request, this),
          ...options,
        },
        unsubscribe: {
          document: TOPIC_METHODS.unsubscribe,
          handler: (params: unknown, { connection }: RpcRequest) => {
            const subscriber = toSubscriber(connection);
            for (const name of topicNames(params)) this.leave(name, subscriber, "call");
            return [...connection.subscriptions];
          },
          ...options,
        },
      },
      onClose: (connection) => {
        const subscriber = toSubscriber(connection);
        for (const name of [...connection.subscriptions]) this.leave(name, subscriber, "close");
      },
      onUserChange: (connection) => {
        const subscriber = toSubscriber(connection);
        for (const name of [...connection.subscriptions]) this.#check(name, subscriber);
      },
      dispose: () => this.#release(),
    };
  }

  has(name: string, connection: Connection): boolean {
    return this.#registry.admits(name, connection);
  }

  whyRefused(name: string, connection: Connection): string | undefined {
    return this.#registry.whyRefused(name, connection);
  }

  find(name: string): Topic | undefined {
    return this.#live.get(name);
  }

  open(name: string): Topic {
    let topic = this.#live.get(name);
    if (topic === undefined) {
      const declaration = this.#registry.find(name) as TopicDeclaration;
      const encoder = this.#encoder(name, declaration);
      topic = new Topic(declaration, encoder, this.#shared);
      this.#live.set(name, topic);
      this.#options.budget.add(topicBytes(name));
    }
    return topic;
  }

  get isFull(): boolean {
    return this.#options.budget.isFull;
  }

  reserved(name: string): void {
    this.#options.budget.add(subscriptionBytes(name));
  }

  began(name: string, connection: SubscriberConnection): void {
    this.#options.onSubscribe(connection, name);
  }

  leave(name: string, connection: SubscriberConnection, reason: UnsubscribeReason): void {
    if (!connection.subscriptions.has(name)) return;
    connection[REMOVE_TOPIC](name);
    const { budget } = this.#options;
    budget.release(subscriptionBytes(name));
    const topic = this.#live.get(name);
    const begun = topic?.leave(connection);
    if (topic?.isEmpty && this.#live.delete(name)) budget.release(topicBytes(name));
    if (begun) this.#options.onUnsubscribe(connection, name, reason);
  }

  /** Closes the broker, unless another server still uses it. */
  #release(): void | Promise<void> {
    const others = (users.get(this.#broker) ?? 1) - 1;
    users.set(this.#broker, others);
    if (others === 0) return this.#broker.close();
  }

  /** Applies a change of the declarations to those topics with subscribers that it concerns. */
  #review(changed: TopicDeclaration): void {
    for (const [name, topic] of this.#liveOf(changed)) {
      const declaration = this.#registry.find(name);
      if (declaration === undefined) {
        this.#removeTopic(name, topic);
        continue;
      }
      if (topic.declaration !== declaration) {
        topic.redeclare(declaration, this.#encoder(name, declaration));
      }
      for (const connection of topic.all()) this.#check(name, connection);
    }
  }

  #liveOf({ name, segments }: TopicDeclaration): (readonly [name: string, topic: Topic])[] {
    if (segments !== undefined) {
      return [...this.#live].filter(([name]) => matches(name.split("."), segments));
    }
    const topic = this.#live.get(name);
    return topic === undefined ? [] : [[name, topic]];
  }

  #removeTopic(name: string, topic: Topic): void {
    const subscribed = [...topic];
    for (const connection of topic.all()) this.leave(name, connection, "removed");
    for (const connection of subscribed) connection.notify("rpc.removed", { topic: name });
  }

  /** Ends the subscription of a connection that may not have the topic any more. */
  #check(name: string, connection: SubscriberConnection): void {
    const may = this.#options.maySubscribe(connection) && this.has(name, connection);
    if (!may) this.leave(name, connection, "forbidden");
  }

  #encoder(name: string, { options }: TopicDeclaration): TopicEncoder {
    const { limits: { maxMessageBytes }, logger } = this.#options;
    const { wrapScalars = this.#options.wrapScalars } = options;
    return new TopicEncoder(name, { maxMessageBytes, logger, wrapScalars });
  }

  #encode(name: string, declaration: TopicDeclaration, data: unknown): string {
    const text = data === undefined ? "" : jsonOf(name, data);
    const { maxMessageBytes } = this.#options.limits;
    // Most events are so short that no exact count is needed.
    if ((name.length + text.length) * 3 + 300 > maxMessageBytes) {
      const encoder = this.#encoder(name, declaration);
      checkLength(encoder.plain(text), maxMessageBytes, `publish to "${name}"`);
    }
    return text;
  }

  /** Logs the first event that the broker rejects, and the first that it accepts again. */
  #watch(name: string, position: PromiseLike<Position>): void {
    const { logger } = this.#options;
    position.then(() => {
      this.#counts.published++;
      if (this.#rejected > 0) logger.warn(`Events are published again: ${this.#rejected} were not`);
      this.#rejected = 0;
    }, (error) => {
      if (this.#rejected++ > 0) return;
      logger.error(`Cannot publish an event of topic ${quoted(name)}: ${describeError(error)}`);
    });
  }
}

// Estimates of what a subscription, and a topic with subscribers, make a server keep.
function subscriptionBytes(name: string): number {
  return 256 + name.length;
}

function topicBytes(name: string): number {
  return 2048 + 2 * name.length;
}

// How many open servers of this process use each broker.
const users = new WeakMap<Broker, number>();

function jsonOf(name: string, data: unknown): string {
  if (data instanceof RawJson) return data.text;
  const text: string | undefined = JSON.stringify(data);
  if (text !== undefined) return text;
  throw new TypeError(`Cannot publish to "${name}": a ${typeof data} has no JSON`);
}

/** Checks an event with its topic's schema. Publishing is synchronous, so the schema must be too. */
function checkSchema(name: string, schema: Schema, data: unknown): unknown {
  const value = validate(schema, data, (issues: readonly PlainIssue[]) => {
    const why = issues.map(({ message }) => message).join("; ");
    return new TypeError(`Cannot publish to "${name}": the data does not fit its schema (${why})`);
  });
  if (!isThenable(value)) return value;
  value.then(undefined, () => {}); // its result is not used
  throw new TypeError(`Cannot publish to "${name}": its schema is asynchronous`);
}
