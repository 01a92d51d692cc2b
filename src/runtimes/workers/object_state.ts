/**
 * The parts of a Durable Object that this package uses. They are written down here, so that no package
 * of types is needed.
 *
 * @see {@link https://developers.cloudflare.com/durable-objects/api/state/}
 *
 * @module
 */

/** The first argument of a Durable Object's constructor. */
export interface ObjectState {
  /** What the object keeps. */
  readonly storage: ObjectStorage;
  /**
   * Takes the messages of a socket, also after the object was out of memory. The socket is Cloudflare's own
   * `WebSocket`, whose declaration depends on the version.
   */
  acceptWebSocket(socket: never, tags?: string[]): void;
  /** The sockets that were accepted with a tag. */
  getWebSockets(tag?: string): HibernatingSocket[];
  /** Delivers no event to the object until a function is done. */
  blockConcurrencyWhile<Result>(run: () => Promise<Result>): Promise<Result>;
}

/** A socket that stays open while its object is out of memory. */
export interface HibernatingSocket {
  /** Sends a text frame. */
  send(text: string): void;
  /** Begins, or answers, the closing handshake. */
  close(code?: number, reason?: string): void;
  /** Stores a value with the socket: at most 16 KiB. */
  serializeAttachment(value: unknown): void;
  /** Gives the value that was stored with the socket. */
  deserializeAttachment(): unknown;
}

/** The storage of a Durable Object. */
export interface ObjectStorage {
  /** The SQLite database of the object. */
  readonly sql: SqlStorage;
  /** Reads a value. */
  get(key: string): Promise<unknown>;
  /** Stores a value. */
  put(key: string, value: unknown): Promise<void>;
  /** Removes a value. */
  delete(key: string): Promise<boolean>;
}

/** The SQLite database of a Durable Object. */
export interface SqlStorage {
  /** Runs statements. */
  exec(query: string, ...bindings: (string | number)[]): { toArray(): Record<string, unknown>[] };
}
