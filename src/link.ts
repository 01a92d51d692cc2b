/**
 * The way from a client to its server. There are two: WebSockets (`socket_link.ts`), and POSTs
 * (`post.ts`).
 *
 * @module
 */

import { RpcConnectionError } from "./errors.ts";

/**
 * `idle` before the first call, then `connecting` and `open`; `waiting` between two attempts to
 * connect again; `closed` at last.
 */
export type LinkState = "idle" | "connecting" | "open" | "waiting" | "closed";

/** One way to a server. */
export interface Link {
  /** Where it stands. */
  readonly state: LinkState;
  /** Opens the way, if it is not open. Rejects with {@linkcode RpcConnectionError}. */
  connect(): Promise<void>;
  /**
   * Sends a message: at once, or as soon as the way is open.
   *
   * @param ids The calls in it; none for notifications.
   * @throws {RpcConnectionError} Where the way is closed, or too much waits for it.
   */
  send(text: string, ids: readonly number[]): void;
  /** Tells the server, if it knows of the call, that nobody waits for it any more. */
  cancel(id: number): void;
  /** Takes a call back that the server has refused and not run; answers whether it did. */
  refused(id: number, text: string): boolean;
  /** Ends it; calls that wait are rejected. */
  close(): Promise<void>;
}

/** Why nothing can be done with a client any more. */
export function closedError(action: string): RpcConnectionError {
  return new RpcConnectionError(`Cannot ${action}: the client is closed`);
}
