/**
 * JSON-RPC over HTTP: POST, GET, event streams, and the pages of plugins.
 *
 * @module
 */

import { CANCEL } from "../../core/internal.ts";
import type { Handshake } from "../../core/connection.ts";
import type { Method } from "../../core/dispatcher.ts";
import type { Plugin, Posted } from "../../core/plugin.ts";
import { describeError, quoted } from "../../protocol/errors.ts";
import { detectRuntime } from "../../runtimes/detect.ts";
import { isThenable } from "../../util/maybe_promise.ts";
import { ADDRESS_FULL, MEMORY_FULL, refuseFull } from "../acceptor.ts";
import type { WebSocketAcceptor } from "../acceptor.ts";
import type { ServerContext } from "../context.ts";
import { toHandshake } from "../handshake.ts";
import type { Origins } from "../origin.ts";
import { afterBody } from "./discard_body.ts";
import { BodyReader } from "./body_reader.ts";
import { answerGet, answerPost } from "./exchange.ts";
import type { Caller, Exchange, ExchangeHost } from "./exchange.ts";
import { comeBackLater, isEventRequest, openEvents, searchOf } from "./sse.ts";
import { tracePost } from "./trace_post.ts";
import { WaitingRequests } from "./waiting_requests.ts";

/** What HTTP needs beside what all parts of the server share. */
export interface HttpHandlerOptions {
  /** Checks which pages may use the server. */
  readonly origins: Origins;
  /** Opens event streams, and runs the checks for them. */
  readonly acceptor: WebSocketAcceptor;
  /** The status of the response to a POST of notifications alone. @default {200} */
  readonly notificationStatus?: number | undefined;
}

/** Answers requests that are no upgrade. */
export class HttpHandler {
  readonly #context: ServerContext;
  readonly #origins: Origins;
  readonly #acceptor: WebSocketAcceptor;
  readonly #bodies: BodyReader;
  readonly #postHost: ExchangeHost;
  readonly #getHost: ExchangeHost;
  readonly #pending = new Set<Exchange>();
  readonly #streams = new Set<Exchange>();
  readonly #waiting: WaitingRequests;
  #underWay = 0;
  #cancelled = false;

