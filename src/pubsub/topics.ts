/**
 * Topics: who is subscribed to what, and one event to all of them.
 *
 * @module
 */

import { SharedText } from "../channel.ts";
import { ErrorCode, RpcInvalidParamsError, RpcServerError } from "../errors.ts";
import { checkLength } from "../limits.ts";
import type { Limits } from "../limits.ts";
import type { Plugin } from "../plugin.ts";
import { notificationText } from "../protocol.ts";
import { admitted, subscriptionsOf } from "../request.ts";
import type { Connection, Guard, RpcRequest } from "../request.ts";
import { validate } from "../schema.ts";
import type { PlainIssue, Schema } from "../schema.ts";

/** How one topic, or all that fit a pattern, behave. */
export interface TopicOptions<Payload = unknown> {
  /** Guards: whoever they do not admit cannot subscribe, and does not see the topic. */
  readonly use?: readonly Guard[];
  /**
   * Keeps the last event and sends it to each new subscriber, unless it is older than `maxAgeMs`
   * milliseconds.
   *
   * @default {false}
   */
  readonly state?: boolean | { readonly maxAgeMs: number };
  /** What events are; each is checked before it goes out. Gives the payload its type. */
  readonly schema?: Schema<Payload>;
}

/** What the server decides for all topics. */
export interface TopicsOptions {
  /** Which bounds hold. */
  readonly limits: Limits;
  /** Whether events that are no array or object are sent in a one-element array. */
  readonly wrapScalars: boolean;
  /** Whether a connection may subscribe to anything at all. */
  readonly maySubscribe: (connection: Connection) => boolean;
}

interface Topic {
  readonly name: string;
  readonly options: TopicOptions;
  readonly subscribers: Set<Connection>;
  last: { readonly message: SharedText; readonly at: number } | undefined;
}

interface Pattern {
  readonly segments: readonly string[];
  readonly options: TopicOptions;
}

/** The topics of one server. */
export class Topics {
  readonly #options: TopicsOptions;
  readonly #fixed = new Map<string, Topic>();
  readonly #patterns: Pattern[] = [];
  // Topics that fit a pattern, while they have a subscriber or a last event.
  readonly #dynamic = new Map<string, Topic>();
  // Those of them that keep a last event, the one that was silent for longest first.
  readonly #kept = new Map<string, Topic>();

  /** @param options What holds for all topics. */
  constructor(options: TopicsOptions) {
    this.#options = options;
  }

  /**
   * Declares a topic, or all topics that fit a pattern: `room.*` fits `room.7`, not `room.7.log`.
   *
   * @throws {TypeError} Where the name is empty or taken.
   */
  add(name: string, options: TopicOptions): void {
    if (typeof name !== "string" || name === "") {
      throw new TypeError("Cannot declare a topic: its name is empty");
    }
    const segments = name.split(".");
    const taken = this.#fixed.has(name) ||
      this.#patterns.some((pattern) => pattern.segments.join(".") === name);
    if (taken) throw new TypeError(`Cannot declare topic "${name}": the name is taken`);
    if (segments.includes("*")) this.#patterns.push({ segments, options });
    else this.#fixed.set(name, newTopic(name, options));
  }

  /**
   * Sends an event to all subscribers of a topic.
   *
   * @returns To how many it went.
   * @throws {TypeError} Where there is no such topic, or the data has no JSON or breaks the schema.
   * @throws {RangeError} Where the event is longer than a message may be.
   */
  notify(name: string, data: unknown): number {
    const topic = this.#find(name);
    if (topic === undefined) throw new TypeError(`Cannot notify "${name}": no such topic`);
    const { schema, state } = topic.options;
    const message = this.#encode(name, schema === undefined ? data : fitting(name, schema, data));
    if (state) this.#keep(topic, message);
    for (const connection of topic.subscribers) connection.send(message);
    return topic.subscribers.size;
  }

  /** The connections that are subscribed to any of these topics, each once. */
  *filter(names: Iterable<string>): IterableIterator<Connection> {
    const seen = new Set<Connection>();
    for (const name of names) {
      for (const connection of this.#find(name)?.subscribers ?? []) {
        if (!seen.has(connection)) yield connection;
        seen.add(connection);
      }
    }
  }

