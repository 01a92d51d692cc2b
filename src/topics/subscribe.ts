/**
 * Answering `subscribe`: the answer goes first, then what was missed, then what is new.
 *
 * @module
 */

import {
  describeError,
  ErrorCode,
  RpcError,
  RpcInvalidParamsError,
  RpcServerError,
} from "../protocol/errors.ts";
import { toSubscriber } from "../core/connection.ts";
import type { SubscriberConnection } from "../core/connection.ts";
import { TOPICS } from "../core/internal.ts";
import { afterAnswer } from "../core/request.ts";
import type { RpcRequest } from "../core/request.ts";
import { parsePosition, positionText } from "../brokers/broker.ts";
import type { Subscriber } from "./subscriber.ts";
import { RecoveringSubscriber } from "./recovering_subscriber.ts";
import type { Since } from "./recovering_subscriber.ts";
import { allMaybe, mapMaybe } from "../util/maybe_promise.ts";
import type { MaybePromise } from "../util/maybe_promise.ts";
import type { Topic } from "./topic.ts";

/** What subscribing needs of the topics. */
export interface TopicTable {
  /** How many topics a connection may have. */
  readonly maxSubscriptions: number;
  /** Whether there is such a topic for a connection. */
  has(name: string, connection: SubscriberConnection): boolean;
  /** The topic, ready to be joined. */
  open(name: string): Topic;
  /** Ends a subscription. */
  leave(name: string, connection: SubscriberConnection): void;
}

/** What `subscribe` answers where it was asked for more than the names. */
export interface SubscribeAnswer {
  /** All topics of the connection. */
  readonly subscriptions: readonly string[];
  /** Where it stands in each that was asked for: what follows comes after it. */
  readonly positions?: Readonly<Record<string, string>>;
  /** Whether nothing is missing between the position that was asked from and what follows. */
  readonly recovered?: Readonly<Record<string, boolean>>;
  /** How old the last event is, in milliseconds, where it follows. */
  readonly ages?: Readonly<Record<string, number>>;
}

/** One topic of one call. */
interface SubscribeEntry {
  readonly topic: Topic;
  /** `undefined` where the connection hears the topic already, and that is all it asks. */
  readonly subscriber: Subscriber | undefined;
  /** How it heard the topic before, where this call changes it. */
  readonly before: "plain" | Subscriber | undefined;
}

/** Subscribes a connection to the topics that a call asks for. */
export function subscribe(
  params: unknown,
  request: RpcRequest,
  table: TopicTable,
): MaybePromise<readonly string[] | SubscribeAnswer> {
  const connection = toSubscriber(request.connection);
  // Its answer, an error, has gone: nobody knows of this subscription.
  if (request.aborted) return [];
  const wanted = parseWanted(params);
  const names = reserve(wanted, connection, table);
  const shares = names.map((name) => shareOf(name, connection, wanted, table));
  afterAnswer(request, (succeeded) => {
    for (const share of shares) answered(share, succeeded, connection, table);
  });
  const ready = allMaybe(shares.map(({ subscriber }) => subscriber?.ready));
  if (!(ready instanceof Promise)) return answerOf(shares, connection, wanted);
  return ready.then(() => answerOf(shares, connection, wanted), (cause) => {
    connection.logger.error(`Cannot subscribe: ${describeError(cause)}`);
    throw new RpcError(ErrorCode.serverBusy, "Topics are out of reach", { data: { retry: true } });
  });
}

/** The topics that a call means: one, a list, or either as `{ topics }`. */
export function topicNames(params: unknown): string[] {
  // No params at all: it only asks what it is subscribed to, as aiohttp-json-rpc's clients may.
  if (params === undefined || params === null) return [];
  const topics = isRecord(params) ? params.topics : params;
  const names = typeof topics === "string" ? [topics] : topics;
  if (Array.isArray(names) && names.every((name) => typeof name === "string")) return names;
  throw new RpcInvalidParamsError({ data: "Expected a topic or a list of topics" });
}

interface SubscribeParams {
  readonly names: readonly string[];
  readonly recover: boolean;
  readonly ages: boolean;
  readonly since: Readonly<Record<string, unknown>>;
}

