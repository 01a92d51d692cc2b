/**
 * The stream in which NATS keeps the events of all topics.
 *
 * The server publishes each message again once the stream has it, and adds its sequence and that of
 * the message before it in its subject. A subscriber sees from these whether something is missing.
 * The stream drops a subject's messages oldest first, so that a message that is still there proves
 * that all later ones are.
 *
 * @module
 */

import { JetStreamApiError, jetstreamManager } from "@nats-io/jetstream";
import type { JetStreamClient, JetStreamManager } from "@nats-io/jetstream";
import type { MsgRequest, PubAck } from "@nats-io/jetstream";
import { headers } from "@nats-io/transport-node";
import type { MsgHdrs, NatsConnection } from "@nats-io/transport-node";
import type { Position, Retention } from "../broker.ts";
import type { LiveEvent } from "../remote/topic_reader.ts";
import type { SubjectLog } from "./history.ts";
import { Header, identityOf, keptMessage, readHeaders, shortHash } from "./message.ts";
import type { KeptMessage } from "./message.ts";
import { epochOf, StreamConfigurator } from "./stream_config.ts";
import type { StreamOptions } from "./stream_config.ts";
import { ApiCode, unless } from "./api_errors.ts";
import { SharedStart, startSize } from "./shared_start.ts";

/** Where a subject ends, and the epoch of that position. */
export interface LastMessage {
  readonly epoch: string;
  /** Its last message; of a subject without messages, one that came before all that it may get. */
  readonly message: KeptMessage;
  readonly isEmpty: boolean;
}

type FoundMessage = KeptMessage & { readonly headers: MsgHdrs };

/** A message to append. */
export interface NewMessage {
  readonly data: string;
  readonly id: string;
  /** Whether nobody waits for it any more. */
  isOver(): boolean;
  /** Called as soon as the server may take it. */
  sent(): void;
}

/** What a look at the stream shows. */
export interface StreamState {
  /** Which server leads which stream. */
  readonly leader: string;
  readonly replicas: number;
  /** Whether its last sequence is lower than one that this process has seen. */
  readonly isBack: boolean;
}

const MAX_WAITS = 7;
// How long a request for information waits for its answer until it is sent again.
const ASK_MS = 1_000;
// The same for what is read: a server of a cluster that has just died answers nothing.
const READ_MS = 3_000;
// The same for a message: a leader that steps down drops some without an answer, even if it then leads again.
const PUBLISH_MS = 3_000;
// How long to wait for an earlier attempt to publish the same message.
const BUSY_MS = 100;

/** One stream on one connection. */
export class NatsStream {
  readonly #options: StreamOptions;
  readonly #configurator: StreamConfigurator;
  readonly #manager: JetStreamManager;
  readonly #reading: JetStreamManager;
  readonly #client: JetStreamClient;
  readonly #start: SharedStart;
  readonly #highest = { acknowledged: 0, delivered: 0 };

