/**
 * Cookies, as a browser sends them.
 *
 * @see {@link https://www.rfc-editor.org/rfc/rfc6265#section-4.2 | RFC 6265, section 4.2}
 *
 * @module
 */

import type { Handshake } from "../core/connection.ts";

/**
 * Reads one cookie of a peer. The value is exactly what the peer sent: nothing is decoded, and quotes
 * stay.
 *
 * A cookie whose name comes twice counts as missing, because the header does not say which of them
 * this site has set: another host of the domain may have added one. Prefer a name that starts with
 * `__Host-`, which browsers accept from the site itself alone.
 *
 * @param handshake How the peer connected.
 * @param name The cookie's name; upper and lower case matter.
 * @returns The value, perhaps empty; `undefined` if there is no such cookie, or more than one.
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
  let found: string | undefined;
  for (const pair of headers.get("cookie")?.split(";") ?? []) {
    const equals = pair.indexOf("=");
    if (equals === -1 || trimBlanks(pair.slice(0, equals)) !== name) continue;
    if (found !== undefined) return undefined;
    found = trimBlanks(pair.slice(equals + 1));
  }
  return found;
}

/**
 * Strips spaces and tabs, as browsers do, and nothing else. `trim()` would also strip U+00A0, and so
 * take a cookie named U+00A0 + `__Host-sid`, which any host of the domain can set, for `__Host-sid`.
 */
function trimBlanks(text: string): string {
  return text.replace(/^[ \t]+|[ \t]+$/g, "");
}
