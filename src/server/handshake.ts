/**
 * What a server knows of a peer before its first message.
 *
 * @module
 */

import type { Handshake } from "../core/connection.ts";
import type { Runtime } from "../runtimes/runtime.ts";

/** Gathers what is known of a peer. Asked before an upgrade: after it some runtimes tell nothing. */
export function toHandshake(
  request: Request,
  runtime: Runtime | undefined,
  host: unknown,
): Handshake {
  if (request.method === "POST") return new PostHandshake(request, runtime, host);
  return new StoredHandshake(request, runtime?.remoteAddress(request, host));
}

/** The same of a peer that asks for a WebSocket. */
export function toUpgrade(
  request: Request,
  runtime: Runtime | undefined,
  host: unknown,
): Handshake {
  return new UpgradeHandshake(request, runtime?.remoteAddress(request, host));
}

/** Lets go of the request, before a connection is made of it. */
export function releaseRequest(handshake: Handshake): void {
  if (handshake instanceof StoredHandshake) handshake.releaseRequest();
}

/**
 * That of a connection that lasts. Once it lets go of the request its headers are one text, until
 * somebody asks: as an object they would be the biggest part of an idle connection.
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
    // Makes Deno read all of them: else it looks each up in the request, which is closed one day.
    this.#headers.has("upgrade");
  }

  get headers(): Headers {
    return this.#headers ??= fromLines(this.#lines);
  }

  releaseRequest(): void {
    this.#lines = toLines(this.headers);
    this.#headers = undefined;
  }
}

/** That of a WebSocket. */
class UpgradeHandshake extends StoredHandshake {
  readonly isUpgrade = true;
}

/** As in a request: no value has a line break, no name a colon. */
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

/** What the answer to a request is best made of. */
export function responseClass(handshake: Handshake): typeof Response {
  return handshake instanceof PostHandshake ? handshake.Response : Response;
}

/** That of a POST, whose request can be read later: most calls never ask, and asking costs. */
class PostHandshake implements Handshake {
  readonly headers: Headers;
  user: unknown = null;
  readonly #request: Request;
  readonly #runtime: Runtime | undefined;
  readonly #host: unknown;
  #url: string | undefined;
  #remoteAddress: string | undefined;

  constructor(request: Request, runtime: Runtime | undefined, host: unknown) {
    this.headers = request.headers;
    this.#request = request;
    this.#runtime = runtime;
    this.#host = host;
  }

  get Response(): typeof Response {
    return this.#runtime?.Response ?? Response;
  }

  get url(): string {
    return this.#url ??= ask(() => this.#request.url) ?? "";
  }

  get remoteAddress(): string | undefined {
    return this.#remoteAddress ??= ask(() =>
      this.#runtime?.remoteAddress(this.#request, this.#host)
    );
  }
}

/** What a request tells; nothing where it was answered meanwhile, on a runtime that then throws. */
function ask<T>(question: () => T): T | undefined {
  try {
    return question();
  } catch {
    return undefined;
  }
}
