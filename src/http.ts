/**
 * JSON-RPC over HTTP: one request, one answer.
 *
 * @module
 */

import { readText } from "./body.ts";
import { afterBody } from "./discard.ts";
import { Dispatcher } from "./dispatch.ts";
import type { DispatchHost } from "./dispatch.ts";
import { ErrorCode, RpcConnectionError, RpcError } from "./errors.ts";
import { toHandshake } from "./handshake.ts";
import type { Checks } from "./handshake.ts";
import type { Limits } from "./limits.ts";
import type { Logger } from "./logger.ts";
import type { MethodRegistry } from "./methods.ts";
import { isThenable } from "./middleware.ts";
import type { Origins } from "./origin.ts";
import type { Plugin } from "./plugin.ts";
import { errorText, isId, parseMessage } from "./protocol.ts";
import type { Id } from "./protocol.ts";
import { Connection } from "./request.ts";
import type { Handshake } from "./request.ts";
import { chooseRuntime } from "./runtimes/choose.ts";

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
}

/** Answers requests that are no upgrade. */
export class HttpDoor {
  readonly #options: HttpDoorOptions;
  readonly #postHost: DispatchHost;
  readonly #getHost: DispatchHost;

  /** @param options What the door needs. */
  constructor(options: HttpDoorOptions) {
    this.#options = options;
    const { limits, logger, methods } = options;
    this.#postHost = { limits, logger, find: (name) => methods.findOverPost(name) };
    this.#getHost = { limits, logger, find: (name) => methods.findOverGet(name) };
  }

  /**
   * Answers a request: 200 with the answer, 200 without a body where there is none to give; 403
   * where a check refuses; 405, 413 and 415 for what is not taken.
   *
   * @param host What the runtime passes beside the request.
   */
  answer(request: Request, host: unknown): Response | Promise<Response> {
    const { checks } = this.#options;
    const handshake = toHandshake(request, chooseRuntime(host), host);
    const origin = handshake.headers.get("origin");
    // Before the other checks: a browser's question carries nothing that could pass them.
    if (request.method === "OPTIONS" && origin !== null) return this.#preflight(handshake);
    const refusal = checks.run(handshake);
    const response = isThenable(refusal)
      ? refusal.then((refusal) => this.#unless(refusal, request, handshake))
      : this.#unless(refusal, request, handshake);
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
      headers.set(name, value);
    }
    return new Response(response.body, { status: response.status, headers });
  }

  #unless(
    refusal: Response | undefined,
    request: Request,
    handshake: Handshake,
  ): Response | Promise<Response> {
    return refusal === undefined ? this.#route(request, handshake) : afterBody(request, refusal);
  }

  #route(request: Request, handshake: Handshake): Promise<Response> {
    if (request.method === "POST") return answerPost(request, handshake, this.#postHost);
    const search = request.method === "GET" ? new URL(request.url).searchParams : undefined;
    if (search?.has("method")) return answerGet(search, handshake, this.#getHost);
    return this.#other(request);
  }

  async #other(request: Request): Promise<Response> {
    for (const { fetch } of this.#options.plugins) {
      const response = await fetch?.(request);
      if (response !== undefined) return response;
    }
    const text = "Expected a POST with JSON-RPC, or an upgrade to WebSocket";
    return afterBody(request, new Response(text, { status: 405, headers: { allow: "POST" } }));
  }
}

async function answerPost(
  request: Request,
  handshake: Handshake,
  host: DispatchHost,
): Promise<Response> {
  if (!isJson(request.headers.get("content-type"))) {
    const text = "Expected content-type: application/json";
    return afterBody(request, new Response(text, { status: 415 }));
  }
  const { maxMessageBytes, maxDepth } = host.limits;
  const text = await readText(request, maxMessageBytes);
  if (text === undefined) return afterBody(request, tooBig(maxMessageBytes));
  let message: unknown;
  try {
    message = parseMessage(text, maxDepth);
  } catch (error) {
    return jsonResponse(errorText(null, error as RpcError));
  }
  return await answerMessage(message, handshake, host);
}

/** `?method=add&params=[1,2]&id=1`: params are JSON, the id is JSON or else a string. */
async function answerGet(
  search: URLSearchParams,
  handshake: Handshake,
  host: DispatchHost,
): Promise<Response> {
  const id = toId(search.get("id"));
  try {
    const params = parseMessage(search.get("params") ?? "null", host.limits.maxDepth);
    const message = { jsonrpc: "2.0", method: search.get("method"), params, id };
    return await answerMessage(message, handshake, host);
  } catch (error) {
    return jsonResponse(errorText(id, error as RpcError));
  }
}

async function answerMessage(
  message: unknown,
  handshake: Handshake,
  host: DispatchHost,
): Promise<Response> {
  const answer = await new Exchange(handshake, host).run(message);
  return answer === undefined ? new Response(null) : jsonResponse(answer);
}

/** The connection of one request: it lasts until the answer. */
class Exchange extends Connection {
  readonly #host: DispatchHost;
  #open = true;

  constructor(handshake: Handshake, host: DispatchHost) {
    super(handshake, host.logger);
    this.#host = host;
  }

  override get isOpen(): boolean {
    return this.#open;
  }

  override get bufferedAmount(): number {
    return 0;
  }

  /** Runs the message, which may be a batch, and gives the text of its answer. */
  run(message: unknown): string | undefined | Promise<string | undefined> {
    let answer: string | undefined;
    let whenReplied: ((text: string | undefined) => void) | undefined;
    const reply = (text: string | undefined): void => {
      answer = text;
      this.close();
      whenReplied?.(text);
    };
    new Dispatcher(this.#host, this).handle(message, {
      reply(text, request) {
        reply(text);
        request?.answered();
      },
    });
    // Synchronous handlers have answered by now.
    if (!this.#open) return answer;
    return new Promise((resolve) => whenReplied = resolve);
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

function jsonResponse(text: string): Response {
  return new Response(text, JSON_INIT);
}

const JSON_INIT = { headers: { "content-type": "application/json" } };
