/**
 * Two connections joined to one: what arrives on either is sent on the other, as it is, so that a bridge fits
 * any JSON-RPC. The near side gets JSON only, since it may be a program that stops at anything else. Of a side
 * that can end its input and still read, it counts the calls that are not answered.
 *
 * @module
 */

import type { Channel } from "../core/channel.ts";
import type { Transport, TransportContext } from "../core/transport.ts";
import { socketTransport } from "../core/web_socket_channel.ts";
import type { StandardSocket } from "../core/web_socket_channel.ts";
import { quoted } from "../protocol/errors.ts";
import { checkMs } from "../util/check_option.ts";
import { LogLimit } from "../util/log_limit.ts";
import type { Logger } from "../util/logger.ts";
import { OneShotTimer, unref } from "../util/timer.ts";
import { exceedsBytes } from "../util/utf8.ts";
import { endedSocket } from "./ended_socket.ts";
import { messagesIn, OpenCalls } from "./open_calls.ts";

export type { StandardSocket } from "../core/web_socket_channel.ts";
export type { Transport } from "../core/transport.ts";

/** Options of {@linkcode bridge}. */
export interface BridgeOptions {
  /** Bytes that one message may have. A longer one ends the bridge with 1009. @default {16777216} */
  readonly maxMessageBytes?: number;
  /**
   * Bytes that may wait for a side that does not read, or that is not open yet. If more wait, the bridge
   * ends with 1013. Long before, it stops reading from the other side, if that is a stream of bytes; a
   * standard WebSocket cannot be told to wait.
   *
   * @default {67108864}
   */
  readonly maxBufferedBytes?: number;
  /**
   * Milliseconds that a side may take to open. If it takes longer, the bridge ends with 4408.
   *
   * @default {30000}
   */
  readonly connectMs?: number;
  /** Where texts that are no JSON, and are not passed on, are logged. @default {console} */
  readonly logger?: Pick<Logger, "warn">;
  /**
   * Milliseconds that the calls of a side have to be answered once that side has ended its input, as
   * `echo '…' | program` does. Until then the bridge stays open; afterwards it ends with 4408. Only a stream of
   * bytes can end its input and still read. When the other side has ended, it has as long to read what waits for it,
   * counted from the last time that it has read something.
   *
   * @default {30000}
   */
  readonly lastAnswersMs?: number;
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
 * Joins two connections until one of them ends; the other is then closed with the same code and reason. A side
 * that only ends its input is first given the answers to its calls. What the far side sends that is no JSON object or
 * array is not passed on, and logged.
 *
 * @param near The side that has something to say, such as standard input and output.
 * @param far The side that it talks to, such as a WebSocket.
 * @param options How much may wait.
 * @returns How the bridge has ended, once both connections have. Rejects if a side cannot be opened.
 * @throws {TypeError} If a side is HTTP POST, which cannot send by itself.
 * @throws {RangeError} If `connectMs` or `lastAnswersMs` is not a number from 0.
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
  return "open" in side ? side : socketTransport(endedSocket(side));
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
  readonly #lastAnswersMs: number;
  readonly #connectMs: number;
  readonly #logger: Pick<Logger, "warn">;
  readonly #log = new LogLimit();
  readonly #sides: Readonly<Record<BridgeEnd["side"], Side>> = {
    near: new Side(),
    far: new Side(),
  };
  readonly #aborted = new AbortController();
  readonly #ended = Promise.withResolvers<BridgeEnd>();
  #end: BridgeEnd | undefined;

  constructor(options: BridgeOptions) {
    const { maxMessageBytes = 16_777_216, maxBufferedBytes = 67_108_864 } = options;
    this.#maxMessageBytes = maxMessageBytes;
    this.#maxBufferedBytes = maxBufferedBytes;
    this.#lastAnswersMs = checkMs("lastAnswersMs", options.lastAnswersMs ?? 30_000, 0);
    this.#connectMs = checkMs("connectMs", options.connectMs ?? 30_000, 0);
    this.#logger = options.logger ?? console;
  }

  run(near: Transport, far: Transport): Promise<BridgeEnd> {
    this.#start("far", far);
    this.#start("near", near);
    return this.#ended.promise;
  }

  async #start(name: BridgeEnd["side"], transport: Transport): Promise<void> {
    const context = this.#context(name);
    this.#sides[name].opens.set(
      this.#connectMs,
      () => context.refused(4408, `not open within ${this.#connectMs} ms`),
    );
    try {
      await transport.open(context);
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
      own.waits.clear();
      own.opens.clear();
      this.#closed({ side: name, code, reason }, other);
    };
    return {
      maxMessageBytes: this.#maxMessageBytes,
      signal: this.#aborted.signal,
      opened: (channel) => {
        own.open(channel);
        if (this.#end !== undefined) own.close(this.#end.code, this.#end.reason);
        endIfAnswered(other, own);
        return {
          receive: (text) => this.#receive(text, name),
          inputEnded: () => this.#wait(own, other),
          markAlive() {},
          closed,
        };
      },
      refused: closed,
    };
  }

  /** Keeps a side whose input has ended open until its calls are answered, and all it sent was passed on. */
  #wait(own: Side, other: Side): boolean {
    own.inputEnded = true;
    own.waits.set(this.#lastAnswersMs, () => {
      const { size = 0 } = own.calls ?? {};
      const why = other.isOpen ? `${size} calls have no answer` : "the other side is not open";
      own.close(4408, why);
    });
    endIfAnswered(own, other);
    return true;
  }

  #receive(text: string | undefined, name: BridgeEnd["side"]): void {
    // A side that was closed may still have sent something.
    if (this.#end !== undefined) return;
    if (text === undefined) return this.#skip("a binary frame");
    if (exceedsBytes(text, this.#maxMessageBytes)) {
      return this.#fail(
        name,
        1009,
        `Message over ${this.#maxMessageBytes} bytes (maxMessageBytes)`,
      );
    }
    const messages = messagesIn(text);
    if (name === "far" && messages === undefined) {
      return this.#skip(`a text that is no JSON-RPC: ${quoted(text)}`);
    }
    const { near, far } = this.#sides;
    const [from, to] = name === "near" ? [near, far] : [far, near];
    from.calls?.note(messages);
    to.calls?.settle(messages);
    to.send(text);
    endIfAnswered(to, from);
    const { bufferedAmount } = to;
    if (bufferedAmount > this.#maxBufferedBytes) {
      this.#fail(name === "near" ? "far" : "near", 1013, "The other side reads too slowly");
    } else if (bufferedAmount > PAUSE_BYTES) from.pauseFor(to);
  }

  #skip(what: string): void {
    this.#log.write(this, (suffix) => this.#logger.warn(`The bridge skipped ${what}${suffix}`));
  }

  #fail(side: BridgeEnd["side"], code: number, reason: string): void {
    this.#end ??= { side, code, reason };
    this.#close(code, reason);
  }

  #closed(end: BridgeEnd, other: Side): void {
    this.#end ??= end;
    this.#close(end.code, end.reason);
    // A server that does not answer a close may not hold this up.
    if (other.isOpen) unref(setTimeout(() => this.#finish(), CLOSE_MS));
    else this.#finish();
  }

  /** Ends once a program has read what it was sent: whoever runs the bridge may exit then, and drop the rest. */
  #finish(): void {
    const unread = (): number => this.#sides.near.unreadBytes + this.#sides.far.unreadBytes;
    let before = unread();
    let changed = performance.now();
    const resolve = (): void => this.#ended.resolve(this.#end as BridgeEnd);
    if (before === 0) return resolve();
    const timer = setInterval(() => {
      const now = performance.now();
      const left = unread();
      if (left !== before) [before, changed] = [left, now];
      if (left > 0 && now - changed < this.#lastAnswersMs) return;
      clearInterval(timer);
      resolve();
    }, PAUSE_MS);
  }

  #close(code: number, reason: string): void {
    this.#aborted.abort();
    for (const side of Object.values(this.#sides)) {
      side.opens.clear();
      side.close(code, reason);
    }
  }
}

