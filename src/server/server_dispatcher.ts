/**
 * The dispatcher of a server: beside what every dispatcher does, it checks the shape of params and ends
 * calls that take longer than their method allows.
 *
 * @module
 */

import { Dispatcher } from "../core/dispatcher.ts";
import type { DispatcherHost, Method } from "../core/dispatcher.ts";
import { ABORT } from "../core/internal.ts";
import type { IncomingRequest, ResponseSink } from "../core/request.ts";
import { ServerBatchResponse, ServerRequest } from "../core/server_request.ts";
import { mayBeRounded, refuseLater, resolveDigits, withDigits } from "./big_integers.ts";
import { CountedBatch } from "./counted_batch.ts";
import { isStream } from "./item_reader.ts";
import type { MemoryBudget } from "./memory_budget.ts";
import { ErrorCode } from "../protocol/error_code.ts";
import { quoted, RpcConnectionError, RpcError } from "../protocol/errors.ts";
import { collect } from "./result_streams.ts";
import { checkRequest, checkShape } from "../protocol/message.ts";
import type { RequestMessage } from "../protocol/message.ts";
import { startDeadline } from "../util/deadline.ts";
import { MAX_TIMER_MS } from "../util/timer.ts";

/** The server, as far as its dispatchers are concerned. */
export interface ServerDispatcherHost extends DispatcherHost {
  /** Counts the params of calls that run. */
  readonly budget?: MemoryBudget;
}

/** Runs the messages of one client. */
export class ServerDispatcher extends Dispatcher {
  declare protected readonly host: ServerDispatcherHost;
  /** How long the text of the message is that is dispatched next, in characters. */
  messageLength = 0;
  /** The text of that message. Given up as soon as the message is dispatched. */
  text = "";
  // Whether the params of the message that is dispatched hold digits in place of numbers.
  #hasDigits = false;
  // Bytes in the memory budget by call. Holds only calls with long params.
  #kept: Map<IncomingRequest, number> | undefined;
  // How to stop the timer of each call. Holds only calls of methods with a time limit.
  #timers: Map<IncomingRequest, () => void> | undefined;

  override handle(message: unknown, sink: ResponseSink): void {
    const { text } = this;
    this.text = "";
    if (text === "" || !mayBeRounded(message)) return super.handle(message, sink);
    // A handler may lead back to here while it runs.
    const before = this.#hasDigits;
    this.#hasDigits = true;
    super.handle(withDigits(message, text), sink);
    this.#hasDigits = before;
  }

  protected override batch(entries: readonly unknown[], sink: ResponseSink): ResponseSink {
    const { budget, limits: { maxMessageBytes: maxBytes } } = this.host;
    return budget === undefined
      ? new ServerBatchResponse(entries, maxBytes, sink)
      : new CountedBatch({ entries, maxBytes, sink, budget });
  }

  protected override requestOf(
    message: RequestMessage,
    sink: ResponseSink,
    index: number,
  ): IncomingRequest {
    return new ServerRequest(this.connection, message, sink, index);
  }

  protected override quote(name: string): string {
    return quoted(name);
  }

  protected override explain(message: unknown): RpcError {
    return checkRequest(message) ?? super.explain(message);
  }

  protected override refusal(
    request: IncomingRequest,
    method: Method | undefined,
  ): RpcError | undefined {
    if (this.#hasDigits) this.#resolveDigits(request, method);
    if (!method?.scalarParams) {
      const invalid = checkShape(request.params);
      if (invalid !== undefined) return invalid;
      // `null` means no params, unless the method accepts scalars: an event's data may be null.
      if (request.params === null) request.params = undefined;
    }
    if (this.messageLength > SHORT && this.host.budget?.isFull) return FULL;
    const refusal = super.refusal(request, method);
    if (refusal && method && request.id === undefined) {
      const what = `Notification ${quoted(request.method)} dropped: ${refusal.message}`;
      this.host.logger.debug(what);
    }
    return refusal;
  }

  protected override wait(
    request: IncomingRequest,
    result: PromiseLike<unknown>,
    method: Method,
  ): void {
    // The handler may have closed the connection itself, before this call counted as running: then
    // closing did not abort it.
    if (!request.connection.isOpen) request[ABORT](new RpcConnectionError(GONE, "unknown"));
    super.wait(request, result, method);
    if (this.messageLength > SHORT) this.#keep(request);
    if (!method.timeoutMs || method.timeoutMs > MAX_TIMER_MS) return;
    // The handler may wait for the caller, whose answer may be unread.
    const stop = startDeadline(method.timeoutMs, () => this.giveUp(request, TIMED_OUT));
    (this.#timers ??= new Map()).set(request, stop);
  }

  protected override control(name: string, params: unknown): boolean {
    if (!name.startsWith("$/")) return false;
    // Not even middleware sees those that no method is for: clients may send any of them.
    return super.control(name, params) !== undefined || this.host.find(name)?.isMissing === true;
  }

  protected override succeed(request: IncomingRequest, result: unknown): void {
    if (!isStream(result)) return super.succeed(request, result);
    const { limits: { maxMessageBytes } } = this.host;
    const method = this.host.find(request.method) as Method;
    this.wait(request, collect(result, request, maxMessageBytes), method);
  }

  protected override finished(request: IncomingRequest): boolean {
    if (this.#timers !== undefined) {
      this.#timers.get(request)?.();
      this.#timers.delete(request);
    }
    const kept = this.#kept?.get(request);
    if (kept !== undefined) {
      this.#kept?.delete(request);
      this.host.budget?.release(kept);
    }
    return super.finished(request);
  }

  #resolveDigits(request: IncomingRequest, method: Method | undefined): void {
    const { params, error } = resolveDigits(request.params, method?.bigIntegers ?? "refuse");
    request.params = params;
    if (error !== undefined) refuseLater(request, error);
  }

  /** Counts the params of a call that runs. All calls of a batch share one text: the first counts it. */
  #keep(request: IncomingRequest): void {
    const bytes = BYTES_PER_CHARACTER * this.messageLength;
    this.messageLength = 0;
    (this.#kept ??= new Map()).set(request, bytes);
    this.host.budget?.add(bytes);
  }
}

const GONE = "The caller is gone: the call itself closed the connection";
// Messages up to this length are bounded well enough by `maxInFlight`.
const SHORT = 4096;
// What a parsed message takes, about.
const BYTES_PER_CHARACTER = 2;
const FULL = new RpcError(
  ErrorCode.serverBusy,
  "Server busy: all peers together use too much memory (maxTotalBytes)",
);
const TIMED_OUT = new RpcError(ErrorCode.requestTimeout, "Request timed out");
