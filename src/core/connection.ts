/**
 * One peer, as handlers and plugins see it; and what every kind of connection has in common.
 *
 * @module
 */

import type { Logger } from "../util/logger.ts";
import type { AnyContext, Context } from "./api.ts";
import type { CallerOf } from "./caller.ts";
import type { Outgoing } from "./channel.ts";
import {
  type COUNT_DROPPED,
  type REMOVE_TOPIC,
  type SEND,
  TOPICS,
  USER,
  WATCH,
} from "./internal.ts";
import type { CallOptions } from "./pending_calls.ts";

/** What is known about a peer before its first message. It is the same for WebSocket and HTTP. */
export interface Handshake {
  /** The full URL that the peer requested. */
  readonly url: string;
  /**
   * The request's headers. If `origins` is `"*"` and the request is from a page of another origin, they hold
   * neither cookies nor what else its browser sends for the person who looks at it.
   */
  readonly headers: Headers;
  /**
   * The address of the peer; behind a proxy that of the proxy, unless the option `trustedProxies` names
   * it. `undefined` if the runtime does not tell.
   */
  readonly remoteAddress: string | undefined;
  /** The id of the connection, if it is one that goes on after its server was out of memory. */
  readonly id?: string | undefined;
  /** Whether the request opens a WebSocket. @default {false} */
  readonly isUpgrade?: boolean;
  /** The user of the connection; `null` if there is none. A handshake check may set it. */
  user: unknown;
  /**
   * Whether a plugin has a page for this request that holds no data (`page` of a plugin), such as the inspector,
   * in which people log in. @default {false}
   */
  readonly hasPage?: boolean;
  /**
   * Set by a handshake check that asks for a login, in place of refusing a request with
   * {@linkcode Handshake.hasPage}: the peer gets the page, and nothing else. All other checks hold.
   */
  pageOnly?: boolean;
}

/** What only the connections of a server have. */
export interface ServerMembers {
  /**
   * The HTTP response that the answer to a POST or GET is sent with. Of a WebSocket, an event stream and a
   * client it is `undefined`.
   */
  readonly response?: HttpAnswer | undefined;
  /**
   * Subscribes the peer to topics, as if it had called `subscribe` itself: the same guards, middleware
   * and limits hold, and it gets the retained event first. Only connections of a server have this.
   *
   * @param topics A topic, or several.
   * @param options How many kept events the peer gets first.
   * @returns Resolves once the events begin. Rejects if a topic does not exist for the peer (it is subscribed to the
   * others all the same), if the call is refused, and over POST, where nothing lasts.
   */
  subscribe(
    topics: string | readonly string[],
    options?: { readonly last?: number },
  ): Promise<void>;
  /**
   * Ends subscriptions of the peer, no matter which side began them. Only connections of a server have this.
   *
   * @param topics A topic, or several.
   * @returns Resolves once they have ended.
   */
  unsubscribe(topics: string | readonly string[]): Promise<void>;
}

/**
 * One peer. It is the same object as long as its WebSocket or event stream is open. An HTTP POST has a
 * connection of its own, which ends with the answer.
 *
 * @typeParam User The type of {@linkcode Connection.user}.
 * @typeParam C What is known of the clients: their methods, and the type of {@linkcode Connection.state}.
 */
