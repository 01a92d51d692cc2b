/**
 * One connection of a Durable Object, and what is kept of it with its socket.
 *
 * @module
 */

import { textOf } from "../../core/channel.ts";
import type { Outgoing } from "../../core/channel.ts";
import type { Connection } from "../../core/connection.ts";
import type { RpcRequest } from "../../core/request.ts";
import { describeError } from "../../protocol/errors.ts";
import type { Logger } from "../../util/logger.ts";
import { WorkersChannel } from "../workers.ts";
import type { WorkersSocket } from "../workers.ts";
import type { HibernatingSocket, ObjectStorage } from "./object_state.ts";

/** What is kept of a connection. */
export interface Snapshot {
  /** The form of this record. */
  readonly version: 1;
  /** See {@linkcode Connection.id}. */
  readonly id: string;
  /** The URL of the handshake. */
  readonly url: string;
  /** The headers of the handshake. */
  readonly headers: [string, string][];
  /** The address in the handshake. */
  readonly remoteAddress: string | undefined;
  /** See {@linkcode Connection.user}. */
  readonly user: unknown;
  /** See {@linkcode Connection.state}. */
  readonly state: Record<string, unknown>;
  /** The topics whose events are sent as they are. */
  readonly topics: readonly string[];
  /** The topics whose events are sent with their positions. */
  readonly recovering: readonly string[];
}

/** Stored with the socket in place of a snapshot that is too long: its key in the object's storage. */
interface SnapshotKey {
  readonly version: 1;
  readonly key: string;
}

/** A connection whose socket stays open while its object is out of memory. */
export class HibernatingConnection {
  /** The socket. */
  readonly socket: HibernatingSocket;
  /** Sends. */
  readonly channel: RestoringChannel;
  readonly #storage: ObjectStorage;
  readonly #running = new Set<Promise<unknown>>();
  readonly #recovering = new Set<string>();
  #connection: Connection | undefined;
  #saved: Snapshot | undefined;
  #key: string | undefined;
  #saving = false;
  // What is stored, as text: a snapshot is written only if it differs. `undefined` if that is not known.
  #written: string | undefined;

  /**
   * @param socket The socket.
   * @param storage Where a snapshot goes that is too long for the socket.
   */
  constructor(socket: HibernatingSocket, storage: ObjectStorage) {
    this.socket = socket;
    this.channel = new RestoringChannel(socket as unknown as WorkersSocket);
    this.#storage = storage;
  }

  /** The log of the server. */
  get logger(): Logger {
    return this.#connection?.logger ?? console;
  }

  /** Fulfilled when no call of the connection runs; `undefined` if none does. */
  get idle(): Promise<void> | undefined {
    return this.#running.size === 0 ? undefined : this.#untilIdle();
  }

