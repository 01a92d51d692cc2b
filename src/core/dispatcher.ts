/**
 * Message → method → answer, the same at both ends of a connection: batches, notifications, the limit
 * of calls in flight, cancelling. What methods of a server have beyond that is in `dispatch.ts`.
 *
 * @module
 */

import {
  describeError,
  ErrorCode,
  quoted,
  RpcError,
  RpcInternalError,
  RpcMethodNotFoundError,
} from "../protocol/errors.ts";
import { exceedsBytes } from "../util/utf8.ts";
import type { SessionLimits } from "../protocol/limits.ts";
import type { Logger } from "../util/logger.ts";
import { isThenable } from "../util/maybe_promise.ts";
import { checkRequest, errorText, idOf, isResponse, resultText } from "../protocol/message.ts";
import type { Id, Message, RequestMessage } from "../protocol/message.ts";
import type { BaseConnection } from "./connection.ts";
import { batchErrorText, BatchResponse } from "./batch.ts";
import { ABORT, SETTLE } from "./internal.ts";
import { IncomingRequest } from "./request.ts";
import type { ResponseSink, RpcRequest } from "./request.ts";

/** Something callable by name, ready to run: guards and middleware are inside. */
export interface Method {
  /** Runs the handler and what is around it. */
  readonly invoke: (params: unknown, request: RpcRequest) => unknown;
  /** Whether params that are neither array nor object reach it. A client's methods take all. */
  readonly scalarParams?: boolean;
  /** Milliseconds until a server gives a call up that waits. @default {0, no end} */
  readonly timeoutMs?: number;
}

/** What a responder needs to know of its side. */
export interface DispatcherHost {
  /** The bounds that hold here. */
  readonly limits: SessionLimits;
  /** Where failures of handlers are written. */
  readonly logger: Logger;
  /** Finds a method; `undefined` where there is none. */
  find(name: string): Method | undefined;
}

/** Takes answers for calls of our own. */
export interface ResponseHandler {
  /** Whether a call with this id waits. */
  awaits(id: unknown): boolean;
  /** Takes an answer. */
  settle(message: Message): void;
  /** Takes the params of a `$/progress` notification. */
  progress(params: unknown): void;
}

/** Runs the messages of one connection. */
export class Dispatcher {
  /** The side that answers. */
  protected readonly host: DispatcherHost;
  readonly #connection: BaseConnection;
  readonly #responses: ResponseHandler | undefined;
  // Only calls whose handler gave a promise are in here.
  #running: Set<IncomingRequest> | undefined;
  // Counts cancelled calls too, until their handler has really ended.
  #inFlight = 0;

  /**
   * @param host The methods, limits and log of this side.
   * @param connection What handlers see as the caller.
   * @param responses Takes answers to our own calls; without it they are dropped.
   */
  constructor(host: DispatcherHost, connection: BaseConnection, responses?: ResponseHandler) {
    this.host = host;
    this.#connection = connection;
    this.#responses = responses;
  }

  /** How many calls wait for their handler. */
  get inFlight(): number {
    return this.#inFlight;
  }

  /** Runs one parsed message, of which nothing is known yet; `sink.reply` is called once. */
  handle(message: unknown, sink: ResponseSink): void {
    if (!Array.isArray(message) || message.length === 0) return this.#entry(message, sink, 0);
    const { maxBatch, maxMessageBytes } = this.host.limits;
    // Answers to a batch of our own may be as many as we asked for.
    if (message.length > maxBatch && !message.every(isResponse)) {
      const why = `Batch of ${message.length} is over ${maxBatch} (maxBatch)`;
      const text = batchErrorText(ErrorCode.batchTooLarge, why, message);
      return sink.reply(text, undefined, 0);
    }
    const batch = new BatchResponse(message, maxMessageBytes, sink);
    for (let index = 0; index < message.length; index++) this.#entry(message[index], batch, index);
  }

