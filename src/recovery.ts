/**
 * The client's side of topics whose missed events are fetched. Loaded with the first of them: it imports
 * nothing of what a page has loaded already.
 *
 * @module
 */

import type { CallRequest } from "./pending.ts";

/** What is known of a topic. */
export interface Tracked {
  /** Whether the server has granted it. */
  readonly live: boolean;
  /** Where it stands: what came last. */
  position: unknown;
  /** What came before that, as far as it might come again. */
  readonly seen: Set<unknown>;
}

/** Whose topics these are. */
export interface RecoveryHost<Topic extends Tracked> {
  /** Finds a topic that is heard. */
  find(name: string): Topic | undefined;
  /** Takes the topics that the server has granted, of those that it was asked for. */
  granted(asked: readonly (readonly [string, Topic])[], subscriptions: unknown): void;
  /** Takes an event. */
  tell(name: string, topic: Topic, data: unknown): void;
  /** Takes note that events were missed for good. */
  gap(name: string, topic: Topic): void;
}

/** Asks for topics from where they stand, and knows where that is. */
export class Recovery<Topic extends Tracked> {
  readonly #host: RecoveryHost<Topic>;

  /** @param host Whose topics these are. */
  constructor(host: RecoveryHost<Topic>) {
    this.#host = host;
  }

  /** The call that subscribes to topics, and fetches what came since they were heard last. */
  request(asked: readonly (readonly [string, Topic])[]): CallRequest {
    const since = Object.fromEntries(
      asked.flatMap(([name, { position }]) => position === undefined ? [] : [[name, position]]),
    );
    const topics = asked.map(([name]) => name);
    const params = { topics, recover: true, ...Object.keys(since).length > 0 && { since } };
    return { method: "subscribe", params, taken: (answer) => this.#taken(asked, answer, since) };
  }

  /** Takes the params of an `rpc.message`. */
  take(params: unknown): void {
    const { topic: name, position, data, gap } = (params ?? {}) as Event;
    const topic = this.#host.find(name as string);
    if (topic === undefined) return;
    if (gap === true) {
      stand(topic, position);
      return this.#host.gap(name as string, topic);
    }
    if (topic.seen.has(position)) return;
    topic.position = position;
    topic.seen.add(position);
    if (topic.seen.size > SEEN) {
      for (const oldest of topic.seen) {
        topic.seen.delete(oldest);
        break;
      }
    }
    this.#host.tell(name as string, topic, data);
  }

  #taken(
    asked: readonly (readonly [string, Topic])[],
    answer: unknown,
    since: Record<string, unknown>,
  ): void {
    const { subscriptions, positions, recovered } = (answer ?? {}) as Answer;
    this.#host.granted(asked, subscriptions);
    for (const [name, topic] of asked) {
      // What was recovered is still to come: until then nothing newer was heard.
      if (!topic.live || (name in since && recovered?.[name] === true)) continue;
      stand(topic, positions?.[name]);
      if (name in since) this.#host.gap(name, topic);
    }
  }
}

interface Answer {
  readonly subscriptions?: unknown;
  readonly positions?: Readonly<Record<string, unknown>>;
  readonly recovered?: Readonly<Record<string, unknown>>;
}

interface Event {
  readonly topic?: unknown;
  readonly position?: unknown;
  readonly data?: unknown;
  readonly gap?: unknown;
}

// Positions of a topic that are remembered, to know an event that comes again.
const SEEN = 1024;

function stand(topic: Tracked, position: unknown): void {
  topic.position = position;
  topic.seen.clear();
  topic.seen.add(position);
}
