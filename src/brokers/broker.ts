/**
 * The seam between the topics of one process and those of others: who keeps events, and who brings
 * them round.
 *
 * @module
 */

/** Where an event stands in its topic. Positions of one epoch are in order; epochs are strangers. */
export interface Position {
  /**
   * Names one unbroken history of a topic. An engine that has lost its data begins another, so that
   * an old position is never taken for a new one.
   */
  readonly epoch: string;
  /** Grows with each event of the topic, by one or by more; 0 stands before the first. */
  readonly offset: number;
}

/** One event, as a broker keeps it and brings it round. */
export interface BrokerEvent {
  /** Where it stands. */
  readonly position: Position;
  /** Its data, as JSON text; empty where it has none. */
  readonly data: string;
  /** When it was published, in milliseconds since 1970. */
  readonly at: number;
}

/** How much of a topic a broker has to keep. */
export interface Retention {
  /** How many events, the newest; 0: none. */
  readonly size: number;
  /** For how many milliseconds; `Infinity`: as long as there is room. */
  readonly ageMs: number;
  /**
   * Whether the topic's name comes from code, not from what clients ask for: a broker that bounds
   * how many topics it keeps leaves it out of the count.
   *
   * @default {false}
   */
  readonly fixed?: boolean;
}

/** What one process does with the events of a topic. Neither function throws. */
export interface BrokerSink {
  /** Takes one event: each once, in the topic's order, from the position that `subscribe` gave. */
  event(event: BrokerEvent): void;
  /**
   * Says that events were lost: the engine has lost its data, or was out of reach for longer than
   * its history reaches back.
   *
   * @param position Where the topic stands now; what follows comes after it.
   */
  gap(position: Position): void;
}

/** One process's ear on a topic. */
export interface BrokerSubscription {
  /** Where the topic stood when it began: every later event reaches the sink. */
  readonly position: Position;
  /** Ends it. Nothing reaches the sink from then on. */
  unsubscribe(): void | Promise<void>;
}

/** What a broker still has of a topic. */
export interface BrokerHistory {
  /** The oldest first. */
  readonly events: readonly BrokerEvent[];
  /** Where the topic stands now. */
  readonly position: Position;
  /**
   * Whether nothing is missing between the position that was asked from and the last of `events`
   * (`position`, where `first` held nothing back). `true` where no position was asked from.
   */
  readonly complete: boolean;
}

/** From where to read a topic's history: behind a position, or the newest events only. */
export interface HistoryQuery {
  /** Events after this position. */
  readonly since?: Position;
  /** At most so many, the newest. @default {Infinity} */
  readonly limit?: number;
  /** At most so many, the oldest: a long history is read in pages. @default {Infinity} */
  readonly first?: number;
}

/**
 * Keeps the events of topics and brings them round. In one process that is `memoryBroker()`; between
 * processes, an engine such as Redis or NATS behind its client.
 *
 * A broker that needs no waiting answers without promises, and its sinks are called before `publish`
 * returns.
 */
export interface Broker {
  /**
   * Appends an event to a topic.
   *
   * @param topic Any text: a broker escapes what its engine would read as a pattern.
   * @param data JSON text, or an empty text where the event has no data.
   * @param keep What the topic declares.
   * @returns Where it stands. Rejects, after a bounded wait, where the engine did not take it.
   */
  publish(topic: string, data: string, keep: Retention): Position | Promise<Position>;
  /** Begins to hear a topic. Rejects, after a bounded wait, where the engine is out of reach. */
  subscribe(
    topic: string,
    keep: Retention,
    sink: BrokerSink,
  ): BrokerSubscription | Promise<BrokerSubscription>;
  /** Reads what is still there. Rejects, after a bounded wait, where the engine is out of reach. */
  history(
    topic: string,
    keep: Retention,
    query: HistoryQuery,
  ): BrokerHistory | Promise<BrokerHistory>;
  /** Lets go of what is kept of a topic that is no more; only where that costs nobody else. */
  forget?(topic: string): void;
  /** Ends all subscriptions and lets go of the engine. */
  close(): void | Promise<void>;
}

/** A position as clients get it: opaque to them. */
export function positionText({ epoch, offset }: Position): string {
  return `${epoch}:${offset}`;
}

/** A position from a client; `undefined` where it is none. */
export function parsePosition(text: unknown): Position | undefined {
  if (typeof text !== "string") return undefined;
  const [, epoch, digits] = /^(.{0,100}):(\d{1,16})$/s.exec(text) ?? [];
  const offset = Number(digits);
  return epoch === undefined || !Number.isSafeInteger(offset) ? undefined : { epoch, offset };
}
