/**
 * What the parts of one client share.
 *
 * @module
 */

import type { Connection } from "../core/connection.ts";
import type { RpcSession, SessionHost } from "../core/session.ts";
import type { Transport } from "../core/transport.ts";
import type { AllClientLimits, ClientOptions } from "./options.ts";

/** A client, as its parts see it. */
export interface ClientHost extends SessionHost, Pick<ClientOptions, "reconnect" | "token"> {
  readonly limits: AllClientLimits;
  /** Leads to the server. */
  readonly transport: Transport;
  /** Tells whether the program has methods for the server. */
  listens(): boolean;
  /** Runs on each new connection; see {@linkcode ClientOptions.prepare}. */
  prepare?: ((connection: Connection) => unknown) | undefined;
  /**
   * Called each time that calls can be sent, before any queued message is.
   *
   * @param session The new session.
   * @param again Whether there was one before.
   */
  opened(session: RpcSession, again: boolean): void;
  /** Called each time that a session has ended, and once if it all ends without one. */
  closed(code: number, reason: string, final: boolean): void;
  /** Called before each wait. */
  reconnecting(attempt: number, delayMs: number): void;
  /** Called for each topic that the server has ended. */
  lost(topic: string, error: Error): void;
}
