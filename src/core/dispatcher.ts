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
import { exceedsBytes } from "../protocol/limits.ts";
import type { Limits } from "../protocol/limits.ts";
import type { Logger } from "../util/logger.ts";
import { isThenable } from "./middleware.ts";
import { checkRequest, errorText, idOf, isResponse, resultText } from "../protocol/message.ts";
import type { Id, Message, RequestMessage } from "../protocol/message.ts";
import { RpcRequest } from "./request.ts";
import type { Connection, Outlet } from "./request.ts";

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
export interface ResponderHost {
  /** The bounds that hold here. */
  readonly limits: Limits;
  /** Where failures of handlers are written. */
  readonly logger: Logger;
  /** Finds a method; `undefined` where there is none. */
  find(name: string): Method | undefined;
}

/** Takes answers for calls of our own. */
export interface Replies {
  /** Whether a call with this id waits. */
  awaits(id: unknown): boolean;
  /** Takes an answer. */
  settle(message: Message): void;
  /** Takes the params of a `$/progress` notification. */
  progress(params: unknown): void;
}

/** Runs the messages of one connection. */
export class Responder {
  /** The side that answers. */
  protected readonly host: ResponderHost;
  readonly #connection: Connection;
  readonly #replies: Replies | undefined;
  // Only calls whose handler gave a promise are in here.
  #running: Set<RpcRequest> | undefined;
  // Counts cancelled calls too, until their handler has really ended.
  #inFlight = 0;

  /**
   * @param host The methods, limits and log of this side.
   * @param connection What handlers see as the caller.
   * @param replies Takes answers to our own calls; without it they are dropped.
   */
  constructor(host: ResponderHost, connection: Connection, replies?: Replies) {
    this.host = host;
    this.#connection = connection;
    this.#replies = replies;
  }

  /** How many calls wait for their handler. */
  get inFlight(): number {
    return this.#inFlight;
  }

  /** Runs one parsed message, of which nothing is known yet; `outlet.reply` is called once. */
  handle(message: unknown, outlet: Outlet): void {
    if (!Array.isArray(message) || message.length === 0) return this.#entry(message, outlet, 0);
    const { maxBatch, maxMessageBytes } = this.host.limits;
    // Answers to a batch of our own may be as many as we asked for.
    if (message.length > maxBatch && !message.every(isResponse)) {
      const why = `Batch of ${message.length} is over ${maxBatch} (maxBatch)`;
      const text = batchErrorText(ErrorCode.batchTooLarge, why, message);
      return outlet.reply(text, undefined, 0);
    }
    const batch = new Batch(message, maxMessageBytes, outlet);
    for (let index = 0; index < message.length; index++) this.#entry(message[index], batch, index);
  }

  /** Tells all running handlers that nobody waits for them any more. */
  abort(reason: unknown): void {
    for (const request of this.#running ?? []) request.abort(reason);
  }

  /** Why a request is refused, if it is. */
  protected refusal(request: RpcRequest, method: Method | undefined): RpcError | undefined {
    return method === undefined ? NOT_FOUND : this.#busy(request);
  }

  /** Begins to wait for a handler. */
  protected wait(request: RpcRequest, result: PromiseLike<unknown>, _method: Method): void {
    this.#inFlight++;
    (this.#running ??= new Set()).add(request);
    // Promise.resolve: a thenable of somebody's own may call back twice, or never throw properly.
    Promise.resolve(result).then(
      (value) => this.finished(request) && this.#succeed(request, value),
      (error) => this.finished(request) && this.#fail(request, error),
    );
  }

  /** Notes that a handler has ended; answers whether its call still waits for its answer. */
  protected finished(request: RpcRequest): boolean {
    this.#inFlight--;
    return this.#running?.delete(request) === true;
  }

  /** Answers a call although its handler has not ended; what that gives later is dropped. */
  protected giveUp(request: RpcRequest, reason: RpcError): void {
    if (!this.#running?.delete(request)) return;
    request.abort(reason);
    this.#fail(request, reason);
  }

  #entry(message: unknown, outlet: Outlet, index: number): void {
    if (this.#isAnswer(message)) this.#replies?.settle(message);
    else {
      const invalid = checkRequest(message);
      if (invalid !== undefined) {
        return outlet.reply(errorText(idOf(message), invalid), undefined, index);
      }
      const { method, params, id } = message as RequestMessage;
      if (id !== undefined || !method.startsWith("$/")) {
        return this.#run(
          new RpcRequest(this.#connection, message as RequestMessage, outlet, index),
        );
      }
      this.#control(method, params);
    }
    outlet.reply(undefined, undefined, index);
  }

  /** Also with neither a result nor an error it is an answer to whoever waits: it must not be lost. */
  #isAnswer(message: unknown): message is Message {
    if (isResponse(message)) return true;
    const { method, id } = (message ?? {}) as Message;
    return method === undefined && this.#replies?.awaits(id) === true;
  }

  #control(name: string, params: unknown): void {
    if (name === "$/progress") return this.#replies?.progress(params);
    const { id } = (params ?? {}) as Message;
    if (name !== "$/cancelRequest" || id === undefined) return;
    for (const request of this.#running ?? []) {
      if (request.id === id) return this.giveUp(request, CANCELLED);
    }
  }

  #busy({ id, method }: RpcRequest): RpcError | undefined {
    const { limits: { maxInFlight }, logger } = this.host;
    if (this.#inFlight < maxInFlight) return undefined;
    const message =
      `Server busy: ${maxInFlight} calls of this connection are in flight (maxInFlight)`;
    if (id === undefined) logger.debug(`Notification ${quoted(method)} dropped: ${message}`);
    return new RpcError(ErrorCode.serverBusy, message);
  }

  #run(request: RpcRequest): void {
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

  #succeed(request: RpcRequest, result: unknown): void {
    const { id } = request;
    let text: string | undefined;
    try {
      if (id !== undefined) text = this.#bounded(id, resultText(id, result));
    } catch (error) {
      return this.#fail(request, error);
    }
    request.settle(true, text);
  }

