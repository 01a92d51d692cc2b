/**
 * The stream in which NATS keeps the events of all topics.
 *
 * It publishes each message again once it is kept, with its sequence and that of the one before it in
 * its subject: whoever is subscribed to that sees whether something is missing. What is kept of a
 * subject goes oldest first, so that a message that is still there proves that all later ones are.
 *
 * @module
 */

import { JetStreamApiError, jetstreamManager } from "@nats-io/jetstream";
import type { JetStreamClient, JetStreamManager, StreamConfig } from "@nats-io/jetstream";
import type { ConsumerConfig, PubAck, Republish, StoredMsg } from "@nats-io/jetstream";
import { headers } from "@nats-io/transport-node";
import type { MsgHdrs, NatsConnection } from "@nats-io/transport-node";
import type { Position, Retention } from "./broker.ts";

/** How a stream is made. */
export interface StreamOptions {
  /** Its name, and what its subjects begin with. */
  readonly name: string;
  readonly storage: "file" | "memory";
  readonly replicas: number;
  /** How long something may be tried again, in milliseconds. */
  readonly retryMs: number;
}

/** What the broker says of a message. */
export const Header = {
  /** The epoch that its publisher knew. */
  epoch: "Rpc-Epoch",
  /** When it was published, in milliseconds since 1970. */
  at: "Rpc-At",
  /** Only gives a quiet topic a position. */
  start: "Rpc-Start",
} as const;

/** A message of a topic. */
export interface KeptMessage {
  readonly seq: number;
  readonly at: number;
  /** `undefined` where it only gives a position. */
  readonly data: string | undefined;
}

const NS_IN_MS = 1_000_000;
const MIN_AGE_MS = 24 * 60 * 60 * 1000;
const MIN_RETRY_MS = 30_000;
const MAX_WAITS = 7;
// How long a read waits for a server of a cluster that is a little behind.
const READ_MS = 2_000;
const WRONG_LAST_SEQUENCE = 10071;
const STREAM_EXISTS = 10058;
const STREAM_NOT_FOUND = 10059;
const NO_MESSAGE_FOUND = 10037;

/** One stream on one connection. */
export class NatsStream {
  readonly #options: StreamOptions;
  readonly #manager: JetStreamManager;
  readonly #client: JetStreamClient;
  // What it keeps for certain: wide enough for all topics that were asked for.
  #kept: Retention = { size: -1, ageMs: -1 };
  #epoch = "";
  #widening: Promise<void> | undefined;

  private constructor(options: StreamOptions, manager: JetStreamManager) {
    this.#options = options;
    this.#manager = manager;
    this.#client = manager.jetstream();
  }

  /** Finds it; `require` makes it. */
  static async on(connection: NatsConnection, options: StreamOptions): Promise<NatsStream> {
    // Its own end of waiting is not to come before that of the broker.
    const timeout = options.retryMs * MAX_WAITS;
    const manager = await jetstreamManager(connection, { checkAPI: false, timeout });
    return new NatsStream(options, manager);
  }

  /** The subject under which a topic's messages are kept. */
  subject(name: string): string {
    return `${this.#options.name}.keep.${name}`;
  }

  /** The epoch that it had when it was last looked at. */
  get epoch(): string {
    return this.#epoch;
  }

  /** Forgets what it knows: the server may have lost its data. */
  doubt(): void {
    this.#kept = { size: -1, ageMs: -1 };
  }

  /** Makes sure that it is there, and keeps what a topic declares. */
  async require(keep: Retention): Promise<string> {
    while (this.#kept.size < keep.size || (keep.size > 0 && this.#kept.ageMs < keep.ageMs)) {
      this.#widening ??= this.#widen(keep).finally(() => this.#widening = undefined);
      await this.#widening;
    }
    return this.#epoch;
  }

  /** Appends a message. The same `id` is taken once, however often it is tried. */
  async append(subject: string, data: string, id: string, epoch: string): Promise<number> {
    const ack = await this.#publish(subject, data, headersOf(epoch), { msgID: id });
    return ack.seq;
  }

