/**
 * The method `subscribe`. Its answer is sent first, then the events that the client missed or asked
 * for, then new events.
 *
 * @module
 */

import { ErrorCode } from "../protocol/error_code.ts";
import {
  describeError,
  RpcError,
  RpcInvalidParamsError,
  RpcServerError,
} from "../protocol/errors.ts";
import { toSubscriber } from "../core/connection.ts";
import type { SubscriberConnection } from "../core/connection.ts";
import { TOPICS } from "../core/internal.ts";
import type { UnsubscribeReason } from "../core/plugin.ts";
import { logRefusal } from "../core/refusal.ts";
import { afterAnswer } from "../core/server_request.ts";
import type { RpcRequest } from "../core/request.ts";
import { parsePosition, positionText } from "../brokers/broker.ts";
import type { Subscriber } from "./subscriber.ts";
import { RecoveringSubscriber } from "./recovering_subscriber.ts";
import type { Since } from "./recovering_subscriber.ts";
import { allMaybe, isThenable, mapMaybe } from "../util/maybe_promise.ts";
import type { MaybePromise } from "../util/maybe_promise.ts";
import type { Topic } from "./topic.ts";

/** What `subscribe` needs of the topics. */
export interface TopicTable {
  /** The number of topics that one connection may have. */
  readonly maxSubscriptions: number;
  /** Whether no memory is left for more subscriptions. */
  readonly isFull: boolean;
  /** Counts the memory of one more subscription. */
  reserved(name: string): void;
  /** Says why a topic does not exist for a connection; `undefined` if it does. */
  whyRefused(name: string, connection: SubscriberConnection): string | undefined;
  /** Finds a topic that has subscribers. */
  find(name: string): Topic | undefined;
  /** Returns the topic, so that connections can join it. */
  open(name: string): Topic;
  /** Tells plugins that a subscription has begun. */
  began(name: string, connection: SubscriberConnection): void;
  /** Ends a subscription. */
  leave(name: string, connection: SubscriberConnection, reason: UnsubscribeReason): void;
}

/** The answer to a `subscribe` that asks for more than the names. */
export interface SubscribeAnswer {
  /** All topics of the connection. */
  readonly subscriptions: readonly string[];
  /** With `recover`: the position of the connection in each topic. Events that follow come after it. */
  readonly positions?: Readonly<Record<string, string>>;
  /** With `recover`: whether no event is missing between `since` and the events that follow. */
  readonly recovered?: Readonly<Record<string, boolean>>;
  /** With `ages`: the age of the last kept event in milliseconds, if it follows. */
  readonly ages?: Readonly<Record<string, number>>;
}

/** One topic of one `subscribe` call. */
interface SubscribeEntry {
  readonly topic: Topic;
  /** `undefined` if the connection was subscribed already, in the same way. */
  readonly subscriber: Subscriber | undefined;
  /** How the connection was subscribed before, if this call changes it. */
  readonly before: "plain" | Subscriber | undefined;
}

/**
 * Subscribes a connection to the topics that a call asks for.
 *
 * @param params The params of the call.
 * @param request The call.
 * @param table The topics.
 * @returns The answer.
 * @throws {RpcInvalidParamsError} If the params are invalid.
 * @throws {RpcServerError} If the connection would have too many topics.
 */
export function subscribe(
  params: unknown,
  request: RpcRequest,
  table: TopicTable,
): MaybePromise<readonly string[] | SubscribeAnswer> {
  const connection = toSubscriber(request.connection);
  // The call was answered with an error already, so its client does not know of this subscription.
  if (request.aborted) return [];
  const asked = parseParams(params);
  const loading = asked.names.flatMap((name) => loadingOf(name, connection, asked, table));
  if (loading.length > 0) {
    // A call before this one is about to say where the connection stands: this one goes on from there.
    return Promise.allSettled(loading).then(() => subscribe(params, request, table));
  }
  const names = reserve(asked.names, connection, table);
  const entries = names.map((name) => join(name, connection, asked, table));
  afterAnswer(request, (succeeded) => {
    for (const entry of entries) answered(entry, succeeded, connection, table);
  });
  const ready = allMaybe(entries.map(({ subscriber }) => subscriber?.ready));
  if (!isThenable(ready)) return answerOf(entries, connection, asked);
  return Promise.resolve(ready).then(() => answerOf(entries, connection, asked), (cause) => {
    connection.logger.error(`Cannot subscribe: ${describeError(cause)}`);
    throw new RpcError(ErrorCode.serverBusy, "Broker unavailable", { data: { retry: true } });
  });
}