  /**
   * @param context What the parts of the server share.
   * @param options What HTTP needs beside that.
   */
  constructor(context: ServerContext, options: HttpHandlerOptions) {
    const { origins, acceptor, notificationStatus = 200 } = options;
    if (![200, 202, 204].includes(notificationStatus)) {
      throw new RangeError(
        `Expected \`notificationStatus\` to be 200, 202 or 204, got \`${notificationStatus}\``,
      );
    }
    this.#context = context;
    this.#waiting = new WaitingRequests(context);
    this.#origins = origins;
    this.#acceptor = acceptor;
    const { dialect, explainRefusals, limits, logger, budget, methods, pacer, shutdown } = context;
    const bodies = this.#bodies = new BodyReader(limits, budget);
    const host = {
      dialect,
      explainRefusals,
      limits,
      logger,
      budget,
      pacer,
      bodies,
      pending: this.#pending,
      streams: this.#streams,
      heartbeatMs: limits.heartbeatMs,
      notificationStatus,
    };
    const find = (method: Method | undefined) => this.#cancelled ? shutdown.method : method;
    this.#getHost = {
      ...host,
      askPlugins: undefined,
      find: (name) => find(methods.findOverGet(name)),
    };
    const { hooks } = context;
    const askPlugins = (posted: Posted) => this.#askForPost(posted);
    this.#postHost = {
      ...host,
      get askPlugins() {
        return hooks.plugins.some(answersPosts) ? askPlugins : undefined;
      },
      find: (name) => find(methods.findOverPost(name)),
    };
  }

  /** How many requests have not been answered yet. */
  get underWay(): number {
    return this.#running + this.#waiting.size;
  }

  get #running(): number {
    return this.#underWay + this.#streams.size;
  }

  /**
   * Answers all requests whose handlers still run, or whose body is still being read, with 503, and aborts the
   * signals of the handlers.
   *
   * @param graceMs Milliseconds that callers have to read answers that are streams.
   * @returns Resolves once they have, or these answers were cut.
   */
  async close(graceMs: number): Promise<void> {
    this.#cancelled = true;
    this.#waiting.flush();
    this.#bodies.close();
    for (const exchange of this.#pending) exchange[CANCEL]();
    await Promise.all([...this.#streams].map((exchange) => exchange.endStream(graceMs)));
  }

  /**
   * Answers a request, in a later turn of the event loop if there is no time for it in this one.
   *
   * @param request A standard request.
   * @param host What the runtime passes beside the request.
   * @returns 200 with the answer, or without a body if there is none to give; 403, or another response
   * of a check, if it refuses; 405, 413 or 415 for what the server does not accept; 503 once it closes,
   * or if it is full.
   */
  answer(request: Request, host: unknown): Response | Promise<Response> {
    const waits = this.#waiting.take(request, host);
    if (waits === undefined) return this.#answerNow(request, host);
    if (waits === false) return refuseFull(MEMORY_FULL, 1);
    return waits.then((waited) =>
      waited === "due"
        ? this.#answerNow(request, host)
        // For frameworks around this: the client reads no answer.
        : new Response(null, { status: 400 })
    );
  }

  #answerNow(request: Request, host: unknown): Response | Promise<Response> {
    // Parsed once, and everything is decided by this: a check of the raw text would take `%6dethod=` for
    // something else.
    const search = request.method === "GET" ? searchOf(request) : undefined;
    if (this.#context.shutdown.started) return this.#rejectClosing(request, host, search);
    const { maxConnections } = this.#context.limits;
    if (this.#running >= maxConnections && !isEventRequest(request, search)) {
      return refuseFull(`${maxConnections} requests are under way (maxConnections)`);
    }
    const response = this.#answer(request, host, search);
    return isThenable(response) ? this.#count(response) : response;
  }

  async #count(response: PromiseLike<Response>): Promise<Response> {
    this.#underWay++;
    try {
      return await response;
    } finally {
      this.#underWay--;
    }
  }

  #answer(
    request: Request,
    host: unknown,
    search: URLSearchParams | undefined,
  ): Response | Promise<Response> {
    const runtime = detectRuntime(host);
    const { addresses } = this.#context;
    const isEvents = isEventRequest(request, search);
    const hasPage = !isEvents && !search?.has("method") && this.#pageFor(request) !== undefined;
    const handshake = toHandshake(request, { runtime, host, addresses }, hasPage);
    const caller: Caller = {
      handshake,
      onLeave: runtime && ((left) => runtime.onLeave(request, host, left)),
      keepOpen: () => runtime?.keepOpen?.(request, host),
      search,
      streamEnd: undefined,
    };
    const origin = handshake.headers.get("origin");
    // Before the other checks: a preflight request has no credentials that could pass them.
    if (request.method === "OPTIONS" && origin !== null) return this.#preflight(handshake);
    const refused = origin === null && (search?.has("method") || search?.has("topics"))
      ? this.#origins.checkNoCors(handshake)
      : undefined;
    if (refused !== undefined) return refused;
    let response: Response | Promise<Response>;
    if (isEvents) {
      caller.keepOpen();
      response = this.#openEvents(request, handshake);
    } else {
      response = addresses.isOff
        ? this.#answerIfAccepted(request, caller)
        : this.#answerIfFewEnough(request, caller);
    }
    return origin === null ? response : this.#withCors(response, handshake, origin);
  }

  /** Opens an event stream. If that is refused for now, the peer is told to come back. */
  async #openEvents(request: Request, handshake: Handshake): Promise<Response> {
    const response = await this.#acceptor.accept(
      handshake,
      (context) => openEvents(request, context),
    );
    if (response.status !== 503 && response.status !== 429) return response;
    const retryMs = 1000 * Number(response.headers.get("retry-after") ?? 0);
    return comeBackLater(Math.max(RETRY_MS, retryMs) * (1 + Math.random()));
  }

  /**
   * Refuses a request because the server closes. A page that may use the server can read the refusal.
   * The shutdown does not wait for these requests.
   */
  #rejectClosing(
    request: Request,
    host: unknown,
    search: URLSearchParams | undefined,
  ): Response | Promise<Response> {
    const { addresses, checks, shutdown } = this.#context;
    const handshake = toHandshake(request, { runtime: detectRuntime(host), host, addresses });
    const origin = handshake.headers.get("origin");
    if (request.method === "OPTIONS" && origin !== null) return this.#preflight(handshake);
    let refusal: Response;
    try {
      refusal = this.#origins.check(handshake) ??
        (isEventRequest(request, search)
          ? comeBackLater(shutdown.retryAfter())
          : shutdown.refusal());
    } catch (error) {
      refusal = checks.refusal(error);
    }
    const response = afterBody(request, refusal);
    return origin === null ? response : this.#withCors(response, handshake, origin);
  }

  #preflight(handshake: Handshake): Response {
    try {
      return this.#origins.preflight(handshake);
    } catch (error) {
      return this.#context.checks.refusal(error);
    }
  }

  /** Allows the page that made the request to read the response, if it may use the server. */
  async #withCors(
    answer: Response | Promise<Response>,
    handshake: Handshake,
    origin: string,
  ): Promise<Response> {
    const response = await answer;
    if (!this.#origins.hasPassed(handshake)) return response;
    // A copy: a plugin may have given a response whose headers cannot be written.
    const headers = new Headers(response.headers);
    for (const [name, value] of Object.entries(this.#origins.corsHeaders(origin))) {
      // Keep what the response varies by already: caches depend on it.
      if (name === "vary") headers.append(name, value);
      else headers.set(name, value);
    }
    return new Response(response.body, { status: response.status, headers });
  }

  async #answerIfFewEnough(request: Request, caller: Caller): Promise<Response> {
    const release = this.#context.addresses.take(caller.handshake);
    if (release === undefined) return refuseFull(ADDRESS_FULL);
    try {
      return await this.#answerIfAccepted(request, caller);
    } finally {
      // A stream counts until it is read.
      if (caller.streamEnd === undefined) release();
      else void caller.streamEnd.then(release);
    }
  }

  #answerIfAccepted(request: Request, caller: Caller): Response | Promise<Response> {
    const refusal = this.#context.checks.run(caller.handshake);
    return isThenable(refusal)
      ? refusal.then((refusal) => this.#answerUnlessRefused(refusal, request, caller))
      : this.#answerUnlessRefused(refusal, request, caller);
  }

  #answerUnlessRefused(
    refusal: Response | undefined,
    request: Request,
    caller: Caller,
  ): Response | Promise<Response> {
    if (refusal === undefined) return this.#route(request, caller);
    return this.#context.checks.answer(refusal).then((answer) => afterBody(request, answer));
  }

  #route(request: Request, caller: Caller): Promise<Response> {
    if (caller.handshake.pageOnly) return this.#answerPage(request);
    if (request.method === "POST") return this.#post(request, caller);
    if (caller.search?.has("method")) return answerGet(caller.search, caller, this.#getHost);
    return this.#askPlugins(request, caller.handshake);
  }

  #post(request: Request, caller: Caller): Promise<Response> {
    const { traces, budget } = this.#context;
    const answer = (given: Request) => answerPost(given, caller, this.#postHost);
    if (traces.length === 0) return answer(request);
    return traces.reduce<typeof answer>(
      (inner, trace) => (given) => tracePost({ trace, budget }, given, inner),
      answer,
    )(request);
  }

  /** The page of a plugin, and nothing else: the peer has not logged in. */
  async #answerPage(request: Request): Promise<Response> {
    return await afterBody(request, this.#pageFor(request) ?? new Response(null, { status: 404 }));
  }

  /** The page that a plugin has for a browser. */
  #pageFor(request: Request): Response | undefined {
    if (request.method !== "GET" && request.method !== "HEAD") return undefined;
    for (const plugin of this.#context.hooks.plugins) {
      try {
        const page = plugin.page?.(request);
        if (page !== undefined) return page;
      } catch (error) {
        this.#context.logger.error(
          `page of plugin ${quoted(plugin.name)} failed: ${describeError(error)}`,
        );
      }
    }
    return undefined;
  }

  async #askPlugins(request: Request, handshake: Handshake): Promise<Response> {
    const response = await this.#firstOf(
      "fetch",
      async (plugin) => await plugin.fetch?.(request, handshake) ?? plugin.page?.(request),
    );
    if (response !== undefined) {
      return response === FAILED ? afterBody(request, internalError()) : response;
    }
    const text = "Expected a POST with JSON-RPC, or an upgrade to WebSocket";
    return afterBody(request, new Response(text, { status: 405, headers: { allow: "POST" } }));
  }

  async #askForPost(posted: Posted): Promise<Response | undefined> {
    const response = await this.#firstOf("post", async (plugin) => await plugin.post?.(posted));
    return response === FAILED ? internalError() : response;
  }

  /** The first response that a plugin gives. */
  async #firstOf(
    member: "fetch" | "post",
    ask: (plugin: Plugin) => Promise<Response | undefined>,
  ): Promise<Response | typeof FAILED | undefined> {
    const { hooks, logger } = this.#context;
    // A copy, since a plugin may be removed meanwhile.
    for (const plugin of [...hooks.plugins]) {
      try {
        const response = await ask(plugin);
        if (response?.bodyUsed) throw new TypeError("Expected a Response, got one that was used");
        if (response !== undefined) return response;
      } catch (error) {
        logger.error(`${member} of plugin ${quoted(plugin.name)} failed: ${describeError(error)}`);
        return FAILED;
      }
    }
    return undefined;
  }
}

function answersPosts(plugin: Plugin): boolean {
  return plugin.post !== undefined;
}

function internalError(): Response {
  return new Response("Internal error", { status: 500 });
}

// What a plugin has answered that threw.
const FAILED = Symbol("failed");

// When an event stream that was refused for now may come back; each peer at a time of its own.
const RETRY_MS = 3000;
