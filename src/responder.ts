/**
 * Message → method → answer, as both ends of a connection need it. What a server asks beyond that of
 * those whom it does not know is in `dispatch.ts`.
 *
 * @module
 */

import {
  describeError,
  ErrorCode,
  RpcError,
  RpcInternalError,
  RpcMethodNotFoundError,
} from "./errors.ts";
import { exceedsBytes } from "./limits.ts";
import type { Limits } from "./limits.ts";
import type { Logger } from "./logger.ts";
import { isThenable } from "./middleware.ts";
import { checkRequest, errorText, idOf, isResponse, resultText } from "./protocol.ts";
import type { Id, Message, RequestMessage } from "./protocol.ts";
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

  /** Runs one parsed message, of which nothing is known yet; `outlet.reply` is called once. */
  handle(message: unknown, outlet: Outlet): void {
    if (!Array.isArray(message) || message.length === 0) return this.#entry(message, outlet, 0);
    const batch = this.gather(message, outlet);
    if (batch === undefined) return;
    for (let index = 0; index < message.length; index++) this.#entry(message[index], batch, index);
  }

  /** Tells all running handlers that nobody waits for them any more. */
  abort(reason: unknown): void {
    for (const request of this.#running ?? []) request.abort(reason);
  }

  /** What takes the answers to a batch; `undefined` where it was answered as a whole. */
  protected gather(entries: readonly unknown[], outlet: Outlet): Outlet | undefined {
    return new Batch(entries, outlet);
  }

  /** Why a request is refused, if it is. */
  protected refusal(_request: RpcRequest, method: Method | undefined): RpcError | undefined {
    return method === undefined ? NOT_FOUND : undefined;
  }

  /** Begins to wait for a handler. */
  protected wait(request: RpcRequest, result: PromiseLike<unknown>, _method: Method): void {
    (this.#running ??= new Set()).add(request);
    // Promise.resolve: a thenable of somebody's own may call back twice, or never throw properly.
    Promise.resolve(result).then(
      (value) => this.finished(request) && this.#succeed(request, value),
      (error) => this.finished(request) && this.#fail(request, error),
    );
  }

  /** Notes that a handler has ended; answers whether its call still waits for its answer. */
  protected finished(request: RpcRequest): boolean {
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
    this.host.logger.error(`Method "${request.method}" failed: ${describeError(error)}`);
  }
}

/** Gathers the answers of one batch, in the order of its entries. */
export class Batch implements Outlet {
  readonly #texts: (string | undefined)[];
  readonly #outlet: Outlet;
  #afterwards: RpcRequest[] | undefined;
  #left: number;

  /**
   * @param entries What is to be answered.
   * @param outlet Takes the answer to them all.
   */
  constructor(entries: readonly unknown[], outlet: Outlet) {
    this.#texts = new Array(entries.length);
    this.#left = entries.length;
    this.#outlet = outlet;
  }

  reply(text: string | undefined, request: RpcRequest | undefined, index: number): void {
    if (request?.hasAfterwards) (this.#afterwards ??= []).push(request);
    this.#texts[index] = text;
    if (--this.#left > 0) return;
    this.#outlet.reply(this.text(), undefined, 0);
    this.#afterwards?.forEach((each) => each.answered());
  }

  /** The answer to them all; `undefined` where there is none to give. */
  protected text(): string | undefined {
    const texts = this.#texts.filter((each) => each !== undefined);
    return texts.length === 0 ? undefined : `[${texts.join(",")}]`;
  }
}

const NOT_FOUND = new RpcMethodNotFoundError();
const INTERNAL = new RpcInternalError();
const CANCELLED = new RpcError(ErrorCode.requestCancelled, "Request cancelled");
