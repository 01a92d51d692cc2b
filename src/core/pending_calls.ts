/**
 * Calls that wait for their answer. Every call settles: by its answer, by timeout, by abort, or when
 * the connection ends.
 *
 * @module
 */

import { SERVER_BUSY } from "../protocol/codes.ts";
import { rangeError } from "../util/check_option.ts";
import { runSafely } from "../util/maybe_promise.ts";
import {
  errorFrom,
  logFailure,
  RpcConnectionError,
  RpcFailure,
  RpcInternalError,
  RpcTimeoutError,
} from "../protocol/errors.ts";
import type { ErrorClasses, RpcError } from "../protocol/errors.ts";
import type { SessionLimits } from "../protocol/limits.ts";
import type { Logger } from "../util/logger.ts";
import { outgoingText } from "../protocol/message.ts";
import type { Message } from "../protocol/message.ts";
import { OneShotTimer } from "../util/timer.ts";

/** How one call to the other side is made. */
export interface CallOptions {
  /**
   * Milliseconds from the call until it rejects with {@linkcode RpcTimeoutError}. 0: the call waits as
   * long as its connection lives.
   *
   * @default {60000}
   */
  readonly timeoutMs?: number | undefined;
  /**
   * Aborts the call: it rejects with the signal's reason, and the other side gets `$/cancelRequest`.
   */
  readonly signal?: AbortSignal | undefined;
  /** Receives each value that the other side's handler passes to `request.progress(value)`. */
  readonly onProgress?: ((value: unknown) => void) | undefined;
  /**
   * Whether running the call twice does no harm. If the connection ends before the answer came, a client
   * sends such a call again on its next connection; any other call rejects.
   *
   * @default {false}
   */
  readonly idempotent?: boolean | undefined;
}

/** A call that waits for its answer. */
export interface PendingCall {
  /** The method's name. */
  readonly method: string;
  /** The text of the call. */
  readonly text: string;
  /** The options of the call. */
  readonly options: CallOptions;
  /** Whether the call belongs to one connection, so that it must not be sent on another. */
  readonly connectionOnly: boolean | undefined;
  /** Set if the call was sent on a connection that has ended: whether it may have run there. */
  outcome?: RpcConnectionError["outcome"] | undefined;
}

/** The side that makes the calls. */
export interface PendingCallsHost {
  /** The limits of this side. */
  readonly limits: SessionLimits;
  /** The log for failures of `onProgress`. */
  readonly logger: Logger;
  /** The classes of errors that the other side answers with. */
  readonly errors?: ErrorClasses | undefined;
  /** Called with the id of a call that has timed out or was aborted. */
  cancel(id: number): void;
  /** Called for an answer whose id is null: it belongs to no single call. */
  unmatched?(message: Message): void;
  /** Called if the other side refused a call without running it; returns whether it will be sent again. */
  refused?(id: number, call: PendingCall): boolean;
}

/** A call to make. */
export interface CallRequest {
  /** The method's name. */
  readonly method: string;
  /** The params: an array, an object, or none. */
  readonly params?: unknown;
  /** The options of the call. */
  readonly options?: CallOptions | undefined;
  /** Whether the call belongs to one connection, so that it must not be sent on another. @default {false} */
  readonly connectionOnly?: boolean;
  /** Receives the result before any later message is handled. */
  readonly onResult?: ((result: unknown) => void) | undefined;
}

/** Sends the text of a call. */
export type SendCall = (text: string, id: number) => void;

interface SentCall extends PendingCall {
  readonly onResult: ((result: unknown) => void) | undefined;
  readonly resolve: (result: unknown) => void;
  readonly reject: (reason: unknown) => void;
  readonly deadline: number;
  readonly unlisten: (() => void) | undefined;
}

/** The calls of one side that wait for their answers. */
export class PendingCalls {
  readonly #calls = new Map<unknown, SentCall>();
  readonly #host: PendingCallsHost;
  #lastId = 0;
  // One timer for all calls, set for the earliest deadline. On some runtimes a timer per call would
  // cost more than the rest of the call.
  readonly #timer = new OneShotTimer();
  #timerAt = Infinity;

  /** @param host The side that makes the calls. */
  constructor(host: PendingCallsHost) {
    this.#host = host;
  }

  /** The number of calls that wait. */
  get size(): number {
    return this.#calls.size;
  }

  /** Gives the call with this id, if it waits. */
  get(id: unknown): PendingCall | undefined {
    return this.#calls.get(id);
  }