  #fail(request: RpcRequest, error: unknown): void {
    const { id } = request;
    // A promise that was thrown by mistake: without this its own failure would end the process.
    if (error instanceof Promise) error.catch(() => {});
    if (!(error instanceof RpcError) || error.cause !== undefined) this.#log(request, error);
    request.settle(false, id === undefined ? undefined : this.#failureText(request, id, error));
  }

  #failureText(request: RpcRequest, id: Id, error: unknown): string {
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

  #log(request: RpcRequest, error: unknown): void {
    this.host.logger.error(`Method ${quoted(request.method)} failed: ${describeError(error)}`);
  }
}

/** Gathers the answers of one batch, in the order of its entries. */
class Batch implements Outlet {
  readonly #entries: readonly unknown[];
  readonly #texts: (string | undefined)[];
  readonly #maxBytes: number;
  readonly #outlet: Outlet;
  #afterwards: RpcRequest[] | undefined;
  #left: number;
  #length = 0;

  constructor(entries: readonly unknown[], maxBytes: number, outlet: Outlet) {
    this.#entries = entries;
    this.#texts = new Array(entries.length);
    this.#left = entries.length;
    this.#maxBytes = maxBytes;
    this.#outlet = outlet;
  }

  reply(text: string | undefined, request: RpcRequest | undefined, index: number): void {
    if (request?.hasAfterwards) (this.#afterwards ??= []).push(request);
    if (text !== undefined) this.#length += text.length + 1;
    // Past the limit the answers are only counted: they will not be sent.
    if (this.#length <= this.#maxBytes) this.#texts[index] = text;
    if (--this.#left > 0) return;
    this.#outlet.reply(this.#text(), undefined, 0);
    this.#afterwards?.forEach((each) => each.answered());
  }

  #text(): string | undefined {
    if (this.#length === 0) return undefined;
    if (this.#length <= this.#maxBytes) {
      const text = `[${this.#texts.filter((each) => each !== undefined).join(",")}]`;
      if (!exceedsBytes(text, this.#maxBytes)) return text;
    }
    const message = `The batch's answer is over ${this.#maxBytes} bytes (maxMessageBytes)`;
    return batchErrorText(ErrorCode.batchResponseTooLarge, message, this.#entries);
  }
}

const NOT_FOUND = new RpcMethodNotFoundError();
const INTERNAL = new RpcInternalError();
const CANCELLED = new RpcError(ErrorCode.requestCancelled, "Request cancelled");

/** One error for a whole batch. Its data tells by the first id which batch of the caller's it was. */
function batchErrorText(code: number, message: string, entries: readonly unknown[]): string {
  const first = entries.map(idOf).find((id) => id !== null) ?? null;
  return errorText(null, new RpcError(code, message, { data: { firstId: first } }));
}
