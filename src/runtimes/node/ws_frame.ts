/**
 * Text frames as a server sends them: whole, unmasked, without extensions.
 *
 * `ws` frames and writes one message at a time. Joining all messages that a socket gets in one turn into
 * one buffer costs a third of that, and a frame for many sockets is made only once.
 *
 * @see {@link https://www.rfc-editor.org/rfc/rfc6455#section-5.2 | RFC 6455, section 5.2}
 *
 * @module
 */

import { Buffer } from "node:buffer";
import type { Outgoing, SharedText } from "../../core/channel.ts";

/** The frame of a text for many sockets. It is made once, and must not be written to. */
export function sharedFrame(message: SharedText): Buffer {
  return (message.frame ??= joinFrames([message.text])) as Buffer;
}

/**
 * Joins frames for one socket after the other. Sockets that get the same messages share one buffer, which
 * must not be written to.
 */
export class FrameJoiner {
  #messages: readonly Outgoing[] = [];
  #joined: Buffer | undefined;

  /** The frames of several messages, in order, as one buffer. */
  join(messages: readonly Outgoing[]): Buffer {
    if (this.#joined !== undefined && isSame(messages, this.#messages)) return this.#joined;
    this.#messages = messages;
    return this.#joined = joinFrames(messages);
  }

  /** Forgets the buffer that was made last. */
  clear(): void {
    this.#messages = [];
    this.#joined = undefined;
  }
}

/** The frames of several messages, in order, as one buffer. */
export function joinFrames(messages: readonly Outgoing[]): Buffer {
  const sizes = messages.map(frameSize);
  const buffer = Buffer.allocUnsafe(sizes.reduce((sum, size) => sum + size, 0));
  let at = 0;
  for (let index = 0; index < messages.length; index++) {
    const message = messages[index] as Outgoing;
    const end = at + (sizes[index] as number);
    if (typeof message === "string") putFrame(buffer.subarray(at, end), message);
    else sharedFrame(message).copy(buffer, at);
    at = end;
  }
  return buffer;
}

const TEXT = 0x81; // the last (and only) fragment of a text message

function isSame(some: readonly Outgoing[], others: readonly Outgoing[]): boolean {
  if (some.length !== others.length) return false;
  for (let index = 0; index < some.length; index++) if (some[index] !== others[index]) return false;
  return true;
}

function frameSize(message: Outgoing): number {
  if (typeof message !== "string") return sharedFrame(message).length;
  const size = Buffer.byteLength(message);
  return size + (size < 126 ? 2 : size < 65_536 ? 4 : 10);
}

function putFrame(frame: Buffer, text: string): void {
  const start = putHeader(frame);
  const size = frame.length - start;
  // If each character is one byte, there is nothing to encode.
  frame.write(text, start, size, size === text.length ? "latin1" : "utf8");
}

/** Writes the header of a frame of this size, and gives the index at which the payload begins. */
function putHeader(frame: Buffer): number {
  frame[0] = TEXT;
  if (frame.length < 126 + 2) {
    frame[1] = frame.length - 2;
    return 2;
  }
  if (frame.length < 65_536 + 4) {
    frame[1] = 126;
    frame.writeUInt16BE(frame.length - 4, 2);
    return 4;
  }
  frame[1] = 127;
  frame.writeBigUInt64BE(BigInt(frame.length - 10), 2);
  return 10;
}