  /** Notes which connection it is. */
  opened(connection: Connection): void {
    this.#connection = connection;
    Object.assign(connection.state, this.#saved?.state);
  }

  /** Takes a message. */
  receive(text: string | undefined): void {
    if (!this.channel.isClosed) this.channel.receiver?.receive(text);
  }

  /** Keeps the object in memory until a promise is settled. It must not reject. */
  wait(promise: Promise<unknown>): void {
    this.#running.add(promise);
    promise.then(() => this.#running.delete(promise));
  }

  /** Notes what a call may have changed. */
  answered({ method, params }: RpcRequest): void {
    if (method === "subscribe") {
      const { topics, topic = topics, recover } = (params ?? {}) as Record<string, unknown>;
      const subscribed = this.#connection?.subscriptions;
      for (const name of [topic].flat()) {
        if (typeof name !== "string") continue;
        // Not those that were refused: a client can name as many of them as it likes.
        if (recover === true && subscribed?.has(name)) this.#recovering.add(name);
        else this.#recovering.delete(name);
      }
      this.save();
    } else if (Object.keys(this.#connection?.state ?? {}).length > 0) this.save();
  }

  /** Stores what is known of the connection with its socket, at the end of this turn. */
  save(): void {
    if (this.#saving) return;
    this.#saving = true;
    queueMicrotask(() => {
      this.#saving = false;
      if (this.#connection?.isOpen) this.#save(this.#snapshotOf(this.#connection));
    });
  }

  /** Removes what is kept of a connection that has ended. */
  forget(): void {
    if (this.#key !== undefined) this.#storage.delete(this.#key);
  }

  /**
   * Reads what was kept.
   *
   * @throws {TypeError} If nothing was.
   */
  async load(): Promise<Snapshot> {
    const attached = this.socket.deserializeAttachment() as Snapshot | SnapshotKey | undefined;
    if (attached?.version !== 1) throw new TypeError("Nothing was stored with its socket");
    this.#key = "key" in attached ? attached.key : undefined;
    const snapshot = "key" in attached ? await this.#storage.get(attached.key) : attached;
    if (snapshot === undefined) throw new TypeError("What was stored of it is gone");
    this.#saved = snapshot as Snapshot;
    this.#written = textOfData(this.#saved);
    for (const name of this.#saved.recovering) this.#recovering.add(name);
    return this.#saved;
  }

  /** Subscribes to the topics of before, by the same method that the client called: guards are asked. */
  async resubscribe({ topics, recovering }: Snapshot): Promise<void> {
    if (topics.length > 0) await this.#ask({ topics, retained: false });
    if (recovering.length > 0) {
      await this.#ask({ topics: recovering, recover: true, retained: false });
    }
  }

  async #ask(params: unknown): Promise<void> {
    const answer = this.channel.intercept();
    const message = { jsonrpc: "2.0", method: "subscribe", params, id: RESTORING };
    this.channel.receiver?.receive(JSON.stringify(message));
    const { error } = JSON.parse(await answer) as { error?: { message: string } };
    if (error !== undefined) throw new Error(`subscribe: ${error.message}`);
  }

  #snapshotOf(connection: Connection): Snapshot {
    const names = connection.subscriptions;
    // Those that have ended: a client can begin and end as many as it likes.
    for (const name of this.#recovering) if (!names.has(name)) this.#recovering.delete(name);
    return snapshotOf(connection, this.#recovering);
  }

  #save(snapshot: Snapshot): void {
    const text = textOfData(snapshot);
    if (text !== undefined && text === this.#written) return;
    this.#written = text;
    try {
      this.socket.serializeAttachment(snapshot);
    } catch (error) {
      if ((error as Error).name === "DataCloneError") return this.#cannotKeep(UNCLONABLE, error);
      this.#key ??= `@x/jsonrpc:${snapshot.id}`;
      this.#storage.put(this.#key, snapshot).catch((cause) => this.#cannotKeep(TOO_LONG, cause));
      this.socket.serializeAttachment({ version: 1, key: this.#key } satisfies SnapshotKey);
    }
  }

  #cannotKeep(why: string, cause: unknown): void {
    this.#written = undefined;
    this.logger.error(
      `Cannot store a connection for hibernation: ${why}: ${describeError(cause)}`,
    );
    // An older snapshot could give back rights that the user has lost.
    this.socket.serializeAttachment(null);
  }

  async #untilIdle(): Promise<void> {
    while (this.#running.size > 0) await Promise.all(this.#running);
  }
}

/** A channel that can keep one answer for this side. */
export class RestoringChannel extends WorkersChannel {
  #intercept: ((text: string) => void) | undefined;

  /** Gives the text of the answer to a call that this side makes in the client's place. */
  intercept(): Promise<string> {
    return new Promise((resolve) => this.#intercept = resolve);
  }

  override send(message: Outgoing): void {
    const text = this.#intercept === undefined ? "" : textOf(message);
    if (!text.endsWith(`"id":"${RESTORING}"}`)) return super.send(message);
    this.#intercept?.(text);
    this.#intercept = undefined;
  }
}

const UNCLONABLE = "its user and state must be data that can be cloned";
const TOO_LONG =
  "its user, state, headers and topics are over 16 KiB, and the storage of the object does not take them";

/**
 * The text of data that JSON has a form for; `undefined` for all else, such as a `Map` or a `Date`, whose
 * changes the text would not show.
 */
function textOfData({ remoteAddress = "", ...rest }: Snapshot): string | undefined {
  let isData = true;
  try {
    const text = JSON.stringify(
      { remoteAddress, ...rest },
      function (this: Record<string, unknown>, key, each) {
        if (!isPlain(each) || this[key] !== each) isData = false;
        return each;
      },
    );
    return isData ? text : undefined;
  } catch {
    return undefined; // it refers to itself, or has a bigint
  }
}

function isPlain(value: unknown): boolean {
  if (typeof value === "number") return Number.isFinite(value) && !Object.is(value, -0);
  if (typeof value === "string" || typeof value === "boolean" || value === null) return true;
  if (typeof value !== "object") return false;
  const prototype = Object.getPrototypeOf(value);
  return prototype === Object.prototype || prototype === null || Array.isArray(value);
}

const RESTORING = "@x/jsonrpc:restoring";

function snapshotOf(connection: Connection, recovers: ReadonlySet<string>): Snapshot {
  const { id, user, state, subscriptions, handshake } = connection;
  const names = [...subscriptions];
  return {
    version: 1,
    id,
    url: handshake.url,
    headers: [...handshake.headers],
    remoteAddress: handshake.remoteAddress,
    user,
    state: { ...state },
    topics: names.filter((name) => !recovers.has(name)),
    recovering: names.filter((name) => recovers.has(name)),
  };
}
