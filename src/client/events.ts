/**
 * The events of a client.
 *
 * @module
 */

/** The `close` event of a client. */
export interface ClientCloseEvent extends Event {
  /** The close code of RFC 6455, section 7.4; 1006 if the connection broke without one. */
  readonly code: number;
  /** The reason that the server gave; `""` if it gave none. */
  readonly reason: string;
  /** Whether the client is closed for good, so that it does not reconnect. */
  readonly final: boolean;
}

/** The `reconnecting` event of a client. */
export interface ClientReconnectingEvent extends Event {
  /** The number of the attempt that follows the wait; 1 is the first. */
  readonly attempt: number;
  /** The length of the wait, in whole milliseconds. */
  readonly delayMs: number;
}

/** The `resubscribed` event of a client. */
export interface ClientResubscribedEvent extends Event {
  /** The topics that the client has subscribed to again. */
  readonly topics: readonly string[];
}

/** The `subscriptionlost` event of a client. */
export interface ClientSubscriptionLostEvent extends Event {
  /** The topic that the client is no longer subscribed to. */
  readonly topic: string;
  /** Why: what the server refused it with, or that the server has removed it. */
  readonly error: Error;
}

/** The events of a client, by their type. */
export interface ClientEvents {
  /** Calls can be sent: when the client has connected, and after each reconnect. */
  readonly open: Event;
  /** A connection has ended. */
  readonly close: ClientCloseEvent;
  /** The client waits before it connects again. */
  readonly reconnecting: ClientReconnectingEvent;
  /** After a reconnect the client has subscribed to its topics again. */
  readonly resubscribed: ClientResubscribedEvent;
  /**
   * The server has ended the subscription to a topic, or has refused it after a reconnect: because the
   * user is not logged in any more, for example.
   */
  readonly subscriptionlost: ClientSubscriptionLostEvent;
}
