/**
 * The transport of a client that connects to a WebSocket's URL.
 *
 * @module
 */

import type { Transport } from "../core/transport.ts";
import { socketTransport } from "../core/web_socket_channel.ts";
import { runSafely } from "../util/maybe_promise.ts";
import type { MaybePromise } from "../util/maybe_promise.ts";
import type { ClientOptions } from "./options.ts";

/**
 * Connects by WebSocket, with a new socket for each attempt.
 *
 * @param target The URL, or a function that gives it.
 * @param options The client's options.
 * @returns The transport. It has no name: that of the URL may hold secrets.
 */
export function webSocketTransport(
  target: string | URL | (() => MaybePromise<string | URL>),
  options: ClientOptions,
): Transport {
  const { token, protocols } = options;
  return {
    canReconnect: true,
    hasFreshCredentials: typeof target === "function" || typeof token === "function",
    async open(context) {
      // Not awaited otherwise: the socket is then made before `open` returns.
      const url = typeof target === "function" ? await target() : target;
      const bearer = typeof token === "function" ? await token() : token;
      if (context.signal.aborted) return;
      // Here, since its error quotes nothing.
      const { href } = toUrl(url);
      const offered = bearer === undefined
        ? [...protocols ?? []]
        : [...protocols ?? ["jsonrpc"], `bearer.${bearer}`];
      runSafely(
        () =>
          socketTransport(new (options.WebSocket ?? WebSocket)(href, offered))
            .open(context),
        (error) => {
          // Runtimes quote the token or the URL.
          context.refused(1006, `${error}`.replace(/["'].*["']|:\/\S+/s, ""));
        },
      );
    },
  };
}

/**
 * Parses the URL of a server.
 *
 * @param target The URL. In a page it may be relative to the page: it then is a WebSocket's.
 * @returns The whole URL.
 * @throws {TypeError} If it is not a URL, or has another scheme.
 */
export function toUrl(target: string | URL): URL {
  const page = globalThis as { location?: { readonly href: string } };
  const base = page.location?.href.replace(/^http/, "ws");
  if (URL.canParse(target, base)) {
    const url = new URL(target, base);
    if (/^(?:ws|http)s?:/.test(url.protocol)) return url;
  }
  // Without the text, which may hold a password.
  throw new TypeError("Cannot connect: expected a ws: or http: URL");
}
