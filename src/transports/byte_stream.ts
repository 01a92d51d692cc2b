/**
 * JSON-RPC over any two-way stream of bytes: TCP, pipes, Unix sockets, web streams.
 *
 * @module
 */

import { textOf } from "../core/channel.ts";
import type { Channel, Outgoing, Receiver } from "../core/channel.ts";
import type { Transport, TransportContext } from "../core/transport.ts";
import { quoted } from "../protocol/errors.ts";
import { LogLimit } from "../util/log_limit.ts";
import type { Logger } from "../util/logger.ts";
import { OneShotTimer } from "../util/timer.ts";
import { frame, FrameReader } from "./framing.ts";
import type { Framing } from "./framing.ts";
import { toByteSink } from "./byte_sink.ts";
import type { ByteSink, WritableBytes } from "./byte_sink.ts";
import { toByteSource } from "./byte_source.ts";
import type { ByteSource, ReadableBytes } from "./byte_source.ts";

export type { NodeWritable, WritableBytes } from "./byte_sink.ts";
export type { NodeReadable, ReadableBytes } from "./byte_source.ts";
export type { Framing } from "./framing.ts";
export type { Channel, Outgoing, Receiver } from "../core/channel.ts";
export type { Transport, TransportContext } from "../core/transport.ts";

/** Two directions of bytes: a pair of web streams, or of Node's. */
export interface ByteStream {
  /** What the other side sends: a `ReadableStream`, or one of Node's `Readable`. */
  readonly readable: ReadableBytes;
  /** Where this side sends: a `WritableStream`, or one of Node's `Writable`. */
  readonly writable: WritableBytes;
}

/** How messages travel in a stream of bytes. */
export interface ByteStreamOptions {
  /**
   * How messages are separated: one per line (`"newline"`: MCP, ACP), or behind headers
   * (`"content-length"`: LSP). `"detect"` goes by the first byte that arrives; until then, texts to
   * send wait.
   *
   * @default {"newline"}
   */
  readonly framing?: Framing | "detect";
  /** What the other end is called in errors and logs. @default {"the other end of the stream"} */
  readonly name?: string;
  /** Where skipped lines and failures of the stream are logged. @default {console} */
  readonly logger?: Logger;
}

/**
 * Carries messages over a stream of bytes. Pass it to `connect()` on one side and to `rpc.attach()` on
 * the other.
 *
 * Lines that are no JSON are skipped, and the log shows some of them. A message over `maxMessageBytes` ends the connection
 * before it is in memory as a whole. While the other side does not read, this side stops reading too.
 *
 * @param stream The two directions. The transport owns them from now on and ends them.
 * @param options Framing, name and log.
 * @returns The transport, for one connection.
 *
 * @example Both ends of a TCP connection
 * ```ts ignore
 * import { createServer, connect as connectTcp } from "node:net";
 * import { connect, JsonRpc } from "@x/jsonrpc";
 * import { byteStream } from "@x/jsonrpc/byte_stream";
 *
 * const rpc = new JsonRpc().method("add", ([a, b]: [number, number]) => a + b);
 * createServer((socket) => rpc.attach(byteStream({ readable: socket, writable: socket })))
 *   .listen(9000);
 *
 * const socket = connectTcp(9000);
 * const client = await connect<typeof rpc>(byteStream({ readable: socket, writable: socket }));
 * await client.call("add", [1, 2]); // 3
 * ```
 */
export function byteStream(stream: ByteStream, options: ByteStreamOptions = {}): Transport {
  const { name = "the other end of the stream" } = options;
  let used = false;
  return {
    name,
    open(context) {
      if (used) throw new TypeError("Cannot open the stream twice: pass a new one");
      used = true;
      new ByteConnection(stream, options, context).start();
    },
  };
}

/** One connection over a stream of bytes. */
class ByteConnection implements Channel {
  readonly halfCloses: boolean;
  readonly #source: ByteSource;
  readonly #sink: ByteSink;
  readonly #reader: FrameReader;
  readonly #context: TransportContext;
  readonly #logger: Logger;
  readonly #log = new LogLimit();
  #receiver: Receiver | undefined;
  #framing: Framing | undefined;
  // Texts that wait until the other side has shown its framing.
  #early: string[] = [];
  #earlyLength = 0;
  #ended = false;
  #inputEnded = false;
  // Settles when the session wants more messages; undefined unless it has asked for none.
  #paused: PromiseWithResolvers<void> | undefined;
  readonly #timer = new OneShotTimer();

