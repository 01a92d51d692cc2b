/**
 * The bodies of answers to POSTs and GETs. A long answer is given to the runtime piece by piece, as its
 * caller reads, and counts in the memory budget until the last piece is taken. A runtime that has the
 * whole text tells nobody how much of it is still unread.
 *
 * @module
 */

import { ErrorCode } from "../../protocol/error_code.ts";
import type { MemoryBudget, SlowPeer } from "../memory_budget.ts";

/** Body and headers of an answer. */
export interface AnswerBody {
  /** What a `Response` takes. */
  readonly body: string | ReadableStream<Uint8Array<ArrayBuffer>>;
  /** The headers that belong to it. */
  readonly headers: Readonly<Record<string, string>>;
}

/**
 * Makes the body of an answer.
 *
 * @param text The answer.
 * @param budget Counts what callers leave unread.
 * @returns The body: the text itself if it is short, since the network takes that at once.
 */
export function answerBody(text: string, budget: MemoryBudget | undefined): AnswerBody {
  if (text.length < LONG || budget === undefined) return { body: text, headers: JSON_TYPE };
  const bytes = new TextEncoder().encode(text);
  // Without the length most runtimes would send chunks, which clients of HTTP/1.0 cannot read.
  const headers = { ...JSON_TYPE, "content-length": `${bytes.length}` };
  // Nothing is made ahead: a piece is asked for once the one before is on its way.
  return {
    body: new ReadableStream(new UnreadAnswer(bytes, budget), { highWaterMark: 0 }),
    headers,
  };
}

/**
 * Makes the response for an answer: 429 if a rate limit has refused the one call of the request, else 200.
 *
 * @param text The answer.
 * @param Class What the response is made of.
 * @param budget Counts what callers leave unread.
 */
export function responseTo(
  text: string,
  Class: typeof Response,
  budget: MemoryBudget | undefined,
): Response {
  const { body, headers } = answerBody(text, budget);
  if (!text.startsWith(LIMITED)) return new Class(body, { headers });
  const { error: { data } } = JSON.parse(text) as { error: { data?: { retryAfterMs?: unknown } } };
  const seconds = Math.ceil(Number(data?.retryAfterMs ?? 0) / 1000);
  return new Class(body, { status: 429, headers: { ...headers, "retry-after": `${seconds}` } });
}

/** An answer whose caller has not read all of it. */
class UnreadAnswer implements SlowPeer, UnderlyingDefaultSource<Uint8Array<ArrayBuffer>> {
  readonly #budget: MemoryBudget;
  #bytes: Uint8Array<ArrayBuffer>;
  #sent = 0;
  #controller!: ReadableStreamDefaultController<Uint8Array<ArrayBuffer>>;

  constructor(bytes: Uint8Array<ArrayBuffer>, budget: MemoryBudget) {
    this.#bytes = bytes;
    this.#budget = budget;
  }

  /** All of it, until it is read to its end: the pieces share its memory. */
  get bufferedAmount(): number {
    return this.#bytes.length;
  }

  start(controller: ReadableStreamDefaultController<Uint8Array<ArrayBuffer>>): void {
    this.#controller = controller;
  }

  pull(): void {
    // Not before the first piece is asked for: a response that is thrown away unread is never asked.
    if (this.#sent === 0) this.#budget.note(this, this.#bytes.length);
    // The budget may have dropped this answer just now.
    if (this.#bytes.length === 0) return;
    const piece = this.#bytes.subarray(this.#sent, this.#sent + PIECE);
    this.#sent += piece.length;
    this.#controller.enqueue(piece);
    if (this.#sent < this.#bytes.length) return;
    this.#controller.close();
    this.#release();
  }

  cancel(): void {
    this.#release();
  }

  drop(): boolean {
    this.#release();
    this.#controller.error(unreadError("maxTotalBytes"));
    return true;
  }

  #release(): void {
    this.#bytes = NOTHING;
    this.#budget.note(this, 0);
  }
}

/**
 * Makes the error with which an answer ends that its caller does not read.
 *
 * @param why The limit that it passed, or that its server closes.
 */
export function unreadError(why: "maxTotalBytes" | "maxBufferedBytes" | "closing"): Error {
  const error = new Error(`Dropped an answer that its caller does not read (${why})`);
  // Runtimes print it. Where it was made tells nothing.
  delete error.stack;
  return error;
}

const JSON_TYPE = { "content-type": "application/json" };
// The network takes what is shorter at once.
const LONG = 64 * 1024;
const PIECE = 64 * 1024;
const NOTHING = new Uint8Array(0);

// How every answer with that error begins, see `errorText`.
const LIMITED = `{"jsonrpc":"2.0","error":{"code":${ErrorCode.limitExceeded},`;
