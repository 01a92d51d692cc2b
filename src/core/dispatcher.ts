/**
 * From a message to a method and back to an answer, alike at both ends of a connection: batches,
 * notifications, the limit of calls in flight, cancelling. `server_dispatcher.ts` adds what only methods
 * of a server have.
 *
 * @module
 */

import {
  logFailure,
  RpcError,
  RpcInternalError,
  RpcInvalidRequestError,
  RpcMethodNotFoundError,
} from "../protocol/errors.ts";
import {
  BATCH_TOO_LARGE,
  REQUEST_CANCELLED,
  RESPONSE_TOO_BIG,
  SERVER_BUSY,
} from "../protocol/codes.ts";
import { exceedsBytes } from "../util/utf8.ts";
import type { SessionLimits } from "../protocol/limits.ts";
import type { Logger } from "../util/logger.ts";
import { isThenable, runSafely } from "../util/maybe_promise.ts";
import { errorText, idOf, isRequest, isResponse, resultText } from "../protocol/message.ts";
import type { Id, Message, RequestMessage } from "../protocol/message.ts";
import type { BaseConnection } from "./connection.ts";
import type { BigIntegers } from "./method.ts";
import { batchErrorText, BatchResponse } from "./batch_response.ts";
import { ABORT, REPLY, SETTLE } from "./internal.ts";
import { IncomingRequest } from "./request.ts";
import type { ResponseSink, RpcRequest } from "./request.ts";

/** A method as the dispatcher runs it: its guards and middleware are inside `invoke`. */
export interface Method {
  /** Runs the handler with the layers around it. */
  readonly invoke: (params: unknown, request: RpcRequest) => unknown;
  /** Whether it only refuses: no method has the name. A client has nothing in its place. */
  readonly isMissing?: boolean;
  /** Whether it accepts params that are neither an array nor an object. A client accepts them always. */
  readonly scalarParams?: boolean;
  /** Milliseconds that a server waits for the handler. 0: no limit. @default {0} */
  readonly timeoutMs?: number;
  /** What a server's method gets for integers beyond ±(2^53-1). @default {"refuse"} */
  readonly bigIntegers?: BigIntegers;
}

/** The side whose methods are called: a server, or a client. */
export interface DispatcherHost {
  /** The limits of this side. */
  readonly limits: SessionLimits;
  /** The log for failures of handlers. */
  readonly logger: Logger;
  /** Finds a method; returns `undefined` if there is none. */
  find(name: string): Method | undefined;
}

/** Receives the answers to calls that this side has made. */
export interface ResponseHandler {
  /** Gives the call with this id, if it waits for its answer. */
  get(id: unknown): unknown;
  /** Receives an answer. */
  settle(message: Message): void;
  /** Receives the params of a `$/progress` notification; returns the call that they belong to. */
  progress(params: unknown): unknown;
}

/** Runs the messages of one connection. */
export class Dispatcher {
  /** The side whose methods are called. */
  declare protected readonly host: DispatcherHost;
  /** The caller, as handlers see it. */
  declare protected readonly connection: BaseConnection;
  readonly #responses: () => ResponseHandler | undefined;
  // Calls whose handler has returned a promise. Not by id, since calls may share one, and cancels are rare.
  #running: Set<IncomingRequest> | undefined;
  /**
   * The number of calls that wait for their handler. Counts cancelled calls too until their handler has
   * ended, so that cancelling is no way around maxInFlight.
   */
  inFlight = 0;

  /**
   * @param host The side whose methods are called.
   * @param connection The caller, as handlers see it.
   * @param responses Gives what receives answers to calls of this side, if there are any calls.
   */
  constructor(
    host: DispatcherHost,
    connection: BaseConnection,
    responses: () => ResponseHandler | undefined = () => undefined,
  ) {
    this.host = host;
    this.connection = connection;
    this.#responses = responses;
  }

  /**
   * Handles one parsed message of which nothing has been checked.
   *
   * @param message The message.
   * @param sink Receives the answer; it is called once.
   */
  handle(message: unknown, sink: ResponseSink): void {
    if (!Array.isArray(message) || message.length === 0) return this.#entry(message, sink, 0);
    const { maxBatch } = this.host.limits;
    // A batch of answers may be longer: it answers a batch that this side has sent.
    if (message.length > maxBatch && !message.every(isResponse)) {
      const why = `Batch of ${message.length} is over ${maxBatch} (maxBatch)`;
      const text = batchErrorText(BATCH_TOO_LARGE, why, message);
      return sink[REPLY](text, undefined, 0);
    }
    const batch = this.batch(message, sink);
    for (let index = 0; index < message.length; index++) this.#entry(message[index], batch, index);
  }

