/**
 * One HTTP request as a connection, from its body to its answer.
 *
 * @module
 */

import { MEMORY_FULL, refuseFull } from "../acceptor.ts";
import type { BodyFailure, BodyReader, BodyResult } from "./body_reader.ts";
import { answerBody, responseTo } from "./answer_body.ts";
import type { AnswerBody } from "./answer_body.ts";
import { AnswerStream, EVENT_HEADERS } from "./answer_stream.ts";
import { afterBody } from "./discard_body.ts";
import { acceptsEvents, isJson } from "./media_types.ts";
import type { TurnPacer } from "../turn_pacer.ts";
import { ServerDispatcher } from "../server_dispatcher.ts";
import type { ServerDispatcherHost } from "../server_dispatcher.ts";
import { ErrorCode } from "../../protocol/error_code.ts";
import { RpcConnectionError, RpcError } from "../../protocol/errors.ts";
import { responseClass } from "../handshake.ts";
import { startDeadline } from "../../util/deadline.ts";
import { exceedsBytes } from "../../util/utf8.ts";
import { errorText, isId, outgoingText } from "../../protocol/message.ts";
import { parseUntrusted } from "../../protocol/untrusted.ts";
import type { Id } from "../../protocol/message.ts";
import { BaseConnection } from "../../core/connection.ts";
import type { Handshake, HttpAnswer, ServerMembers } from "../../core/connection.ts";
import { CANCEL, EXPLAINS, REPLY, RUN, WATCH } from "../../core/internal.ts";
import type { IncomingRequest, ResponseSink } from "../../core/request.ts";
import { addServerMembers } from "../../core/server_connection.ts";
import { markAnswered } from "../../core/server_request.ts";
import type { Posted } from "../../core/plugin.ts";
import { Translator } from "../../core/translator.ts";
import type { Dialect } from "../../core/translator.ts";

/** What an exchange needs of its server. */
export interface ExchangeHost extends ServerDispatcherHost {
  /** Shares turns of the event loop between peers. */
  readonly pacer: TurnPacer | undefined;
  /** Reads the bodies of POSTs. */
  readonly bodies: BodyReader;
  /** Whether callers are told why they were refused. */
  readonly explainRefusals: boolean;
  /** The exchanges that wait for their handlers. */
  readonly pending: Set<Exchange>;
  /** The exchanges whose answer is a stream that is not read to its end. */
  readonly streams: Set<Exchange>;
  /** Milliseconds between signs of life in an answer that is a stream. */
  readonly heartbeatMs: number;
  /** What callers speak, if the server has the option `dialect`. */
  readonly dialect: Dialect | undefined;
  /** Asks plugins that answer POSTs themselves; `undefined` if there are none. */
  readonly askPlugins: ((posted: Posted) => Promise<Response | undefined>) | undefined;
  /** The status of an answer that has no body. */
  readonly notificationStatus: number;
}

/** The peer that sent the request. */
export interface Caller {
  /** What is known of it. */
  readonly handshake: Handshake;
  /**
   * Calls back once if the caller leaves before its answer, and returns a function that stops this;
   * `undefined` if the runtime does not tell.
   */
  readonly onLeave: ((left: () => void) => () => void) | undefined;
  /** Takes the runtime's own timeout off the response. */
  readonly keepOpen: () => void;
  /** The parsed query of a GET; `undefined` for other requests. */
  readonly search: URLSearchParams | undefined;
  /** If the answer is a stream: resolves when it has been read, or its reader is gone. */
  streamEnd: Promise<void> | undefined;
}

/**
 * Answers a POST, whose body is a message or a batch.
 *
 * @param request The request.
 * @param caller The peer that sent it.
 * @param host What the exchange needs of its server.
 * @returns 200 with the answer; 413 or 415 for a body that the server does not accept.
 */
export async function answerPost(
  request: Request,
  caller: Caller,
  host: ExchangeHost,
): Promise<Response> {
  if (!isJson(request.headers.get("content-type"))) {
    const text = "Expected content-type: application/json";
    return afterBody(request, new Response(text, { status: 415 }));
  }
  const { maxMessageBytes, maxDepth, maxValues } = host.limits;
  let body: BodyResult;
  try {
    body = await host.bodies.read(request);
  } catch {
    // The client broke off; a framework around this still needs a response.
    return new Response("The request broke off", { status: 400 });
  }
  if ("failure" in body) return refuseBody(request, body.failure, maxMessageBytes);
  const exchange = new Exchange(caller, host);
  let { text } = body;
  host.pacer?.admit(text.length);
  let message: unknown;
  try {
    message = parseUntrusted(text, maxDepth, maxValues);
    const { askPlugins } = host;
    const answer = askPlugins && await askPlugins({ text, message, handshake: caller.handshake });
    if (answer !== undefined) return answer;
    const translated = exchange.translator?.in(text) ?? text;
    // Few messages have to change.
    if (translated !== text) message = parseUntrusted(text = translated, maxDepth, maxValues);
  } catch (error) {
    return jsonResponse(errorText(null, error as RpcError));
  }
  return await exchange[RUN](message, text);
}