  /** The last message of a subject; makes one where there is none. */
  async last(subject: string, epoch: string): Promise<number> {
    const { name } = this.#options;
    for (;;) {
      const found = await missing(
        NO_MESSAGE_FOUND,
        this.#manager.streams.getMessage(name, { last_by_subj: subject }),
      ) as StoredMsg | null | undefined;
      if (found) return found.seq;
      const start = headersOf(epoch);
      start.set(Header.start, "1");
      const expect = { lastSubjectSequence: 0 };
      const ack = await missing(WRONG_LAST_SEQUENCE, this.#publish(subject, "", start, { expect }));
      if (ack) return ack.seq;
    }
  }

  /**
   * Reads messages of a subject in order.
   *
   * @param from The first that may be among them.
   * @param to The last that is of interest.
   * @param most At most so many.
   * @returns Them, and how many there are from the first on.
   */
  async read(
    subject: string,
    { from, to, most }: { from: number; to: number; most: number },
  ): Promise<{ messages: KeptMessage[]; count: number }> {
    const { name } = this.#options;
    const { name: consumer, num_pending: count } = await this.#manager.consumers.add(name, {
      ...{ filter_subject: subject, deliver_policy: "by_start_sequence", opt_start_seq: from },
      ...{ ack_policy: "none", mem_storage: true, num_replicas: 1 },
      inactive_threshold: MIN_RETRY_MS * NS_IN_MS,
    } as Partial<ConsumerConfig>);
    const read: KeptMessage[] = [];
    try {
      const source = await this.#client.consumers.get(name, consumer);
      const max_messages = Math.min(most, to - from + 1);
      const messages = await source.fetch({ max_messages, expires: READ_MS });
      let reached = 0;
      for await (const message of messages) {
        reached = message.seq;
        if (message.seq <= to) read.push(keptMessage(message));
        if (message.seq >= to || read.length === most) break;
      }
      // A part is never taken for the whole: it is read again.
      if (reached < to && read.length < most) throw new Error("history came only in part");
      return { messages: read, count };
    } finally {
      this.#manager.consumers.delete(name, consumer).catch(() => {}); // it would go by itself
    }
  }

  #publish(
    subject: string,
    data: string,
    headers: MsgHdrs,
    more: { msgID?: string; expect?: { lastSubjectSequence: number } },
  ): Promise<PubAck> {
    return this.#client.publish(subject, data, {
      headers,
      timeout: this.#options.retryMs * MAX_WAITS,
      ...more,
    });
  }

  async #widen({ size, ageMs }: Retention): Promise<void> {
    const { streams } = this.#manager;
    const { name } = this.#options;
    const wanted = { size: Math.max(size, this.#kept.size), ageMs: size === 0 ? 0 : ageMs };
    let info = await missing(STREAM_NOT_FOUND, streams.info(name));
    if (info === undefined) {
      const config = { ...this.#fixed(), ...limitsOf(wanted) };
      info = await missing(STREAM_EXISTS, streams.add(config)) ?? await streams.info(name);
    }
    const kept = retentionOf(info.config);
    if (kept.size < wanted.size || kept.ageMs < wanted.ageMs || !info.config.republish) {
      // Only ever wider: other servers may have topics that keep more.
      const both = {
        size: Math.max(kept.size, wanted.size),
        ageMs: Math.max(kept.ageMs, wanted.ageMs),
      };
      const republish = this.#republish();
      info = await streams.update(name, { ...info.config, republish, ...limitsOf(both) });
    }
    this.#kept = retentionOf(info.config);
    this.#epoch = info.created.replaceAll(/\W/g, "");
  }

  #fixed() {
    const { name, replicas, retryMs, storage } = this.#options;
    return {
      name,
      subjects: [`${name}.keep.>`],
      storage,
      num_replicas: replicas,
      discard: "old",
      duplicate_window: Math.max(2 * retryMs, MIN_RETRY_MS) * NS_IN_MS,
      republish: this.#republish(),
    } as Partial<StreamConfig> & { name: string };
  }

  #republish(): Republish {
    const { name } = this.#options;
    return { src: `${name}.keep.>`, dest: `${name}.live.>` };
  }
}

/** What a live message says of itself. */
export function livePosition(headers: MsgHdrs, epoch: string): [Position, number | undefined] {
  const offset = Number(headers.get("Nats-Sequence"));
  const previous = Number(headers.get("Nats-Last-Sequence"));
  const position = { epoch: headers.get(Header.epoch) || epoch, offset };
  return [position, previous === 0 ? undefined : previous];
}

/** When a message was published; `otherwise`, where somebody else published it. */
export function publishedAt(headers: MsgHdrs | undefined, otherwise: number): number {
  return Number(headers?.get(Header.at)) || otherwise;
}

/** Whether a message only gives a position. */
export function isStart(headers: MsgHdrs | undefined): boolean {
  return headers?.has(Header.start) ?? false;
}

function headersOf(epoch: string): MsgHdrs {
  const made = headers();
  made.set(Header.epoch, epoch);
  made.set(Header.at, String(Date.now()));
  return made;
}

function keptMessage(message: {
  readonly seq: number;
  readonly headers?: MsgHdrs | undefined;
  readonly timestamp: string;
  string(): string;
}): KeptMessage {
  const { headers, seq, timestamp } = message;
  return {
    seq,
    at: publishedAt(headers, Date.parse(timestamp)),
    data: isStart(headers) ? undefined : message.string(),
  };
}

/** One more is kept than a topic declares: the one before them, which proves that none is missing. */
function limitsOf({ size, ageMs }: Retention): Partial<StreamConfig> {
  return {
    max_msgs_per_subject: size === Infinity ? -1 : size + 1,
    max_age: ageMs === Infinity ? 0 : Math.max(Math.ceil(ageMs), MIN_AGE_MS) * NS_IN_MS,
  };
}

function retentionOf({ max_age, max_msgs_per_subject }: StreamConfig): Retention {
  return {
    size: max_msgs_per_subject === -1 ? Infinity : max_msgs_per_subject - 1,
    ageMs: max_age === 0 ? Infinity : max_age / NS_IN_MS,
  };
}

/** What a request gives, or `undefined` where the server answers with this error. */
async function missing<T>(code: number, request: Promise<T>): Promise<T | undefined> {
  try {
    return await request;
  } catch (error) {
    if (error instanceof JetStreamApiError && error.code === code) return undefined;
    throw error;
  }
}

// Of the errors of JetStream, those that say that it cannot serve now, or has lost its data.
const NOT_NOW = [10008, 10009, 10014, 10023, 10059, 10074, 10118];

/** Whether something failed since the engine could not be reached, or cannot serve yet. */
export function isAway(error: unknown): boolean {
  if (error instanceof JetStreamApiError) return NOT_NOW.includes(error.code);
  const { name } = error as Error;
  return !["InvalidArgumentError", "InvalidSubjectError", "PermissionViolationError"].includes(
    name,
  );
}
