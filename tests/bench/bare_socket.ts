/**
 * A WebSocket client that costs next to nothing: bare TCP, frames that are made in advance, answers read from the
 * receive buffer. It belongs to the load, not to what is measured.
 */
import { Buffer } from "node:buffer";
import { connect } from "node:net";
import type { Socket } from "node:net";

/** Receives one text; the bytes are valid until it returns. */
export type TakeText = (bytes: Buffer, start: number, end: number) => void;

/** One connection. */
export class BareSocket {
  /** Called for each text. */
  ontext: TakeText = () => {};
  /** Called after all texts of one read. */
  onturn: () => void = () => {};
  readonly #socket: Socket;
  readonly #opened: (failure?: Error) => void;
  #rest: Buffer | undefined;
  #open = false;
  #closing = false;

  private constructor(port: number, path: string, opened: (failure?: Error) => void) {
    this.#opened = opened;
    const onread = {
      buffer: chunk, // shared: each read is consumed before the next
      callback: (size: number) => (this.#take(chunk.subarray(0, size)), true),
    };
    this.#socket = connect({ port, host: "127.0.0.1", noDelay: true, onread });
    this.#socket.on("error", (error) => this.#fail(error));
    this.#socket.on("close", () => this.#fail(new Error("The server closed a connection")));
    this.#socket.write(handshake(port, path));
  }

  /**
   * Connects, and resolves when texts can be sent.
   *
   * @param ontext Receives the texts; the first may arrive together with the handshake.
   */
  static open(port: number, path = "/", ontext: TakeText = () => {}): Promise<BareSocket> {
    return new Promise((resolve, reject) => {
      const socket = new BareSocket(port, path, (failure) => {
        if (failure === undefined) resolve(socket);
        else reject(failure);
      });
      socket.ontext = ontext;
    });
  }

  /** Writes frames that `frame()` made. */
  write(frames: Uint8Array): void {
    this.#socket.write(frames);
  }

  /** Ends it without a close frame. */
  end(): void {
    this.#closing = true;
    this.#socket.destroy();
  }

  #fail(error: Error): void {
    if (this.#closing) return;
    if (this.#open) throw error;
    this.#opened(error);
  }

  #take(bytes: Buffer): void {
    let from = bytes;
    if (this.#rest !== undefined) from = Buffer.concat([this.#rest, bytes]);
    let at = 0;
    if (!this.#open) {
      const end = from.indexOf("\r\n\r\n");
      if (end !== -1) {
        if (!from.toString("latin1", 0, 12).startsWith("HTTP/1.1 101")) {
          return this.#fail(new Error(`Not upgraded: ${from.toString("latin1", 0, 200)}`));
        }
        this.#open = true;
        this.#opened();
        at = end + 4;
      }
    }
    if (this.#open) at = this.#frames(from, at);
    this.#rest = at < from.length ? Buffer.from(from.subarray(at)) : undefined;
    this.onturn();
  }

  /** Consumes all whole frames; gives the index of the incomplete one behind them. */
  #frames(bytes: Buffer, from: number): number {
    let at = from;
    while (at + 2 <= bytes.length) {
      let size = bytes[at + 1] as number;
      let start = at + 2;
      if (size === 126) {
        if (at + 4 > bytes.length) break;
        size = bytes.readUInt16BE(at + 2);
        start = at + 4;
      } else if (size === 127) {
        if (at + 10 > bytes.length) break;
        size = Number(bytes.readBigUInt64BE(at + 2));
        start = at + 10;
      }
      if (start + size > bytes.length) break;
      if (bytes[at] === TEXT) this.ontext(bytes, start, start + size);
      else if (bytes[at] !== PING) throw new Error(`Got a frame that begins with ${bytes[at]}`);
      at = start + size;
    }
    return at;
  }
}

const TEXT = 0x81;
const PING = 0x89;
const MASK = [0x37, 0xfa, 0x21, 0x3d] as const;
const chunk = Buffer.allocUnsafe(512 * 1024);

function handshake(port: number, path: string): string {
  return [
    `GET ${path} HTTP/1.1`,
    `Host: 127.0.0.1:${port}`,
    "Connection: Upgrade",
    "Upgrade: websocket",
    "Sec-WebSocket-Version: 13",
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
    "\r\n",
  ].join("\r\n");
}

/** The masked frame of a text. */
export function frame(text: string): Buffer {
  const payload = Buffer.from(text);
  const size = payload.length;
  const header = size < 126
    ? [TEXT, 0x80 | size]
    : size < 65_536
    ? [TEXT, 0x80 | 126, size >> 8, size & 0xff]
    : [
      TEXT,
      0x80 | 127,
      0,
      0,
      0,
      0,
      size >>> 24,
      (size >> 16) & 0xff,
      (size >> 8) & 0xff,
      size & 0xff,
    ];
  for (let index = 0; index < size; index++) {
    payload[index] = (payload[index] as number) ^ (MASK[index & 3] as number);
  }
  return Buffer.concat([Buffer.from([...header, ...MASK]), payload]);
}
