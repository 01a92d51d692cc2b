/**
 * The options of a client.
 *
 * @module
 */

import type { Reviver } from "../protocol/message.ts";
import type { ErrorClasses } from "../protocol/errors.ts";
import type { Connection } from "../core/connection.ts";
import type { Trace } from "../core/trace.ts";
import type { Transport } from "../core/transport.ts";
import type { StandardSocket } from "../core/web_socket_channel.ts";
import { DEFAULT_SESSION_LIMITS } from "../protocol/limits.ts";
import type { SessionLimits } from "../protocol/limits.ts";
import type { BackoffOptions } from "../util/backoff.ts";
import { checkLimits } from "../util/check_option.ts";
import type { Logger } from "../util/logger.ts";

/** Limits of a client, beside {@linkcode SessionLimits}. */
export interface ClientLimits {
  /**
   * Calls and notifications that may wait for a connection. A further call rejects; a further
   * notification throws.
   *
   * @default {1000}
   */
  readonly maxQueued: number;
  /**
   * Milliseconds that a message may wait for a connection. After that a call rejects; a notification
   * is dropped, and the client logs it.
   *
   * @default {30000}
   */
  readonly maxQueuedMs: number;
  /**
   * Milliseconds of silence after which the client calls `rpc.ping` on the server; any answer will
   * do. If the server stays silent for as long again, the client drops the connection. 0: the client
   * never asks.
   *
   * @default {0}
   */
  readonly heartbeatMs: number;
  /** Milliseconds that one attempt to connect may take. 0: no limit. @default {20000} */
  readonly connectMs: number;
}

/** How a client reconnects. */
export interface ReconnectOptions extends BackoffOptions {
  /**
   * Whether the client also repeats its first attempt to connect, so that `connect()` waits for a
   * server that is not there yet.
   *
   * @default {false}
   */
  readonly first: boolean;
}

/** The options of a client: all of {@linkcode SessionLimits} and {@linkcode ClientLimits}, and these. */
export interface ClientOptions extends Partial<SessionLimits>, Partial<ClientLimits> {
  /** Where the client writes its log. @default {console} */
  readonly logger?: Logger;
  /**
   * Classes of errors by code. An error of the server with such a code arrives as an object of that class, which extends
   * `RpcError` and keeps its constructor.
   *
   * @default {{}}
   */
  readonly errors?: ErrorClasses | undefined;
  /**
   * Changes the values of each message that the client receives, as the second argument of `JSON.parse`
   * does: in results, events, and params of calls to the client. `bigIntegers()` of `./big_integers`
   * keeps integers that a JavaScript number cannot hold.
   *
   * @default {no change}
   */
  readonly reviver?: Reviver | undefined;
  /**
   * Traces each text that the client sends or receives: `trace(console)` of `./trace`. Meant for development.
   *
   * @default {no trace}
   */
  readonly trace?: Trace;
  /**
   * A token that proves who the client is. A POST sends it as `Authorization: Bearer` (RFC 6750). A
   * WebSocket offers it as the subprotocol `bearer.TOKEN`, since a browser cannot set a header there.
   * A function is called before each attempt to connect, before each POST, and when the server asks
   * for a new token because the one of an open WebSocket is about to expire.
   *
   * @default {no token}
   */
  readonly token?: string | (() => string | Promise<string>);
  /**
   * Whether the client connects again after a connection has ended, and how long it waits before
   * each attempt. It never does with a socket that was passed in.
   *
   * @default {true}
   */
  readonly reconnect?: boolean | Partial<ReconnectOptions>;
  /**
   * Runs on each new connection before anything else is sent: log in here, for example. The client
   * is open once this has finished. If it fails, the attempt to connect has failed. Not called over
   * HTTP.
   *
   * @default {nothing to prepare}
   */
  readonly prepare?: (connection: Connection) => unknown;
  /** Subprotocols to offer. @default {["jsonrpc"] if there is a token, else none} */
  readonly protocols?: readonly string[];
  /** Headers of each POST. A WebSocket cannot send any. @default {none} */
  readonly headers?: Readonly<Record<string, string>>;
  /** A class to use instead of the standard `WebSocket`, such as that of `ws`. */
  readonly WebSocket?: new (url: string, protocols?: string[]) => StandardSocket;
  /** A function to use instead of the standard `fetch`. */
  readonly fetch?: (url: string, init: RequestInit) => Promise<Response>;
  /**
   * What stands between the parts of a method's name in `client.remote`: give it the `separator` of
   * the server. Types always use the dot, as in `remote.math.add`. The names that `call` takes do not
   * change.
   *
   * @default {"."}
   */
  readonly separator?: string;
}

/**
 * Where to connect: a `ws:`, `wss:`, `http:` or `https:` URL; a function that gives a `ws:` or `wss:`
 * URL and is called before each attempt; a WebSocket that you made; or a {@linkcode Transport}. In a
 * page, a URL without a scheme is a WebSocket of the page's own server: `/rpc`.
 */
export type ClientTarget =
  | string
  | URL
  | (() => string | URL | Promise<string | URL>)
  | StandardSocket
  | Transport;

/** All limits that a client has. */
export type AllClientLimits = SessionLimits & ClientLimits;

/**
 * Fills in the defaults and checks each limit.
 *
 * @param options The client's options.
 * @returns All limits.
 * @throws {RangeError} If a limit is not a whole number, or too small.
 */
export function resolveClientLimits(options: ClientOptions): AllClientLimits {
  return checkLimits<AllClientLimits>(options, {
    ...DEFAULT_SESSION_LIMITS,
    maxQueued: 1000,
    maxQueuedMs: 30_000,
    heartbeatMs: 0,
    connectMs: 20_000,
  });
}
