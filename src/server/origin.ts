/**
 * Which web pages may use a server. Browsers send cookies with WebSockets and some POSTs from any page,
 * and only the server can tell the pages apart.
 *
 * @module
 */

import type { Handshake } from "../core/connection.ts";
import { quoted } from "../protocol/errors.ts";
import { checkTexts } from "../util/check_option.ts";
import type { Logger } from "../util/logger.ts";
import { isThenable } from "../util/maybe_promise.ts";
import { withholdCredentials } from "./handshake.ts";

/** Which pages may connect, by the headers that browsers set. */
export interface OriginOptions {
  /**
   * Origins of pages that may connect, such as `"https://app.example"`; a function decides for each.
   * `"*"` accepts all pages, but the server does not see the cookies and the HTTP Basic that a browser
   * sends for a page of another origin than the server's own. A request without an `Origin` header is
   * not from a page's script and is accepted, unless other headers say that a page of another site made it.
   *
   * @default {the server's own: the Origin's host and port equal the Host header}
   * @see {@link https://www.rfc-editor.org/rfc/rfc6455#section-10.2 | RFC 6455, section 10.2}
   */
  readonly origins?: "*" | readonly string[] | ((origin: string) => boolean);
  /**
   * Values of the Host header that the server answers, such as `"localhost:8080"`. Set it for a server
   * on a loopback address or behind a firewall, as protection against DNS rebinding.
   *
   * @default {any value, since proxies rewrite the header}
   */
  readonly hosts?: readonly string[];
  /**
   * Request headers that pages of other origins may send, such as `"traceparent"`, beside
   * `content-type` and `authorization`.
   *
   * @default {all that a page asks for, if its origin may connect}
   * @see {@link https://fetch.spec.whatwg.org/#http-access-control-allow-headers}
   */
  readonly allowHeaders?: readonly string[];
  /**
   * Response headers that pages of other origins may read, such as those that a plugin sets.
   *
   * @default {[]}
   * @see {@link https://fetch.spec.whatwg.org/#http-access-control-expose-headers}
   */
  readonly exposeHeaders?: readonly string[];
}

/** Checks which pages may use a server, over WebSocket and HTTP. */
export class Origins {
  readonly #options: OriginOptions;
  readonly #logger: Logger;
  readonly #passed = new WeakSet<Handshake>();
  #warned = false;

  /**
   * @param options The server's options.
   * @param logger Where a refusal is written, with how to allow it.
   * @throws {TypeError} If `origins` or `hosts` have the wrong type.
   */
  constructor(options: OriginOptions, logger: Logger) {
    const { origins, hosts, allowHeaders, exposeHeaders } = options;
    if (origins !== "*" && typeof origins !== "function") {
      checkTexts("origins", origins, '"*", a function, or a list of texts');
    }
    for (const [name, list] of Object.entries({ hosts, allowHeaders, exposeHeaders })) {
      checkTexts(name, list);
    }
    this.#options = options;
    this.#logger = logger;
  }

  /**
   * Checks the origin and the host of a request. With `"*"` it takes the credentials of the person away
   * who looks at a page of another origin.
   *
   * @param handshake What is known of the peer.
   * @returns A 403 if the page may not connect; the log then says how to allow it. Else `undefined`.
   */
  check(handshake: Handshake): Response | undefined {
    const { headers } = handshake;
    const { origins, hosts } = this.#options;
    const origin = headers.get("origin");
    if (origin !== null && !isAllowed(origin, handshake, origins)) {
      return this.#refuse("origin", origin);
    }
    if (hosts !== undefined) {
      // HTTP/2 has no Host header: its `:authority` is in the URL.
      const host = headers.get("host") ?? hostIn(handshake.url);
      if (!hosts.includes(host)) return this.#refuse("host", host);
    }
    if (origin !== null) this.#passed.add(handshake);
    const named = origins === "*" && (headers.has("cookie") || headers.has("authorization"));
    if (named && isForeign(origin, handshake)) this.#withhold(origin, handshake);
    return undefined;
  }

