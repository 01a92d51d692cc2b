/**
 * What happens before the first message: the same for a WebSocket and for each POST.
 *
 * @module
 */

import { describeError } from "../protocol/errors.ts";
import type { Logger } from "../util/logger.ts";
import { isThenable } from "../util/maybe_promise.ts";
import type { HandshakeCheck } from "../core/plugin.ts";
import type { Handshake } from "../core/connection.ts";
import type { Runtime } from "../runtimes/runtime.ts";

/** The one list of checks that guards both doors. */
export class HandshakeChecks {
  readonly #checks: HandshakeCheck[];
  readonly #logger: Logger;

  /**
   * @param first Runs before all others.
   * @param logger Where a check that fails is written.
   */
  constructor(first: HandshakeCheck, logger: Logger) {
    this.#checks = [first];
    this.#logger = logger;
  }

  /** Adds a check behind the others. */
  add(check: HandshakeCheck): void {
    this.#checks.push(check);
  }

  /**
   * Runs the checks in order, up to the first that refuses.
   *
   * @returns The refusal as it was given, for {@linkcode HandshakeChecks.answer}, or `undefined` where all let
   * the peer in; a promise only where one of them gave one.
   */
  run(handshake: Handshake, from = 0): Response | undefined | Promise<Response | undefined> {
    try {
      for (let index = from; index < this.#checks.length; index++) {
        const verdict = this.#checks[index]?.(handshake);
        if (isThenable(verdict)) return this.#wait(verdict, handshake, index + 1);
        if (verdict !== undefined) return verdict;
      }
      return undefined;
    } catch (error) {
      return this.refusal(error);
    }
  }

  async #wait(
    verdict: PromiseLike<Response | undefined | void>,
    handshake: Handshake,
    next: number,
  ): Promise<Response | undefined> {
    try {
      const refusal = await verdict;
      // Nothing lets in, and nothing else does: `false` is no Response, but no consent either.
      return await (refusal === undefined ? this.run(handshake, next) : refusal);
    } catch (error) {
      return this.refusal(error);
    }
  }

  /**
   * What is sent of a refusal. A check may give everybody one and the same response, whose body can
   * be sent once; and clones of clones, where nobody reads them, are a chain that some day breaks.
   */
  async answer(response: Response): Promise<Response> {
    try {
      if (typeof (response as Response | null)?.arrayBuffer !== "function") {
        throw new TypeError(`Expected a Response or nothing, got \`${response}\``);
      }
      let body = bodies.get(response);
      if (body === undefined) {
        body = response.body === null ? Promise.resolve(null) : response.arrayBuffer();
        bodies.set(response, body);
      }
      return new Response(await body, response);
    } catch (error) {
      return this.refusal(error);
    }
  }

  /** The answer to a peer whose check has thrown: what it threw, or 500, and a line in the log. */
  refusal(error: unknown): Response {
    if (error instanceof Response) return error;
    this.#logger.error(`A handshake function failed: ${describeError(error)}`);
    return new Response("Internal error", { status: 500 });
  }
}

// Of the responses that refused somebody: one may do so on several servers.
const bodies = new WeakMap<Response, Promise<ArrayBuffer | null>>();

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

/** Whether messages may still come where a check lets the peer in: headers alone could claim that. */
export function isUpgrade(handshake: Handshake): boolean {
  return handshake instanceof UpgradeHandshake;
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
class UpgradeHandshake extends StoredHandshake {}

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
