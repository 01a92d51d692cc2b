/**
 * A socket of the `ws` library as a channel.
 *
 * @module
 */

import type { Duplex } from "node:stream";
import * as ws from "ws";
import type { WebSocket } from "ws";
import { closeReason } from "../channel.ts";
import type { Admission, Channel, Flushable, Outgoing, SharedText } from "../channel.ts";
import { createTick } from "../tick.ts";

/** Ties a socket, open by now, to the receiver that the admission makes. */
export function openWs(socket: WebSocket, stream: Duplex, admission: Admission): void {
  const channel = isBun ? new PlainChannel(socket) : new CorkedChannel(socket, stream);
  const receiver = admission.opened(channel);
  socket.on("message", (data: Buffer, isBinary: boolean) => {
    receiver.receive(isBinary ? undefined : data.toString());
  });
  socket.on("pong", () => receiver.alive());
  socket.on("close", (code: number, reason: Buffer) => receiver.closed(code, reason.toString()));
  // Its close follows, with the code that tells what was wrong.
  socket.on("error", () => {});
}

/** `ws` as it is: for Bun, which has its own `ws` that frames nothing in this process. */
class PlainChannel implements Channel {
  protected readonly ws: WebSocket;

  constructor(ws: WebSocket) {
    this.ws = ws;
  }

  get bufferedAmount(): number {
    return this.ws.bufferedAmount;
  }

  send(message: Outgoing): void {
    if (this.ws.readyState !== OPEN) return;
    this.ws.send(typeof message === "string" ? message : message.text);
  }

  close(code: number, reason: string): void {
    this.ws.close(code, closeReason(reason));
  }

  terminate(): void {
    this.ws.terminate();
  }

  ping(): void {
    if (this.ws.readyState === OPEN) this.ws.ping();
  }
}

/** `ws` with one write for all that is sent in a turn, and frames that are shared. */
class CorkedChannel extends PlainChannel {
  readonly #socket: Duplex;

  constructor(ws: WebSocket, socket: Duplex) {
    super(ws);
    this.#socket = socket;
  }

  override send(message: Outgoing): void {
    if (this.ws.readyState !== OPEN) return;
    if (typeof message === "string") this.ws.send(message);
    else if (frameOf === undefined) this.ws.send(message.text);
    else this.#sendFrame(message, frameOf);
  }

  sendAll(messages: readonly Outgoing[]): void {
    this.#socket.cork();
    for (const message of messages) this.send(message);
    this.#socket.uncork();
  }

  defer(outbox: Flushable): void {
    defer(outbox);
  }

  #sendFrame(message: SharedText, frame: FrameOf): void {
    this.#socket.write(message.frame as Uint8Array ?? (message.frame = frame(message.text)));
  }
}

type FrameOf = (text: string) => Uint8Array;

/** Frames a text as `ws` does, where this version of `ws` still lets others do so. */
function findFrameOf(): FrameOf | undefined {
  const { Sender } = ws as unknown as {
    Sender?: { frame?(data: Uint8Array, options: typeof TEXT_FRAME): Uint8Array[] };
  };
  if (typeof Sender?.frame !== "function") return undefined;
  return (text) => Buffer.concat(Sender.frame?.(Buffer.from(text), TEXT_FRAME) ?? []);
}

const OPEN = 1;
const TEXT_FRAME = { fin: true, opcode: 1, mask: false, rsv1: false, readOnly: true };
const isBun = "Bun" in globalThis;
const frameOf = findFrameOf();
const defer = createTick((run) => setImmediate(run));
