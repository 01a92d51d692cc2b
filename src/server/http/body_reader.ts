/**
 * Reading the bodies of POSTs: within `maxMessageBytes`, within the memory budget, and in time.
 *
 * @module
 */

import type { Limits } from "../../protocol/limits.ts";
import { LATE_MS, unref } from "../../util/timer.ts";
import type { Timer } from "../../util/timer.ts";
import { exceedsBytes } from "../../util/utf8.ts";
import type { MemoryBudget, SlowPeer } from "../memory_budget.ts";

/** Why a body was not read to its end. */
export type BodyFailure = "too long" | "too slow" | "server full" | "closing";

/** What was read: the text, or why there is none. */
export type BodyResult = { readonly text: string } | { readonly failure: BodyFailure };

/** Reads the bodies of one server. */
export class BodyReader {
  readonly #limits: Limits;
  readonly #budget: MemoryBudget;
  readonly #readings = new Set<Reading>();
  // One timer for all bodies: most are there at once.
  #timer: Timer | undefined;
  #sweptAt = 0;
  // Whether the last sweep judged nobody.
  #skipped = false;

  /**
   * @param limits The limits that hold.
   * @param budget Counts the bytes that are kept.
   */
  constructor(limits: Limits, budget: MemoryBudget) {
    this.#limits = limits;
    this.#budget = budget;
  }

  /**
   * Reads the body of a request as text.
   *
   * @param request The request.
   * @returns The text, or why it was not read. Rejects if the client breaks off.
   */
  async read(request: Request): Promise<BodyResult> {
    const { maxMessageBytes } = this.#limits;
    const header = request.headers.get("content-length");
    const declared = header === null ? Infinity : Number(header);
    if (header !== null && declared > maxMessageBytes) return { failure: "too long" };
    // In one go: that is the fast way, and so short a body needs no other bound.
    const isShort = declared <= SHORT;
    if (!isShort && this.#budget.isFull) return { failure: "server full" };
    const reading = new Reading(isShort ? declared : 0);
    this.#readings.add(reading);
    if (this.#timer === undefined) {
      this.#sweptAt = performance.now();
      this.#timer = unref(setInterval(() => this.#sweep(), SWEEP_MS));
    }
    try {
      const reads = isShort ? request.text() : this.#readChunks(request, reading);
      return await Promise.race([reads.then((text) => this.#checked(text)), reading.failed]);
    } finally {
      this.#readings.delete(reading);
      this.#budget.note(reading, 0);
    }
  }

  /** Gives up all bodies that have not come to their end, because the server closes. */
  close(): void {
    for (const reading of this.#readings) reading.fail("closing");
  }

  #checked(text: string): BodyResult {
    return exceedsBytes(text, this.#limits.maxMessageBytes) ? { failure: "too long" } : { text };
  }

  /** Reads chunk by chunk. What it gives is not used if the reading has failed meanwhile. */
  async #readChunks({ body }: Request, reading: Reading): Promise<string> {
    if (body === null) return "";
    const reader = body.getReader();
    const decoder = new TextDecoder();
    try {
      for (;;) {
        const { done, value } = await reader.read();
        // Given up meanwhile: what it held is no longer counted, and nobody would take it back.
        if (!this.#readings.has(reading)) return "";
        if (done) return reading.text + decoder.decode();
        if (reading.received + value.byteLength > this.#limits.maxMessageBytes) {
          reading.fail("too long");
          return "";
        }
        reading.take(value.byteLength, decoder.decode(value, { stream: true }));
        this.#budget.note(reading, reading.bufferedAmount);
      }
    } finally {
      reader.releaseLock();
    }
  }

  #sweep(): void {
    const now = performance.now();
    const { bodyTimeoutMs } = this.#limits;
    // If the process was blocked, what came meanwhile is unread: it is read before the next sweep.
    const isLate = now - this.#sweptAt > SWEEP_MS + LATE_MS;
    this.#sweptAt = now;
    // A server that is always late must judge too.
    this.#skipped = isLate && !this.#skipped;
    if (this.#skipped) return;
    for (const reading of this.#readings) {
      const ms = now - reading.startedAt;
      const isSlow = ms > GRACE_MS && reading.received < ms / 1000 * LEAST_BYTES_PER_SECOND;
      if (isSlow || (bodyTimeoutMs > 0 && ms > bodyTimeoutMs)) reading.fail("too slow");
    }
    if (this.#readings.size > 0) return;
    clearInterval(this.#timer);
    this.#timer = undefined;
  }
}

/** One body that is being read. */
class Reading implements SlowPeer {
  readonly startedAt = performance.now();
  /** Resolves if the body is given up. */
  readonly failed: Promise<BodyResult>;
  // Not in the function that reads: while that waits for the next chunk, it would keep a body that was dropped.
  #text = "";
  #received: number;
  #chunks = 0;
  #fail!: (result: BodyResult) => void;

  /** @param received How many bytes count as received: all, if nothing tells when they come. */
  constructor(received: number) {
    this.#received = received;
    this.failed = new Promise((resolve) => this.#fail = resolve);
  }

  /** What has come so far. */
  get text(): string {
    return this.#text;
  }

  /** Bytes that have come so far. */
  get received(): number {
    return this.#received;
  }

  get bufferedAmount(): number {
    return this.#received + CHUNK_COST * this.#chunks;
  }

  /** Adds a chunk. */
  take(bytes: number, text: string): void {
    this.#received += bytes;
    this.#chunks++;
    this.#text += text;
  }

  /** Gives the body up. */
  fail(failure: BodyFailure): void {
    this.#text = "";
    this.#fail({ failure });
  }

  drop(): boolean {
    this.fail("server full");
    return true;
  }
}

const SHORT = 16 * 1024;
// A body that comes byte by byte costs much more than its bytes.
const CHUNK_COST = 64;
const SWEEP_MS = 1000;
// After this time a body has to come at the least rate.
const GRACE_MS = 10_000;
const LEAST_BYTES_PER_SECOND = 1024;
