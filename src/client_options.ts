/**
 * How a client behaves.
 *
 * @module
 */

import type { Limits } from "./limits.ts";
import type { Logger } from "./logger.ts";
import type { StandardSocket } from "./socket.ts";

/** How a client behaves: the bounds of {@linkcode Limits} that concern it, and these. */
export interface ClientOptions extends Partial<Limits> {
  /** Where the client writes its log. @default {console} */
  readonly logger?: Logger;
  /**
   * Proves who the client is: sent as `Authorization: Bearer` with a POST, and among the
   * subprotocols of a WebSocket, since a browser can set no header there.
   */
  readonly token?: string;
  /** Subprotocols to offer. @default {["jsonrpc"] where there is a token, else none} */
  readonly protocols?: readonly string[];
  /** Headers of each POST. A WebSocket has none. */
  readonly headers?: Readonly<Record<string, string>>;
  /** Makes WebSockets in place of the standard class: `ws` fits. */
  readonly WebSocket?: new (url: string, protocols?: string[]) => StandardSocket;
  /** Sends requests in place of the standard function. */
  readonly fetch?: (url: string, init: RequestInit) => Promise<Response>;
  /** What stands between the names of `remote`. @default {"."} */
  readonly separator?: string;
}

/** Where to connect: a `ws:`, `wss:`, `http:` or `https:` URL, or a WebSocket that you made. */
export type ClientTarget = string | URL | StandardSocket;

/**
 * Checks where to connect.
 *
 * @throws {TypeError} Where the target is no URL of a kind that is known.
 */
export function resolveTarget(target: ClientTarget): URL | StandardSocket {
  if (typeof target === "object" && !(target instanceof URL)) return target;
  const text = String(target);
  if (!/^(?:ws|http)s?:/i.test(text) || !URL.canParse(text)) {
    throw new TypeError(`Cannot connect: expected a ws:, wss:, http: or https: URL, got "${text}"`);
  }
  return new URL(text);
}
