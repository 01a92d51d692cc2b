/**
 * JSON-RPC over HTTP: one request, one answer.
 *
 * @module
 */

import { afterBody } from "./discard_body.ts";
import type { Shutdown } from "../shutdown.ts";
import { describeError } from "../../protocol/errors.ts";
import { toHandshake } from "../handshake.ts";
import type { HandshakeChecks } from "../handshake_checks.ts";
import type { Limits } from "../../protocol/limits.ts";
import type { Logger } from "../../util/logger.ts";
import type { MethodRegistry } from "../methods.ts";
import { isThenable } from "../../util/maybe_promise.ts";
import type { Origins } from "../origin.ts";
import type { Plugin } from "../../core/plugin.ts";
import type { Handshake } from "../../core/connection.ts";
import type { Method } from "../../core/dispatcher.ts";
import { detectRuntime } from "../../runtimes/detect.ts";
import type { WebSocketAcceptor } from "../acceptor.ts";
import { answerGet, answerPost } from "./exchange.ts";
import type { Caller, Exchange, ExchangeHost } from "./exchange.ts";
import { isEventRequest, openEvents, searchOf } from "./sse.ts";

/** What the HTTP door of a server needs of it. */
export interface HttpHandlerOptions {
  /** Which bounds hold. */
  readonly limits: Limits;
  /** Where failures are written. */
  readonly logger: Logger;
  /** What can be called. */
  readonly methods: MethodRegistry;
  /** What is asked before the first message. */
  readonly checks: HandshakeChecks;
  /** Which pages may ask. */
  readonly origins: Origins;
  /** What may answer other requests. */
  readonly plugins: readonly Plugin[];
  /** The end of the server, once it has begun. */
  readonly drain: Shutdown;
  /** Opens a connection that is no single exchange. It runs the checks itself. */
  readonly accept: WebSocketAcceptor["accept"];
}

/** Answers requests that are no upgrade. */
export class HttpHandler {
  readonly #options: HttpHandlerOptions;
  readonly #postHost: ExchangeHost;
  readonly #getHost: ExchangeHost;
  readonly #pending = new Set<Exchange>();
  #underWay = 0;
  #cut = false;

  /** @param options What the door needs. */
  constructor(options: HttpHandlerOptions) {
    this.#options = options;
    const { limits, logger, methods, drain } = options;
    const host = { limits, logger, pending: this.#pending };
    const find = (method: Method | undefined) => this.#cut ? drain.method : method;
    this.#postHost = { ...host, find: (name) => find(methods.findOverPost(name)) };
    this.#getHost = { ...host, find: (name) => find(methods.findOverGet(name)) };
  }

  /** How many requests have not been answered yet. */
  get underWay(): number {
    return this.#underWay;
  }

  /** Answers all who wait with 503, and tells their handlers so. Whoever is still reading runs nothing. */
  cutOff(): void {
    this.#cut = true;
    for (const exchange of this.#pending) exchange.cutOff();
  }

  /**
   * Answers a request: 200 with the answer, 200 without a body where there is none to give; 403
   * where a check refuses; 405, 413 and 415 for what is not taken; 503 once the server ends.
   *
   * @param host What the runtime passes beside the request.
   */
  answer(request: Request, host: unknown): Response | Promise<Response> {
    if (this.#options.drain.started) return this.#rejectClosing(request, host);
    const response = this.#answer(request, host);
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

  #answer(request: Request, host: unknown): Response | Promise<Response> {
    const { checks, accept } = this.#options;
    const runtime = detectRuntime(host);
    const handshake = toHandshake(request, runtime, host);
    const caller: Caller = {
      handshake,
      onLeave: runtime && ((left) => runtime.onLeave(request, host, left)),
    };
    const origin = handshake.headers.get("origin");
    // Before the other checks: a browser's question carries nothing that could pass them.
    if (request.method === "OPTIONS" && origin !== null) return this.#preflight(handshake);
    const blind = origin === null && runsOrSubscribes(request)
      ? this.#options.origins.checkNoCors(handshake)
      : undefined;
    if (blind !== undefined) return blind;
    let response: Response | Promise<Response>;
    if (isEventRequest(request)) {
      runtime?.keepOpen?.(request, host);
      response = accept(handshake, (admission) => openEvents(request, admission));
    } else {
      const refusal = checks.run(handshake);
      response = isThenable(refusal)
        ? refusal.then((refusal) => this.#answerUnlessRefused(refusal, request, caller))
        : this.#answerUnlessRefused(refusal, request, caller);
    }
    return origin === null ? response : this.#withCors(response, handshake, origin);
  }

  /** Refuses because the server ends, in a way that a page can read which may ask. Nobody waits for it. */
  #rejectClosing(request: Request, host: unknown): Response | Promise<Response> {
    const { checks, drain, origins } = this.#options;
    const handshake = toHandshake(request, detectRuntime(host), host);
    const origin = handshake.headers.get("origin");
    if (request.method === "OPTIONS" && origin !== null) return this.#preflight(handshake);
    let refusal: Response;
    try {
      refusal = origins.check(handshake) ?? drain.refusal();
    } catch (error) {
      refusal = checks.refusal(error);
    }
    const response = afterBody(request, refusal);
    return origin === null ? response : this.#withCors(response, handshake, origin);
  }

  #preflight(handshake: Handshake): Response {
    const { checks, origins } = this.#options;
    try {
      return origins.preflight(handshake);
    } catch (error) {
      return checks.refusal(error);
    }
  }

  /** Lets the page that asked read the answer, if it may ask at all. */
  async #withCors(
    answer: Response | Promise<Response>,
    handshake: Handshake,
    origin: string,
  ): Promise<Response> {
    const response = await answer;
    if (!this.#options.origins.hasAdmitted(handshake)) return response;
    // A copy: a plugin may have passed on a response whose headers cannot be written.
    const headers = new Headers(response.headers);
    for (const [name, value] of Object.entries(this.#options.origins.corsHeaders(origin))) {
      // What it varies by of its own still holds: a cache goes by it.
      if (name === "vary") headers.append(name, value);
      else headers.set(name, value);
    }
    return new Response(response.body, { status: response.status, headers });
  }

  #answerUnlessRefused(
    refusal: Response | undefined,
    request: Request,
    caller: Caller,
  ): Response | Promise<Response> {
    if (refusal === undefined) return this.#route(request, caller);
    return this.#options.checks.answer(refusal).then((answer) => afterBody(request, answer));
  }

  #route(request: Request, caller: Caller): Promise<Response> {
    if (request.method === "POST") return answerPost(request, caller, this.#postHost);
    const search = request.method === "GET" ? searchOf(request) : undefined;
    if (search?.has("method")) return answerGet(search, caller, this.#getHost);
    return this.#other(request);
  }

  async #other(request: Request): Promise<Response> {
    try {
      for (const { fetch } of this.#options.plugins) {
        const response = await fetch?.(request);
        if (response?.bodyUsed) throw new TypeError("Expected a Response, got one that was used");
        if (response !== undefined) return response;
      }
    } catch (error) {
      this.#options.logger.error(`A plugin's \`fetch\` failed: ${describeError(error)}`);
      return afterBody(request, new Response("Internal error", { status: 500 }));
    }
    const text = "Expected a POST with JSON-RPC, or an upgrade to WebSocket";
    return afterBody(request, new Response(text, { status: 405, headers: { allow: "POST" } }));
  }
}

/** Whether a GET would run something or hear topics, and is not one for a plugin's pages. */
function runsOrSubscribes({ method, url }: Request): boolean {
  return method === "GET" && /[?&](?:method|topics)=/.test(url);
}
