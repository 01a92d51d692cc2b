/**
 * Messages of one peer that wait for a later turn of the event loop.
 *
 * @module
 */

import type { Channel } from "../core/channel.ts";
import type { SessionLimits } from "../protocol/limits.ts";
import type { MemoryBudget } from "./memory_budget.ts";
import { TurnAllowance } from "./turn_allowance.ts";
import { unitsOf } from "./turn_pacer.ts";
import type { PacedQueue, TurnPacer } from "./turn_pacer.ts";

/** The peer whose messages wait. */
export interface QueuedPeer {
  /** Whether its messages are still to be handled. */
  readonly isOpen: boolean;
  /** Handles a message. Does not throw. */
  handle(text: string | undefined): void;
  /** Called when nothing waits any more, and the carrier is read. */
  drained(): void;
}

/** What a queue needs beside its peer. */
export interface IncomingQueueHost {
  /** The limits of the peer. */
  readonly limits: SessionLimits;
  /** Counts the messages. */
  readonly budget?: MemoryBudget | undefined;
  /** Says when they are handled. */
  readonly pacer: TurnPacer;
}

/** The messages, in order. It is made when the first one would have to wait. */
export class IncomingQueue implements PacedQueue {
  /** See {@linkcode PacedQueue.taken}. */
  taken = 0;
  readonly #peer: QueuedPeer;
  readonly #channel: Channel;
  readonly #host: IncomingQueueHost;
  // Those before the index were handled.
  #messages: (string | undefined)[] = [];
  #first = 0;
  #length = 0;
  // For messages that do not have to wait although a turn is spent.
  readonly #allowance = new TurnAllowance(LEAST);
  #isPaused = false;
  // Whether it is long answers that the messages wait for.
  readonly #isForLong: boolean;

  /**
   * @param peer The peer.
   * @param channel What its messages come from.
   * @param host What the queue needs beside them.
   */
  constructor(peer: QueuedPeer, channel: Channel, host: IncomingQueueHost) {
    this.#peer = peer;
    this.#channel = channel;
    this.#host = host;
    this.#isForLong = host.pacer.isFull;
    host.pacer.enter(this);
  }

  /**
   * Takes a message.
   *
   * @param text The message, or `undefined` for a binary frame.
   * @returns `false` if it is to be handled at once: those before it were handled.
   */
  take(text: string | undefined): boolean {
    const { pacer } = this.#host;
    const length = text?.length ?? 0;
    // What a peer sends after the server has closed the connection is not kept, but it takes time too.
    if (!this.#peer.isOpen) {
      pacer.admit(length);
      this.taken += unitsOf(length);
      this.#pause();
      return true;
    }
    if (this.#isEmpty && !this.#isPaused && !pacer.isFull && this.#allowance.pass(pacer.turn)) {
      pacer.admit(length);
      return false;
    }
    if (!this.#hasRoom(length)) {
      // In order: what has waited goes first.
      while (!this.#isEmpty) this.#handleNext();
      return false;
    }
    this.taken += unitsOf(length);
    this.#messages.push(text);
    this.#length += length;
    this.#host.budget?.add(bytesOf(text));
    if (this.#length > PAUSE_LENGTH || this.#messages.length - this.#first > PAUSE_COUNT) {
      this.#pause();
    }
    return true;
  }

  /** See {@linkcode PacedQueue.resume}. */
  resume(): void {
    const { pacer } = this.#host;
    try {
      for (let left = SLICE; left > 0 && !this.#isEmpty && this.#peer.isOpen; left--) {
        if (!pacer.admit(this.#messages[this.#first]?.length ?? 0)) break;
        this.#handleNext();
      }
    } finally {
      // Whatever a logger or a carrier throws: the rest is still handled.
      if (!this.#peer.isOpen) this.#clear();
      if (!this.#isEmpty) pacer.wait(this);
      else if (this.#isPaused) pacer.waitToRead(this);
      else this.#peer.drained();
    }
  }

  /** See {@linkcode PacedQueue.read}. */
  read(): void {
    // A carrier may deliver some more after it was paused.
    if (!this.#isEmpty) return this.#host.pacer.wait(this);
    this.#unpause();
    this.#peer.drained();
    this.#channel.resume?.();
  }

  /**
   * Notes that no more will come. What waits is still handled by turns, and `drained` is called after that.
   *
   * @param reads Whether the peer still reads answers. If not, long ones are not made for it.
   * @returns Whether anything waits. If not, nobody needs the queue any more.
   */
  end(reads: boolean): boolean {
    this.#unpause();
    if (!this.#peer.isOpen || (this.#isForLong && !reads)) this.#clear();
    if (this.#isEmpty) this.#host.pacer.delete(this);
    return !this.#isEmpty;
  }

  /** Drops all messages. */
  #clear(): void {
    while (!this.#isEmpty) this.#shift();
  }

  get #isEmpty(): boolean {
    return this.#first === this.#messages.length;
  }

  /** Whether a message may wait. A carrier that was paused delivers no more than it has read already. */
  #hasRoom(length: number): boolean {
    const { budget, limits: { maxInFlight, maxMessageBytes } } = this.#host;
    if (budget?.isFull) return false;
    return this.#isPaused || (this.#messages.length - this.#first < maxInFlight &&
      this.#length + length <= maxMessageBytes);
  }

  #pause(): void {
    if (this.#isPaused || this.#channel.pause === undefined) return;
    this.#isPaused = true;
    this.#host.pacer.paused++;
    this.#channel.pause();
  }

  #unpause(): void {
    if (this.#isPaused) this.#host.pacer.paused--;
    this.#isPaused = false;
  }

  #handleNext(): void {
    this.#peer.handle(this.#shift());
  }

  #shift(): string | undefined {
    const text = this.#messages[this.#first];
    this.#messages[this.#first++] = undefined;
    this.#length -= text?.length ?? 0;
    this.#host.budget?.release(bytesOf(text));
    if (this.#isEmpty) {
      this.#messages = [];
      this.#first = 0;
    }
    return text;
  }
}

function bytesOf(text: string | undefined): number {
  return ENTRY_BYTES + BYTES_PER_CHARACTER * (text?.length ?? 0);
}

const ENTRY_BYTES = 64;
const BYTES_PER_CHARACTER = 2;
// How many messages of a peer are handled in a turn that is spent already, unless others of it wait.
const LEAST = 4;
// How many messages of a peer are handled before the next peer's.
const SLICE = 32;
// What may wait until a peer is not read any more. Pausing for less would cost more than it saves.
const PAUSE_COUNT = 16;
const PAUSE_LENGTH = 16 * 1024;
