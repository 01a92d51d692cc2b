/**
 * What a server knows of a peer before its first message.
 *
 * @module
 */

import type { Handshake } from "../core/connection.ts";
import type { Runtime } from "../runtimes/runtime.ts";
import type { AddressCounts } from "./address_counts.ts";

/** Where a request comes from. */
export interface RequestSource {
  /** The runtime it came from, if that is known. */
  readonly runtime: Runtime | undefined;
  /** What the runtime passes beside the request. */
  readonly host: unknown;
  /** Tells the addresses of clients behind proxies. */
  readonly addresses: AddressCounts;
}

/**
 * Gathers what is known of the peer of a request that is no upgrade.
 *
 * @param request The request.
 * @param source Where it comes from.
 * @param hasPage Whether a plugin has a page without data for it.
 * @returns The handshake.
 */
export function toHandshake(
  request: Request,
  source: RequestSource,
  hasPage = false,
): Handshake {
  if (request.method === "POST") return new PostHandshake(request, source);
  const Class = hasPage ? PageHandshake : StoredHandshake;
  return new Class(request, addressOf(request, source));
}

/**
 * Gathers what is known of a peer that asks for a WebSocket. To be called before the upgrade, after
 * which some runtimes refuse to read the request.
 *
 * @param request The request.
 * @param source Where it comes from.
 * @returns The handshake.
 */
export function toUpgrade(request: Request, source: RequestSource): Handshake {
  return new UpgradeHandshake(request, addressOf(request, source));
}

function addressOf(request: Request, source: RequestSource): string | undefined {
  const { runtime, host, addresses } = source;
  return addresses.clientOf(runtime?.remoteAddress(request, host), request.headers);
}

/** Drops the reference to the request, before a connection is made of the handshake. */
export function releaseRequest(handshake: Handshake): void {
  if (handshake instanceof StoredHandshake) handshake.releaseRequest();
}

/**
 * Takes from a handshake what a browser adds by itself for the person who looks at a page: cookies, and
 * `Authorization` unless it is a bearer token. Over POST that header stays: a page has to ask for leave to
 * send JSON, and then gets none of the browser's own.
 *
 * @param handshake What is known of the peer.
 * @returns Whether there was anything to take.
 */
export function withholdCredentials(handshake: Handshake): boolean {
  const { headers } = handshake;
  const names = handshake instanceof PostHandshake ||
      /^bearer(?:\s|$)/i.test(headers.get("authorization") ?? "")
    ? ["cookie"]
    : ["cookie", "authorization"];
  const found = names.filter((name) => headers.has(name));
  if (found.length === 0) return false;
  // A copy: the headers of a request cannot be changed.
  const rest = new Headers(headers);
  for (const name of found) rest.delete(name);
  (handshake as { headers: Headers }).headers = rest;
  return true;
}

/**
 * The handshake of a connection that lasts. After {@linkcode releaseRequest} the headers are kept as one
 * text until something reads them: as an object they would be the largest part of an idle connection.
 */
class StoredHandshake implements Handshake {
  readonly url: string;
  readonly remoteAddress: string | undefined;
  user: unknown = null;
  #headers: Headers | undefined;
  #lines = "";

  constructor(request: Request, remoteAddress: string | undefined) {
    this.url = request.url;
    this.remoteAddress = remoteAddress;
    this.#headers = request.headers;
    // Makes Deno read all headers now: else it looks each one up in the request, which is closed later.
    this.#headers.has("upgrade");
  }

  get headers(): Headers {
    return this.#headers ??= fromLines(this.#lines);
  }

  set headers(headers: Headers) {
    this.#headers = headers;
  }

  releaseRequest(): void {
    this.#lines = toLines(this.headers);
    this.#headers = undefined;
  }
}

/** The handshake of a WebSocket. */
class UpgradeHandshake extends StoredHandshake {
  readonly isUpgrade = true;
}

/** The handshake of a request for which a plugin has a page. */
class PageHandshake extends StoredHandshake {
  readonly hasPage = true;
  pageOnly = false;
}

/** Headers as lines. No value of a request has a line break, and no name has a colon. */
function toLines(headers: Headers): string {
  return Array.from(headers, ([name, value]) => `${name}:${value}`).join("\n");
}

function fromLines(lines: string): Headers {
  const headers = new Headers();
  for (const line of lines === "" ? [] : lines.split("\n")) {
    const end = line.indexOf(":");
    headers.append(line.slice(0, end), line.slice(end + 1));
  }
  return headers;
}

/** The class of `Response` that the runtime of a handshake sends fastest. */
export function responseClass(handshake: Handshake): typeof Response {
  return handshake instanceof PostHandshake ? handshake.Response : Response;
}

/** The handshake of a POST. It reads the request only if asked: most calls never do, and it costs. */
class PostHandshake implements Handshake {
  readonly headers: Headers;
  user: unknown = null;
  readonly #request: Request;
  readonly #source: RequestSource;
  #url: string | undefined;
  #remoteAddress: string | undefined;

  constructor(request: Request, source: RequestSource) {
    this.headers = request.headers;
    this.#request = request;
    this.#source = source;
  }

  get Response(): typeof Response {
    return this.#source.runtime?.Response ?? Response;
  }

  get url(): string {
    return this.#url ??= orUndefined(() => this.#request.url) ?? "";
  }

  get remoteAddress(): string | undefined {
    return this.#remoteAddress ??= orUndefined(() => addressOf(this.#request, this.#source));
  }
}

/** What a read gives; `undefined` if it throws, as some runtimes do once a request was answered. */
function orUndefined<T>(read: () => T): T | undefined {
  try {
    return read();
  } catch {
    return undefined;
  }
}
