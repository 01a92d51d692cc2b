/**
 * An answer to a POST as server-sent events: what its handler reports first, then the answer itself.
 *
 * @see {@link https://html.spec.whatwg.org/multipage/server-sent-events.html}
 *
 * @module
 */

import type { MemoryBudget, SlowPeer } from "../memory_budget.ts";
import { MAX_TIMER_MS, unref } from "../../util/timer.ts";
import type { Timer } from "../../util/timer.ts";
import { unreadError } from "./answer_body.ts";

/** What an answer as events needs. */
export interface AnswerStreamOptions {
  /** Counts what the caller leaves unread. */
  readonly budget: MemoryBudget | undefined;
  /** Bytes that may be unread. */
  readonly maxBufferedBytes: number;
  /** Milliseconds between signs of life; 0: none. */
  readonly heartbeatMs: number;
  /** Called if the caller leaves, or reads too slowly, before the end. */
  readonly gone: () => void;
}

/** The events of one answer. */
export class AnswerStream implements SlowPeer {
  /** The body of the response. */
  readonly body: ReadableStream<Uint8Array<ArrayBuffer>>;
  /** Resolves when the caller has read all of it, or is gone. */
  readonly ended: Promise<void>;
  readonly #options: AnswerStreamOptions;
  readonly #timer: Timer | undefined;
  #controller!: ReadableStreamDefaultController<Uint8Array<ArrayBuffer>>;
  #queue: Uint8Array<ArrayBuffer>[] = [];
  #queuedBytes = 0;
  #whenWritten: (() => void) | undefined;
  #isComplete = false;
  #isOver = false;
  #resolveEnded!: () => void;

  /** @param options What it needs. */
  constructor(options: AnswerStreamOptions) {
    this.#options = options;
    this.ended = new Promise((resolve) => this.#resolveEnded = resolve);
    this.body = new ReadableStream<Uint8Array<ArrayBuffer>>({
      start: (controller) => void (this.#controller = controller),
      pull: () => this.#pull(),
      cancel: () => this.#leave(),
    }, { highWaterMark: 0 });
    const { heartbeatMs } = options;
    if (heartbeatMs > 0 && heartbeatMs < MAX_TIMER_MS) {
      this.#timer = unref(setInterval(() => this.#write(":\n\n"), heartbeatMs));
    }
  }

  get bufferedAmount(): number {
    return this.#queuedBytes;
  }

  /** Sends a message as an event. */
  send(message: string): void {
    this.#write(toEvent(message));
    if (this.#queuedBytes > this.#options.maxBufferedBytes) this.#fail("maxBufferedBytes");
  }

  /**
   * Ends the stream after what was sent.
   *
   * @param answer The last message. Its length alone does not make a caller slow.
   */
  end(answer?: string): void {
    if (answer !== undefined) this.#write(toEvent(answer));
    this.#isComplete = true;
    clearInterval(this.#timer);
    this.#whenWritten?.();
  }

  drop(): boolean {
    return this.#fail("maxTotalBytes");
  }

  /** Ends the stream although its caller has not read it, because the server closes. */
  cut(): void {
    this.#fail("closing");
  }

  #fail(why: Parameters<typeof unreadError>[0]): boolean {
    if (this.#isOver) return false;
    this.#controller.error(unreadError(why));
    this.#leave();
    return true;
  }

  #write(text: string): void {
    if (this.#isOver || this.#isComplete) return;
    const bytes = encoder.encode(text);
    this.#queue.push(bytes);
    this.#count(bytes.length);
    this.#whenWritten?.();
  }

  #count(bytes: number): void {
    this.#queuedBytes += bytes;
    this.#options.budget?.note(this, this.#queuedBytes);
  }

  /** Gives the caller more at once, or as soon as there is more. */
  #pull(): Promise<void> | void {
    if (this.#queue.length > 0 || this.#isComplete) return this.#give();
    return new Promise<void>((resolve) => this.#whenWritten = resolve).then(() => {
      this.#whenWritten = undefined;
      if (!this.#isOver) this.#give();
    });
  }

  #give(): void {
    const bytes = this.#queue.shift();
    if (bytes !== undefined) {
      this.#count(-bytes.length);
      this.#controller.enqueue(bytes);
    }
    if (!this.#isComplete || this.#queue.length > 0) return;
    this.#controller.close();
    this.#finish();
  }

  #leave(): void {
    if (this.#isOver) return;
    const isComplete = this.#isComplete;
    this.#finish();
    if (!isComplete) this.#options.gone();
  }

  #finish(): void {
    this.#isOver = true;
    clearInterval(this.#timer);
    this.#queue = [];
    this.#count(-this.#queuedBytes);
    this.#whenWritten?.();
    this.#resolveEnded();
  }
}

function toEvent(message: string): string {
  const lines = message.split(/\r\n|\r|\n/).map((line) => `data: ${line}\n`).join("");
  return `event: message\n${lines}\n`;
}

/** The headers of such an answer. */
export const EVENT_HEADERS: Readonly<Record<string, string>> = {
  "content-type": "text/event-stream",
  "cache-control": "no-store",
  // Without this nginx buffers events.
  "x-accel-buffering": "no",
};
const encoder = new TextEncoder();
