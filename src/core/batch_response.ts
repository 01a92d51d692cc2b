/**
 * The answer to one batch. The dispatcher checks before how many entries the batch has (`maxBatch`).
 *
 * @module
 */

import { BATCH_RESPONSE_TOO_LARGE } from "../protocol/codes.ts";
import { RpcError } from "../protocol/errors.ts";
import { errorText, idOf } from "../protocol/message.ts";
import { exceedsBytes } from "../util/utf8.ts";
import { REPLY } from "./internal.ts";
import type { IncomingRequest, ResponseSink } from "./request.ts";

/** Collects the answers to one batch and sends them as one message, in the order of the batch. */
export class BatchResponse implements ResponseSink {
  readonly #entries: readonly unknown[];
  readonly #texts: (string | undefined)[];
  readonly #maxBytes: number;
  readonly #sink: ResponseSink;
  /** How many entries are not answered yet. */
  declare protected left: number;
  #length = 0;

  /**
   * @param entries The entries of the batch.
   * @param maxBytes Bytes that the whole answer may have.
   * @param sink Receives the whole answer, once.
   */
  constructor(entries: readonly unknown[], maxBytes: number, sink: ResponseSink) {
    this.#entries = entries;
    this.#texts = new Array(entries.length);
    this.left = entries.length;
    this.#maxBytes = maxBytes;
    this.#sink = sink;
  }

  [REPLY](text: string | undefined, _request: IncomingRequest | undefined, index: number): void {
    if (text !== undefined) this.#length += text.length + 1;
    // Past the limit the answers will not be sent, so they are counted and not kept.
    if (this.#length <= this.#maxBytes) this.#texts[index] = text;
    if (--this.left === 0) this.#sink[REPLY](this.#text(), undefined, 0);
  }

  #text(): string | undefined {
    if (this.#length === 0) return undefined;
    if (this.#length <= this.#maxBytes) {
      const text = `[${this.#texts.filter((each) => each !== undefined).join(",")}]`;
      if (!exceedsBytes(text, this.#maxBytes)) return text;
    }
    const message = `Batch response is over ${this.#maxBytes} bytes (maxMessageBytes)`;
    return batchErrorText(BATCH_RESPONSE_TOO_LARGE, message, this.#entries);
  }
}

/**
 * Builds one error for a whole batch. Its data has the batch's first id, so that the caller knows which
 * of its batches was refused.
 *
 * @param code The error's code.
 * @param message The error's message.
 * @param entries The entries of the batch.
 * @returns The text of the answer.
 */
export function batchErrorText(code: number, message: string, entries: readonly unknown[]): string {
  const first = entries.map(idOf).find((id) => id !== null) ?? null;
  return errorText(null, new RpcError(code, message, { data: { firstId: first } }));
}
