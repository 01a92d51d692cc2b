/**
 * A request to a server. Beside what every request has, its method may declare errors, and steps may wait
 * until it is answered. A client's methods need neither, so a page loads none of it.
 *
 * @module
 */

import { describeError, quoted } from "../protocol/errors.ts";
import type { RpcError } from "../protocol/errors.ts";
import { runSafely } from "../util/maybe_promise.ts";
import { BatchResponse } from "./batch_response.ts";
import { ABORT, AFTER_ANSWER, ANSWERED, DECLARE_ERRORS, REPLY, SETTLE, WATCH } from "./internal.ts";
import { IncomingRequest } from "./request.ts";
import type { RpcRequest } from "./request.ts";

/** The implementation of {@linkcode RpcRequest} on a server. */
export class ServerRequest extends IncomingRequest {
  #succeeded: boolean | undefined;
  #makeError: ((name: string, data: unknown) => RpcError) | undefined;
  #afterAnswer: ((succeeded: boolean) => void)[] | undefined;

  override get signal(): AbortSignal {
    this.connection[WATCH]?.();
    return super.signal;
  }

  override get aborted(): boolean {
    this.connection[WATCH]?.();
    return super.aborted;
  }

  override get error(): (name: string, data?: unknown) => RpcError {
    return (name, data) => {
      if (this.#makeError) return this.#makeError(name, data);
      throw new TypeError(`Cannot make error "${name}": the method does not declare it`);
    };
  }

  override get confirm(): RpcRequest["confirm"] {
    return (message, options) => this.call<boolean>("confirm", { message }, options);
  }

  /** Sets what makes the errors that the method declares. */
  [DECLARE_ERRORS](makeError: (name: string, data: unknown) => RpcError): void {
    this.#makeError = makeError;
  }

  /** Whether a function waits until the answer is sent. */
  get hasAfterAnswer(): boolean {
    return this.#afterAnswer !== undefined;
  }

  override [SETTLE](succeeded: boolean, text: string | undefined): void {
    this.#succeeded = succeeded;
    settle.call(this, succeeded, text);
  }

  /** Runs the functions that wait for the answer. Called when the answer was sent. */
  [ANSWERED](): void {
    const runs = this.#afterAnswer;
    this.#afterAnswer = undefined;
    runs?.forEach((run) => this.#run(run));
  }

  /** See {@linkcode afterAnswer}. */
  [AFTER_ANSWER](run: (succeeded: boolean) => void): void {
    // Middleware may have answered already, and have called `next` after that.
    if (this.#succeeded !== undefined) this.#run(run);
    else (this.#afterAnswer ??= []).push(run);
  }

  #run(run: (succeeded: boolean) => void): void {
    runSafely(() => run(this.#succeeded as boolean), (error) => {
      this.connection.logger.error(
        `After the answer to ${quoted(this.method)}, a step failed: ${describeError(error)}`,
      );
    });
  }
}

/**
 * The answer to one batch of a server's requests: what waits for one of its answers waits until the whole
 * batch is answered.
 */
export class ServerBatchResponse extends BatchResponse {
  #waiting: ServerRequest[] | undefined;

  override [REPLY](
    text: string | undefined,
    request: IncomingRequest | undefined,
    index: number,
  ): void {
    if (request instanceof ServerRequest && request.hasAfterAnswer) {
      (this.#waiting ??= []).push(request);
    }
    reply.call(this, text, request, index);
    if (this.left === 0) this.#waiting?.forEach((each) => each[ANSWERED]());
  }
}

/**
 * Runs what waits for the answer to a request. To be called once the answer was sent.
 *
 * @param request The request that was answered; `undefined` if the message was no valid request.
 */
export function markAnswered(request: IncomingRequest | undefined): void {
  if (request instanceof ServerRequest) request[ANSWERED]();
}

/**
 * Runs a function as soon as the answer to a request was sent, or if it is known that there is no answer.
 *
 * @param request The request, as its handler got it.
 * @param run Gets whether the call succeeded. It fails if it was cancelled, or if middleware around
 * the handler threw.
 */
export function afterAnswer(request: RpcRequest, run: (succeeded: boolean) => void): void {
  if (request instanceof ServerRequest) request[AFTER_ANSWER](run);
}

/**
 * Aborts the signal of a request whose result is not needed any more.
 *
 * @param request The request, as its handler got it.
 * @param reason The reason of the signal.
 */
export function abortRequest(request: RpcRequest, reason: unknown): void {
  if (request instanceof ServerRequest) request[ABORT](reason);
}

/**
 * Gives a request the errors that its method declares.
 *
 * @param request The request, as its handler got it.
 * @param makeError Makes an error from its name and data.
 */
export function declareErrors(
  request: RpcRequest,
  makeError: (name: string, data: unknown) => RpcError,
): void {
  if (request instanceof ServerRequest) request[DECLARE_ERRORS](makeError);
}

// Not `super[SETTLE]`: engines look up a computed key of `super` anew each time, a tenth of a small call.
const settle = IncomingRequest.prototype[SETTLE];
const reply = BatchResponse.prototype[REPLY];
