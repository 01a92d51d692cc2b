/**
 * Calls that wait for their answer. Every one of them settles: by its answer, by timeout, by abort,
 * or with the connection.
 *
 * @module
 */

import { runSafely } from "../util/maybe_promise.ts";
import {
  describeError,
  ErrorCode,
  errorFrom,
  RpcInternalError,
  RpcTimeoutError,
} from "../protocol/errors.ts";
import type { RpcConnectionError, RpcError } from "../protocol/errors.ts";
import type { SessionLimits } from "../protocol/limits.ts";
import type { Logger } from "../util/logger.ts";
import { outgoingText } from "../protocol/message.ts";
import type { Message } from "../protocol/message.ts";
import { OneShotTimer } from "../util/timer.ts";

/** How one call to the other side is made. */
export interface CallOptions {
  /**
   * Milliseconds until the call rejects with {@linkcode RpcTimeoutError}, counted from the call. 0:
   * it waits as long as the connection lives.
   *
   * @default {60000}
   */
  readonly timeoutMs?: number | undefined;
  /** Gives the call up: it rejects with the signal's reason, and the other side is told. */
  readonly signal?: AbortSignal | undefined;
  /** Receives what the other side's handler reports with `request.progress(value)`. */
  readonly onProgress?: ((value: unknown) => void) | undefined;
  /**
   * Says that running it twice does no harm: where the connection ends before the answer came, a
   * client sends the call again on the next one, where it would else fail.
   *
   * @default {false}
   */
  readonly idempotent?: boolean | undefined;
}

/** A call that waits. */
export interface PendingCall {
  /** The method's name. */
  readonly method: string;
  /** What was sent, or is to be. */
  readonly text: string;
  /** How it was made. */
  readonly options: CallOptions;
  /** Whether it makes sense on the connection alone that it was made for. */
  readonly connectionOnly: boolean;
  /** Whether it was sent on a connection that has ended, and may have run there. */
  outcome?: RpcConnectionError["outcome"] | undefined;
}

/** What the side of the calls does for them. */
export interface PendingCallsHost {
  /** Which bounds hold. */
  readonly limits: SessionLimits;
  /** Where failures of `onProgress` are written. */
  readonly logger: Logger;
  /** Called with the id of a call that was given up by timeout or abort. */
  cancel(id: number): void;
  /** Called for an answer that belongs to no single call: its id is null. */
  unmatched?(message: Message): void;
  /** Takes a call back that the other side refused and has not run; answers whether it did. */
  refused?(id: number, call: PendingCall): boolean;
}

/** What a call is made of. */
export interface CallRequest {
  /** The method's name. */
  readonly method: string;
  /** An array, an object, or none. */
  readonly params?: unknown;
  /** How it is made. */
  readonly options?: CallOptions | undefined;
  /** Whether it makes sense on the connection alone that it is made for. @default {false} */
  readonly connectionOnly?: boolean;
  /** Is given the result before anything that came after it is looked at. */
  readonly onResult?: ((result: unknown) => void) | undefined;
}

interface SentCall extends PendingCall {
  readonly onResult: ((result: unknown) => void) | undefined;
  readonly resolve: (result: unknown) => void;
  readonly reject: (reason: unknown) => void;
  readonly deadline: number;
  readonly stopListening: (() => void) | undefined;
}

/** The calls of one side that are under way. */
export class PendingCalls {
  readonly #calls = new Map<unknown, SentCall>();
  readonly #host: PendingCallsHost;
  #lastId = 0;
  // One timer for all calls, set for the earliest deadline: a timer per call would cost more than
  // the rest of the call on some runtimes.
  readonly #timer = new OneShotTimer();
  #timerAt = Infinity;

  /** @param host Whose calls these are. */
  constructor(host: PendingCallsHost) {
    this.#host = host;
  }

  /** How many calls wait. */
  get size(): number {
    return this.#calls.size;
  }

  /** Whether the call still waits. */
  awaits(id: unknown): boolean {
    return this.#calls.has(id);
  }