/**
 * Reads the topics that a call names: a topic, a list, or either of them as `{ topic }` or `{ topics }`.
 *
 * @throws {RpcInvalidParamsError} If the params name no topics.
 */
export function topicNames(params: unknown): string[] {
  // Clients of aiohttp-json-rpc send no params to ask what they are subscribed to.
  if (params === undefined || params === null) return [];
  const topics = isRecord(params) ? params.topics ?? params.topic : params;
  const names = typeof topics === "string" ? [topics] : topics;
  if (Array.isArray(names) && names.every((name) => typeof name === "string")) return names;
  throw new RpcInvalidParamsError({ data: "Expected a topic or a list of topics" });
}

interface SubscribeParams {
  readonly names: readonly string[];
  readonly recover: boolean;
  readonly ages: boolean;
  readonly retained: boolean;
  /** Whether the retained event comes once more if the connection is subscribed already. */
  readonly repeats: boolean;
  readonly since: Readonly<Record<string, unknown>>;
  readonly last: Readonly<Record<string, unknown>>;
}

function parseParams(params: unknown): SubscribeParams {
  const names = [...new Set(topicNames(params))];
  const { recover, ages, retained, since, last } = isRecord(params) ? params : {};
  return {
    names,
    recover: recover === true,
    ages: ages === true,
    retained: retained !== false,
    repeats: recover === true && retained === true,
    since: recordOf("since", "an object of positions", since, () => true),
    last: recordOf(
      "last",
      "an object of whole numbers",
      last,
      (count) => Number.isSafeInteger(count) && (count as number) >= 0,
    ),
  };
}

function recordOf(
  name: string,
  what: string,
  value: unknown,
  isValid: (member: unknown) => boolean,
): Record<string, unknown> {
  if (value === undefined || value === null) return {};
  if (isRecord(value) && Object.values(value).every(isValid)) return value;
  throw new RpcInvalidParamsError({ data: `Expected \`${name}\` to be ${what}` });
}

function sinceOf(name: string, { since }: SubscribeParams): Since {
  const position = Object.hasOwn(since, name) ? since[name] : undefined;
  // This server never gave out an unreadable position: treat it as one whose history is gone.
  return position === undefined || position === null
    ? undefined
    : parsePosition(position) ?? "lost";
}

/**
 * Notes the subscriptions before anything is awaited, so that many calls at once cannot exceed
 * `maxSubscriptions`.
 *
 * @returns The names of those topics that exist for the connection.
 */
function reserve(
  asked: readonly string[],
  connection: SubscriberConnection,
  table: TopicTable,
): string[] {
  const subscriptions = connection[TOPICS];
  const { maxSubscriptions } = table;
  // Before the guards: one call may name tens of thousands of topics, and a guard may be slow.
  if (asked.length > maxSubscriptions) throw tooMany(maxSubscriptions);
  const names = asked.filter((name) => {
    if (subscriptions.has(name)) return true;
    const why = table.whyRefused(name, connection);
    if (why !== undefined) logRefusal({ connection, kind: "topic", name }, why);
    return why === undefined;
  });
  const added = names.filter((name) => !subscriptions.has(name));
  if (subscriptions.size + added.length > maxSubscriptions) throw tooMany(maxSubscriptions);
  if (added.length > 0 && table.isFull) {
    throw new RpcError(
      ErrorCode.serverBusy,
      "Server busy: all peers together use too much memory (maxTotalBytes)",
    );
  }
  for (const name of added) {
    subscriptions.add(name);
    table.reserved(name);
  }
  return names;
}

function tooMany(maxSubscriptions: number): RpcServerError {
  return new RpcServerError(
    ErrorCode.tooManySubscriptions,
    `Too many subscriptions: ${maxSubscriptions} a connection (maxSubscriptions)`,
  );
}

/** What the connection still waits for in a topic, if the call would change how it is subscribed. */
function loadingOf(
  name: string,
  connection: SubscriberConnection,
  asked: SubscribeParams,
  table: TopicTable,
): unknown[] {
  if (!connection.subscriptions.has(name)) return [];
  const subscriber = table.find(name)?.subscriberOf(connection);
  return subscriber?.loading && !isSame(name, subscriber, asked) ? [subscriber.ready] : [];
}

/** Tells whether a call asks for no more than how the connection is subscribed already. */
function isSame(name: string, before: "plain" | Subscriber, asked: SubscribeParams): boolean {
  const recovers = typeof before === "object" && before.recovers;
  const isMore = (asked.recover && sinceOf(name, asked) !== undefined) || lastOf(name, asked) > 0 ||
    asked.repeats;
  return recovers === asked.recover && !isMore;
}

