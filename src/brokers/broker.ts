/**
 * Types for a broker of your own: the interface between the topics of one process and the store that
 * keeps their events and delivers them to other processes. Pass it as `new JsonRpc({ broker })`.
 *
 * @module
 */

/** Where an event stands in its topic. Positions of one epoch are in order; epochs do not compare. */
export interface Position {
  /**
   * Names one unbroken history of a topic. A store that has lost its data begins another epoch, so
   * that an old position is never mistaken for a new one.
   */
  readonly epoch: string;
  /** Grows with each event of the topic, by one or by more; 0 stands before the first. */
  readonly offset: number;
  /**
   * Tells the event at `offset` from another event that a store gave the same offset after it had
   * lost data. A broker whose store cannot do that leaves it out. Letters, digits, `-` and `_`; at
   * most 32 characters.
   */
  readonly id?: string;
  /** The `id` of the event at `offset + 1`, in a position that only says "just before that event". */
  readonly nextId?: string;
}

/** One event, as a broker keeps and delivers it. */
export interface BrokerEvent {
  /** Where it stands. */
  readonly position: Position;
  /** Its data as JSON text; an empty text if it has none. */
  readonly data: string;
  /** When it was published, in milliseconds since 1970. */
  readonly at: number;
}

/** How much of a topic a broker has to keep. */
export interface Retention {
  /** How many events, the newest; 0 keeps none. */
  readonly size: number;
  /** For how many milliseconds; `Infinity` sets no limit. */
  readonly ageMs: number;
  /**
   * Whether the topic's name comes from code, not from what clients ask for. A broker that limits
   * how many topics it keeps does not count such a topic.
   *
   * @default {false}
   */
  readonly fixed?: boolean;
}

/** What one process does with the events of a topic. Neither function throws. */
export interface BrokerSink {
  /** Takes one event: each once, in the topic's order, from the position that `subscribe` returned. */
  event(event: BrokerEvent): void;
  /**
   * Reports that events were lost: the store has lost data, or was out of reach for longer than its
   * history reaches back.
   *
   * @param position Where the topic stands now; the next event comes after it. It may be lower than
   *   the last one of the same epoch, if the store has lost its newest events.
   */
  gap(position: Position): void;
}

/** One sink's subscription to a topic. */
export interface BrokerSubscription {
  /** Where the topic stood at the start: every later event reaches the sink. */
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
   * Where these events end: nothing up to there is missing from them. It is before `position` if
   * there is more to read.
   */
  readonly reached: Position;
  /**
   * Whether nothing is missing between the position that was asked from and `reached`. `true` if no
   * position was asked from.
   */
  readonly complete: boolean;
  /**
   * Whether the topic certainly does not have, and never had in this history, the event at the
   * position that was asked from: the store has lost it, and perhaps given its offset to another.
   *
   * @default {false}
   */
  readonly replaced?: boolean;
}

/** Which part of a topic's history to read: events after a position, or the newest events. */
export interface HistoryQuery {
  /** Events after this position. */
  readonly since?: Position;
  /** At most so many, the newest. @default {Infinity} */
  readonly limit?: number;
  /** At most so many, the oldest: a long history is read in pages. @default {Infinity} */
  readonly first?: number;
}

/**
 * Keeps the events of topics and delivers them. In one process that is `memoryBroker()`; between
 * processes it is a broker on a store such as Redis or NATS.
 *
 * A broker that need not wait returns values instead of promises, and calls its sinks before
 * `publish` returns.
 */
export interface Broker {
  /**
   * Appends an event to a topic.
   *
   * @param topic Any text: a broker escapes what its store would read as a pattern.
   * @param data JSON text, or an empty text for an event without data.
   * @param keep What the topic declares.
   * @returns Where the event stands. Rejects, within a bounded time, if the store did not take it;
   *   the message says so if the store may have taken it all the same.
   */
  publish(topic: string, data: string, keep: Retention): Position | Promise<Position>;
  /**
   * Begins to deliver a topic's events to a sink.
   *
   * @returns The subscription. Rejects, within a bounded time, if the store is out of reach.
   */
  subscribe(
    topic: string,
    keep: Retention,
    sink: BrokerSink,
  ): BrokerSubscription | Promise<BrokerSubscription>;
  /**
   * Reads what is still kept.
   *
   * @returns The events. Rejects, within a bounded time, if the store is out of reach.
   */
  history(
    topic: string,
    keep: Retention,
    query: HistoryQuery,
  ): BrokerHistory | Promise<BrokerHistory>;
  /** Drops what is kept of a topic that is no longer declared, unless another process may need it. */
  forget?(topic: string): void;
  /** Ends all subscriptions and disconnects from the store. */
  close(): void | Promise<void>;
}

/** The position just before an event, for a reader that is to get the event first. */
export function before({ epoch, offset, id }: Position): Position {
  return id === undefined
    ? { epoch, offset: offset - 1 }
    : { epoch, offset: offset - 1, nextId: id };
}

/** A position as clients get it; they must not look into it. */
export function positionText({ epoch, offset, id, nextId }: Position): string {
  const identity = id !== undefined ? `.${id}` : nextId !== undefined ? `~${nextId}` : "";
  return `${epoch}:${offset}${identity}`;
}

/** Reads a position that a client sent; `undefined` if it is malformed. */
export function parsePosition(text: unknown): Position | undefined {
  if (typeof text !== "string") return undefined;
  const [, epoch, digits, kind, id] =
    /^(.{0,100}):(\d{1,16})(?:([.~])([\w-]{1,32}))?$/s.exec(text) ?? [];
  const offset = Number(digits);
  if (epoch === undefined || !Number.isSafeInteger(offset)) return undefined;
  if (id === undefined) return { epoch, offset };
  return kind === "." ? { epoch, offset, id } : { epoch, offset, nextId: id };
}