  /**
   * Checks a GET that has no Origin header. A page of another site can make one without reading the
   * answer, as an image or a frame; browsers then say so in `Sec-Fetch-*` headers, over TLS or on a
   * loopback address. A link that the user follows is allowed.
   *
   * @param handshake What is known of the peer.
   * @returns A 403 if a page of another site makes the request; else `undefined`.
   * @see {@link https://www.w3.org/TR/fetch-metadata/}
   */
  checkNoCors({ headers }: Handshake): Response | undefined {
    if (this.#options.origins === "*" || !isOfOtherSite(headers)) return undefined;
    const mode = headers.get("sec-fetch-mode") ?? "";
    this.#logger.warn(`Refused a page of another site: a ${quoted(mode)} GET has no origin`);
    return new Response("Origin not allowed", { status: 403 });
  }

  /** Whether the request has an Origin header that passed {@linkcode Origins.check}. */
  hasPassed(handshake: Handshake): boolean {
    return this.#passed.has(handshake);
  }

  /**
   * Makes the headers that allow a page of another origin to read a response.
   *
   * @param origin The page's origin, which was checked before.
   * @returns The headers.
   * @see {@link https://fetch.spec.whatwg.org/#http-cors-protocol}
   */
  corsHeaders(origin: string): Record<string, string> {
    // "*" allows all pages, but not with the cookies of the users who look at them: see `check`.
    const { origins, exposeHeaders = [] } = this.#options;
    const exposed: Record<string, string> = exposeHeaders.length === 0
      ? {}
      : { "access-control-expose-headers": exposeHeaders.join(", ") };
    if (origins === "*") return { "access-control-allow-origin": "*", ...exposed };
    return {
      ...exposed,
      "access-control-allow-origin": origin,
      "access-control-allow-credentials": "true",
      "vary": "origin",
    };
  }

  /**
   * Answers the preflight request that a browser makes before a POST from another origin.
   *
   * @param handshake What is known of the peer.
   * @returns The answer.
   * @see {@link https://fetch.spec.whatwg.org/#cors-preflight-request}
   */
  preflight(handshake: Handshake): Response {
    const refusal = this.check(handshake);
    if (refusal !== undefined) return refusal;
    return new Response(null, {
      status: 204,
      headers: {
        ...this.corsHeaders(handshake.headers.get("origin") ?? "null"),
        "access-control-allow-methods": "POST, GET",
        "access-control-allow-headers": this.#allowedHeaders(handshake),
        "access-control-max-age": "600",
      },
    });
  }

  #allowedHeaders({ headers }: Handshake): string {
    const asked = headers.get("access-control-request-headers")?.split(",") ?? [];
    const more = this.#options.allowHeaders ?? asked.map((name) => name.trim());
    // Another text than a name would be sent back in a header, too.
    const names = more.filter((name) => /^[\w-]+$/.test(name)).map((name) => name.toLowerCase());
    return [...new Set(["content-type", "authorization", ...names])].join(", ");
  }

  #withhold(origin: string | null, handshake: Handshake): void {
    if (!withholdCredentials(handshake) || this.#warned || origin === null) return;
    this.#warned = true;
    this.#logger.warn(
      `Ignored the cookies or HTTP Basic of a page of ${quoted(origin)}: \`origins\` is "*". ` +
        "Name the origins of your own pages in place of it if they log in that way",
    );
  }

  #refuse(what: "origin" | "host", value: string): Response {
    this.#logger.warn(
      `Refused ${what} ${quoted(value)}: add it to the option \`${what}s\` to allow it`,
    );
    const name = what === "origin" ? "Origin" : "Host";
    return new Response(`${name} not allowed`, { status: 403 });
  }
}

/** Whether a page of another origin made the request, as far as its headers tell. */
function isForeign(origin: string | null, handshake: Handshake): boolean {
  return origin === null
    ? isOfOtherSite(handshake.headers)
    : !isAllowed(origin, handshake, undefined);
}

/** Whether a page of another site made a GET that has no origin, other than by showing its answer as a page. */
function isOfOtherSite(headers: Headers): boolean {
  const site = headers.get("sec-fetch-site");
  if (site !== "cross-site" && site !== "same-site") return false;
  const [mode, dest] = [headers.get("sec-fetch-mode"), headers.get("sec-fetch-dest")];
  return mode === "no-cors" || mode === "navigate" && dest !== null && dest !== "document";
}

function isAllowed(
  origin: string,
  handshake: Handshake,
  origins: OriginOptions["origins"],
): boolean {
  if (origins === "*") return true;
  if (typeof origins === "function") {
    const answer: unknown = origins(origin);
    // The origin is refused below, so nothing else handles this promise.
    if (isThenable(answer)) answer.then(undefined, () => {});
    return answer === true;
  }
  if (origins !== undefined) return origins.includes(origin);
  // If the request came over TLS, an "http" page is another origin, which anybody on its network can
  // change. The other way round nothing is known: behind a proxy that ends TLS, the server sees "http".
  if (handshake.url.startsWith("https:") && !origin.startsWith("https:")) return false;
  // A page of another scheme, such as an app's, is not of this server.
  const host = /^https?:/.test(origin) ? hostIn(origin) : "";
  const own = hostOf(handshake);
  return host !== "" && (host === own || host === plainHost(own));
}

function hostOf({ headers, url }: Handshake): string {
  return headers.get("host")?.toLowerCase() ?? hostIn(url);
}

/** The host of a URL; empty if it has none, as an opaque origin or a URL that is only a path. */
function hostIn(url: string): string {
  return URL.canParse(url) ? new URL(url).host : "";
}

/** A Host header without a default port: behind a proxy it is not known which of the two is the default. */
function plainHost(host: string): string {
  return host.replace(/:(?:80|443)$/, "");
}
