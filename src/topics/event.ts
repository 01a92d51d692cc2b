/**
 * One event as it goes to subscribers: encoded once for all who hear it plainly, and once for all
 * who recover.
 *
 * @module
 */

import { SharedText } from "../core/channel.ts";
import { quoted } from "../protocol/errors.ts";
import { exceedsBytes } from "../util/utf8.ts";
import type { Logger } from "../util/logger.ts";
import { positionText } from "../brokers/broker.ts";
import type { BrokerEvent, Position } from "../brokers/broker.ts";

/** What goes to a subscriber that recovers: an event with its position, or the news of a gap. */
export class RecoveryText extends SharedText {
  /** The topic. */
  readonly topic: string;
  /** Where the subscriber stands once it has this. */
  readonly position: string;
  /** The event's data, as JSON text; `undefined` says that events before the position are lost. */
  readonly data: string | undefined;

  /** @param data As {@linkcode RecoveryText.data}. */
  constructor(topic: string, position: Position, data: string | undefined) {
    const where = positionText(position);
    const rest = data === undefined ? ',"gap":true' : data === "" ? "" : `,"data":${data}`;
    super(
      `{"jsonrpc":"2.0","method":"rpc.message","params":{"topic":${JSON.stringify(topic)},` +
        `"position":${JSON.stringify(where)}${rest}}}`,
    );
    this.topic = topic;
    this.position = where;
    this.data = data;
  }
}

/** How the events of one topic look. */
export class TopicEncoder {
  /** The topic. */
  readonly name: string;
  /** Where it is written that an event is too long. */
  readonly logger: Logger;
  readonly #wrapScalars: boolean;
  readonly #maxMessageBytes: number;
  readonly #start: string;

  /**
   * @param name The topic.
   * @param options Whether scalars are wrapped, and how long a message may be.
   */
  constructor(name: string, options: TopicEncoderOptions) {
    this.name = name;
    this.logger = options.logger;
    this.#wrapScalars = options.wrapScalars;
    this.#maxMessageBytes = options.maxMessageBytes;
    this.#start = `{"jsonrpc":"2.0","method":${JSON.stringify(name)}`;
  }

  /** The text of an event as a plain notification. */
  plain(data: string): string {
    if (this.#wrapScalars && !/^\s*[{[]/.test(data)) {
      return `${this.#start},"params":[${data === "" ? "null" : data}]}`;
    }
    return data === "" ? `${this.#start}}` : `${this.#start},"params":${data}}`;
  }

  /** Whether a text is longer than a message may be. */
  isTooLong(text: string): boolean {
    return exceedsBytes(text, this.#maxMessageBytes);
  }
}

/** What all topics of a server have in common. */
export interface TopicEncoderOptions {
  /** Whether events that are no array or object are sent in a one-element array. */
  readonly wrapScalars: boolean;
  /** How long a message may be. */
  readonly maxMessageBytes: number;
  /** Where failures are written. */
  readonly logger: Logger;
}

/** An event, or a gap, on its way to subscribers. */
export class TopicEvent {
  /** Where it stands. */
  readonly position: Position;
  readonly #encoder: TopicEncoder;
  readonly #data: string | undefined;
  // Each is made when the first subscriber needs it; `null`: too long.
  #plain: SharedText | null | undefined;
  #recovering: RecoveryText | undefined;

  /** @param data JSON text; `undefined` for a gap. */
  constructor(encoder: TopicEncoder, position: Position, data: string | undefined) {
    this.#encoder = encoder;
    this.position = position;
    this.#data = data;
  }

  /** The event of a broker. */
  static of(encoder: TopicEncoder, { position, data }: BrokerEvent): TopicEvent {
    return new TopicEvent(encoder, position, data);
  }

  /** How many characters it has, about. */
  get length(): number {
    return this.#data?.length ?? 0;
  }

  /** For those who hear it plainly; `undefined` where there is nothing for them. */
  plain(): SharedText | undefined {
    if (this.#plain === undefined) this.#plain = this.#encode();
    return this.#plain ?? undefined;
  }

  /** For those who recover: what is too long is a gap to them. */
  recovering(): RecoveryText {
    if (this.#recovering !== undefined) return this.#recovering;
    const { name } = this.#encoder;
    const text = new RecoveryText(name, this.position, this.#data);
    return this.#recovering = this.#encoder.isTooLong(text.text)
      ? new RecoveryText(name, this.position, undefined)
      : text;
  }

  #encode(): SharedText | null {
    if (this.#data === undefined) return null;
    const text = this.#encoder.plain(this.#data);
    if (!this.#encoder.isTooLong(text)) return new SharedText(text);
    // Published elsewhere, by somebody with other limits.
    this.#encoder.logger.warn(
      `An event of topic ${quoted(this.#encoder.name)} was dropped: over maxMessageBytes`,
    );
    return null;
  }
}
