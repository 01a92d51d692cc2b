/**
 * The answer to a batch of a server: what is ready counts as memory as long as other entries still run.
 *
 * @module
 */

import { REPLY } from "../core/internal.ts";
import type { IncomingRequest, ResponseSink } from "../core/request.ts";
import { ServerBatchResponse } from "../core/server_request.ts";
import { ErrorCode } from "../protocol/error_code.ts";
import { RpcError } from "../protocol/errors.ts";
import { errorText } from "../protocol/message.ts";
import type { MemoryBudget } from "./memory_budget.ts";

/** How a batch is answered. */
export interface CountedBatchOptions {
  /** The entries of the batch. */
  readonly entries: readonly unknown[];
  /** Bytes that the whole answer may have. */
  readonly maxBytes: number;
  /** Receives the whole answer, once. */
  readonly sink: ResponseSink;
  /** Counts the answers that wait. */
  readonly budget: MemoryBudget;
}

/**
 * Collects the answers to one batch, and counts them. One slow entry keeps the long answers of all others
 * waiting, and a short message can ask for many such batches.
 */
export class CountedBatch extends ServerBatchResponse {
  readonly #budget: MemoryBudget;
  readonly #maxBytes: number;
  readonly #held: { bytes: number };

  /** @param options The batch, its sink and what counts. */
  constructor({ entries, maxBytes, sink, budget }: CountedBatchOptions) {
    const held = { bytes: 0 };
    super(entries, maxBytes, {
      [REPLY](text, request, index) {
        budget.release(held.bytes);
        sink[REPLY](text, request, index);
      },
    });
    this.#budget = budget;
    this.#maxBytes = maxBytes;
    this.#held = held;
  }

  override [REPLY](
    text: string | undefined,
    request: IncomingRequest | undefined,
    index: number,
  ): void {
    if (text !== undefined) {
      if (text.length > SHORT && request?.id !== undefined && this.#budget.isFull) {
        text = errorText(request.id, FULL);
      }
      this.#count(BYTES_PER_CHARACTER * text.length);
    }
    reply.call(this, text, request, index);
  }

  #count(bytes: number): void {
    // What is over `maxMessageBytes` is not kept.
    const counted = Math.min(bytes, BYTES_PER_CHARACTER * this.#maxBytes - this.#held.bytes);
    if (counted <= 0) return;
    this.#held.bytes += counted;
    this.#budget.add(counted);
  }
}

// An error is no shorter than such an answer.
const SHORT = 200;
const BYTES_PER_CHARACTER = 2;
const FULL = new RpcError(
  ErrorCode.serverBusy,
  "Server busy: all peers together use too much memory (maxTotalBytes)",
);
const reply = ServerBatchResponse.prototype[REPLY];