function lastOf(name: string, { last }: SubscribeParams): number {
  return Object.hasOwn(last, name) ? last[name] as number : 0;
}

function join(
  name: string,
  connection: SubscriberConnection,
  asked: SubscribeParams,
  table: TopicTable,
): SubscribeEntry {
  const topic = table.open(name);
  const { recover } = asked;
  const since = recover ? sinceOf(name, asked) : undefined;
  const before = topic.subscriberOf(connection) ??
    (topic.hasPlain(connection) ? "plain" : undefined);
  if (before !== undefined && isSame(name, before, asked)) {
    if (before === "plain") return { topic, subscriber: undefined, before: undefined };
    before.pendingCalls++;
    return { topic, subscriber: before, before: undefined };
  }
  const subscriber = topic.join(connection, {
    recover,
    since,
    last: lastOf(name, asked),
    renews: !asked.retained,
    repeats: asked.repeats,
  });
  subscriber.pendingCalls++;
  return { topic, subscriber, before };
}

function answerOf(
  entries: readonly SubscribeEntry[],
  connection: SubscriberConnection,
  { recover, ages }: SubscribeParams,
): readonly string[] | SubscribeAnswer {
  const subscriptions = [...connection.subscriptions];
  if (!recover && !ages) return subscriptions;
  // The connection may have unsubscribed or logged out while the broker was asked.
  const subscribers = entries.flatMap(({ topic, subscriber }) =>
    subscriber !== undefined && topic.subscriberOf(connection) === subscriber
      ? [[topic.encoder.name, subscriber] as const]
      : []
  );
  const recovering = subscribers
    .flatMap(([name, subscriber]) =>
      subscriber instanceof RecoveringSubscriber ? [[name, subscriber] as const] : []
    );
  return {
    subscriptions,
    ...(recover && {
      positions: record(recovering, ({ position }) => positionText(position)),
      recovered: record(recovering, ({ recovered, joining }) => !joining || recovered),
    }),
    ...(ages && { ages: record(subscribers, ({ ageMs }) => ageMs) }),
  };
}

function answered(
  entry: SubscribeEntry,
  succeeded: boolean,
  connection: SubscriberConnection,
  table: TopicTable,
): void {
  const { topic, subscriber, before } = entry;
  const { name } = topic.encoder;
  const isCurrent = () => subscriber !== undefined && topic.subscriberOf(connection) === subscriber;
  if (subscriber === undefined || !isCurrent()) return;
  subscriber.pendingCalls--;
  if (!subscriber.joining) return;
  if (succeeded) {
    const failed = () => isCurrent() && table.leave(name, connection, "error");
    const begun = mapMaybe(subscriber.ready, () => {
      if (isCurrent() && subscriber.joining) begin(topic, subscriber, table);
    });
    if (begun instanceof Promise) begun.catch(failed);
  } else if (subscriber.pendingCalls === 0) {
    if (before === undefined) table.leave(name, connection, "error");
    else revert(topic, before, connection, table);
  }
}

/** Starts to send events. */
function begin(topic: Topic, subscriber: Subscriber, table: TopicTable): void {
  const { connection } = subscriber;
  if (!subscriber.begun) {
    subscriber.begun = true;
    table.began(topic.encoder.name, connection);
    // A plugin may have ended the subscription.
    if (topic.subscriberOf(connection) !== subscriber) return;
  }
  subscriber.release();
}

/** Restores how a connection was subscribed before a call that failed. */
function revert(
  topic: Topic,
  before: "plain" | Subscriber,
  connection: SubscriberConnection,
  table: TopicTable,
): void {
  const recover = before instanceof RecoveringSubscriber;
  const since = recover ? before.reached : undefined;
  const subscriber = topic.join(connection, { recover, since, last: 0 });
  // If the broker fails, the subscriber begins all the same and reads the history later.
  const start = (): void => begin(topic, subscriber, table);
  const begun = mapMaybe(subscriber.ready, start);
  if (begun instanceof Promise) begun.catch(start);
}

function record<Value, Result>(
  entries: readonly (readonly [name: string, value: Value])[],
  of: (value: Value) => Result,
): Record<string, Exclude<Result, undefined>> {
  const given = entries.map(([name, value]) => [name, of(value)] as const)
    .filter(([, value]) => value !== undefined);
  return Object.fromEntries(given) as Record<string, Exclude<Result, undefined>>;
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
