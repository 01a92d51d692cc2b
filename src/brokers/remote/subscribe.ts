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
} from "../broker.ts";
import type { RetryQueue } from "./retry_queue.ts";
import { TopicReader } from "./topic_reader.ts";

/** How a broker listens to one topic of its store. */
export interface RemoteTopic {
  readonly name: string;
  /** Makes sure that live events reach the reader, and returns where the topic stands after that. */
  join(reader: TopicReader, isOver: () => boolean): Promise<Position>;
  /** Whether the reader still listens. */
  isListening(reader: TopicReader): boolean;
  /** Reads what the store has kept. */
  history(query: HistoryQuery): Promise<BrokerHistory>;
  /** Ends the reader. Called too if `join` fails. */
  leave(reader: TopicReader): void;
}

/**
 * Subscribes to a topic.
 *
 * @param queue Tries again until the store answers.
 * @param topic How the broker listens to it.
 * @param sink Where the events go.
 * @returns The subscription. Rejects if the store is out of reach for too long.
 */
export async function subscribeTo(
  queue: RetryQueue,
  topic: RemoteTopic,
  sink: BrokerSink,
): Promise<BrokerSubscription> {
  const reader: TopicReader = new TopicReader(
    sink,
    (query) => queue.retryUntil(() => topic.isListening(reader), () => topic.history(query)),
  );
  const unsubscribe = () => topic.leave(reader);
  try {
    const position = await queue.run({
      action: `subscribe to ${JSON.stringify(topic.name)}`,
      attempt: (isOver) => topic.join(reader, isOver),
      patient: true,
    });
    reader.begin(position);
    return { position, unsubscribe };
  } catch (error) {
    unsubscribe();
    throw error;
  }
}
