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
import { Header, identityOf, isStart, keptMessage, publishedAt, shortHash } from "./message.ts";
import type { KeptMessage } from "./message.ts";
import { StreamConfigurator } from "./stream_config.ts";
import type { StreamOptions } from "./stream_config.ts";
import { ApiCode, unless } from "./api_errors.ts";

/** The last message of a subject, and the epoch of its position. */
export interface LastMessage {
  readonly epoch: string;
  readonly message: KeptMessage;
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

/** One stream on one connection. */
export class NatsStream {
  readonly #options: StreamOptions;
  readonly #configurator: StreamConfigurator;
  readonly #manager: JetStreamManager;
  readonly #reading: JetStreamManager;
  readonly #client: JetStreamClient;
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
    const isBack = state.last_seq < seen;
    if (isBack) this.#highest.acknowledged = this.#highest.delivered = state.last_seq;
    return { leader: `${cluster?.leader ?? ""} ${created}`, replicas: config.num_replicas, isBack };
  }

  /**
   * Appends a message. The server takes the same `id` once, however often it is tried.
   *
   * @returns Where it stands.
   */
  async append(subject: string, data: string, id: string, keep: Retention): Promise<Position> {
    const epoch = await this.require(keep);
    const { duplicate, seq } = await this.#publish(subject, data, headersOf(epoch), { msgID: id });
    const isOther = !duplicate && this.#isBack("acknowledged", seq);
    return {
      epoch: isOther ? await this.require(keep) : epoch,
      offset: seq,
      id: shortHash(id),
    };
  }

  /** Takes note of a live message; returns whether another stream has taken the place of this one. */
  notice({ epoch, offset }: Position): boolean {
    if (epoch !== this.epoch) this.invalidate();
    return this.#isBack("delivered", offset);
  }

  /** The last message of a subject; makes one if there is none. */
  async last(subject: string, keep: Retention): Promise<LastMessage> {
    const epoch = await this.require(keep);
    const last = await this.#last(subject, epoch);
    if (last.epoch === epoch) return last;
    // Either the message's publisher knew another stream, or this process does.
    this.invalidate();
    const now = await this.require(keep);
    return now === epoch ? { ...last, epoch } : { ...await this.#last(subject, now), epoch: now };
  }

  /** Reads the messages of a subject. */
  log(subject: string): SubjectLog {
    return {
      at: (seq) => this.#get({ seq }, subject),
      next: (seq) => this.#get({ seq, next_by_subj: subject }),
    };
  }

  /** Asks the leader for a message; `undefined` if it is gone, or not of `subject`. */
  async #get(
    query: { seq: number; next_by_subj?: string } | { last_by_subj: string },
    subject?: string,
  ): Promise<(KeptMessage & { readonly headers: MsgHdrs }) | undefined> {
    const found = await unless(
      ApiCode.noMessageFound,
      this.#reading.streams.getMessage(this.#options.name, query as MsgRequest),
    );
    if (!found || (subject !== undefined && found.subject !== subject)) return undefined;
    const { header: headers, seq, timestamp } = found;
    return {
      ...keptMessage({ seq, headers, timestamp, string: () => found.string() }),
      headers,
    };
  }

  async #last(subject: string, epoch: string): Promise<LastMessage> {
    for (;;) {
      const found = await this.#get({ last_by_subj: subject });
      if (found) {
        const { headers, ...message } = found;
        return { epoch: headers.get(Header.epoch) || epoch, message };
      }
      const start = headersOf(epoch);
      start.set(Header.start, "1");
      const msgID = crypto.randomUUID();
      const ack = await unless(
        ApiCode.wrongLastSequence,
        this.#publish(subject, "", start, { msgID, expect: { lastSubjectSequence: 0 } }),
      );
      if (ack) {
        const message = { seq: ack.seq, at: Date.now(), id: shortHash(msgID), data: undefined };
        return { epoch, message };
      }
    }
  }

  /** Whether sequences go backwards: then somebody has made the stream again, or it has lost data. */
  #isBack(where: "acknowledged" | "delivered", seq: number): boolean {
    const isBack = seq < this.#highest[where];
    this.#highest[where] = seq;
    if (isBack) this.invalidate();
    return isBack;
  }

  #publish(
    subject: string,
    data: string,
    headers: MsgHdrs,
    more: { msgID: string; expect?: { lastSubjectSequence: number } },
  ): Promise<PubAck> {
    return this.#client.publish(subject, data, {
      headers,
      timeout: this.#options.retryMs * MAX_WAITS,
      ...more,
    });
  }
}

/** Reads a live message; `undefined` if it is not one of the stream's. */
export function liveEvent(
  message: { readonly headers?: MsgHdrs | undefined; string(): string },
  epoch: string,
): LiveEvent | undefined {
  const { headers } = message;
  if (headers === undefined) return undefined;
  const data = message.string();
  const position = {
    epoch: headers.get(Header.epoch) || epoch,
    offset: Number(headers.get("Nats-Sequence")),
    id: identityOf(headers, data),
  };
  const previous = Number(headers.get("Nats-Last-Sequence"));
  return {
    position,
    previous: previous === 0 ? undefined : { offset: previous },
    event: isStart(headers) ? undefined : { position, data, at: publishedAt(headers, Date.now()) },
  };
}

function headersOf(epoch: string): MsgHdrs {
  const made = headers();
  made.set(Header.epoch, epoch);
  made.set(Header.at, String(Date.now()));
  return made;
}

/** Whether something failed because the server is out of reach, or cannot serve yet. */
export function isAway(error: unknown): boolean {
  if (error instanceof JetStreamApiError) return ApiCode.notNow.includes(error.code);
  const { name } = error as Error;
  return !["InvalidArgumentError", "InvalidSubjectError", "PermissionViolationError"].includes(
    name,
  );
}
