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
import type { ConsumerConfig, JetStreamClient, JetStreamManager } from "@nats-io/jetstream";
import type { PubAck, Republish, StoredMsg, StreamConfig, StreamInfo } from "@nats-io/jetstream";
import { headers } from "@nats-io/transport-node";
import type { MsgHdrs, NatsConnection } from "@nats-io/transport-node";
import type { Position, Retention } from "../broker.ts";
import { Header, keptMessage, pullAll } from "./pull.ts";
import type { KeptMessage, Pulled, PullRange } from "./pull.ts";
import { createOnce } from "./create_once.ts";

/** How a stream is made. */
export interface StreamOptions {
  /** Its name, and what its subjects begin with. */
  readonly name: string;
  readonly storage: "file" | "memory";
  readonly replicas: number;
  /** How long something may be tried again, in milliseconds. */
  readonly retryMs: number;
}

/** The last message of a subject, and the epoch of its position. */
export interface LastMessage {
  readonly epoch: string;
  readonly message: KeptMessage;
}

/** What was read of a subject. */
export interface HistoryPage extends Pulled {
  /** How many there are from the first that was asked for. */
  readonly count: number;
}

const NS_IN_MS = 1_000_000;
const MIN_AGE_MS = 24 * 60 * 60 * 1000;
const MIN_RETRY_MS = 30_000;
const MAX_WAITS = 7;
// How long a question waits for its answer until it is asked again.
const ASK_MS = 1_000;
// The same for what is read: a server of a cluster that has just died answers nothing.
const READ_MS = 3_000;
// How often a history is read that came only in part.
const TRIES = 3;
const WRONG_LAST_SEQUENCE = 10071;
const STREAM_EXISTS = 10058;
const STREAM_NOT_FOUND = 10059;
const NO_MESSAGE_FOUND = 10037;

/** One stream on one connection. */
export class NatsStream {
  readonly #options: StreamOptions;
  readonly #connection: NatsConnection;
  readonly #manager: JetStreamManager;
  // The same, for questions that are asked again where no answer comes.
  readonly #asking: JetStreamManager;
  readonly #reading: JetStreamManager;
  readonly #client: JetStreamClient;
  // What it keeps for certain: wide enough for all topics that were asked for.
  #kept: Retention = { size: -1, ageMs: -1 };
  #epoch = "";
  readonly #highest = { acknowledged: 0, heard: 0 };
  #widening: Promise<void> | undefined;

  private constructor(
    options: StreamOptions,
    connection: NatsConnection,
    [manager, asking, reading]: readonly [JetStreamManager, JetStreamManager, JetStreamManager],
  ) {
    this.#options = options;
    this.#connection = connection;
    this.#manager = manager;
    this.#asking = asking;
    this.#reading = reading;
    this.#client = manager.jetstream();
  }

