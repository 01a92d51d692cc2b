/**
 * Events as texts. Each event is encoded once for all plain subscribers, and once for all subscribers
 * that recover.
 *
 * @module
 */

import { SharedText } from "../core/channel.ts";
import { quoted } from "../protocol/errors.ts";
import { exceedsBytes } from "../util/utf8.ts";
import type { Logger } from "../util/logger.ts";
import { positionText } from "../brokers/broker.ts";
import type { BrokerEvent, Position } from "../brokers/broker.ts";

/** A `rpc.message` for subscribers that recover: an event with its position, or a gap. */
export class RecoveryText extends SharedText {
  /** The topic. */
  readonly topic: string;
  /** The position that the subscriber has reached with this message. */
  readonly position: string;
  /** The event's data as JSON text; `undefined` for a gap: events up to the position are lost. */
  readonly data: string | undefined;

  /**
   * @param topic The topic.
   * @param position The position that the subscriber reaches.
   * @param event The event; `undefined` for a gap.
   */
  constructor(topic: string, position: Position, event: EventContent | undefined) {
    const where = positionText(position);
    super(
      `{"jsonrpc":"2.0","method":"rpc.message","params":{"topic":${JSON.stringify(topic)},` +
        `"position":${JSON.stringify(where)}${membersOf(event)}}}`,
    );
    this.topic = topic;
    this.position = where;
    this.data = event?.data;
  }
}

/** The content of an event, without its place in the topic. */
export interface EventContent {
  /** The data as JSON text; empty if the event has none. */
  readonly data: string;
  /** When it was published, in milliseconds since 1970. */
  readonly at: number;
  /** Whether the broker had kept it, and it is sent because the subscription is new. */
  readonly retained: boolean;
}

function membersOf(event: EventContent | undefined): string {
  if (event === undefined) return ',"gap":true';
  const { data, at, retained } = event;
  return `,"time":${at}${retained ? ',"retained":true' : ""}${
    data === "" ? "" : `,"data":${data}`
  }`;
}

/** What all topics of a server have in common. */
export interface TopicEncoderOptions {
  /** Whether events that are neither an array nor an object are sent in a one-element array. */
  readonly wrapScalars: boolean;
  /** Bytes that one message may have. */
  readonly maxMessageBytes: number;
  /** The log for events that are too long. */
  readonly logger: Logger;
}

/** Encodes the events of one topic. */
export class TopicEncoder {
  /** The topic. */
  readonly name: string;
  /** The log for events that are too long. */
  readonly logger: Logger;
  readonly #wrapScalars: boolean;
  readonly #maxMessageBytes: number;
  readonly #start: string;

  /**
   * @param name The topic.
   * @param options How events are encoded.
   */
  constructor(name: string, options: TopicEncoderOptions) {
    this.name = name;
    this.logger = options.logger;
    this.#wrapScalars = options.wrapScalars;
    this.#maxMessageBytes = options.maxMessageBytes;
    this.#start = `{"jsonrpc":"2.0","method":${JSON.stringify(name)}`;
  }

  /** Encodes an event as a plain notification, whose method is the topic. */
  plain(data: string): string {
    if (this.#wrapScalars && !/^\s*[{[]/.test(data)) {
      return `${this.#start},"params":[${data === "" ? "null" : data}]}`;
    }
    return data === "" ? `${this.#start}}` : `${this.#start},"params":${data}}`;
  }

  /** Tells whether a text is over `maxMessageBytes`. */
  isTooLong(text: string): boolean {
    return exceedsBytes(text, this.#maxMessageBytes);
  }
}

/** An event, or a gap, for subscribers. */
export class TopicEvent {
  /** The position in the topic. */
  readonly position: Position;
  readonly #encoder: TopicEncoder;
  readonly #content: EventContent | undefined;
  // Both texts are made when the first subscriber needs them. `null`: the event is too long.
  #plain: SharedText | null | undefined;
  #recovering: RecoveryText | undefined;

  /**
   * @param encoder Encodes the events of the topic.
   * @param position The position in the topic.
   * @param content The event; `undefined` for a gap.
   */
  constructor(encoder: TopicEncoder, position: Position, content: EventContent | undefined) {
    this.#encoder = encoder;
    this.position = position;
    this.#content = content;
  }

  /**
   * Makes an event of what a broker has brought.
   *
   * @param encoder Encodes the events of the topic.
   * @param event The event.
   * @param retained Whether it is sent because the subscription is new.
   */
  static of(encoder: TopicEncoder, event: BrokerEvent, retained = false): TopicEvent {
    const { position, data, at } = event;
    return new TopicEvent(encoder, position, { data, at, retained });
  }

  /** Whether it says that events are lost. */
  get isGap(): boolean {
    return this.#content === undefined;
  }

  /** Whether it is sent because the subscription is new. */
  get isRetained(): boolean {
    return this.#content?.retained ?? false;
  }

  /** The number of characters, about. */
  get length(): number {
    return this.#content?.data.length ?? 0;
  }

  /** The text for plain subscribers; `undefined` if they get none. */
  plain(): SharedText | undefined {
    if (this.#plain === undefined) this.#plain = this.#encode();
    return this.#plain ?? undefined;
  }

  /** The text for subscribers that recover. An event that is too long becomes a gap. */
  recovering(): RecoveryText {
    if (this.#recovering !== undefined) return this.#recovering;
    const { name } = this.#encoder;
    const text = new RecoveryText(name, this.position, this.#content);
    return this.#recovering = this.#encoder.isTooLong(text.text)
      ? new RecoveryText(name, this.position, undefined)
      : text;
  }

  #encode(): SharedText | null {
    if (this.#content === undefined) return null;
    const text = this.#encoder.plain(this.#content.data);
    if (!this.#encoder.isTooLong(text)) return new SharedText(text);
    // `publish` refuses such an event, so it comes from a process with a higher limit.
    const topic = quoted(this.#encoder.name);
    this.#encoder.logger.warn(`An event of topic ${topic} was dropped: over maxMessageBytes`);
    return null;
  }
}
