/**
 * The dispatcher of a server: beside what every dispatcher does, it checks the shape of params and ends
 * calls that take longer than their method allows.
 *
 * @module
 */

import { Dispatcher } from "../core/dispatcher.ts";
import type { Method } from "../core/dispatcher.ts";
import { ABORT } from "../core/internal.ts";
import type { IncomingRequest } from "../core/request.ts";
import { ErrorCode, RpcConnectionError, RpcError } from "../protocol/errors.ts";
import { checkShape } from "../protocol/message.ts";
import { MAX_TIMER_MS } from "../util/timer.ts";
import type { Timer } from "../util/timer.ts";

/** Runs the messages of one client. */
export class ServerDispatcher extends Dispatcher {
  // Holds only calls of methods with a time limit.
  #timers: Map<IncomingRequest, Timer> | undefined;

  protected override refusal(
    request: IncomingRequest,
    method: Method | undefined,
  ): RpcError | undefined {
    if (!method?.scalarParams) {
      const invalid = checkShape(request.params);
      if (invalid !== undefined) return invalid;
      // `null` means no params, unless the method accepts scalars: an event's data may be null.
      if (request.params === null) request.params = undefined;
    }
    return super.refusal(request, method);
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

const GONE = "The caller is gone: the call itself closed the connection";
const TIMED_OUT = new RpcError(ErrorCode.requestTimeout, "Request timed out");