  /** Finds it; `require` makes it. */
  static async on(connection: NatsConnection, options: StreamOptions): Promise<NatsStream> {
    // Its own end of waiting is not to come before that of the broker.
    const timeout = options.retryMs * MAX_WAITS;
    const manager = await jetstreamManager(connection, { checkAPI: false, timeout });
    const asking = await jetstreamManager(connection, { checkAPI: false, timeout: ASK_MS });
    const reading = await jetstreamManager(connection, { checkAPI: false, timeout: READ_MS });
    return new NatsStream(options, connection, [manager, asking, reading]);
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
  invalidate(): void {
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

  /**
   * Appends a message. The same `id` is taken once, however often it is tried.
   *
   * @returns Where it stands.
   */
  async append(subject: string, data: string, id: string, keep: Retention): Promise<Position> {
    const epoch = await this.require(keep);
    const { duplicate, seq } = await this.#publish(subject, data, headersOf(epoch), { msgID: id });
    const isOther = !duplicate && this.#isBack("acknowledged", seq);
    return { epoch: isOther ? await this.require(keep) : epoch, offset: seq };
  }

  /** Takes note of what a live message says; answers whether another stream is in the place of this one. */
  notice({ epoch, offset }: Position): boolean {
    if (epoch !== this.#epoch) this.invalidate();
    return this.#isBack("heard", offset);
  }

  /** The last message of a subject; makes one where there is none. */
  async last(subject: string, keep: Retention): Promise<LastMessage> {
    const epoch = await this.require(keep);
    const last = await this.#last(subject, epoch);
    if (last.epoch === epoch) return last;
    // Its publisher knew another stream, or this process does.
    this.invalidate();
    const now = await this.require(keep);
    return now === epoch ? { ...last, epoch } : { ...await this.#last(subject, now), epoch: now };
  }

  /**
   * Reads messages of a subject in order.
   *
   * @returns Them, how many there are from the first on, and whether none was thrown away meanwhile.
   */
  async read(subject: string, range: PullRange): Promise<HistoryPage> {
    for (let tries = 1;; tries++) {
      try {
        return await this.#read(subject, range);
      } catch (error) {
        // A part is never taken for the whole: it is read again.
        if (error instanceof JetStreamApiError || tries === TRIES) throw error;
      }
    }
  }

  async #read(subject: string, range: PullRange): Promise<HistoryPage> {
    const { name } = this.#options;
    const info = await this.#reading.consumers.add(name, {
      ...{ filter_subject: subject, deliver_policy: "by_start_sequence" },
      ...{ opt_start_seq: range.from, ack_policy: "none", mem_storage: true, num_replicas: 1 },
      inactive_threshold: MIN_RETRY_MS * NS_IN_MS,
    } as Partial<ConsumerConfig>);
    try {
      const source = this.#client.consumers.getConsumerFromInfo(info);
      const pulled = await pullAll(source, range, (seq) => this.#has(seq));
      return { ...pulled, count: info.num_pending };
    } finally {
      this.#manager.consumers.delete(name, info.name).catch(() => {}); // it would go by itself
    }
  }

  async #has(seq: number): Promise<boolean> {
    const request = this.#reading.streams.getMessage(this.#options.name, { seq });
    return !!await missing(NO_MESSAGE_FOUND, request);
  }

  async #last(subject: string, epoch: string): Promise<LastMessage> {
    const { name } = this.#options;
    for (;;) {
      const found = await missing(
        NO_MESSAGE_FOUND,
        this.#reading.streams.getMessage(name, { last_by_subj: subject }),
      ) as StoredMsg | null | undefined;
      if (found) {
        const { header: headers, seq, timestamp } = found;
        const string = () => found.string();
        const message = keptMessage({ seq, headers, timestamp, string });
        return { epoch: headers.get(Header.epoch) || epoch, message };
      }
      const start = headersOf(epoch);
      start.set(Header.start, "1");
      const expect = { lastSubjectSequence: 0 };
      const ack = await missing(WRONG_LAST_SEQUENCE, this.#publish(subject, "", start, { expect }));
      if (ack) return { epoch, message: { seq: ack.seq, at: Date.now(), data: undefined } };
    }
  }

  /** Whether sequences go backwards: then somebody has made the stream again. */
  #isBack(where: "acknowledged" | "heard", seq: number): boolean {
    const isBack = seq < this.#highest[where];
    this.#highest[where] = seq;
    if (isBack) this.invalidate();
    return isBack;
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
    let info = await this.#find() ?? await this.#make(wanted);
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

  async #find(): Promise<StreamInfo | undefined> {
    const found = await missing(STREAM_NOT_FOUND, this.#ask());
    // One that is only just being made may be found as well: it has no date yet, and a server that is
    // asked for a message of it may end.
    return found?.created.startsWith("0001-") ? undefined : found;
  }

  /** Asks for it, and asks again: of a server that has only just started an answer may never come. */
  async #ask(): Promise<StreamInfo> {
    const { name, retryMs } = this.#options;
    for (let left = retryMs * MAX_WAITS;; left -= ASK_MS) {
      try {
        return await this.#asking.streams.info(name);
      } catch (error) {
        if ((error as Error).name !== "TimeoutError" || left <= ASK_MS) throw error;
      }
    }
  }

  #make(wanted: Retention): Promise<StreamInfo> {
    const { streams } = this.#manager;
    const { name } = this.#options;
    const config = { ...this.#fixed(), ...limitsOf(wanted) };
    return createOnce(this.#connection, {
      subject: `${name}.making`,
      find: () => this.#find(),
      make: async () =>
        await missing(STREAM_EXISTS, streams.add(config)) ?? await streams.info(name),
    });
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

function headersOf(epoch: string): MsgHdrs {
  const made = headers();
  made.set(Header.epoch, epoch);
  made.set(Header.at, String(Date.now()));
  return made;
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
