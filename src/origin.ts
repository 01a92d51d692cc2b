/**
 * Which web pages may talk to a server: browsers send cookies along with WebSockets and some POSTs
 * from any page, and only the server can tell the pages apart.
 *
 * @module
 */

import type { Logger } from "./logger.ts";
import type { HandshakeCheck } from "./plugin.ts";
import type { Handshake } from "./request.ts";

/** Who may connect, as seen from headers that browsers set. */
export interface OriginOptions {
  /**
   * Origins of pages that may connect, such as `"https://app.example"`; `"*"` lets all in; a
   * function decides. What has no `Origin` header is no browser and passes always.
   *
   * @default {the server's own: the Origin's host and port equal the Host header}
   */
  readonly origins?: "*" | readonly string[] | ((origin: string) => boolean);
  /**
   * Values of the Host header that are answered, such as `"localhost:8080"`: protects a server on a
   * loopback address or behind a firewall against DNS rebinding.
   *
   * @default {any: proxies rewrite it}
   */
  readonly hosts?: readonly string[];
}

/** Makes the check of a server's options: refuses with 403 and says in the log how to allow. */
export function originCheck(options: OriginOptions, logger: Logger): HandshakeCheck {
  return function checkOrigin(handshake) {
    const { headers } = handshake;
    const origin = headers.get("origin");
    if (origin !== null && !isAllowed(origin, handshake, options.origins)) {
      logger.warn(`Refused origin ${quoted(origin)}: add it to the option \`origins\` to allow it`);
      return new Response("Origin not allowed", { status: 403 });
    }
    const host = headers.get("host") ?? "";
    if (options.hosts !== undefined && !options.hosts.includes(host)) {
      logger.warn(`Refused host ${quoted(host)}: add it to the option \`hosts\` to allow it`);
      return new Response("Host not allowed", { status: 403 });
    }
    return undefined;
  };
}

function isAllowed(
  origin: string,
  handshake: Handshake,
  origins: OriginOptions["origins"],
): boolean {
  if (origins === "*") return true;
  if (typeof origins === "function") return origins(origin) === true;
  if (origins !== undefined) return origins.includes(origin);
  // The scheme is left aside: behind a proxy that speaks TLS the server itself does not.
  return URL.canParse(origin) && plainHost(new URL(origin).host) === hostOf(handshake);
}

function hostOf({ headers, url }: Handshake): string {
  return plainHost(headers.get("host")?.toLowerCase() ?? new URL(url).host);
}

/** Without a default port: which of the two is the default depends on the scheme. */
function plainHost(host: string): string {
  return host.replace(/:(?:80|443)$/, "");
}

function quoted(text: string): string {
  return JSON.stringify(text.slice(0, 200));
}
