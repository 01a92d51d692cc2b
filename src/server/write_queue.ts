/**
 * What a server sends to one peer, collected until the end of the turn of the event loop and then
 * written at once.
 *
 * @module
 */

import { bytesOf, textOf } from "../core/channel.ts";
import type { Channel, Outgoing } from "../core/channel.ts";

/** Texts that wait for the end of the turn. */
export class WriteQueue {
  // Left undefined while the queue is empty: most peers are idle.
  #messages: Outgoing[] | undefined;
  #length = 0;
  // How many of the texts were counted in bytes. Only `byteLength` needs that count, so only it pays.
  #counted = 0;
  #countedBytes = 0;

  /** Whether the queue is empty. */
  get isEmpty(): boolean {
    return this.#messages === undefined || this.#messages.length === 0;
  }

  /** Whether the queue holds so much that it should be written before the turn ends. */
  get isFull(): boolean {
    return this.#length > FLUSH_LENGTH;
  }

  /** Bytes in the queue. */
  get byteLength(): number {
    const messages = this.#messages ?? [];
    while (this.#counted < messages.length) {
      this.#countedBytes += bytesOf(messages[this.#counted++] as Outgoing);
    }
    return this.#countedBytes;
  }

  /** Adds a text. */
  push(message: Outgoing): void {
    // Characters, not bytes: counting bytes would cost each message, and the carrier's own count is
    // compared with `maxBufferedBytes` right after the flush.
    this.#length += textOf(message).length;
    (this.#messages ??= []).push(message);
  }

  /** Sends everything in the queue. */
  flush(channel: Channel): void {
    const messages = this.#messages;
    if (messages === undefined || messages.length === 0) return;
    this.#length = this.#counted = this.#countedBytes = 0;
    if (messages.length === 1) {
      const message = messages[0] as Outgoing;
      messages.length = 0;
      channel.send(message);
    } else {
      this.#messages = undefined;
      channel.sendAll?.(messages);
    }
  }
}

// Write a burst early, so that it does not pile up both here and in the carrier.
const FLUSH_LENGTH = 64 * 1024;
