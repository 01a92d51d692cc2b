/**
 * Message → method → answer. The same for every carrier: batches, notifications, the limit of calls
 * in flight, cancelling.
 *
 * @module
 */

import {
  describeError,
  ErrorCode,
  RpcError,
  RpcInternalError,
  RpcInvalidRequestError,
  RpcMethodNotFoundError,
} from "./errors.ts";
import { exceedsBytes } from "./limits.ts";
import type { Limits } from "./limits.ts";
import type { Logger } from "./logger.ts";
import { isThenable } from "./middleware.ts";
import { checkRequest, errorText, idOf, isResponse, resultText } from "./protocol.ts";
import type { Message, RequestMessage } from "./protocol.ts";
import { RpcRequest } from "./request.ts";
import type { Connection } from "./request.ts";
import type { Timer } from "./timer.ts";

/** Something callable by name, ready to run: guards and middleware are inside. */
export interface Method {
  /** Runs the handler and what is around it. */
  readonly invoke: (params: unknown, request: RpcRequest) => unknown;
  /** Whether params that are neither array nor object reach it. */
  readonly scalarParams: boolean;
  /** Milliseconds until a call that waits is given up. @default {0, no end} */
  readonly timeoutMs?: number;
}

/** What a dispatcher needs to know of its side. */
export interface DispatchHost {
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

/** Takes the answer of one message, exactly once for each. */
export interface Outlet {
  /**
   * @param text The answer, or `undefined` where there is none to give.
   * @param request What was answered, where it came so far.
   * @param index Which entry of a batch it was; 0 for a lone message.
   */
  reply(text: string | undefined, request: RpcRequest | undefined, index: number): void;
}

interface Running {
  readonly request: RpcRequest;
  readonly outlet: Outlet;
  readonly index: number;
}

/** Runs the messages of one connection. */
export class Dispatcher {
  readonly #host: DispatchHost;
  readonly #connection: Connection;
  readonly #replies: Replies | undefined;
  // Only calls whose handler gave a promise are in here.
  #running: Set<Running> | undefined;
  // Counts cancelled calls too, until their handler has really ended.
  #inFlight = 0;

  /**
   * @param host The methods, limits and log of this side.
   * @param connection What handlers see as the caller.
   * @param replies Takes answers to our own calls; without it they are dropped.
   */
  constructor(host: DispatchHost, connection: Connection, replies?: Replies) {
    this.#host = host;
    this.#connection = connection;
    this.#replies = replies;
  }

  /** How many calls wait for their handler. */
  get inFlight(): number {
    return this.#inFlight;
  }

  /** Runs one parsed message, of which nothing is known yet; `outlet.reply` is called once. */
  handle(message: unknown, outlet: Outlet): void {
    if (Array.isArray(message)) this.#batch(message, outlet);
    else this.#entry(message, outlet, 0);
  }

  /** Tells all running handlers that nobody waits for them any more. */
  abort(reason: unknown): void {
    if (this.#running === undefined) return;
    for (const { request } of this.#running) request.abort(reason);
  }

  #batch(entries: unknown[], outlet: Outlet): void {
    const { maxBatch } = this.#host.limits;
    if (entries.length === 0) {
      return outlet.reply(errorText(null, new RpcInvalidRequestError()), undefined, 0);
    }
    // Answers to a batch of our own may be as many as we asked for.
    if (entries.length > maxBatch && !entries.every(isResponse)) {
      const message = `Batch of ${entries.length} is over ${maxBatch} (maxBatch)`;
      const text = batchErrorText(ErrorCode.batchTooLarge, message, entries);
      return outlet.reply(text, undefined, 0);
    }
    const batch = new Batch(entries, this.#host.limits.maxMessageBytes, outlet);
    for (let index = 0; index < entries.length; index++) this.#entry(entries[index], batch, index);
  }

  #entry(message: unknown, outlet: Outlet, index: number): void {
    if (isResponse(message) || this.#isBareAnswer(message)) {
      this.#replies?.settle(message as Message);
      return outlet.reply(undefined, undefined, index);
    }
    const invalid = checkRequest(message, true);
    if (invalid !== undefined) {
      return outlet.reply(errorText(idOf(message), invalid), undefined, index);
    }
    this.#request(message as RequestMessage, outlet, index);
  }

  /** Whether it is an answer to us with neither a result nor an error: it must not be lost. */
  #isBareAnswer(message: unknown): boolean {
    const { method, id } = (message ?? {}) as Message;
    return method === undefined && this.#replies?.awaits(id) === true;
  }

