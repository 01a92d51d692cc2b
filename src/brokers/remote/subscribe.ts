/**
 * Subscribing to a topic of a store, with a reader that delivers its events in order.
 *
 * @module
 */

import type {
  BrokerHistory,
  BrokerSink,
  BrokerSubscription,
  HistoryQuery,
  Position,
  Retention,
} from "../broker.ts";
import type { RetryQueue } from "./retry_queue.ts";
import type { RecentEvents } from "./recent_events.ts";
import { TopicReader } from "./topic_reader.ts";

/** How a broker listens to topics of its store. One for all topics, of which there may be many. */
export interface RemoteStore {
  /** What all readers got last. */
  readonly recent: RecentEvents<TopicReader>;
  /** Makes sure that live events reach the reader, and returns where the topic stands after that. */
  join(topic: RemoteTopic, reader: TopicReader, isOver: () => boolean): Promise<Position>;
  /** Whether the reader still listens. */
  isListening(reader: TopicReader): boolean;
  /** Reads what the store has kept. */
  history(topic: RemoteTopic, query: HistoryQuery): Promise<BrokerHistory>;
  /** Ends the reader. Called too if `join` fails. */
  leave(topic: RemoteTopic, reader: TopicReader): void;
}

/** A topic, and what it declares. */
export interface RemoteTopic {
  readonly name: string;
  readonly keep: Retention;
}

/**
 * Subscribes to a topic.
 *
 * @param queue Tries again until the store answers.
 * @param store How the broker listens.
 * @param topic Which one.
 * @param sink Where the events go.
 * @returns The subscription. Rejects if the store is out of reach for too long.
 */
export async function subscribeTo(
  queue: RetryQueue,
  store: RemoteStore,
  topic: RemoteTopic,
  sink: BrokerSink,
): Promise<BrokerSubscription> {
  const reader: TopicReader = new TopicReader(
    sink,
    (query) => queue.retryUntil(() => store.isListening(reader), () => store.history(topic, query)),
    store.recent,
  );
  const unsubscribe = () => store.leave(topic, reader);
  try {
    const position = await queue.run({
      action: "subscribe to",
      topic: topic.name,
      attempt: (isOver) => store.join(topic, reader, isOver),
      patient: true,
    });
    reader.begin(position);
    return { position, unsubscribe };
  } catch (error) {
    unsubscribe();
    throw error;
  }
}
