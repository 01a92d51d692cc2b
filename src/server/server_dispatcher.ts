/**
 * Message → method → answer on a server, whose methods choose which params reach them, and how long
 * their callers wait.
 *
 * @module
 */

import { ErrorCode, RpcConnectionError, RpcError } from "../protocol/errors.ts";
import { checkShape } from "../protocol/message.ts";
import type { RpcRequest } from "../core/request.ts";
import { Responder } from "../core/dispatcher.ts";
import type { Method } from "../core/dispatcher.ts";
import { LONGEST_DELAY } from "../util/timer.ts";
import type { Timer } from "../util/timer.ts";

/** Runs the messages of one client. */
export class Dispatcher extends Responder {
  // Only calls of methods that have a time are in here.
  #timers: Map<RpcRequest, Timer> | undefined;

  protected override refusal(
    request: RpcRequest,
    method: Method | undefined,
  ): RpcError | undefined {
    if (!method?.scalarParams) {
      const misshapen = checkShape(request.params);
      if (misshapen !== undefined) return misshapen;
      // `null` is no params, save where a scalar is as good as any: an event's data may be null.
      if (request.params === null) request.params = undefined;
    }
    return super.refusal(request, method);
  }

  protected override wait(
    request: RpcRequest,
    result: PromiseLike<unknown>,
    method: Method,
  ): void {
    // The handler may have ended the connection by itself, when it was not yet among those to be told.
    if (!request.connection.isOpen) request.abort(new RpcConnectionError(GONE, "unknown"));
    super.wait(request, result, method);
    if (!method.timeoutMs || method.timeoutMs > LONGEST_DELAY) return;
    const timer = setTimeout(() => this.giveUp(request, TIMED_OUT), method.timeoutMs);
    (this.#timers ??= new Map()).set(request, timer);
  }

  protected override finished(request: RpcRequest): boolean {
    if (this.#timers !== undefined) {
      clearTimeout(this.#timers.get(request));
      this.#timers.delete(request);
    }
    return super.finished(request);
  }
}

const GONE = "The caller is gone: the connection was closed by its own call";
const TIMED_OUT = new RpcError(ErrorCode.requestTimeout, "Request timed out");
