/**
 * Calls that wait for their answer. Every one of them settles: by its answer, by timeout, by abort,
 * or with the connection.
 *
 * @module
 */

import { errorFrom, RpcInternalError, RpcTimeoutError } from "./errors.ts";
import type { RpcError } from "./errors.ts";
import type { Message } from "./protocol.ts";
import { quiet } from "./timer.ts";
import type { Timer } from "./timer.ts";

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
}

interface Call {
  readonly method: string;
  readonly resolve: (result: unknown) => void;
  readonly reject: (reason: unknown) => void;
  readonly deadline: number;
  readonly options: CallOptions;
  stopListening: (() => void) | undefined;
}

/** The calls of one side that are under way. */
export class Pending {
  readonly #calls = new Map<unknown, Call>();
  readonly #timeoutMs: number;
  readonly #onCancel: (id: number) => void;
  #lastId = 0;
  // One timer for all calls, set for the earliest deadline: a timer per call would cost more than
  // the rest of the call on some runtimes.
  #timer: Timer | undefined;
  #alarmAt = Infinity;

  /**
   * @param timeoutMs What holds for calls that do not say.
   * @param onCancel Called with the id of a call that was given up by timeout or abort.
   */
  constructor(timeoutMs: number, onCancel: (id: number) => void) {
    this.#timeoutMs = timeoutMs;
    this.#onCancel = onCancel;
  }

  /** How many calls wait. */
  get size(): number {
    return this.#calls.size;
  }

  /** A number that no other call of this side has or had. */
  nextId(): number {
    return ++this.#lastId;
  }

  /** Whether the call still waits. */
  has(id: unknown): boolean {
    return this.#calls.has(id);
  }

  /**
   * Lets a call wait for its answer.
   *
   * @returns A promise of the result. It rejects with an {@linkcode RpcError} that the other side
   * answered, {@linkcode RpcTimeoutError}, the signal's reason, or what {@linkcode fail} was given.
   */
  wait(id: number, method: string, options: CallOptions): Promise<unknown> {
    const timeoutMs = options.timeoutMs ?? this.#timeoutMs;
    if (!(timeoutMs >= 0)) {
      const message = `Expected \`timeoutMs\` to be a number from 0, got \`${timeoutMs}\``;
      return Promise.reject(new RangeError(message));
    }
    return new Promise((resolve, reject) => {
      const deadline = timeoutMs === 0 ? Infinity : performance.now() + timeoutMs;
      const call: Call = { method, resolve, reject, deadline, options, stopListening: undefined };
      this.#calls.set(id, call);
      if (options.signal !== undefined) this.#listen(id, call, options.signal);
      if (deadline < this.#alarmAt) this.#setAlarm(deadline);
    });
  }

  /** Matches an answer with its call. One that nobody waits for is dropped. */
  settle(message: Message): void {
    const call = this.#take(message.id);
    if (call === undefined) return;
    const { result, error } = message;
    if (error === undefined && result === undefined) {
      call.reject(malformed(call.method, "neither a result nor an error", message));
    } else if (error === undefined || (error === null && result !== undefined)) {
      call.resolve(result);
    } else if (result !== undefined && result !== null) {
      call.reject(malformed(call.method, "both a result and an error", message));
    } else {
      call.reject(toError(call.method, error));
    }
  }

  /** Hands a `$/progress` notification to the call it belongs to. */
  progress(params: unknown): void {
    const { token, value } = (params ?? {}) as { token?: unknown; value?: unknown };
    this.#calls.get(token)?.options.onProgress?.(value);
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
  failAll(reasonFor: (id: number, method: string) => unknown): void {
    for (const [id, call] of [...this.#calls]) {
      const reason = reasonFor(id as number, call.method);
      if (reason !== undefined) this.fail(id, reason);
    }
    if (this.#calls.size === 0) this.#clearAlarm();
  }

  #take(id: unknown): Call | undefined {
    const call = this.#calls.get(id);
    if (call === undefined) return undefined;
    this.#calls.delete(id);
    call.stopListening?.();
    return call;
  }

  #listen(id: number, call: Call, signal: AbortSignal): void {
    const giveUp = () => this.#giveUp(id, signal.reason);
    signal.addEventListener("abort", giveUp, { once: true });
    call.stopListening = () => signal.removeEventListener("abort", giveUp);
  }

  #giveUp(id: number, reason: unknown): void {
    const call = this.#take(id);
    if (call === undefined) return;
    this.#onCancel(id);
    call.reject(reason);
  }

  #setAlarm(at: number): void {
    this.#clearAlarm();
    this.#alarmAt = at;
    const delay = Math.min(Math.max(0, at - performance.now()), LONGEST_DELAY);
    this.#timer = quiet(setTimeout(() => this.#sweep(), Math.ceil(delay)));
  }

  #clearAlarm(): void {
    clearTimeout(this.#timer);
    this.#alarmAt = Infinity;
  }

  #sweep(): void {
    this.#alarmAt = Infinity;
    const now = performance.now();
    let earliest = Infinity;
    for (const [id, { deadline, method }] of this.#calls) {
      if (deadline > now) earliest = Math.min(earliest, deadline);
      else this.#giveUp(id as number, new RpcTimeoutError(`Call of "${method}" timed out`));
    }
    if (earliest < Infinity) this.#setAlarm(earliest);
  }
}

// What setTimeout can take: a longer one would fire at once.
const LONGEST_DELAY = 2 ** 31 - 1;

/** The `error` member of an answer as the class that was thrown. */
export function toError(method: string, error: unknown): RpcError {
  const { code, message, data } = (error ?? {}) as Record<string, unknown>;
  if (!Number.isSafeInteger(code)) {
    return malformed(method, "an error without a code", error);
  }
  return errorFrom(code as number, typeof message === "string" ? message : "", data);
}

function malformed(method: string, what: string, data: unknown): RpcError {
  return new RpcInternalError({ message: `The answer to "${method}" has ${what}`, data });
}