  #request(message: RequestMessage, outlet: Outlet, index: number): void {
    const { method: name, id } = message;
    if (id === undefined && name.startsWith("$/")) {
      this.#control(name, message.params);
      return outlet.reply(undefined, undefined, index);
    }
    const method = this.#host.find(name);
    // `null` is no params, save where a scalar is as good as any: an event's data may be null.
    const absent = message.params === null && !method?.scalarParams;
    const params = absent ? undefined : message.params;
    const request = new RpcRequest(this.#connection, name, id, params);
    if (typeof params !== "object" && params !== undefined && !method?.scalarParams) {
      return this.#fail(request, checkRequest(message, false), outlet, index);
    }
    if (method === undefined) return this.#fail(request, NOT_FOUND, outlet, index);
    if (this.#inFlight >= this.#host.limits.maxInFlight) {
      return this.#fail(request, this.#busy(request), outlet, index);
    }
    let result: unknown;
    try {
      result = method.invoke(params, request);
      if (isThenable(result)) return this.#wait(result, { request, outlet, index }, method);
    } catch (error) {
      return this.#fail(request, error, outlet, index);
    }
    this.#succeed(request, result, outlet, index);
  }

  #wait(result: PromiseLike<unknown>, running: Running, { timeoutMs }: Method): void {
    const { request, outlet, index } = running;
    const timer = timeoutMs ? setTimeout(() => this.#giveUp(running, TIMED_OUT), timeoutMs) : 0;
    this.#inFlight++;
    (this.#running ??= new Set()).add(running);
    // Promise.resolve: a thenable of somebody's own may call back twice, or never throw properly.
    Promise.resolve(result).then(
      (value) => this.#finished(running, timer) && this.#succeed(request, value, outlet, index),
      (error) => this.#finished(running, timer) && this.#fail(request, error, outlet, index),
    );
  }

  /** Gives the place back; answers whether the call still waits for its answer. */
  #finished(running: Running, timer: Timer | 0): boolean {
    if (timer !== 0) clearTimeout(timer);
    this.#inFlight--;
    return this.#running?.delete(running) === true;
  }

  #succeed(request: RpcRequest, result: unknown, outlet: Outlet, index: number): void {
    const { id } = request;
    request.settle(true);
    if (id === undefined) return outlet.reply(undefined, request, index);
    const { maxMessageBytes } = this.#host.limits;
    let text: string;
    try {
      text = resultText(id, result);
      if (exceedsBytes(text, maxMessageBytes)) text = tooBigText(id, maxMessageBytes);
    } catch (error) {
      return this.#fail(request, error, outlet, index);
    }
    outlet.reply(text, request, index);
  }

  #fail(request: RpcRequest, error: unknown, outlet: Outlet, index: number): void {
    const { id } = request;
    // A promise that was thrown by mistake: without this its own failure would end the process.
    if (error instanceof Promise) error.catch(() => {});
    if (!(error instanceof RpcError)) this.#log(request, error);
    else if (error.cause !== undefined) this.#log(request, error);
    request.settle(false);
    if (id === undefined) return outlet.reply(undefined, request, index);
    outlet.reply(this.#failureText(request, error), request, index);
  }

  #failureText(request: RpcRequest, error: unknown): string {
    const id = request.id ?? null;
    if (!(error instanceof RpcError)) return errorText(id, INTERNAL);
    const { maxMessageBytes } = this.#host.limits;
    try {
      const text = errorText(id, error);
      return exceedsBytes(text, maxMessageBytes) ? tooBigText(id, maxMessageBytes) : text;
    } catch (cause) {
      this.#log(request, new TypeError("Cannot encode the error's data", { cause }));
      return errorText(id, INTERNAL);
    }
  }

  #log(request: RpcRequest, error: unknown): void {
    this.#host.logger.error(`Method "${request.method}" failed: ${describeError(error)}`);
  }

  #busy({ id, method }: RpcRequest): RpcError {
    const { limits: { maxInFlight }, logger } = this.#host;
    const message =
      `Server busy: ${maxInFlight} calls of this connection are in flight (maxInFlight)`;
    if (id === undefined) logger.debug(`Notification "${method}" dropped: ${message}`);
    return new RpcError(ErrorCode.serverBusy, message);
  }

  #control(name: string, params: unknown): void {
    if (name === "$/progress") this.#replies?.progress(params);
    else if (name === "$/cancelRequest") this.#cancel((params as Message | null | undefined)?.id);
  }

  #cancel(id: unknown): void {
    if (id === undefined || this.#running === undefined) return;
    for (const running of this.#running) {
      if (running.request.id === id) return this.#giveUp(running, CANCELLED);
    }
  }

  /** Answers a call although its handler has not ended; what that gives later is dropped. */
  #giveUp(running: Running, reason: RpcError): void {
    const { request, outlet, index } = running;
    if (!this.#running?.delete(running)) return;
    request.abort(reason);
    this.#fail(request, reason, outlet, index);
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
const TIMED_OUT = new RpcError(ErrorCode.requestTimeout, "Request timed out");
const CANCELLED = new RpcError(ErrorCode.requestCancelled, "Request cancelled");

/** One error for a whole batch. Its data tells by the first id which batch of the caller's it was. */
function batchErrorText(code: number, message: string, entries: readonly unknown[]): string {
  const first = entries.map(idOf).find((id) => id !== null) ?? null;
  return errorText(null, new RpcError(code, message, { data: { firstId: first } }));
}

function tooBigText(id: string | number | null, maxBytes: number): string {
  const message = `Response is over ${maxBytes} bytes (maxMessageBytes)`;
  return errorText(id, new RpcError(ErrorCode.responseTooBig, message));
}
