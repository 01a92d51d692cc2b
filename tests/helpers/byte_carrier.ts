/**
 * Streams of bytes as carriers of messages, with framings that were written for the tests.
 */
import { Buffer } from "node:buffer";
import type { Closing, RawCarrier } from "./raw_client.ts";

/** How messages are separated. */
export type TestFraming = "newline" | "content-length";

/** Where bytes are written to. */
export interface ByteEnd {
  write(bytes: Uint8Array<ArrayBuffer>): void;
  end(): void;
}

/** Messages over bytes, as a server on another carrier than WebSocket gets them. */
export class ByteCarrier implements RawCarrier {
  readonly #end: ByteEnd;
  readonly #framing: TestFraming;
  readonly #message: ((event: { data: string }) => void)[] = [];
  readonly #close: ((event: Closing) => void)[] = [];
  #bytes = Buffer.alloc(0);
  #ended = false;

  constructor(end: ByteEnd, framing: TestFraming) {
    this.#end = end;
    this.#framing = framing;
  }

  send(data: string | Uint8Array<ArrayBuffer>): void {
    if (typeof data !== "string") throw new TypeError("Streams of bytes have no binary frames");
    // A line has no line breaks: who writes lines leaves those between tokens out.
    const body = Buffer.from(this.#framing === "newline" ? data.replace(/[\r\n]/g, " ") : data);
    this.#end.write(
      this.#framing === "newline"
        ? Buffer.concat([body, Buffer.from("\n")])
        : Buffer.concat([Buffer.from(`Content-Length: ${body.length}\r\n\r\n`), body]),
    );
  }

  close(): void {
    this.#end.end();
  }

  addEventListener(type: "message", listener: (event: { data: string }) => void): void;
  addEventListener(type: "close", listener: (event: Closing) => void): void;
  addEventListener(type: "message" | "close", listener: (event: never) => void): void {
    const listeners: unknown[] = type === "message" ? this.#message : this.#close;
    listeners.push(listener);
  }

  /** Takes bytes of the server. */
  take(chunk: Uint8Array): void {
    this.#bytes = Buffer.concat([this.#bytes, chunk]);
    for (let text; (text = this.#cut()) !== undefined;) {
      const event = { data: text };
      this.#message.forEach((listener) => listener(event));
    }
  }

  /** Notes that the server has ended. */
  ended(): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#close.forEach((listener) => listener({ code: 1000, reason: "" }));
  }

  /** Takes a whole message off the bytes. */
  #cut(): string | undefined {
    const mark = this.#framing === "newline" ? "\n" : "\r\n\r\n";
    const at = this.#bytes.indexOf(mark);
    if (at === -1) return undefined;
    const head = this.#bytes.toString("utf8", 0, at);
    const from = at + mark.length;
    if (this.#framing === "newline") return this.#drop(from, head);
    const [, length] = /^Content-Length: (\d+)$/.exec(head) ?? [];
    if (length === undefined) throw new Error(`Expected a header, got ${JSON.stringify(head)}`);
    const to = from + Number(length);
    if (this.#bytes.length < to) return undefined;
    return this.#drop(to, this.#bytes.toString("utf8", from, to));
  }

  #drop(bytes: number, text: string): string {
    this.#bytes = this.#bytes.subarray(bytes);
    return text;
  }
}
