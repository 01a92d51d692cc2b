/**
 * Message → method → answer on a server, whose methods choose which params reach them, and how long
 * their callers wait.
 *
 * @module
 */

import { ErrorCode, RpcConnectionError, RpcError } from "../protocol/errors.ts";
import { checkShape } from "../protocol/message.ts";
import { ABORT } from "../core/internal.ts";
import type { IncomingRequest } from "../core/request.ts";
import { Dispatcher } from "../core/dispatcher.ts";
import type { Method } from "../core/dispatcher.ts";
import { MAX_TIMER_MS } from "../util/timer.ts";
import type { Timer } from "../util/timer.ts";

/** Runs the messages of one client. */
export class ServerDispatcher extends Dispatcher {
  // Only calls of methods that have a time are in here.
  #timers: Map<IncomingRequest, Timer> | undefined;

  protected override refusal(
    request: IncomingRequest,
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
    request: IncomingRequest,
    result: PromiseLike<unknown>,
    method: Method,
  ): void {
    // The handler may have ended the connection by itself, when it was not yet among those to be told.
    if (!request.connection.isOpen) request[ABORT](new RpcConnectionError(GONE, "unknown"));
    super.wait(request, result, method);
    if (!method.timeoutMs || method.timeoutMs > MAX_TIMER_MS) return;
    const timer = setTimeout(() => this.giveUp(request, TIMED_OUT), method.timeoutMs);
    (this.#timers ??= new Map()).set(request, timer);
  }

  protected override finished(request: IncomingRequest): boolean {
    if (this.#timers !== undefined) {
      clearTimeout(this.#timers.get(request));
      this.#timers.delete(request);
    }
    return super.finished(request);
  }
}

const GONE = "The caller is gone: the connection was closed by its own call";
const TIMED_OUT = new RpcError(ErrorCode.requestTimeout, "Request timed out");
