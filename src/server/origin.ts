/**
 * Which web pages may talk to a server: browsers send cookies along with WebSockets and some POSTs
 * from any page, and only the server can tell the pages apart.
 *
 * @module
 */

import type { Logger } from "../util/logger.ts";
import { isThenable } from "../util/maybe_promise.ts";
import type { Handshake } from "../core/connection.ts";

/** Who may connect, as seen from headers that browsers set. */
export interface OriginOptions {
  /**
   * Origins of pages that may connect, such as `"https://app.example"`; `"*"` lets all in; a
   * function decides. What has no `Origin` header is no browser and passes always, unless other
   * headers tell that it is a page of another site.
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

/** Which pages may talk to a server, over both of its doors. */
export class Origins {
  readonly #options: OriginOptions;
  readonly #logger: Logger;
  readonly #admitted = new WeakSet<Handshake>();

  /**
   * @param options The server's.
   * @param logger Where it is said how to allow what was refused.
   * @throws {TypeError} Where origins or hosts are no list of texts, nor what else they may be.
   */
  constructor(options: OriginOptions, logger: Logger) {
    const { origins, hosts } = options;
    // A text has `includes` too, and would let in whatever is a part of it.
    if (origins !== undefined && origins !== "*" && typeof origins !== "function") {
      checkTexts("origins", '"*", a function, or a list of texts', origins);
    }
    if (hosts !== undefined) checkTexts("hosts", "a list of texts", hosts);
    this.#options = options;
    this.#logger = logger;
  }

  /** Refuses with 403 what may not connect, and says in the log how to allow it. */
  check(handshake: Handshake): Response | undefined {
    const { headers } = handshake;
    const { origins, hosts } = this.#options;
    const origin = headers.get("origin");
    if (origin !== null && !isAllowed(origin, handshake, origins)) {
      return this.#refuse("origin", origin);
    }
    if (hosts !== undefined) {
      // HTTP/2 has another place for it, from where it is in the URL.
      const host = headers.get("host") ?? hostIn(handshake.url);
      if (!hosts.includes(host)) return this.#refuse("host", host);
    }
    if (origin !== null) this.#admitted.add(handshake);
    return undefined;
  }

  /**
   * Refuses with 403 a page of another site that asks without wanting to read the answer, as for an
   * image or a frame: such a GET has no Origin. Browsers tell servers of it that they trust, over TLS
   * or on a loopback address. A link may ask.
   */
  checkNoCors({ headers }: Handshake): Response | undefined {
    const site = headers.get("sec-fetch-site");
    if (this.#options.origins === "*" || (site !== "cross-site" && site !== "same-site")) {
      return undefined;
    }
    const [mode, dest] = [headers.get("sec-fetch-mode"), headers.get("sec-fetch-dest")];
    const isFrame = mode === "navigate" && dest !== null && dest !== "document";
    if (mode !== "no-cors" && !isFrame) return undefined;
    this.#logger.warn(`Refused a page of another site: ${JSON.stringify(mode)} tells no origin`);
    return new Response("Origin not allowed", { status: 403 });
  }

  /** Whether a page has passed the check. */
  hasAdmitted(handshake: Handshake): boolean {
    return this.#admitted.has(handshake);
  }

  /**
   * The headers that let a page of another origin, which was checked before, read an answer.
   *
   * @see {@link https://fetch.spec.whatwg.org/#http-cors-protocol}
   */
  corsHeaders(origin: string): Record<string, string> {
    // "*" lets all pages in, but not with the cookies of whoever looks at them.
    if (this.#options.origins === "*") return { "access-control-allow-origin": "*" };
    return {
      "access-control-allow-origin": origin,
      "access-control-allow-credentials": "true",
      "vary": "origin",
    };
  }

  /** Answers the question that a browser asks before a POST from another origin. */
  preflight(handshake: Handshake): Response {
    const refusal = this.check(handshake);
    if (refusal !== undefined) return refusal;
    return new Response(null, {
      status: 204,
      headers: {
        ...this.corsHeaders(handshake.headers.get("origin") ?? "null"),
        "access-control-allow-methods": "POST, GET",
        "access-control-allow-headers": "content-type, authorization",
        "access-control-max-age": "600",
      },
    });
  }

  #refuse(what: "origin" | "host", value: string): Response {
    const quoted = JSON.stringify(value.slice(0, 200));
    this.#logger.warn(`Refused ${what} ${quoted}: add it to the option \`${what}s\` to allow it`);
    const name = what === "origin" ? "Origin" : "Host";
    return new Response(`${name} not allowed`, { status: 403 });
  }
}

function checkTexts(name: string, what: string, value: unknown): void {
  if (Array.isArray(value) && value.every((each) => typeof each === "string")) return;
  throw new TypeError(`Expected \`${name}\` to be ${what}, got \`${value}\` (${typeof value})`);
}

function isAllowed(
  origin: string,
  handshake: Handshake,
  origins: OriginOptions["origins"],
): boolean {
  if (origins === "*") return true;
  if (typeof origins === "function") {
    const answer: unknown = origins(origin);
    if (isThenable(answer)) answer.then(undefined, () => {}); // refused below, whatever it becomes
    return answer === true;
  }
  if (origins !== undefined) return origins.includes(origin);
  // The scheme is left aside: behind a proxy that speaks TLS the server itself does not.
  const host = hostIn(origin);
  return host !== "" && plainHost(host) === hostOf(handshake);
}

function hostOf({ headers, url }: Handshake): string {
  return plainHost(headers.get("host")?.toLowerCase() ?? hostIn(url));
}

/** Empty where there is none: of an origin that is opaque, of a URL that is no more than a path. */
function hostIn(url: string): string {
  return URL.canParse(url) ? new URL(url).host : "";
}

/** Without a default port: which of the two is the default depends on the scheme. */
function plainHost(host: string): string {
  return host.replace(/:(?:80|443)$/, "");
}