export interface Connection<User = unknown, C extends Context = AnyContext> extends ServerMembers {
  /** A random id that no other connection has. */
  readonly id: string;
  /** How the peer connected. */
  readonly handshake: Handshake;
  /** Where this side writes its log. */
  readonly logger: Logger;
  /** The user of the connection; `null` if there is none. */
  readonly user: User;
  /** An object in which your handlers can keep data about this peer. Only connections of a server have this. */
  readonly state: C["state"];
  /** The topics that the peer is subscribed to. Only connections of a server have this. */
  readonly subscriptions: ReadonlySet<string>;
  /** How many events of topics were dropped because the peer reads too slowly. Only connections of a server have this. */
  readonly dropped: number;
  /** Aborts when the connection has ended. */
  readonly signal: AbortSignal;
  /** Whether messages can still be sent. */
  readonly isOpen: boolean;
  /** Bytes that were sent to the peer and that the network has not taken yet. */
  readonly bufferedAmount: number;
  /**
   * Sets the user of the connection. Subscriptions that the new user may not have end before this
   * returns. Only connections of a server have this.
   *
   * @param user The new user.
   */
  login(user: NonNullable<User>): void;
  /**
   * Removes the user of the connection. Subscriptions that need a user end before this returns. Only connections
   * of a server have this.
   */
  logout(): void;
  /**
   * Calls a method of the peer.
   *
   * @param method The method's name.
   * @param params An array (by position), an object (by name), or none.
   * @param options Timeout, signal and the like.
   * @returns The peer's answer. Rejects as {@linkcode JsonRpcClient.call} does.
   */
  readonly call: CallerOf<C["client"]>["call"];
  /**
   * Sends the peer a notification. Does nothing once the connection has ended.
   *
   * @param method The method's name.
   * @param params An array (by position), an object (by name), or none.
   * @throws {TypeError} If the params have no JSON, or are neither an array nor an object.
   * @throws {RangeError} If the notification is longer than `maxMessageBytes`.
   */
  readonly notify: CallerOf<C["client"]>["notify"];
  /**
   * Closes the connection. Messages that were sent before still go out.
   *
   * @param code A close code of RFC 6455, section 7.4. @default {1000}
   * @param reason A text for the peer, cut to 123 bytes. @default {""}
   */
  close(code?: number, reason?: string): void;
}

/** The status and response headers that a handler may set for its POST or GET. Entries of a batch share one. */
export interface HttpAnswer {
  /** The status. @default {200, or 429 if a rate limit refuses} */
  status: number | undefined;
  /** Headers to add, such as `set-cookie` or `cache-control`. */
  readonly headers: Headers;
}

/** A connection that can subscribe to topics. Only the connection of a single HTTP request cannot. */
export interface SubscriberConnection extends Connection {
  /** The topics that the peer is subscribed to, as a set that can be changed. */
  readonly [TOPICS]: Set<string>;
  /** Sends a text that is encoded already and may be shared with other connections. */
  [SEND](message: Outgoing): void;
  /** Removes a topic from {@linkcode Connection.subscriptions}. */
  [REMOVE_TOPIC](topic: string): void;
  /** Adds to {@linkcode Connection.dropped}. */
  [COUNT_DROPPED](count: number): void;
}

/**
 * Returns the same connection, as one that can subscribe to topics.
 *
 * @throws {TypeError} If it is the connection of a single HTTP request.
 */
export function toSubscriber(connection: Connection): SubscriberConnection {
  if (isSubscriber(connection)) return connection;
  throw new TypeError("Cannot subscribe: the connection ends with the answer to its request");
}

function isSubscriber(connection: Connection): connection is SubscriberConnection {
  return TOPICS in connection;
}

/** Members that only the connections of a server have: see `server_connection.ts`. */
export interface BaseConnection extends
  Pick<
    Connection,
    | "subscribe"
    | "unsubscribe"
    | "response"
    | "subscriptions"
    | "dropped"
    | "state"
    | "login"
    | "logout"
  > {}

/** What all kinds of connections have in common. */
export abstract class BaseConnection implements Connection {
  // Declared, as other fields that only a constructor sets: a page then loads no code for them.
  declare readonly handshake: Handshake;
  declare readonly logger: Logger;
  /** See {@linkcode Connection.user}. */
  declare [USER]: unknown;
  // These are made on first use: most connections never need them.
  #id: string | undefined;
  #controller: AbortController | undefined;

  /**
   * @param handshake How the peer connected.
   * @param logger Where this side writes its log.
   */
  constructor(handshake: Handshake, logger: Logger) {
    this.handshake = handshake;
    this.logger = logger;
    this[USER] = handshake.user;
  }

  get id(): string {
    return this.#id ??= crypto.randomUUID();
  }

  get user(): unknown {
    return this[USER];
  }

  get signal(): AbortSignal {
    const controller = this.#controller ??= new AbortController();
    if (!this.isOpen) controller.abort();
    return controller.signal;
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

  /** Called each time a handler of a server asks for a signal: start to watch whether the peer leaves. */
  [WATCH]?(): void;

  /** Aborts the signal. Called once, by the subclass, when the connection has ended. */
  protected ended(): void {
    this.#controller?.abort();
  }
}
