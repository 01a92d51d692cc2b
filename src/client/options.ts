/**
 * How a client behaves.
 *
 * @module
 */

import type { BackoffBounds } from "../util/backoff.ts";
import { DEFAULT_SESSION_LIMITS } from "../protocol/limits.ts";
import { checkLimits } from "../util/check_option.ts";
import type { SessionLimits } from "../protocol/limits.ts";
import type { Logger } from "../util/logger.ts";
import type { Connection } from "../core/connection.ts";
import type { StandardSocket } from "../core/web_socket_channel.ts";

/** Bounds of a client alone. */
export interface ClientBounds {
  /**
   * Calls and notifications that may wait for a connection. A further one is refused.
   *
   * @default {1000}
   */
  readonly maxQueued: number;
  /**
   * Milliseconds that one of them may wait: then a call rejects, and a notification is dropped and
   * logged.
   *
   * @default {30000}
   */
  readonly maxQueuedMs: number;
  /**
   * Milliseconds of silence after which the server is asked whether it is still there, with a call
   * of `rpc.ping`; any answer will do. After twice that time the connection is dropped. 0: never.
   *
   * @default {0}
   */
  readonly heartbeatMs: number;
  /** Milliseconds that one attempt to connect may take. 0: no end. @default {20000} */
  readonly connectMs: number;
}

/** How a client behaves: all of {@linkcode SessionLimits}, and these. */
export interface ClientOptions extends Partial<SessionLimits>, Partial<ClientBounds> {
  /** Where the client writes its log. @default {console} */
  readonly logger?: Logger;
  /**
   * Proves who the client is: sent as `Authorization: Bearer` with a POST, and among the
   * subprotocols of a WebSocket, since a browser can set no header there. A function is asked before
   * each attempt to connect, and before each POST.
   */
  readonly token?: string | (() => string | Promise<string>);
  /**
   * Whether a connection over a WebSocket that was open and has ended is made again, and after which
   * waits. Not where a socket was passed in.
   *
   * @default {true}
   */
  readonly reconnect?: boolean | Partial<BackoffBounds>;
  /**
   * Runs on each new WebSocket before anything else is sent: a login, say. The connection counts as
   * open when it is done; where it fails, the attempt to connect has failed.
   *
   * @default {nothing to do}
   */
  readonly prepare?: (connection: Connection) => unknown;
  /** Subprotocols to offer. @default {["jsonrpc"] where there is a token, else none} */
  readonly protocols?: readonly string[];
  /** Headers of each POST. A WebSocket has none. */
  readonly headers?: Readonly<Record<string, string>>;
  /** Makes WebSockets in place of the standard class: `ws` fits. */
  readonly WebSocket?: new (url: string, protocols?: string[]) => StandardSocket;
  /** Sends requests in place of the standard function. */
  readonly fetch?: (url: string, init: RequestInit) => Promise<Response>;
  /**
   * What stands between the names of `remote`: what the server puts between prefix and name. Types
   * know the dot alone, `remote.math.add`, and fit whatever stands there; those of `call` do not.
   *
   * @default {"."}
   */
  readonly separator?: string;
}

/**
 * Where to connect: a `ws:`, `wss:`, `http:` or `https:` URL, a function that gives a `ws:` or
 * `wss:` one and is asked before each attempt, or a WebSocket that you made.
 */
export type ClientTarget =
  | string
  | URL
  | (() => string | URL | Promise<string | URL>)
  | StandardSocket;

/**
 * Fills the defaults in and checks every bound.
 *
 * @throws {RangeError} Where a bound makes no sense.
 */
export function resolveClientBounds(options: ClientOptions): SessionLimits & ClientBounds {
  return checkLimits<SessionLimits & ClientBounds>(options, {
    ...DEFAULT_SESSION_LIMITS,
    maxQueued: 1000,
    maxQueuedMs: 30_000,
    heartbeatMs: 0,
    connectMs: 20_000,
  });
}

/**
 * Checks a URL.
 *
 * @throws {TypeError} Where it is of no kind that is known.
 */
export function toUrl(target: string | URL): URL {
  const text = String(target);
  if (!/^(?:ws|http)s?:/i.test(text) || !URL.canParse(text)) {
    throw new TypeError(`Cannot connect: expected a ws:, wss:, http: or https: URL, got "${text}"`);
  }
  return new URL(text);
}
