/**
 * Cookies, as a browser sends them.
 *
 * @see {@link https://www.rfc-editor.org/rfc/rfc6265#section-4.2 | RFC 6265, section 4.2}
 *
 * @module
 */

import type { Handshake } from "../core/connection.ts";

/**
 * Reads one cookie of a peer. The value is what the peer sent, to the letter: nothing is decoded,
 * quotes stay. Where several have the name, it is that of the first; a name that starts with
 * `__Host-` keeps browsers from taking such a second one from another host.
 *
 * @param handshake What is known of the peer.
 * @param name The cookie's name; upper and lower case matter.
 * @returns The value, perhaps empty; `undefined` where there is no such cookie.
 *
 * @example
 * ```ts
 * import { cookie } from "@x/jsonrpc/session";
 *
 * const headers = new Headers({ cookie: "theme=dark; __Host-sid=c0ffee" });
 * const handshake = { url: "", headers, remoteAddress: undefined, user: null };
 * console.assert(cookie(handshake, "__Host-sid") === "c0ffee");
 * console.assert(cookie(handshake, "sid") === undefined);
 * ```
 */
export function cookie({ headers }: Handshake, name: string): string | undefined {
  for (const pair of headers.get("cookie")?.split(";") ?? []) {
    const equals = pair.indexOf("=");
    if (equals !== -1 && pair.slice(0, equals).trim() === name) {
      return pair.slice(equals + 1).trim();
    }
  }
  return undefined;
}
