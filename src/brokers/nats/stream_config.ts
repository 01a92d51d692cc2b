/**
 * Makes the stream, and lets it keep as much as the topics need.
 *
 * @module
 */

import type { JetStreamManager, Republish, StreamConfig, StreamInfo } from "@nats-io/jetstream";
import type { NatsConnection } from "@nats-io/transport-node";
import type { Retention } from "../broker.ts";
import { ApiCode, isAway, unless } from "./api_errors.ts";
import { createOnce } from "./create_once.ts";
import { startsOf } from "./shared_start.ts";

/** How a stream is made. */
export interface StreamOptions {
  /** Its name, and what its subjects begin with. */
  readonly name: string;
  readonly storage: "file" | "memory";
  readonly replicas: number;
  /** How long something may be tried again, in milliseconds. */
  readonly retryMs: number;
}

/** How the configurator reaches the server. */
export interface StreamAccess {
  /** For requests that are sent once. */
  readonly manager: JetStreamManager;
  /** Asks for the stream, and rejects soon if no answer comes. */
  info(): Promise<StreamInfo>;
  /** For how long to ask again, in milliseconds. */
  readonly patienceMs: number;
}

const NS_IN_MS = 1_000_000;
const MIN_AGE_MS = 24 * 60 * 60 * 1000;
const MIN_DUPLICATE_MS = 30_000;
const NOTHING: Retention = { size: -1, ageMs: -1 };

/** Looks after one stream's configuration. */
export class StreamConfigurator {
  readonly #options: StreamOptions;
  readonly #connection: NatsConnection;
  readonly #access: StreamAccess;
  // What the stream keeps for certain: enough for all topics that were asked for.
  #kept: Retention = NOTHING;
  #found: Retention = NOTHING;
  #epoch = "";
  #widening: Promise<void> | undefined;

  constructor(options: StreamOptions, connection: NatsConnection, access: StreamAccess) {
    this.#options = options;
    this.#connection = connection;
    this.#access = access;
  }

  /** The epoch that the stream had when it was last looked at. */
  get epoch(): string {
    return this.#epoch;
  }

  /** What the stream kept when it was last looked at. */
  get kept(): Retention {
    return this.#found;
  }

  /** Whether a stream is still as it was when it was last looked at, or keeps more. */
  isIntact(config: StreamConfig): boolean {
    const { ageMs, size } = retentionOf(config);
    return this.#isUsable(config) && size >= this.#found.size && ageMs >= this.#found.ageMs;
  }

  /** Forgets what is known of the stream. */
  invalidate(): void {
    this.#kept = NOTHING;
  }

  /** Whether the stream is there for certain, and keeps what a topic declares. */
  keeps({ size, ageMs }: Retention): boolean {
    return this.#kept.size >= size && (size === 0 || this.#kept.ageMs >= ageMs);
  }

  /** Makes sure that the stream is there and keeps what a topic declares; returns its epoch. */
  async require(keep: Retention): Promise<string> {
    while (!this.keeps(keep)) {
      this.#widening ??= this.#widen(keep).finally(() => this.#widening = undefined);
      await this.#widening;
    }
    return this.#epoch;
  }

  /** Asks for the stream once; `undefined` if there is none. */
  async look(): Promise<StreamInfo | undefined> {
    return made(await unless(ApiCode.streamNotFound, this.#access.info()));
  }

  async #widen({ size, ageMs }: Retention): Promise<void> {
    const { streams } = this.#access.manager;
    const { name } = this.#options;
    const wanted = { size: Math.max(size, this.#kept.size), ageMs: size === 0 ? 0 : ageMs };
    let info = await this.#find() ?? await this.#make(wanted);
    const kept = retentionOf(info.config);
    if (kept.size < wanted.size || kept.ageMs < wanted.ageMs || !this.#isUsable(info.config)) {
      // Never less than before: other servers may have topics that keep more.
      const both = {
        size: Math.max(kept.size, wanted.size),
        ageMs: Math.max(kept.ageMs, wanted.ageMs),
      };
      if (kept.size < wanted.size) await this.#forgetStarts(info, both);
      const duplicate_window = Math.max(info.config.duplicate_window, this.#duplicateWindow);
      const more = { republish: this.#republish(), duplicate_window, ...limitsOf(both) };
      info = await streams.update(name, { ...info.config, ...more });
    }
    this.#kept = this.#found = retentionOf(info.config);
    this.#epoch = epochOf(info);
  }

  /**
   * Somebody may have let the stream keep less for a while: what promises that it has kept as much as it is
   * to keep from now on is not to be relied on.
   */
  async #forgetStarts(info: StreamInfo, { size }: Retention): Promise<void> {
    const { name } = this.#options;
    const filter = startsOf(`${name}.keep`, epochOf(info), size);
    await this.#access.manager.streams.purge(name, { filter }).catch((error) => {
      if (isAway(error)) throw error; // not every user may purge, nor can every stream be purged
    });
  }

  async #find(): Promise<StreamInfo | undefined> {
    return made(await unless(ApiCode.streamNotFound, this.#ask()));
  }

  /** Asks for the stream, and asks again: a server that has only just started may never answer. */
  async #ask(): Promise<StreamInfo> {
    const end = performance.now() + this.#access.patienceMs;
    for (;;) {
      try {
        return await this.#access.info();
      } catch (error) {
        if ((error as Error).name !== "TimeoutError" || performance.now() > end) throw error;
      }
    }
  }

  #make(wanted: Retention): Promise<StreamInfo> {
    const { streams } = this.#access.manager;
    const { name } = this.#options;
    const config = { ...this.#fixed(), ...limitsOf(wanted) };
    return createOnce(this.#connection, {
      subject: `${name}.making`,
      find: () => this.#find(),
      make: async () =>
        await unless(ApiCode.streamExists, streams.add(config)) ?? await streams.info(name),
    });
  }

  #fixed() {
    const { name, replicas, storage } = this.#options;
    return {
      name,
      subjects: [`${name}.keep.>`],
      storage,
      num_replicas: replicas,
      discard: "old",
      duplicate_window: this.#duplicateWindow,
      republish: this.#republish(),
    } as Partial<StreamConfig> & { name: string };
  }

  /** An event may be sent again for so long, and has to come once. No stream remembers ids for longer than events. */
  get #duplicateWindow(): number {
    const ms = Math.max(2 * this.#options.retryMs, MIN_DUPLICATE_MS);
    return Math.min(ms, MIN_AGE_MS) * NS_IN_MS;
  }

  /** Whether a stream delivers what it gets, and knows again what is sent again. */
  #isUsable({ duplicate_window, republish }: StreamConfig): boolean {
    const { dest, src } = this.#republish();
    return republish?.src === src && republish.dest === dest && !republish.headers_only &&
      duplicate_window >= this.#duplicateWindow;
  }

  #republish(): Republish {
    const { name } = this.#options;
    return { src: `${name}.keep.>`, dest: `${name}.live.>` };
  }
}

/**
 * A stream that is only just being made has no date yet. It counts as missing, because a server that
 * is asked for a message of it may end.
 */
function made(found: StreamInfo | undefined): StreamInfo | undefined {
  return found?.created.startsWith("0001-") ? undefined : found;
}

/** The epoch of a stream's positions. */
export function epochOf({ created }: StreamInfo): string {
  return created.replaceAll(/\W/g, "");
}

/** The stream keeps one more than a topic declares: the one before them proves that none is missing. */
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
