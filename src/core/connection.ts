/**
 * One peer, as handlers and plugins see it.
 *
 * @module
 */

import type { Logger } from "../util/logger.ts";
import type { Outgoing } from "./channel.ts";
import { type COUNT_DROPPED, type REMOVE_TOPIC, type SEND, TOPICS, WATCH } from "./internal.ts";
import type { CallOptions } from "./pending_calls.ts";

/** What is known of a peer before its first message; the same for WebSocket and HTTP. */
export interface Handshake {
  /** The whole URL that was requested. */
  readonly url: string;
  /** The request's headers. */
  readonly headers: Headers;
  /** The peer's address, or that of the nearest proxy; `undefined` if the runtime does not tell. */
  readonly remoteAddress: string | undefined;
  /** Whether the request opens a WebSocket, so that messages follow. @default {false} */
  readonly isUpgrade?: boolean;
  /** The user of the connection. A handshake check may set it; `null` is nobody. */
  user: unknown;
}

/**
 * One peer: the same for as long as its WebSocket is open, or for the one request of an HTTP POST.
 *
 * @typeParam User The type of {@linkcode Connection.user}.
 */
export interface Connection<User = unknown> {
  /** A random name that no other connection has. */
  readonly id: string;
  /** How the peer connected. */
  readonly handshake: Handshake;
  /** Where this side writes its log. */
  readonly logger: Logger;
  /** The user of the connection; `null` for nobody. */
  readonly user: User;
  /** A record for whatever your handlers want to remember about this peer. */
  readonly state: Record<string, unknown>;
  /** The topics that the peer is subscribed to. */
  readonly subscriptions: ReadonlySet<string>;
  /** How many events of topics the peer was not sent, because it reads too slowly. */
  readonly dropped: number;
  /** Aborts when the connection has ended. */
  readonly signal: AbortSignal;
  /** Whether messages still pass. */
  readonly isOpen: boolean;
  /** Bytes that were sent to the peer and that the network has not taken yet. */
  readonly bufferedAmount: number;
  /**
   * Sets the user of the connection. Subscriptions that the user may not have end before this
   * returns.
   *
   * @param user The new user.
   */
  login(user: NonNullable<User>): void;
  /** Removes the user of the connection. Subscriptions that need a user end before this returns. */
  logout(): void;
  /**
   * Calls a method of the peer.
   *
   * @param method The method's name.
   * @param params An array (by position), an object (by name), or none.
   * @param options Timeout, signal and the like.
   * @returns What the peer answered. Rejects as {@linkcode JsonRpcClient.call} does.
   */
  call<Result = unknown>(
    method: string,
    params?: unknown,
    options?: CallOptions,
  ): Promise<Result>;
  /**
   * Sends the peer a notification. Does nothing once the connection has ended.
   *
   * @param method The method's name.
   * @param params An array (by position), an object (by name), or none.
   * @throws {TypeError} If params have no JSON, or are neither array nor object.
   */
  notify(method: string, params?: unknown): void;
  /**
   * Closes the connection. What was sent before still goes out.
   *
   * @param code A close code of RFC 6455, section 7.4. @default {1000}
   * @param reason A text for the peer, cut to 123 bytes. @default {""}
   */
  close(code?: number, reason?: string): void;
}

/** A connection that can be subscribed to topics: every one but that of a single HTTP request. */
export interface SubscriberConnection extends Connection {
  /** The topics that the peer is subscribed to, to be written. */
  readonly [TOPICS]: Set<string>;
  /** Sends a text that is encoded already, perhaps for many connections. */
  [SEND](message: Outgoing): void;
  /** Removes a topic from {@linkcode Connection.subscriptions}. */
  [REMOVE_TOPIC](topic: string): void;
  /** Adds to {@linkcode Connection.dropped}. */
  [COUNT_DROPPED](count: number): void;
}

/**
 * The connection as one that can be subscribed to topics.
 *
 * @throws {TypeError} If it is that of a single HTTP request.
 */
export function toSubscriber(connection: Connection): SubscriberConnection {
  if (isSubscriber(connection)) return connection;
  throw new TypeError("Cannot subscribe: the connection ends with the answer to its request");
}

function isSubscriber(connection: Connection): connection is SubscriberConnection {
  return TOPICS in connection;
}

/** What every connection has, whatever carries it. */
export abstract class BaseConnection implements Connection {
  readonly handshake: Handshake;
  readonly logger: Logger;
  #user: unknown;
  // Made on first use: most connections of a busy server never need most of these.
  #id: string | undefined;
  #state: Record<string, unknown> | undefined;
  #controller: AbortController | undefined;

  /**
   * @param handshake How the peer connected.
   * @param logger Where this side writes its log.
   */
  constructor(handshake: Handshake, logger: Logger) {
    this.handshake = handshake;
    this.logger = logger;
    this.#user = handshake.user;
  }

  get id(): string {
    return this.#id ??= crypto.randomUUID();
  }

  get user(): unknown {
    return this.#user;
  }

  get state(): Record<string, unknown> {
    return this.#state ??= Object.create(null) as Record<string, unknown>;
  }

  get subscriptions(): ReadonlySet<string> {
    return NO_TOPICS;
  }

  get dropped(): number {
    return 0;
  }

  get signal(): AbortSignal {
    if (this.#controller === undefined) {
      this.#controller = new AbortController();
      this[WATCH]();
    }
    if (!this.isOpen) this.#controller.abort();
    return this.#controller.signal;
  }

  login(user: NonNullable<unknown>): void {
    this.#user = user;
    this.userChanged();
  }

  logout(): void {
    this.#user = null;
    this.userChanged();
  }

  abstract readonly isOpen: boolean;
  abstract readonly bufferedAmount: number;
  abstract call<Result = unknown>(
    method: string,
    params?: unknown,
    options?: CallOptions,
  ): Promise<Result>;
  abstract notify(method: string, params?: unknown): void;
  abstract close(code?: number, reason?: string): void;

  /** Notes that somebody wants to know when the peer is gone. Called any number of times. */
  [WATCH](): void {}

  /** Called when the user of the connection has changed. */
  protected userChanged(): void {}

  /** Aborts the signal. Called once, by the subclass, when the connection has ended. */
  protected ended(): void {
    this.#controller?.abort();
  }
}

const NO_TOPICS: ReadonlySet<string> = new Set();