  /** Aborts the signals of all running handlers: their answers cannot be sent any more. */
  abort(reason: unknown): void {
    for (const request of this.#running ?? []) request[ABORT](reason);
  }

  /** Makes a request of a message that was checked. */
  protected requestOf(message: RequestMessage, sink: ResponseSink, index: number): IncomingRequest {
    return new IncomingRequest(this.connection, message, sink, index);
  }

  /** Quotes the name of a method for a log. A client knows all names, since it has registered them. */
  protected quote(name: string): string {
    return `"${name}"`;
  }

  /** Makes the error for a message that is no request. */
  protected explain(_message: unknown): RpcError {
    return new RpcInvalidRequestError();
  }

  /** Makes what collects the answers to a batch. */
  protected batch(entries: readonly unknown[], sink: ResponseSink): ResponseSink {
    return new BatchResponse(entries, this.host.limits.maxMessageBytes, sink);
  }

  /** Decides whether a request is refused, before its method runs; returns the error if it is. */
  protected refusal(_request: IncomingRequest, method: Method | undefined): RpcError | undefined {
    if (!method) return NOT_FOUND;
    const { maxInFlight } = this.host.limits;
    if (this.inFlight < maxInFlight) return undefined;
    const message = `Server busy: ${maxInFlight} calls are in flight (maxInFlight)`;
    return new RpcError(SERVER_BUSY, message);
  }

  /** Waits for a handler that has returned a promise. */
  protected wait(request: IncomingRequest, result: PromiseLike<unknown>, _method: Method): void {
    this.inFlight++;
    (this.#running ??= new Set()).add(request);
    // Promise.resolve, since another library's thenable may call back twice, or throw.
    Promise.resolve(result).then(
      (value) => this.finished(request) && this.succeed(request, value),
      (error) => this.finished(request) && this.#fail(request, error),
    );
  }

  /** Notes that a handler has ended; returns whether its call still has to be answered. */
  protected finished(request: IncomingRequest): boolean {
    this.inFlight--;
    return this.#running?.delete(request) === true;
  }

  /** Answers a call with an error while its handler runs on; the handler's result is dropped later. */
  protected giveUp(request: IncomingRequest, reason: RpcError): void {
    if (!this.#running?.delete(request)) return;
    request[ABORT](reason);
    this.#fail(request, reason);
  }

  #entry(message: unknown, sink: ResponseSink, index: number): void {
    if (this.#isResponse(message)) this.#responses()?.settle(message);
    else {
      if (!isRequest(message)) {
        const text = errorText(idOf(message), this.explain(message));
        return sink[REPLY](text, undefined, index);
      }
      const { method, params, id } = message;
      if (id !== undefined || !this.control(method, params)) {
        return this.#run(this.requestOf(message, sink, index));
      }
    }
    sink[REPLY](undefined, undefined, index);
  }

  /** An answer with neither a result nor an error counts if its call waits: the call must settle. */
  #isResponse(message: unknown): message is Message {
    if (isResponse(message)) return true;
    const { method, id } = (message ?? {}) as Message;
    return method === undefined && this.#responses()?.get(id) !== undefined;
  }

  /** Handles a notification that is for no method; returns nothing if it is for one. */
  protected control(name: string, params: unknown): unknown {
    if (name === "$/progress") return this.#responses()?.progress(params);
    if (name !== "$/cancelRequest") return undefined;
    const { id } = (params ?? {}) as Message;
    for (const request of this.#running ?? []) {
      if (id === undefined || request.id !== id) continue;
      this.giveUp(request, CANCELLED);
      break;
    }
    return true;
  }

  #run(request: IncomingRequest): void {
    const method = this.host.find(request.method);
    const refusal = this.refusal(request, method);
    if (refusal) return this.#fail(request, refusal);
    let result: unknown;
    try {
      result = (method as Method).invoke(request.params, request);
      if (isThenable(result)) return this.wait(request, result, method as Method);
    } catch (error) {
      return this.#fail(request, error);
    }
    this.succeed(request, result);
  }

  /** Answers a call with what its handler has returned. */
  protected succeed(request: IncomingRequest, result: unknown): void {
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
    // The handler threw a promise by mistake; its rejection must not end the process.
    runSafely(() => error, () => {});
    if (!(error instanceof RpcError) || error.cause !== undefined) this.#log(request, error);
    request[SETTLE](false, id === undefined ? undefined : this.#failureText(request, id, error));
  }

  #failureText(request: IncomingRequest, id: Id, error: unknown): string {
    try {
      if (error instanceof RpcError) return this.#bounded(id, errorText(id, error));
    } catch (cause) {
      this.#log(request, new TypeError("Cannot encode the data of the error", { cause }));
    }
    return errorText(id, INTERNAL);
  }

  /** Replaces an answer that is over maxMessageBytes by an error. */
  #bounded(id: Id, text: string): string {
    const { maxMessageBytes } = this.host.limits;
    if (!exceedsBytes(text, maxMessageBytes)) return text;
    const message = `Response is over ${maxMessageBytes} bytes (maxMessageBytes)`;
    return errorText(id, new RpcError(RESPONSE_TOO_BIG, message));
  }

  #log(request: IncomingRequest, error: unknown): void {
    logFailure(this.host.logger, `Method ${this.quote(request.method)}`, error);
  }
}

const NOT_FOUND = new RpcMethodNotFoundError();
const INTERNAL = new RpcInternalError();
const CANCELLED = new RpcError(REQUEST_CANCELLED, "Request cancelled");