  /** Tells all running handlers that nobody waits for them any more. */
  abort(reason: unknown): void {
    for (const request of this.#running ?? []) request[ABORT](reason);
  }

  /** Why a request is refused, if it is. */
  protected refusal(request: IncomingRequest, method: Method | undefined): RpcError | undefined {
    return method === undefined ? NOT_FOUND : this.#busy(request);
  }

  /** Begins to wait for a handler. */
  protected wait(request: IncomingRequest, result: PromiseLike<unknown>, _method: Method): void {
    this.#inFlight++;
    (this.#running ??= new Set()).add(request);
    // Promise.resolve: a thenable of somebody's own may call back twice, or never throw properly.
    Promise.resolve(result).then(
      (value) => this.finished(request) && this.#succeed(request, value),
      (error) => this.finished(request) && this.#fail(request, error),
    );
  }

  /** Notes that a handler has ended; answers whether its call still waits for its answer. */
  protected finished(request: IncomingRequest): boolean {
    this.#inFlight--;
    return this.#running?.delete(request) === true;
  }

  /** Answers a call although its handler has not ended; what that gives later is dropped. */
  protected giveUp(request: IncomingRequest, reason: RpcError): void {
    if (!this.#running?.delete(request)) return;
    request[ABORT](reason);
    this.#fail(request, reason);
  }

  #entry(message: unknown, sink: ResponseSink, index: number): void {
    if (this.#isAnswer(message)) this.#responses?.settle(message);
    else {
      const invalid = checkRequest(message);
      if (invalid !== undefined) {
        return sink.reply(errorText(idOf(message), invalid), undefined, index);
      }
      const { method, params, id } = message as RequestMessage;
      if (id !== undefined || !method.startsWith("$/")) {
        return this.#run(
          new IncomingRequest(this.#connection, message as RequestMessage, sink, index),
        );
      }
      this.#control(method, params);
    }
    sink.reply(undefined, undefined, index);
  }

  /** Also with neither a result nor an error it is an answer to whoever waits: it must not be lost. */
  #isAnswer(message: unknown): message is Message {
    if (isResponse(message)) return true;
    const { method, id } = (message ?? {}) as Message;
    return method === undefined && this.#responses?.awaits(id) === true;
  }

  #control(name: string, params: unknown): void {
    if (name === "$/progress") return this.#responses?.progress(params);
    const { id } = (params ?? {}) as Message;
    if (name !== "$/cancelRequest" || id === undefined) return;
    for (const request of this.#running ?? []) {
      if (request.id === id) return this.giveUp(request, CANCELLED);
    }
  }

  #busy({ id, method }: IncomingRequest): RpcError | undefined {
    const { limits: { maxInFlight }, logger } = this.host;
    if (this.#inFlight < maxInFlight) return undefined;
    const message =
      `Server busy: ${maxInFlight} calls of this connection are in flight (maxInFlight)`;
    if (id === undefined) logger.debug(`Notification ${quoted(method)} dropped: ${message}`);
    return new RpcError(ErrorCode.serverBusy, message);
  }

  #run(request: IncomingRequest): void {
    const method = this.host.find(request.method);
    const refusal = this.refusal(request, method);
    if (refusal !== undefined) return this.#fail(request, refusal);
    let result: unknown;
    try {
      result = (method as Method).invoke(request.params, request);
      if (isThenable(result)) return this.wait(request, result, method as Method);
    } catch (error) {
      return this.#fail(request, error);
    }
    this.#succeed(request, result);
  }

  #succeed(request: IncomingRequest, result: unknown): void {
    const { id } = request;
    let text: string | undefined;
    try {
      if (id !== undefined) text = this.#bounded(id, resultText(id, result));
    } catch (error) {
      return this.#fail(request, error);
    }
    request[SETTLE](true, text);
  }

  #fail(request: IncomingRequest, error: unknown): void {
    const { id } = request;
    // A promise that was thrown by mistake: without this its own failure would end the process.
    if (error instanceof Promise) error.catch(() => {});
    if (!(error instanceof RpcError) || error.cause !== undefined) this.#log(request, error);
    request[SETTLE](false, id === undefined ? undefined : this.#failureText(request, id, error));
  }

  #failureText(request: IncomingRequest, id: Id, error: unknown): string {
    if (!(error instanceof RpcError)) return errorText(id, INTERNAL);
    try {
      return this.#bounded(id, errorText(id, error));
    } catch (cause) {
      this.#log(request, new TypeError("Cannot encode the error's data", { cause }));
      return errorText(id, INTERNAL);
    }
  }

  /** An answer that the other end takes. */
  #bounded(id: Id, text: string): string {
    const { maxMessageBytes } = this.host.limits;
    if (!exceedsBytes(text, maxMessageBytes)) return text;
    const message = `Response is over ${maxMessageBytes} bytes (maxMessageBytes)`;
    return errorText(id, new RpcError(ErrorCode.responseTooBig, message));
  }

  #log(request: IncomingRequest, error: unknown): void {
    this.host.logger.error(`Method ${quoted(request.method)} failed: ${describeError(error)}`);
  }
}

const NOT_FOUND = new RpcMethodNotFoundError();
const INTERNAL = new RpcInternalError();
const CANCELLED = new RpcError(ErrorCode.requestCancelled, "Request cancelled");