  /**
   * Makes a call.
   *
   * @param request The call to make.
   * @param send Sends the text. It is called once, unless the call is refused before.
   * @returns A promise of the result. It rejects with the {@linkcode RpcError} of the other side, with
   * {@linkcode RpcTimeoutError}, with the signal's reason, with the reason that {@linkcode fail} got, or
   * with what kept the call from being sent.
   */
  call(
    { method, params, options = {}, connectionOnly, onResult }: CallRequest,
    send: SendCall,
  ): Promise<unknown> {
    const { signal, timeoutMs = this.#host.limits.timeoutMs } = options;
    return new Promise((resolve, reject) => {
      if (signal?.aborted) throw signal.reason;
      if (!(timeoutMs >= 0)) throw rangeError("timeoutMs", timeoutMs, "a number from 0");
      const id = ++this.#lastId;
      const text = outgoingText({ id, method, params }, this.#host.limits.maxMessageBytes);
      const deadline = timeoutMs === 0 ? Infinity : performance.now() + timeoutMs;
      const unlisten = signal && this.#listen(id, signal);
      const call = {
        method,
        text,
        options,
        connectionOnly,
        onResult,
        resolve,
        reject,
        deadline,
        unlisten,
      };
      this.#calls.set(id, call);
      if (deadline < this.#timerAt) this.#setTimer(deadline);
      try {
        send(text, id);
      } catch (error) {
        this.fail(id, error);
      }
    });
  }

  /** Matches an answer with its call. An answer without a waiting call is dropped. */
  settle(message: Message): void {
    const { id, result, error } = message;
    if (id === null || id === undefined) return this.#host.unmatched?.(message);
    const waiting = this.#calls.get(id);
    if (!waiting) return;
    if (!waiting.connectionOnly && mayRetry(error) && this.#host.refused?.(id as number, waiting)) {
      return;
    }
    const call = this.#take(id) as SentCall;
    if ((error === undefined || error === null) && result !== undefined) {
      call.onResult?.(result);
      call.resolve(result);
    } else reject(call, toError(call.method, message, this.#host.errors));
  }

  /** Hands the params of a `$/progress` notification to their call; returns that, if it waits. */
  progress(params: unknown): unknown {
    const { token, value } = (params ?? {}) as { token?: unknown; value?: unknown };
    const call = this.#calls.get(token);
    runSafely(() => call?.options.onProgress?.(value), (error) => {
      logFailure(this.#host.logger, "onProgress", error);
    });
    return call;
  }

  /** Rejects one call. */
  fail(id: unknown, reason: unknown): void {
    this.#take(id)?.reject(reason);
  }

  /**
   * Rejects calls that wait, because their connection has ended.
   *
   * @param why Why there is no answer.
   * @param waitsOn Whether a call waits on.
   */
  failAll(why: string, waitsOn: (id: number, call: PendingCall) => boolean): void {
    for (const [id, call] of [...this.#calls]) {
      if (waitsOn(id as number, call)) continue;
      this.#take(id);
      reject(call, new RpcConnectionError(`No answer to "${call.method}": ${why}`, "unknown"));
    }
    if (this.#calls.size > 0) return;
    this.#timer.clear();
    this.#timerAt = Infinity;
  }

  #take(id: unknown): SentCall | undefined {
    const call = this.#calls.get(id);
    this.#calls.delete(id);
    call?.unlisten?.();
    return call;
  }

  #listen(id: number, signal: AbortSignal): () => void {
    const giveUp = () => this.#giveUp(id, signal.reason);
    signal.addEventListener("abort", giveUp);
    return () => signal.removeEventListener("abort", giveUp);
  }

  #giveUp(id: number, reason: unknown): void {
    const call = this.#take(id);
    if (!call) return;
    this.#host.cancel(id);
    reject(call, reason);
  }

  #setTimer(at: number): void {
    this.#timerAt = at;
    this.#timer.setDeadline(at - performance.now(), () => this.#sweep());
  }

  #sweep(): void {
    this.#timerAt = Infinity;
    const now = performance.now();
    let earliest = Infinity;
    for (const [id, { deadline, method }] of this.#calls) {
      if (deadline > now) earliest = Math.min(earliest, deadline);
      else this.#giveUp(id as number, new RpcTimeoutError(`Call of "${method}" timed out`));
    }
    if (earliest < Infinity) this.#setTimer(earliest);
  }
}

/** Rejects a call with an error of its own, which names the method. */
function reject({ method, reject }: SentCall, reason: unknown): void {
  if (reason instanceof RpcFailure) reason.method = method;
  reject(reason);
}

/** Makes an error of the class that the other side threw from its answer. */
export function toError(method: string, answer: Message, classes: ErrorClasses = {}): RpcError {
  const { code, message, data } = (answer.error ?? {}) as Record<string, unknown>;
  if (!Number.isSafeInteger(code) || (answer.result ?? null) !== null) {
    return new RpcInternalError({
      message: `Malformed answer to "${method}": expected a result, or an error with a code`,
      data: answer,
    });
  }
  const text = typeof message === "string" ? message : "";
  try {
    const Class = classes[code as number];
    if (Class) return new Class(code as number, text, { data });
  } catch {
    // The program's class did not expect such data. The call has to settle all the same.
  }
  return errorFrom(code as number, text, data);
}

/** Tells whether an error says that the call has not run and may be sent again. */
export function mayRetry(error: unknown): boolean {
  const { code, data } = (error ?? {}) as { code?: unknown; data?: { retry?: unknown } | null };
  return code === SERVER_BUSY && data?.retry === true;
}
