/**
 * The numbers of a running server.
 *
 * @module
 */

/** What a server does at the moment, and how many events its topics have had. */
export interface ServerStats {
  /** WebSockets, event streams and other lasting connections that are open. */
  readonly connections: number;
  /** POSTs and GETs that the server has not answered yet. */
  readonly requests: number;
  /** Calls over lasting connections whose handlers have not finished. Calls by POST count as requests. */
  readonly calls: number;
  /** Calls of this server that its clients have not answered yet. */
  readonly pendingCalls: number;
  /** Subscriptions of connections to topics. */
  readonly subscriptions: number;
  /** Topics with subscribers. */
  readonly topics: number;
  /** Bytes that the server has sent and that its clients have not taken yet. */
  readonly bufferedBytes: number;
  /** The estimate of memory that `maxTotalBytes` limits. */
  readonly memoryBytes: number;
  /** The events of topics, since the server started. */
  readonly events: EventStats;
}

/** How many events of topics there were. */
export interface EventStats {
  /** Events that this server has published, as far as the broker took them. */
  readonly published: number;
  /** How often an event was passed to a subscriber of this server, no matter which server published it. */
  readonly delivered: number;
  /** How many events subscribers have lost because they read too slowly. */
  readonly dropped: number;
  /** How often a subscriber was told that events are lost: gaps, and `recovered: false`. */
  readonly gaps: number;
}
