/**
 * JSON-RPC over HTTP: one request, one answer.
 *
 * @module
 */

import { readText } from "../../util/body.ts";
import { afterBody } from "./discard_body.ts";
import { Dispatcher } from "../server_dispatcher.ts";
import type { Drain } from "../shutdown.ts";
import { describeError, ErrorCode, RpcConnectionError, RpcError } from "../../protocol/errors.ts";
import { responseClass, toHandshake } from "../handshake_checks.ts";
import type { Checks } from "../handshake_checks.ts";
import { exceedsBytes } from "../../protocol/limits.ts";
import type { Limits } from "../../protocol/limits.ts";
import type { Logger } from "../../util/logger.ts";
import type { MethodRegistry } from "../methods.ts";
import { isThenable } from "../../core/middleware.ts";
import type { Origins } from "../origin.ts";
import type { Plugin } from "../../core/plugin.ts";
import { errorText, isId, parseMessage } from "../../protocol/message.ts";
import type { Id } from "../../protocol/message.ts";
import { Connection } from "../../core/request.ts";
import type { Handshake, Outlet, RpcRequest } from "../../core/request.ts";
import type { Method, ResponderHost } from "../../core/dispatcher.ts";
import { chooseRuntime } from "../../runtimes/detect.ts";
import type { SocketDoor } from "../acceptor.ts";
import { isEventRequest, openEvents, searchOf } from "./sse.ts";

/** What the HTTP door of a server needs of it. */
export interface HttpDoorOptions {
  /** Which bounds hold. */
  readonly limits: Limits;
  /** Where failures are written. */
  readonly logger: Logger;
  /** What can be called. */
  readonly methods: MethodRegistry;
  /** What is asked before the first message. */
  readonly checks: Checks;
  /** Which pages may ask. */
  readonly origins: Origins;
  /** What may answer other requests. */
  readonly plugins: readonly Plugin[];
  /** The end of the server, once it has begun. */
  readonly drain: Drain;
  /** Opens a connection that is no single exchange. It runs the checks itself. */
  readonly enter: SocketDoor["enter"];
}

/** What an exchange needs of its door. */
interface ExchangeHost extends ResponderHost {
  /** Those that wait for their handlers. */
  readonly waiting: Set<Exchange>;
}

/** Who asks. */
interface Caller {
  readonly handshake: Handshake;
  /** Calls back once if the caller leaves before its answer. Gives what stops that. */
  readonly onLeave: ((left: () => void) => () => void) | undefined;
}

/** Answers requests that are no upgrade. */
export class HttpDoor {
  readonly #options: HttpDoorOptions;
  readonly #postHost: ExchangeHost;
  readonly #getHost: ExchangeHost;
  readonly #waiting = new Set<Exchange>();
  #underWay = 0;
  #cut = false;