  /**
   * Makes a call.
   *
   * @param send Is given the text and the id, once, unless the call fails before.
   * @returns A promise of the result. It rejects with an {@linkcode RpcError} that the other side
   * answered, {@linkcode RpcTimeoutError}, the signal's reason, what {@linkcode fail} was given, or
   * what kept the call from being sent.
   */
  call(
    { method, params, options = {}, connectionOnly = false, onResult }: CallRequest,
    send: (text: string, id: number) => void,
  ): Promise<unknown> {
    const { signal, timeoutMs = this.#host.limits.timeoutMs } = options;
    return new Promise((resolve, reject) => {
      if (signal?.aborted) throw signal.reason;
      if (!(timeoutMs >= 0)) {
        throw new RangeError(`Expected \`timeoutMs\` to be a number from 0, got \`${timeoutMs}\``);
      }
      const id = ++this.#lastId;
      const text = outgoingText({ id, method, params }, this.#host.limits.maxMessageBytes);
      const deadline = timeoutMs === 0 ? Infinity : performance.now() + timeoutMs;
      const stopListening = signal && this.#listen(id, signal);
      const call = {
        method,
        text,
        options,
        connectionOnly,
        onResult,
        resolve,
        reject,
        deadline,
        stopListening,
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

  /** Matches an answer with its call. One that nobody waits for is dropped. */
  settle(message: Message): void {
    const { id, result, error } = message;
    if (id === null || id === undefined) return this.#host.unmatched?.(message);
    const waiting = this.#calls.get(id);
    if (waiting === undefined) return;
    if (!waiting.connectionOnly && mayRetry(error) && this.#host.refused?.(id as number, waiting)) {
      return;
    }
    const call = this.#take(id) as SentCall;
    if ((error === undefined || error === null) && result !== undefined) {
      call.onResult?.(result);
      call.resolve(result);
    } else if (error === undefined) {
      call.reject(malformed(call.method, "neither a result nor an error", message));
    } else if (result !== undefined && result !== null) {
      call.reject(malformed(call.method, "both a result and an error", message));
    } else {
      call.reject(toError(call.method, error));
    }
  }

  /** Hands a `$/progress` notification to the call it belongs to. */
  progress(params: unknown): void {
    const { token, value } = (params ?? {}) as { token?: unknown; value?: unknown };
    runSafely(() => this.#calls.get(token)?.options.onProgress?.(value), (error) => {
      this.#host.logger.error(`A call's onProgress failed: ${describeError(error)}`);
    });
  }

  /** Rejects one call. */
  fail(id: unknown, reason: unknown): void {
    this.#take(id)?.reject(reason);
  }

  /**
   * Rejects all calls that wait, each with a reason made for it.
   *
   * @param reasonFor Gives the reason, or `undefined` to let the call wait on.
   */
  failAll(reasonFor: (id: number, call: PendingCall) => unknown): void {
    for (const [id, call] of [...this.#calls]) {
      const reason = reasonFor(id as number, call);
      if (reason !== undefined) this.fail(id, reason);
    }
    if (this.#calls.size > 0) return;
    this.#timer.clear();
    this.#timerAt = Infinity;
  }

  #take(id: unknown): SentCall | undefined {
    const call = this.#calls.get(id);
    if (call === undefined) return undefined;
    this.#calls.delete(id);
    call.stopListening?.();
    return call;
  }

  #listen(id: number, signal: AbortSignal): () => void {
    const giveUp = () => this.#giveUp(id, signal.reason);
    signal.addEventListener("abort", giveUp, { once: true });
    return () => signal.removeEventListener("abort", giveUp);
  }

  #giveUp(id: number, reason: unknown): void {
    const call = this.#take(id);
    if (call === undefined) return;
    this.#host.cancel(id);
    call.reject(reason);
  }

  #setTimer(at: number): void {
    this.#timerAt = at;
    this.#timer.setUnref(at - performance.now(), () => this.#sweep());
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

/** The `error` member of an answer as the class that was thrown. */
export function toError(method: string, error: unknown): RpcError {
  const { code, message, data } = (error ?? {}) as Record<string, unknown>;
  if (!Number.isSafeInteger(code)) {
    return malformed(method, "an error without a code", error);
  }
  return errorFrom(code as number, typeof message === "string" ? message : "", data);
}

/** Whether an error promises that the call did not run, and asks for it again. */
export function mayRetry(error: unknown): boolean {
  const { code, data } = (error ?? {}) as { code?: unknown; data?: { retry?: unknown } | null };
  return code === ErrorCode.serverBusy && data?.retry === true;
}

function malformed(method: string, what: string, data: unknown): RpcError {
  return new RpcInternalError({ message: `The answer to "${method}" has ${what}`, data });
}
