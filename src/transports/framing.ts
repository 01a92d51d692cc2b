/**
 * Messages in a stream of bytes: one per line, or each behind a header that says how long it is.
 *
 * @see {@link https://microsoft.github.io/language-server-protocol/specifications/lsp/3.17/specification/#baseProtocol | Base protocol of LSP}
 *
 * @module
 */

/**
 * How messages are separated. `"newline"`: each is one line of JSON, as MCP and ACP have it.
 * `"content-length"`: each has headers before it, as LSP has it.
 */
export type Framing = "newline" | "content-length";

/** What a {@linkcode FrameReader} finds. */
export type Frame =
  /** A whole message. */
  | { readonly kind: "message"; readonly text: string }
  /** A line that is no JSON, such as output of a `print`. The reader has skipped it. */
  | { readonly kind: "junk"; readonly text: string }
  /** The stream cannot be read on. `code` is a close code of RFC 6455. Nothing follows. */
  | { readonly kind: "failed"; readonly code: number; readonly text: string };

/** What a {@linkcode FrameReader} is made with. */
export interface FrameReaderOptions {
  /** The framing; left out, the first byte decides. */
  readonly framing?: Framing | undefined;
  /** Bytes that one message may have. The reader keeps no more than that. */
  readonly maxMessageBytes: number;
}

/** Reads messages out of chunks of bytes, wherever these are cut. */
export class FrameReader {
  readonly #maxBytes: number;
  #framing: Framing | undefined;
  // What belongs to the line, header block or body that is not complete yet.
  // In one buffer that grows: a peer that sends single bytes must not cost an array for each.
  #buffer = new Uint8Array(0);
  #length = 0;
  // Bytes of the body that are still to come; undefined while lines are read.
  #missing: number | undefined;
  #headerBytes = 0;
  #bodyLength: number | undefined;
  #charset = "utf-8";
  // Whether a line has been read that was not empty.
  #hasBegun = false;
  #failure: Frame | undefined;

  /**
   * @param options The framing, and how long a message may be.
   */
  constructor({ framing, maxMessageBytes }: FrameReaderOptions) {
    this.#framing = framing;
    this.#maxBytes = maxMessageBytes;
  }

  /** The framing; `undefined` until the first byte has told it. */
  get framing(): Framing | undefined {
    return this.#framing;
  }

  /** Whether the bytes so far end in the middle of a message. */
  get isInside(): boolean {
    return this.#length > 0 || this.#missing !== undefined || this.#headerBytes > 0;
  }