  /** @param options What the door needs. */
  constructor(options: HttpDoorOptions) {
    this.#options = options;
    const { limits, logger, methods, drain } = options;
    const host = { limits, logger, waiting: this.#waiting };
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
    for (const exchange of this.#waiting) exchange.cutOff();
  }

  /**
   * Answers a request: 200 with the answer, 200 without a body where there is none to give; 403
   * where a check refuses; 405, 413 and 415 for what is not taken; 503 once the server ends.
   *
   * @param host What the runtime passes beside the request.
   */
  answer(request: Request, host: unknown): Response | Promise<Response> {
    if (this.#options.drain.begun) return this.#turnAway(request, host);
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
    const { checks, enter } = this.#options;
    const runtime = chooseRuntime(host);
    const handshake = toHandshake(request, runtime, host);
    const caller: Caller = {
      handshake,
      onLeave: runtime && ((left) => runtime.onLeave(request, host, left)),
    };
    const origin = handshake.headers.get("origin");
    // Before the other checks: a browser's question carries nothing that could pass them.
    if (request.method === "OPTIONS" && origin !== null) return this.#preflight(handshake);
    const blind = origin === null && isAsking(request)
      ? this.#options.origins.checkBlind(handshake)
      : undefined;
    if (blind !== undefined) return blind;
    let response: Response | Promise<Response>;
    if (isEventRequest(request)) {
      runtime?.keepOpen?.(request, host);
      response = enter(handshake, (admission) => openEvents(request, admission));
    } else {
      const refusal = checks.run(handshake);
      response = isThenable(refusal)
        ? refusal.then((refusal) => this.#unless(refusal, request, caller))
        : this.#unless(refusal, request, caller);
    }
    return origin === null ? response : this.#readable(response, handshake, origin);
  }

  /** Refuses because the server ends, in a way that a page can read which may ask. Nobody waits for it. */
  #turnAway(request: Request, host: unknown): Response | Promise<Response> {
    const { checks, drain, origins } = this.#options;
    const handshake = toHandshake(request, chooseRuntime(host), host);
    const origin = handshake.headers.get("origin");
    if (request.method === "OPTIONS" && origin !== null) return this.#preflight(handshake);
    let refusal: Response;
    try {
      refusal = origins.check(handshake) ?? drain.refusal();
    } catch (error) {
      refusal = checks.refusal(error);
    }
    const response = afterBody(request, refusal);
    return origin === null ? response : this.#readable(response, handshake, origin);
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
  async #readable(
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

  #unless(
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

async function answerPost(
  request: Request,
  caller: Caller,
  host: ExchangeHost,
): Promise<Response> {
  if (!isJson(request.headers.get("content-type"))) {
    const text = "Expected content-type: application/json";
    return afterBody(request, new Response(text, { status: 415 }));
  }
  const { maxMessageBytes, maxDepth } = host.limits;
  let text: string | undefined;
  try {
    text = await readText(request, maxMessageBytes);
  } catch {
    // Nobody is left to read this.
    return new Response("The request broke off", { status: 400 });
  }
  if (text === undefined) return afterBody(request, tooBig(maxMessageBytes));
  let message: unknown;
  try {
    message = parseMessage(text, maxDepth);
  } catch (error) {
    return jsonResponse(errorText(null, error as RpcError));
  }
  return await new Exchange(caller, host).run(message);
}

/** `?method=add&params=[1,2]&id=1`: params are JSON, the id is JSON or else a string. */
async function answerGet(
  search: URLSearchParams,
  caller: Caller,
  host: ExchangeHost,
): Promise<Response> {
  const { maxMessageBytes, maxDepth } = host.limits;
  const id = toId(search.get("id"));
  const text = search.get("params") ?? "null";
  if (exceedsBytes(text, maxMessageBytes)) return tooBig(maxMessageBytes);
  try {
    const params = parseMessage(text, maxDepth);
    const message = { jsonrpc: "2.0", method: search.get("method"), params, id };
    return await new Exchange(caller, host).run(message);
  } catch (error) {
    return jsonResponse(errorText(id, error as RpcError));
  }
}

/** The connection of one request: it lasts until the answer, or until the caller leaves. */
class Exchange extends Connection implements Outlet {
  readonly #host: ExchangeHost;
  readonly #caller: Caller;
  readonly #dispatcher: Dispatcher;
  #response: Response | undefined;
  #whenAnswered: ((response: Response) => void) | undefined;
  #stopWatching: (() => void) | undefined;
  #open = true;

  constructor(caller: Caller, host: ExchangeHost) {
    super(caller.handshake, host.logger);
    this.#host = host;
    this.#caller = caller;
    this.#dispatcher = new Dispatcher(host, this);
  }

  override get isOpen(): boolean {
    return this.#open;
  }

  override get bufferedAmount(): number {
    return 0;
  }

  /** Runs the message, which may be a batch, and gives what to answer. */
  run(message: unknown): Response | Promise<Response> {
    this.#dispatcher.handle(message, this);
    // Synchronous handlers have answered by now.
    if (this.#response !== undefined) return this.#response;
    this.#host.waiting.add(this);
    return new Promise((resolve) => this.#whenAnswered = resolve);
  }

  reply(text: string | undefined, request: RpcRequest | undefined): void {
    this.#answer(
      text === undefined ? new Response(null) : jsonResponse(text, responseClass(this.handshake)),
    );
    request?.answered();
  }

  /** Answers 503 although handlers still run, because the server ends. */
  cutOff(): void {
    this.#answer(new Response("The server is closing", { status: 503 }));
    this.#dispatcher.abort(new RpcConnectionError("The server is closing", "unknown"));
  }

  override call<Result>(method: string): Promise<Result> {
    const message = `Cannot call "${method}": the caller came over HTTP, which has no way back`;
    return Promise.reject(new RpcConnectionError(message));
  }

  override notify(method: string): void {
    this.logger.debug(`Notification "${method}" dropped: the caller came over HTTP`);
  }

  override send(): void {}

  override close(): void {
    if (!this.#open) return;
    this.#open = false;
    this.ended();
  }

  protected override watched(): void {
    if (!this.#open || this.#stopWatching !== undefined) return;
    this.#stopWatching = this.#caller.onLeave?.(() => {
      this.close();
      this.#dispatcher.abort(new RpcConnectionError("The caller is gone", "unknown"));
    });
  }

  #answer(response: Response): void {
    if (this.#response !== undefined) return;
    this.#response = response;
    this.#host.waiting.delete(this);
    this.#stopWatching?.();
    this.close();
    this.#whenAnswered?.(response);
  }
}

/** Whether a GET would run something or hear topics, and is not one for a plugin's pages. */
function isAsking({ method, url }: Request): boolean {
  return method === "GET" && /[?&](?:method|topics)=/.test(url);
}

function toId(text: string | null): Id {
  if (text === null) return null;
  try {
    const id: unknown = JSON.parse(text);
    return isId(id) ? id : text;
  } catch {
    return text;
  }
}

function isJson(contentType: string | null): boolean {
  if (contentType === null) return false;
  const end = contentType.indexOf(";");
  const type = (end === -1 ? contentType : contentType.slice(0, end)).trim().toLowerCase();
  return type === "application/json" || type === "application/json-rpc" ||
    type === "application/jsonrequest";
}

function tooBig(maxBytes: number): Response {
  const error = new RpcError(
    ErrorCode.requestTooBig,
    `Request is over ${maxBytes} bytes (maxMessageBytes)`,
  );
  return new Response(errorText(null, error), { ...JSON_INIT, status: 413 });
}

function jsonResponse(text: string, Class = Response): Response {
  return new Class(text, JSON_INIT);
}

const JSON_INIT = { headers: { "content-type": "application/json" } };
