/**
 * Two connections joined to one: what arrives on either is sent on the other. Neither side's texts are
 * read, so that a bridge fits any JSON-RPC.
 *
 * @module
 */

import type { Channel } from "../core/channel.ts";
import type { Transport, TransportContext } from "../core/transport.ts";
import { socketTransport } from "../core/web_socket_channel.ts";
import type { StandardSocket } from "../core/web_socket_channel.ts";
import { unref } from "../util/timer.ts";

export type { StandardSocket } from "../core/web_socket_channel.ts";
export type { Transport } from "../core/transport.ts";

/** Options of {@linkcode bridge}. */
export interface BridgeOptions {
  /** Bytes that one message may have. @default {16777216} */
  readonly maxMessageBytes?: number;
  /**
   * Bytes that may wait for a side that does not read, or that is not open yet. If more wait, the bridge
   * ends with 1013. Long before, it stops reading from the other side, if that is a stream of bytes; a
   * standard WebSocket cannot be told to wait.
   *
   * @default {67108864}
   */
  readonly maxBufferedBytes?: number;
}

/** How a bridge has ended. */
export interface BridgeEnd {
  /** The side whose connection ended first. */
  readonly side: "near" | "far";
  /** The close code of that connection. */
  readonly code: number;
  /** The reason of that connection. */
  readonly reason: string;
}

/**
 * Joins two connections until one of them ends; the other is then closed with the same code and reason.
 *
 * @param near The side that has something to say, such as standard input and output.
 * @param far The side that it talks to, such as a WebSocket.
 * @param options How much may wait.
 * @returns How the bridge has ended, once both connections have. Rejects if a side cannot be opened.
 * @throws {TypeError} If a side is HTTP POST, which cannot send by itself.
 *
 * @example Standard input and output, and a WebSocket
 * ```ts ignore
 * import { bridge } from "@x/jsonrpc/bridge";
 * import { byteStream } from "@x/jsonrpc/byte_stream";
 *
 * const stdio = byteStream({ readable: process.stdin, writable: process.stdout });
 * await bridge(stdio, new WebSocket("wss://example.com"));
 * ```
 */
export function bridge(
  near: Transport | StandardSocket,
  far: Transport | StandardSocket,
  options: BridgeOptions = {},
): Promise<BridgeEnd> {
  return join(toTransport(near), toTransport(far), options);
}

function toTransport(side: Transport | StandardSocket): Transport {
  return "open" in side ? side : socketTransport(side);
}

function join(near: Transport, far: Transport, options: BridgeOptions): Promise<BridgeEnd> {
  if (near.isConnectionless || far.isConnectionless) {
    throw new TypeError("Cannot bridge HTTP POST: a bridge needs a connection, such as a ws: URL");
  }
  return new Bridge(options).run(near, far);
}

class Bridge {
  readonly #maxMessageBytes: number;
  readonly #maxBufferedBytes: number;
  readonly #sides: Readonly<Record<BridgeEnd["side"], Side>> = {
    near: new Side(),
    far: new Side(),
  };
  readonly #aborted = new AbortController();
  readonly #ended = Promise.withResolvers<BridgeEnd>();
  #end: BridgeEnd | undefined;

  constructor({ maxMessageBytes = 16_777_216, maxBufferedBytes = 67_108_864 }: BridgeOptions) {
    this.#maxMessageBytes = maxMessageBytes;
    this.#maxBufferedBytes = maxBufferedBytes;
  }

  run(near: Transport, far: Transport): Promise<BridgeEnd> {
    this.#start("far", far);
    this.#start("near", near);
    return this.#ended.promise;
  }

  async #start(name: BridgeEnd["side"], transport: Transport): Promise<void> {
    try {
      await transport.open(this.#context(name));
    } catch (error) {
      this.#ended.reject(error);
      this.#close(1011, "The bridge failed");
    }
  }

  #context(name: BridgeEnd["side"]): TransportContext {
    const own = this.#sides[name];
    const other = this.#sides[name === "near" ? "far" : "near"];
    const closed = (code: number, reason: string): void => {
      own.isOpen = false;
      this.#closed({ side: name, code, reason }, other);
    };
    return {
      maxMessageBytes: this.#maxMessageBytes,
      signal: this.#aborted.signal,
      opened: (channel) => {
        own.open(channel);
        return {
          receive: (text) => {
            if (text !== undefined) this.#pass(text, own, other);
          },
          markAlive() {},
          closed,
        };
      },
      refused: closed,
    };
  }

  #pass(text: string, from: Side, to: Side): void {
    to.send(text);
    const { bufferedAmount } = to;
    if (bufferedAmount > this.#maxBufferedBytes) {
      this.#close(1013, "The other side reads too slowly");
    } else if (bufferedAmount > PAUSE_BYTES) from.pauseFor(to);
  }

  #closed(end: BridgeEnd, other: Side): void {
    const first = this.#end ??= end;
    this.#close(end.code, end.reason);
    // The other side may still write what it was sent; a server that does not answer a close may not hold this up.
    const finish = (): void => this.#ended.resolve(first);
    if (other.isOpen) unref(setTimeout(finish, CLOSE_MS));
    else finish();
  }

  #close(code: number, reason: string): void {
    this.#aborted.abort();
    for (const side of Object.values(this.#sides)) side.close(code, reason);
  }
}

/** One of the two connections. */
class Side {
  isOpen = false;
  // What it was sent before it was open.
  readonly #waiting: string[] = [];
  #waitingLength = 0;
  #channel: Channel | undefined;
  #isPaused = false;

  get bufferedAmount(): number {
    return this.#channel?.bufferedAmount ?? this.#waitingLength;
  }

  open(channel: Channel): void {
    this.isOpen = true;
    this.#channel = channel;
    for (const text of this.#waiting.splice(0)) channel.send(text);
  }

  send(text: string): void {
    if (this.#channel !== undefined) return this.#channel.send(text);
    this.#waiting.push(text);
    this.#waitingLength += text.length;
  }

  close(code: number, reason: string): void {
    this.#channel?.close(code, reason);
  }

  /** Reads no further until the other side has taken most of what waits, or has ended. */
  pauseFor(other: Side): void {
    if (this.#isPaused || this.#channel?.pause === undefined) return;
    this.#isPaused = true;
    this.#channel.pause();
    const timer = setInterval(() => {
      if (this.isOpen && other.bufferedAmount > PAUSE_BYTES / 2) return;
      clearInterval(timer);
      this.#isPaused = false;
      this.#channel?.resume?.();
    }, PAUSE_MS);
  }
}

// Unread bytes from which on the other side has to wait, and how often to look whether they were read.
const PAUSE_BYTES = 1024 * 1024;
const PAUSE_MS = 10;

const CLOSE_MS = 2000;