  constructor(stream: ByteStream, options: ByteStreamOptions, context: TransportContext) {
    const { framing = "newline", logger = console } = options;
    const { readable, writable } = stream;
    // A socket of Node ends its own direction with the other one, unless it is told not to.
    const isWhole = (writable as { readonly allowHalfOpen?: boolean }).allowHalfOpen === false;
    this.halfCloses = !(isWhole && readable as unknown === writable);
    this.#source = toByteSource(readable);
    this.#context = context;
    this.#logger = logger;
    this.#framing = framing === "detect" ? undefined : framing;
    this.#sink = toByteSink(writable, (error) => this.#fail("Cannot write", error));
    const { maxMessageBytes } = context;
    this.#reader = new FrameReader({ framing: this.#framing, maxMessageBytes });
  }

  get bufferedAmount(): number {
    return this.#sink.pendingBytes + this.#earlyLength;
  }

  /** Begins to talk. */
  start(): void {
    this.#receiver = this.#context.opened(this);
    void this.#read();
  }

  send(message: Outgoing): void {
    if (this.#ended) return;
    const text = textOf(message);
    if (this.#framing !== undefined) return this.#sink.write(frame(text, this.#framing));
    this.#early.push(text);
    this.#earlyLength += text.length;
  }

  close(code: number, reason: string): void {
    // Later, as a closing handshake would take: the session has to note its own end first.
    if (!this.#ended) queueMicrotask(() => this.#end(code, reason));
  }

  terminate(): void {
    this.#end(1006, "Terminated");
  }

  pause(): void {
    this.#paused ??= Promise.withResolvers<void>();
  }

  resume(): void {
    this.#paused?.resolve();
    this.#paused = undefined;
  }

  async #read(): Promise<void> {
    try {
      for (let chunk; (chunk = await this.#source.next()) !== undefined;) {
        if (!this.#ended) await this.#take(chunk);
      }
      this.#inputEnded = true;
      this.#takeLast();
      // It will not show a framing any more.
      if (this.#framing === undefined) this.#startWriting();
      if (this.#reader.isInside) this.#end(1006, "The stream ended within a message");
      else if (!this.#staysOpen()) this.#end(1000, "The stream ended");
    } catch (error) {
      this.#fail("Cannot read", error);
    }
    this.#timer.clear();
  }

  #staysOpen(): boolean {
    return this.halfCloses && !this.#ended && this.#receiver?.inputEnded?.() === true;
  }

  async #take(chunk: Uint8Array): Promise<void> {
    for (const frame of this.#reader.read(chunk)) {
      if (this.#framing === undefined) this.#startWriting();
      if (this.#ended) return;
      if (frame.kind === "message") this.#receiver?.receive(frame.text);
      else if (frame.kind === "junk") {
        this.#log.write(
          this,
          (suffix) =>
            this.#logger.warn(`Skipped a line that is no JSON: ${quoted(frame.text)}${suffix}`),
        );
      } else {
        this.#logger.debug(`Cannot read on: ${frame.text}`);
        this.#end(frame.code, frame.text);
      }
      await this.#paused?.promise;
      // Further requests would only add answers to those that the other side does not read.
      while (this.#sink.pendingBytes > READ_PAUSE_BYTES && !this.#ended) await this.#sink.drained();
    }
  }

  #takeLast(): void {
    const text = this.#ended ? undefined : this.#reader.takeLast();
    if (text === undefined) return;
    if (this.#framing === undefined) this.#startWriting();
    this.#receiver?.receive(text);
  }

  /** The other side has shown its framing: what waits is written in it. */
  #startWriting(): void {
    const framing = this.#framing = this.#reader.framing ?? "newline";
    this.#earlyLength = 0;
    for (const text of this.#early.splice(0)) this.#sink.write(frame(text, framing));
  }

  #fail(what: string, error: unknown): void {
    if (this.#ended) return;
    // Without a stack: it would only show this file, each time that a peer leaves.
    const why = `${what}: ${error instanceof Error ? error.message : error}`;
    this.#logger.debug(why);
    this.#end(1006, why);
  }

  #end(code: number, reason: string): void {
    if (this.#ended) return;
    this.#ended = true;
    this.resume();
    this.#receiver?.closed(code, reason);
    // What was sent to a side that has not said anything is not lost.
    if (this.#framing === undefined) this.#startWriting();
    void this.#sink.end();
    if (this.#inputEnded) return;
    // Read on until the other side has ended too: destroying a socket with unread bytes resets it,
    // and a reset can cost the other side what was sent last.
    this.#timer.setDeadline(END_MS, () => this.#source.cancel());
  }
}

// Unread bytes from which on this side reads no further.
const READ_PAUSE_BYTES = 1024 * 1024;
// How long the other side may take to read what was sent before the end, and to end its own direction.
const END_MS = 2000;
