/**
 * Message → method → answer on a server: what a stranger may ask for is bounded, as are the time and
 * the answers that are given.
 *
 * @module
 */

import { ErrorCode, RpcError } from "./errors.ts";
import { exceedsBytes } from "./limits.ts";
import { checkShape, errorText, idOf, isResponse } from "./protocol.ts";
import type { Outlet, RpcRequest } from "./request.ts";
import { Batch, Responder } from "./responder.ts";
import type { Method } from "./responder.ts";
import type { Timer } from "./timer.ts";

/** Runs the messages of one client. */
export class Dispatcher extends Responder {
  // Counts cancelled calls too, until their handler has really ended.
  #inFlight = 0;
  // Only calls of methods that have a time are in here.
  #timers: Map<RpcRequest, Timer> | undefined;

  /** How many calls wait for their handler. */
  get inFlight(): number {
    return this.#inFlight;
  }

  protected override gather(entries: readonly unknown[], outlet: Outlet): Outlet | undefined {
    const { maxBatch, maxMessageBytes } = this.host.limits;
    // Answers to a batch of our own may be as many as we asked for.
    if (entries.length <= maxBatch || entries.every(isResponse)) {
      return new BoundedBatch(entries, maxMessageBytes, outlet);
    }
    const message = `Batch of ${entries.length} is over ${maxBatch} (maxBatch)`;
    outlet.reply(batchErrorText(ErrorCode.batchTooLarge, message, entries), undefined, 0);
    return undefined;
  }

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
    return super.refusal(request, method) ?? this.#busy(request);
  }

  protected override wait(
    request: RpcRequest,
    result: PromiseLike<unknown>,
    method: Method,
  ): void {
    this.#inFlight++;
    super.wait(request, result, method);
    if (!method.timeoutMs) return;
    const timer = setTimeout(() => this.giveUp(request, TIMED_OUT), method.timeoutMs);
    (this.#timers ??= new Map()).set(request, timer);
  }

  protected override finished(request: RpcRequest): boolean {
    this.#inFlight--;
    if (this.#timers !== undefined) {
      clearTimeout(this.#timers.get(request));
      this.#timers.delete(request);
    }
    return super.finished(request);
  }

  #busy({ id, method }: RpcRequest): RpcError | undefined {
    const { limits: { maxInFlight }, logger } = this.host;
    if (this.#inFlight < maxInFlight) return undefined;
    const message =
      `Server busy: ${maxInFlight} calls of this connection are in flight (maxInFlight)`;
    if (id === undefined) logger.debug(`Notification "${method}" dropped: ${message}`);
    return new RpcError(ErrorCode.serverBusy, message);
  }
}

/** Gathers the answers of one batch, as far as they may be sent. */
class BoundedBatch extends Batch {
  readonly #entries: readonly unknown[];
  readonly #maxBytes: number;
  #length = 0;

  constructor(entries: readonly unknown[], maxBytes: number, outlet: Outlet) {
    super(entries, outlet);
    this.#entries = entries;
    this.#maxBytes = maxBytes;
  }

  override reply(text: string | undefined, request: RpcRequest | undefined, index: number): void {
    if (text !== undefined) this.#length += text.length + 1;
    // Past the limit the answers are only counted: they will not be sent.
    super.reply(this.#length <= this.#maxBytes ? text : undefined, request, index);
  }

  protected override text(): string | undefined {
    if (this.#length <= this.#maxBytes) {
      const text = super.text();
      if (text === undefined || !exceedsBytes(text, this.#maxBytes)) return text;
    }
    const message = `The batch's answer is over ${this.#maxBytes} bytes (maxMessageBytes)`;
    return batchErrorText(ErrorCode.batchResponseTooLarge, message, this.#entries);
  }
}

const TIMED_OUT = new RpcError(ErrorCode.requestTimeout, "Request timed out");

/** One error for a whole batch. Its data tells by the first id which batch of the caller's it was. */
function batchErrorText(code: number, message: string, entries: readonly unknown[]): string {
  const first = entries.map(idOf).find((id) => id !== null) ?? null;
  return errorText(null, new RpcError(code, message, { data: { firstId: first } }));
}