  private constructor(
    options: StreamOptions,
    connection: NatsConnection,
    [manager, asking, reading]: readonly [JetStreamManager, JetStreamManager, JetStreamManager],
  ) {
    this.#options = options;
    this.#manager = manager;
    this.#reading = reading;
    this.#client = manager.jetstream();
    this.#configurator = new StreamConfigurator(options, connection, {
      manager,
      info: () => asking.streams.info(options.name),
      patienceMs: options.retryMs * MAX_WAITS - ASK_MS,
    });
    this.#start = new SharedStart({
      prefix: `${options.name}.keep`,
      state: () => this.#configurator,
      find: (subject) => this.#find(subject),
      append: (subject) => this.#appendStart(subject),
    });
  }

  /** Prepares to use it; `require` makes it. */
  static async on(connection: NatsConnection, options: StreamOptions): Promise<NatsStream> {
    // The client must not give up before the broker does.
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
    return this.#configurator.epoch;
  }

  /** Forgets what is known of it: the server may have lost its data. */
  invalidate(): void {
    this.#configurator.invalidate();
    this.#start.forget();
  }

  /** Makes sure that it is there and keeps what a topic declares; returns its epoch. */
  require(keep: Retention): Promise<string> {
    return this.#configurator.require(keep);
  }

  /** Who leads it, and whether it has lost messages that were there; `undefined` if there is none. */
  async look(): Promise<StreamState | undefined> {
    const seen = Math.max(this.#highest.acknowledged, this.#highest.delivered);
    const info = await this.#configurator.look();
    if (info === undefined) return undefined;
    const { cluster, config, created, state } = info;
    if (epochOf(info) !== this.epoch || !this.#configurator.isIntact(config)) this.invalidate();
    const isBack = state.last_seq < seen;
    if (isBack) this.#highest.acknowledged = this.#highest.delivered = state.last_seq;
    return { leader: `${cluster?.leader ?? ""} ${created}`, replicas: config.num_replicas, isBack };
  }

  /**
   * Appends a message. The server takes the same `id` once, however often it is tried.
   *
   * @returns Where it stands.
   */
  async append(subject: string, message: NewMessage, keep: Retention): Promise<Position> {
    if (!this.#configurator.keeps(keep)) await this.require(keep);
    const { epoch } = this;
    message.sent();
    const { duplicate, seq } = await this.#publishOnce(subject, message, headersOf(epoch));
    const isOther = !duplicate && this.#isBack("acknowledged", seq);
    return {
      epoch: isOther ? await this.require(keep) : epoch,
      offset: seq,
      id: shortHash(message.id),
    };
  }

  /** Takes note of a live message; returns whether another stream has taken the place of this one. */
  notice({ epoch, offset }: Position): boolean {
    if (epoch !== this.epoch) this.invalidate();
    return this.#isBack("delivered", offset);
  }

  /** Where a subject ends. */
  async last(subject: string, keep: Retention): Promise<LastMessage> {
    const epoch = await this.require(keep);
    const last = await this.#last(subject);
    if (last.epoch === epoch) return last;
    // Either the message's publisher knew another stream, or this process does.
    this.invalidate();
    const now = await this.require(keep);
    return now === epoch ? { ...last, epoch } : { ...await this.#last(subject), epoch: now };
  }

  /** Reads the messages of a subject. */
  log(subject: string): SubjectLog {
    return {
      // The server refuses to look for 0, which a position of a client may say.
      at: (seq) => seq === 0 ? Promise.resolve(undefined) : this.#get({ seq }, subject),
      next: (seq) => this.#get({ seq, next_by_subj: subject }),
      count: async () => {
        const { name } = this.#options;
        const info = await this.#reading.streams.info(name, { subjects_filter: subject });
        const count = info.state.subjects?.[subject] ?? 0;
        const most = info.config.max_msgs_per_subject;
        return most > 0 && count >= most ? Infinity : count;
      },
    };
  }

  /**
   * Asks the leader for a message; `undefined` if it is gone, or neither of `subject` nor one that
   * gives topics without events their position.
   */
  async #get(
    query: { seq: number; next_by_subj?: string } | { last_by_subj: string },
    subject?: string,
  ): Promise<FoundMessage | undefined> {
    const found = await unless(
      ApiCode.noMessageFound,
      this.#reading.streams.getMessage(this.#options.name, query as MsgRequest),
    );
    if (!found) return undefined;
    const { header: headers, seq, timestamp } = found;
    const message = keptMessage({ seq, headers, timestamp, string: () => found.string() });
    if (subject === undefined || found.subject === subject) return { ...message, headers };
    const keepsSince = startSize(found.subject);
    return keepsSince === undefined ? undefined : { ...message, headers, keepsSince };
  }

  /** The last message of a subject, and the epoch that its publisher knew. */
  async #find(subject: string): Promise<{ epoch: string; message: KeptMessage } | undefined> {
    const found = await this.#get({ last_by_subj: subject });
    if (found === undefined) return undefined;
    const { headers, ...message } = found;
    return { epoch: headers.get(Header.epoch) || this.epoch, message };
  }

  async #last(subject: string): Promise<LastMessage> {
    for (;;) {
      // Has to be known first: then a subject that has no message had none up to there.
      const start = this.#start.known;
      const found = await this.#find(subject);
      if (found !== undefined) return { ...found, isEmpty: false };
      if (start !== undefined) return { ...start, isEmpty: true };
      await this.#start.renew();
    }
  }

  async #appendStart(subject: string): Promise<void> {
    const start = headersOf(this.epoch);
    start.set(Header.start, "1");
    const more = { msgID: crypto.randomUUID(), expect: { lastSubjectSequence: 0 } };
    await unless(ApiCode.wrongLastSequence, this.#publish(subject, "", start, more));
  }

  /** Whether sequences go backwards: then somebody has made the stream again, or it has lost data. */
  #isBack(where: "acknowledged" | "delivered", seq: number): boolean {
    const isBack = seq < this.#highest[where];
    this.#highest[where] = seq;
    if (isBack) this.invalidate();
    return isBack;
  }

  /**
   * Publishes a message; sends it again if no answer comes, or while the server is still busy with an
   * earlier attempt.
   */
  async #publishOnce(
    subject: string,
    { data, id, isOver }: NewMessage,
    headers: MsgHdrs,
  ): Promise<PubAck> {
    for (;;) {
      try {
        return await this.#publish(subject, data, headers, { msgID: id });
      } catch (error) {
        if (error instanceof JetStreamApiError && error.code === ApiCode.beingPublished) {
          await new Promise((resolve) => setTimeout(resolve, BUSY_MS));
        } else if ((error as Error).name !== "TimeoutError") throw error;
      }
      if (isOver()) throw new Error("too late");
    }
  }

  #publish(
    subject: string,
    data: string,
    headers: MsgHdrs,
    more: { msgID: string; expect?: { lastSubjectSequence: number } },
  ): Promise<PubAck> {
    return this.#client.publish(subject, data, { headers, timeout: PUBLISH_MS, ...more });
  }
}

/** Reads a live message; `undefined` if it is not one of the stream's. */
export function liveEvent(
  message: { readonly headers?: MsgHdrs | undefined; string(): string },
  epoch: string,
): LiveEvent | undefined {
  if (message.headers === undefined) return undefined;
  const headers = readHeaders(message.headers);
  const data = message.string();
  const position = {
    epoch: headers.epoch || epoch,
    offset: Number(headers.sequence),
    id: identityOf(headers, data),
  };
  const previous = Number(headers.previous);
  return {
    position,
    previous: previous === 0 ? undefined : { offset: previous },
    event: headers.isStart ? undefined : { position, data, at: Number(headers.at) || Date.now() },
  };
}

function headersOf(epoch: string): MsgHdrs {
  const made = headers();
  made.append(Header.epoch, epoch);
  made.append(Header.at, String(Date.now()));
  return made;
}