function refuseBody(
  request: Request,
  failure: BodyFailure,
  maxMessageBytes: number,
): Response | Promise<Response> {
  if (failure === "too long") return afterBody(request, tooBig(maxMessageBytes));
  // Neither waits for the rest of the body: that is what it refuses. The runtime closes the connection.
  if (failure === "server full") return refuseFull(MEMORY_FULL);
  const [text, status] = failure === "closing"
    ? [CLOSING, 503]
    : ["The body came too slowly (bodyTimeoutMs)", 408];
  return new Response(text, { status, headers: { connection: "close" } });
}

/**
 * Answers a GET such as `?method=add&params=[1,2]&id=1`: params are JSON, the id is JSON or else a
 * string.
 *
 * @param search The query of the request.
 * @param caller The peer that sent it.
 * @param host What the exchange needs of its server.
 * @returns 200 with the answer, which caches do not keep; 413 if the params are too long.
 */
export async function answerGet(
  search: URLSearchParams,
  caller: Caller,
  host: ExchangeHost,
): Promise<Response> {
  const { maxMessageBytes, maxDepth, maxValues } = host.limits;
  const id = toId(search.get("id"));
  const text = search.get("params") ?? "null";
  if (exceedsBytes(text, maxMessageBytes)) return tooBig(maxMessageBytes);
  try {
    const params = parseUntrusted(text, maxDepth, maxValues);
    const message = { jsonrpc: "2.0", method: search.get("method"), params, id };
    const response = await new Exchange(caller, host)[RUN](message, `{"params":${text}}`, 0);
    response.headers.set("cache-control", "no-store");
    return response;
  } catch (error) {
    const response = jsonResponse(errorText(id, error as RpcError));
    response.headers.set("cache-control", "no-store");
    return response;
  }
}

/** The connection of one request: it lasts until the answer, or until the caller leaves. */
export class Exchange extends BaseConnection implements ResponseSink {
  static {
    addServerMembers(this);
  }

  readonly #host: ExchangeHost;
  readonly #caller: Caller;
  readonly #dispatcher: ServerDispatcher;
  /** Translates what the caller sends and gets, if the server has the option `dialect`. */
  readonly translator: Translator | undefined;
  #response: Response | undefined;
  #whenAnswered: ((response: Response) => void) | undefined;
  #stopWatching: (() => void) | undefined;
  #open = true;
  #answerOptions: HttpAnswer | undefined;
  #stream: AnswerStream | undefined;

  constructor(caller: Caller, host: ExchangeHost) {
    super(caller.handshake, host.logger);
    this.#host = host;
    this.#caller = caller;
    this.#dispatcher = new ServerDispatcher(host, this);
    this.translator = host.dialect && new Translator(host.dialect);
  }

  get isOpen(): boolean {
    return this.#open;
  }

  get bufferedAmount(): number {
    return this.#stream?.bufferedAmount ?? 0;
  }

