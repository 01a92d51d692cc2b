/**
 * What a client tells of its connection.
 *
 * @module
 */

/** What the `close` event of a client tells. */
export interface ClientCloseEvent extends Event {
  /** The close code of RFC 6455, section 7.4; 1006 where no close frame came. */
  readonly code: number;
  /** What the other side said of it. */
  readonly reason: string;
  /** Whether that was the end: no other connection follows. */
  readonly final: boolean;
}

/** What the `reconnecting` event of a client tells. */
export interface ClientReconnectingEvent extends Event {
  /** Which attempt in a row it will be; 1 is the first. */
  readonly attempt: number;
  /** Milliseconds until then. */
  readonly delayMs: number;
}

/** What the `resubscribed` event of a client tells. */
export interface ClientResubscribedEvent extends Event {
  /** The topics that are heard again. */
  readonly topics: readonly string[];
}

/** The events of a client, by their type. */
export interface ClientEvents {
  /** Calls can be sent: the first time, and after each reconnect. */
  readonly open: Event;
  /** A connection has ended. */
  readonly close: ClientCloseEvent;
  /** It waits before it connects again. */
  readonly reconnecting: ClientReconnectingEvent;
  /** What was heard before a connection ended is heard again. */
  readonly resubscribed: ClientResubscribedEvent;
}