/** Closes a side that has ended its input once the other side has got all of it and has answered. */
function endIfAnswered(own: Side, other: Side): void {
  if (!own.inputEnded || !other.isOpen || own.calls?.size !== 0) return;
  own.close(1000, "The stream ended");
}

/** One of the two connections. */
class Side {
  isOpen = false;
  inputEnded = false;
  /** The calls of this side that are not answered, if it can end its input and still read. */
  calls: OpenCalls | undefined;
  /** Bounds how long it waits for the answers. */
  readonly waits = new OneShotTimer();
  /** Bounds how long it takes to open. */
  readonly opens = new OneShotTimer();
  // What it was sent before it was open.
  readonly #waiting: string[] = [];
  #waitingLength = 0;
  #channel: Channel | undefined;
  #isPaused = false;

  get bufferedAmount(): number {
    return this.#channel?.bufferedAmount ?? this.#waitingLength;
  }

  /** What a program has not read yet. A WebSocket counts what it has not sent even after its end. */
  get unreadBytes(): number {
    return this.#channel?.halfCloses ? this.#channel.bufferedAmount : 0;
  }

  open(channel: Channel): void {
    this.isOpen = true;
    this.opens.clear();
    this.#channel = channel;
    if (channel.halfCloses) this.calls = new OpenCalls();
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