  /**
   * Finds the messages that the next bytes complete. Iterate to the end before the next call: what is
   * not asked for is not read.
   *
   * @param chunk Any number of bytes. The reader does not keep the chunk, nor change it.
   */
  *read(chunk: Uint8Array): Generator<Frame, void, void> {
    let at = this.#framing === undefined ? this.#detect(chunk) : 0;
    while (at < chunk.length && this.#failure === undefined) {
      const end = this.#endOf(chunk, at);
      const frame = this.#frame(chunk.subarray(at, end));
      at = end;
      if (this.#failure !== undefined) yield this.#failure;
      else if (frame !== undefined) yield frame;
    }
  }

  /**
   * Takes the last message, once the stream has ended: a line may have no line break then, as after `printf`. Its
   * JSON is whole, so it cannot be the start of a longer message.
   *
   * @returns The text; `undefined` if nothing is left, or only a part of a message.
   */
  takeLast(): string | undefined {
    if (this.#framing !== "newline" || this.#length > this.#maxBytes) return undefined;
    const text = utf8.decode(this.#buffer.subarray(0, this.#length));
    if (!isWhole(text)) return undefined;
    this.#drop();
    return text;
  }

  /** Where the part of a line or body that starts at `at` ends. */
  #endOf(chunk: Uint8Array, at: number): number {
    if (this.#missing !== undefined) return Math.min(at + this.#missing, chunk.length);
    const newline = chunk.indexOf(NEWLINE, at);
    return newline === -1 ? chunk.length : newline + 1;
  }

  /** Both headers of LSP start with a C. Anything else is a message, or junk before the first. */
  #detect(chunk: Uint8Array): number {
    const at = chunk.findIndex((byte) => !isSpace(byte));
    if (at === -1) return chunk.length;
    const isHeader = ((chunk[at] as number) | LOWER_CASE) === LETTER_C;
    this.#framing = isHeader ? "content-length" : "newline";
    return at;
  }

  #frame(part: Uint8Array): Frame | undefined {
    if (this.#missing !== undefined) return this.#body(part);
    this.#keep(part);
    const isHeader = this.#framing === "content-length";
    const isWhole = part.at(-1) === NEWLINE;
    if (isHeader && this.#headerBytes + this.#length > MAX_HEADER_BYTES) {
      return this.#fail(1008, `Headers over ${MAX_HEADER_BYTES} bytes`);
    }
    // The line break is no part of the message.
    if (!isHeader && this.#length > this.#maxBytes + (isWhole ? 2 : 1)) return this.#failTooLong();
    if (!isWhole) return undefined;
    const line = this.#take("utf-8").replace(/\r?\n$/, "");
    if (isHeader) return this.#header(line);
    return line.trim() === "" ? undefined : this.#line(line);
  }

  #line(line: string): Frame {
    const isFirst = !this.#hasBegun;
    this.#hasBegun = true;
    if (/^\s*[{[]/.test(line)) return { kind: "message", text: line };
    // A page can send requests to any port: what it puts into the body must not be read as messages.
    if (isFirst && /^\S+ \S+ HTTP\/\d\.\d$/.test(line)) return this.#fail(1002, HTTP_REQUEST);
    if (isFirst && /^content-(length|type):/i.test(line)) return this.#fail(1002, OTHER_FRAMING);
    return { kind: "junk", text: line };
  }

  #header(line: string): Frame | undefined {
    if (line === "") return this.#endOfHeaders();
    this.#headerBytes += line.length + 2;
    const [, name = "", value = ""] = /^\s*([\w-]+)\s*:(.*)$/.exec(line) ?? [];
    switch (name.toLowerCase()) {
      case "content-length":
        if (!/^\s*\d{1,15}\s*$/.test(value)) {
          return this.#fail(1002, `Expected a number of bytes, got "Content-Length:${cut(value)}"`);
        }
        // Of two lengths another reader may believe the other one, and take a part of the text for a message.
        if ((this.#bodyLength ?? Number(value)) !== Number(value)) {
          return this.#fail(1002, `Expected one length, got another by "${cut(line)}"`);
        }
        this.#bodyLength = Number(value);
        return undefined;
      case "content-type":
        this.#charset = /charset=\s*"?([\w-]+)/i.exec(value)?.[1] ?? "utf-8";
        if (isCharset(this.#charset)) return undefined;
        return this.#fail(1002, `Unknown charset "${this.#charset}"`);
      case "":
        return this.#fail(1002, `Expected a header, got "${cut(line)}"`);
      default:
        return undefined;
    }
  }

  #endOfHeaders(): Frame | undefined {
    // Blank lines between messages are harmless.
    if (this.#headerBytes === 0) return undefined;
    this.#headerBytes = 0;
    const length = this.#bodyLength;
    if (length === undefined) return this.#fail(1002, "Expected a Content-Length header");
    this.#bodyLength = undefined;
    if (length > this.#maxBytes) return this.#failTooLong();
    this.#missing = length;
    return length === 0 ? this.#endOfBody() : undefined;
  }

  #body(part: Uint8Array): Frame | undefined {
    this.#keep(part);
    this.#missing = (this.#missing as number) - part.length;
    return this.#missing === 0 ? this.#endOfBody() : undefined;
  }

  #endOfBody(): Frame {
    this.#missing = undefined;
    const text = this.#take(this.#charset);
    this.#charset = "utf-8";
    return { kind: "message", text };
  }

  #keep(part: Uint8Array): void {
    const length = this.#length + part.length;
    if (length > this.#buffer.length) {
      const larger = new Uint8Array(Math.max(length, 2 * this.#buffer.length));
      larger.set(this.#buffer.subarray(0, this.#length));
      this.#buffer = larger;
    }
    // A copy: streams may use their buffer again.
    this.#buffer.set(part, this.#length);
    this.#length = length;
  }

  #take(charset: string): string {
    const decoder = charset === "utf-8" ? utf8 : new TextDecoder(charset);
    const text = decoder.decode(this.#buffer.subarray(0, this.#length));
    this.#drop();
    return text;
  }

  #drop(): void {
    this.#length = 0;
    // Most messages are short: the room for a long one is not kept.
    if (this.#buffer.length > KEPT_BYTES) this.#buffer = new Uint8Array(0);
  }

  #failTooLong(): Frame {
    return this.#fail(1009, `Message over ${this.#maxBytes} bytes (maxMessageBytes)`);
  }

  #fail(code: number, text: string): Frame {
    this.#drop();
    return this.#failure = { kind: "failed", code, text };
  }
}

/**
 * The bytes of one message.
 *
 * @param text JSON text. Line breaks in it are no problem for `"content-length"`; text that
 * `JSON.stringify` made has none.
 * @param framing How messages are separated.
 * @returns The bytes to write.
 */
export function frame(text: string, framing: Framing): Uint8Array<ArrayBuffer> {
  if (framing === "newline") return encoder.encode(`${oneLine(text)}\n`);
  const body = encoder.encode(text);
  const head = encoder.encode(`Content-Length: ${body.length}\r\n\r\n`);
  const bytes = new Uint8Array(head.length + body.length);
  bytes.set(head);
  bytes.set(body, head.length);
  return bytes;
}

/** JSON that was written by hand, such as that of `rawJson`, may have line breaks between its tokens. */
function oneLine(text: string): string {
  return /[\r\n]/.test(text) ? text.replace(/[\r\n]+/g, " ") : text;
}

function isWhole(text: string): boolean {
  if (!/^\s*[{[]/.test(text)) return false;
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
}

function isCharset(name: string): boolean {
  try {
    new TextDecoder(name);
    return true;
  } catch {
    return false;
  }
}

function isSpace(byte: number): boolean {
  return byte === 0x20 || (byte >= 0x09 && byte <= 0x0d);
}

function cut(text: string): string {
  return text.slice(0, 100);
}

const HTTP_REQUEST = "Expected JSON-RPC, got an HTTP request";
const OTHER_FRAMING =
  'Expected a line of JSON, got a header: the other side has the framing "content-length"';
const LETTER_C = 0x63;
const LOWER_CASE = 0x20;
const NEWLINE = 0x0a;
// LSP has two headers. A peer that sends more than this is not talking LSP.
const MAX_HEADER_BYTES = 8192;
// Room for messages that is used again for the next one.
const KEPT_BYTES = 16 * 1024;
const encoder = new TextEncoder();
const utf8 = new TextDecoder();