  /** What pub/sub brings to a server: its methods, and its share in the life of connections. */
  plugin(): Plugin {
    const scalarParams = true;
    const socketOnly = true;
    return {
      methods: {
        get_topics: { handler: (_: unknown, { connection }: RpcRequest) => this.#list(connection) },
        get_subscriptions: {
          handler: (_: unknown, { connection }: RpcRequest) => [...connection.subscriptions],
          socketOnly,
        },
        subscribe: {
          handler: (params: unknown, request: RpcRequest) => this.#subscribe(params, request),
          scalarParams,
          socketOnly,
        },
        unsubscribe: {
          handler: (params: unknown, request: RpcRequest) => this.#unsubscribe(params, request),
          scalarParams,
          socketOnly,
        },
      },
      ended: (connection) => this.#forget(connection),
      userChanged: (connection) => this.#prune(connection),
    };
  }

  #list(connection: Connection): string[] {
    return [...this.#fixed.values()]
      .filter((topic) => mayUse(topic, connection))
      .map((topic) => topic.name);
  }

  #subscribe(params: unknown, request: RpcRequest): string[] {
    const { connection } = request;
    // Its answer, an error, has gone: nobody knows of this subscription.
    if (request.aborted) return [];
    const { maxSubscriptions } = this.#options.limits;
    const subscriptions = subscriptionsOf(connection);
    const added = [...new Set(topicNames(params))]
      .filter((name) => !subscriptions.has(name))
      .map((name) => this.#find(name))
      .filter((topic) => topic !== undefined && mayUse(topic, connection)) as Topic[];
    if (subscriptions.size + added.length > maxSubscriptions) {
      throw new RpcServerError(
        ErrorCode.tooManySubscriptions,
        `Too many subscriptions: ${maxSubscriptions} a connection (maxSubscriptions)`,
      );
    }
    for (const { name } of added) subscriptions.add(name);
    request.afterwards((succeeded) => {
      for (const { name } of added) {
        // The answer goes first, then the last event, then what is new.
        if (succeeded) this.#join(name, connection);
        else this.#leave(name, connection);
      }
    });
    return [...subscriptions];
  }

  #join(name: string, connection: Connection): void {
    // In the meantime it may have unsubscribed, logged out, gone, or joined by another call.
    const topic = connection.subscriptions.has(name) ? this.#find(name) : undefined;
    if (topic === undefined || topic.subscribers.has(connection)) return;
    if (!this.#fixed.has(name)) this.#dynamic.set(name, topic);
    topic.subscribers.add(connection);
    const { last } = topic;
    if (last !== undefined && isFresh(last.at, topic.options.state)) connection.send(last.message);
  }

  #unsubscribe(params: unknown, { connection }: RpcRequest): string[] {
    for (const name of topicNames(params)) this.#leave(name, connection);
    return [...connection.subscriptions];
  }

  #leave(name: string, connection: Connection): void {
    if (!connection.subscriptions.has(name)) return;
    subscriptionsOf(connection).delete(name);
    const topic = this.#fixed.get(name) ?? this.#dynamic.get(name);
    topic?.subscribers.delete(connection);
    if (topic?.subscribers.size === 0 && topic.last === undefined) this.#dynamic.delete(name);
  }

  #forget(connection: Connection): void {
    for (const name of connection.subscriptions) this.#leave(name, connection);
  }

  #prune(connection: Connection): void {
    const maySubscribe = this.#options.maySubscribe(connection);
    for (const name of connection.subscriptions) {
      const topic = maySubscribe ? this.#find(name) : undefined;
      if (topic === undefined || !mayUse(topic, connection)) this.#leave(name, connection);
    }
  }

  #find(name: string): Topic | undefined {
    return this.#fixed.get(name) ?? this.#dynamic.get(name) ?? this.#match(name);
  }

  #match(name: string): Topic | undefined {
    if (this.#patterns.length === 0) return undefined;
    const segments = name.split(".");
    // Clients name concrete topics: a star of theirs is no pattern.
    if (segments.includes("*") || segments.includes("")) return undefined;
    const pattern = this.#patterns.find((each) => fits(segments, each.segments));
    return pattern && newTopic(name, pattern.options);
  }

  #encode(name: string, data: unknown): SharedText {
    const scalar = typeof data !== "object" || data === null;
    const params = scalar && this.#options.wrapScalars ? [data] : data;
    const { maxMessageBytes } = this.#options.limits;
    const text = checkLength(notificationText(name, params), maxMessageBytes, `notify "${name}"`);
    return new SharedText(text);
  }

  #keep(topic: Topic, message: SharedText): void {
    topic.last = { message, at: Date.now() };
    const { name } = topic;
    if (this.#fixed.has(name)) return;
    this.#dynamic.set(name, topic);
    this.#kept.delete(name);
    this.#kept.set(name, topic);
    if (this.#kept.size > MAX_KEPT) this.#dropOldest();
  }

  #dropOldest(): void {
    for (const [name, topic] of this.#kept) {
      topic.last = undefined;
      this.#kept.delete(name);
      if (topic.subscribers.size === 0) this.#dynamic.delete(name);
      return;
    }
  }
}

// Last events kept for topics under patterns: their names come from clients' needs, not from code.
const MAX_KEPT = 10_000;

function newTopic(name: string, options: TopicOptions): Topic {
  return { name, options, subscribers: new Set(), last: undefined };
}

function mayUse(topic: Topic, connection: Connection): boolean {
  const { name, options: { use = [] } } = topic;
  return admitted(use, { user: connection.user, connection, name, kind: "topic" });
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

function isFresh(at: number, state: TopicOptions["state"]): boolean {
  return typeof state !== "object" || Date.now() - at <= state.maxAgeMs;
}

function fits(segments: readonly string[], pattern: readonly string[]): boolean {
  return segments.length === pattern.length &&
    pattern.every((segment, index) => segment === "*" || segment === segments[index]);
}

/** The topics that a caller means: one, a list, or either as `{ topics }`. */
function topicNames(params: unknown): string[] {
  // No params at all: it only asks what it is subscribed to, as aiohttp-json-rpc's clients may.
  if (params === undefined || params === null) return [];
  const named = typeof params === "object" && params !== null && !Array.isArray(params);
  const topics = named ? (params as { topics?: unknown }).topics : params;
  const names = typeof topics === "string" ? [topics] : topics;
  if (Array.isArray(names) && names.every((name) => typeof name === "string")) return names;
  throw new RpcInvalidParamsError({ data: "Expected a topic or a list of topics" });
}