  /**
   * Runs a message.
   *
   * @param message A call, a notification or a batch, of which nothing is known yet.
   * @param text Its text.
   * @param length How long the text is, in characters, as far as that counts. @default {text.length}
   * @returns The response; a promise only if a handler gave one.
   */
  [RUN](message: unknown, text: string, length = text.length): Response | Promise<Response> {
    this.#dispatcher.messageLength = length;
    this.#dispatcher.text = text;
    this.#dispatcher.handle(message, this);
    // Synchronous handlers have markAnswered by now.
    if (this.#response !== undefined) return this.#response;
    this.#host.pending.add(this);
    // A handler may take as long as its `timeoutMs` says, and a runtime would end a quiet request before.
    this.#caller.keepOpen();
    return new Promise((resolve) => this.#whenAnswered = resolve);
  }

  override get response(): HttpAnswer {
    return this.#answerOptions ??= { status: undefined, headers: new Headers() };
  }

  [REPLY](answer: string | undefined, request: IncomingRequest | undefined): void {
    const text = answer && this.translator ? this.translator.last(answer) : answer;
    if (text !== undefined) this.#host.pacer?.count(text.length);
    if (this.#stream !== undefined) {
      this.#endStream(this.#stream, text);
      return markAnswered(request);
    }
    const response = text === undefined
      ? new Response(null, { status: this.#host.notificationStatus })
      : responseTo(text, responseClass(this.handshake), this.#host.budget);
    this.#answer(
      this.#answerOptions === undefined ? response : this.#completed(response, this.#bodyOf(text)),
    );
    markAnswered(request);
  }

  /** Answers 503 although handlers still run, because the server closes. */
  [CANCEL](): void {
    if (this.#stream !== undefined) this.#endStream(this.#stream);
    this.#answer(new Response(CLOSING, { status: 503 }));
    this.#dispatcher.abort(new RpcConnectionError(CLOSING, "unknown"));
  }

  /** Ends an answer that is a stream. Resolves once it was read, or was cut because nobody did in time. */
  async endStream(graceMs: number): Promise<void> {
    const stream = this.#stream;
    const stop = startDeadline(graceMs, () => stream?.cut());
    await stream?.ended;
    stop();
  }

  call<Result>(method: string): Promise<Result> {
    const message = `Cannot call "${method}": a caller over HTTP cannot be called back`;
    return Promise.reject(new RpcConnectionError(message));
  }

  override get subscribe(): ServerMembers["subscribe"] {
    const message = "Cannot subscribe: the connection ends with the answer to its request";
    return () => Promise.reject(new RpcConnectionError(message));
  }

  override get unsubscribe(): ServerMembers["unsubscribe"] {
    return this.subscribe;
  }

  notify(method: string, params?: unknown): void {
    if (this.#open && this.#acceptsEvents) {
      const own = outgoingText({ method, params }, this.#host.limits.maxMessageBytes);
      const text = this.translator ? this.translator.out(own) : own;
      // Progress for a caller that wants none opens no stream.
      if (text !== undefined) (this.#stream ??= this.#openStream()).send(text);
      return;
    }
    this.logger.debug(`Notification "${method}" dropped: a caller over HTTP cannot be notified`);
  }

  close(): void {
    if (!this.#open) return;
    this.#open = false;
    this.ended();
  }

  get [EXPLAINS](): boolean {
    return this.#host.explainRefusals;
  }

  override get signal(): AbortSignal {
    this[WATCH]();
    return super.signal;
  }

  override [WATCH](): void {
    if (!this.#open || this.#stopWatching !== undefined) return;
    this.#stopWatching = this.#caller.onLeave?.(() => this.#leave());
  }

  #leave(): void {
    this.#host.pending.delete(this);
    this.close();
    this.#dispatcher.abort(new RpcConnectionError("The caller is gone", "unknown"));
  }

  /** Whether the caller reads an answer that is a stream of events. */
  get #acceptsEvents(): boolean {
    const { search, handshake } = this.#caller;
    if (search !== undefined || this.#response !== undefined && this.#stream === undefined) {
      return false;
    }
    return acceptsEvents(handshake.headers.get("accept"));
  }

  /** Answers with a stream, because there is something to say before the answer to the call. */
  #openStream(): AnswerStream {
    const { budget, heartbeatMs, limits: { maxBufferedBytes }, streams, pending } = this.#host;
    const stream = new AnswerStream({
      budget,
      maxBufferedBytes,
      heartbeatMs,
      gone: () => this.#leave(),
    });
    // From now on the stream tells whether the caller leaves.
    this.#stopWatching?.();
    this.#stopWatching = () => {};
    this.#caller.keepOpen();
    this.#caller.streamEnd = stream.ended;
    pending.add(this);
    streams.add(this);
    void stream.ended.then(() => streams.delete(this));
    const response = new Response(stream.body, { headers: EVENT_HEADERS });
    this.#response = this.#answerOptions === undefined
      ? response
      : this.#completed(response, stream.body);
    this.#whenAnswered?.(this.#response);
    return stream;
  }

  #endStream(stream: AnswerStream, answer?: string): void {
    this.#host.pending.delete(this);
    stream.end(answer);
    this.close();
  }

  #bodyOf(text: string | undefined): AnswerBody["body"] | null {
    return text === undefined ? null : answerBody(text, this.#host.budget).body;
  }

  /** The response with what handlers have set. */
  #completed(response: Response, body: AnswerBody["body"] | null): Response {
    const { status, headers: added } = this.response;
    const headers = new Headers(response.headers);
    for (const [name, value] of added) {
      if (name === "set-cookie") headers.append(name, value);
      else headers.set(name, value);
    }
    // Some runtimes would send such a response without its body.
    const isValid = status === undefined || (Number.isInteger(status) && status >= 200 &&
      status <= 599 && (body === null || ![204, 205, 304].includes(status)));
    if (!isValid) {
      this.logger.error(`Cannot answer with status ${status}: it has no body, or is none`);
    }
    const { status: usual } = response;
    return new Response(body, { status: isValid ? status ?? usual : usual, headers });
  }

  #answer(response: Response): void {
    if (this.#response !== undefined) return;
    this.#response = response;
    this.#host.pending.delete(this);
    this.#stopWatching?.();
    this.close();
    this.#whenAnswered?.(response);
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

const CLOSING = "The server is closing";
const JSON_INIT = { headers: { "content-type": "application/json" } };