function parseWanted(params: unknown): SubscribeParams {
  const names = [...new Set(topicNames(params))];
  const { recover, ages, since = {} } = isRecord(params) ? params : {};
  if (!isRecord(since)) {
    throw new RpcInvalidParamsError({ data: "Expected `since` to be an object of positions" });
  }
  return { names, recover: recover === true, ages: ages === true, since };
}

function sinceOf(name: string, { since }: SubscribeParams): Since {
  const position = Object.hasOwn(since, name) ? since[name] : undefined;
  // What is none was never handed out: it is as good as one from a history that is gone.
  return position === undefined || position === null
    ? undefined
    : parsePosition(position) ?? "lost";
}

/** Notes the subscriptions before anything is waited for, so that no crowd of calls gets past the limit. */
function reserve(
  wanted: SubscribeParams,
  connection: SubscriberConnection,
  table: TopicTable,
): string[] {
  const subscriptions = connection[TOPICS];
  const names = wanted.names
    .filter((name) => subscriptions.has(name) || table.has(name, connection));
  const added = names.filter((name) => !subscriptions.has(name));
  const { maxSubscriptions } = table;
  if (subscriptions.size + added.length > maxSubscriptions) {
    throw new RpcServerError(
      ErrorCode.tooManySubscriptions,
      `Too many subscriptions: ${maxSubscriptions} a connection (maxSubscriptions)`,
    );
  }
  for (const name of added) subscriptions.add(name);
  return names;
}

function shareOf(
  name: string,
  connection: SubscriberConnection,
  wanted: SubscribeParams,
  table: TopicTable,
): SubscribeEntry {
  const topic = table.open(name);
  const since = wanted.recover ? sinceOf(name, wanted) : undefined;
  const before = topic.subscriberOf(connection) ??
    (topic.hasPlain(connection) ? "plain" : undefined);
  const recovered = typeof before === "object" && before.recovers;
  if (before !== undefined && recovered === wanted.recover && since === undefined) {
    if (before === "plain") return { topic, subscriber: undefined, before: undefined };
    before.pendingCalls++;
    return { topic, subscriber: before, before: undefined };
  }
  const subscriber = topic.join(connection, { recover: wanted.recover, since });
  subscriber.pendingCalls++;
  return { topic, subscriber, before };
}

function answerOf(
  shares: readonly SubscribeEntry[],
  connection: SubscriberConnection,
  { recover, ages }: SubscribeParams,
): readonly string[] | SubscribeAnswer {
  const subscriptions = [...connection.subscriptions];
  if (!recover && !ages) return subscriptions;
  // In the meantime it may have unsubscribed, or logged out.
  const subscribers = shares.flatMap(({ topic, subscriber }) =>
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
  share: SubscribeEntry,
  succeeded: boolean,
  connection: SubscriberConnection,
  table: TopicTable,
): void {
  const { topic, subscriber, before } = share;
  const { name } = topic.encoder;
  const isHere = () => subscriber !== undefined && topic.subscriberOf(connection) === subscriber;
  if (subscriber === undefined || !isHere()) return;
  subscriber.pendingCalls--;
  if (!subscriber.joining) return;
  if (succeeded) {
    const failed = () => isHere() && table.leave(name, connection);
    const begun = mapMaybe(subscriber.ready, () => {
      if (isHere() && subscriber.joining) subscriber.release();
    });
    if (begun instanceof Promise) begun.catch(failed);
  } else if (subscriber.pendingCalls === 0) {
    if (before === undefined) table.leave(name, connection);
    else revert(topic, connection, before);
  }
}

/** Lets a connection hear a topic as it did before: it was told that nothing has changed. */
function revert(
  topic: Topic,
  connection: SubscriberConnection,
  before: "plain" | Subscriber,
): void {
  const recover = typeof before === "object" && before.recovers;
  const since = recover ? before.position : undefined;
  const subscriber = topic.join(connection, { recover, since });
  // Where the broker fails, reading on is tried again.
  const begun = mapMaybe(subscriber.ready, () => subscriber.release());
  if (begun instanceof Promise) begun.catch(() => subscriber.release());
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
