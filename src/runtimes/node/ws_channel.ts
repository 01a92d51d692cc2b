/**
 * A socket of the `ws` library as a channel.
 *
 * @module
 */

import type { Duplex } from "node:stream";
import type { WebSocket } from "ws";
import { closeReason } from "../../core/channel.ts";
import type { Channel, Flushable, Outgoing, UpgradeContext } from "../../core/channel.ts";
import { createFlushScheduler } from "../flush_scheduler.ts";
import { FrameJoiner, sharedFrame } from "./ws_frame.ts";

/** Ties a socket, open by now, to the receiver that the admission makes. */
export function openWs(socket: WebSocket, stream: Duplex, admission: UpgradeContext): void {
  const channel = isPlain(socket) ? new JoinedChannel(socket, stream) : new PlainChannel(socket);
  const receiver = admission.opened(channel);
  socket.on("message", (data: Buffer, isBinary: boolean) => {
    receiver.receive(isBinary ? undefined : data.toString());
  });
  socket.on("pong", () => receiver.markAlive());
  socket.on("close", (code: number, reason: Buffer) => receiver.closed(code, reason.toString()));
  // Its close follows, with the code that tells what was wrong.
  socket.on("error", () => {});
}

/** `ws` as it is. */
class PlainChannel implements Channel {
  protected readonly socket: WebSocket;

  constructor(socket: WebSocket) {
    this.socket = socket;
  }

  get bufferedAmount(): number {
    return this.socket.bufferedAmount;
  }

  send(message: Outgoing): void {
    if (this.socket.readyState !== OPEN) return;
    this.socket.send(typeof message === "string" ? message : message.text);
  }

  close(code: number, reason: string): void {
    this.socket.close(code, closeReason(reason));
  }

  terminate(): void {
    this.socket.terminate();
  }

  ping(): void {
    if (this.socket.readyState === OPEN) this.socket.ping();
  }
}

/** `ws` with one write for all that is sent in a turn, and frames that are shared. */
class JoinedChannel extends PlainChannel {
  readonly #stream: Duplex;

  constructor(socket: WebSocket, stream: Duplex) {
    super(socket);
    this.#stream = stream;
  }

  override send(message: Outgoing): void {
    if (this.socket.readyState !== OPEN) return;
    if (typeof message === "string") this.socket.send(message);
    else this.#stream.write(sharedFrame(message));
  }

  sendAll(messages: readonly Outgoing[]): void {
    if (this.socket.readyState === OPEN) this.#stream.write(joiner.join(messages));
  }

  defer(outbox: Flushable): void {
    defer(outbox);
  }
}

const OPEN = 1;
const joiner = new FrameJoiner();
const defer = createFlushScheduler((run) =>
  setImmediate(() => {
    run();
    joiner.clear();
  })
);

/**
 * Whether frames of our own may go beside those of `ws`: not where an extension changes them, and
 * not on Bun, whose `ws` is Bun's own socket and writes to no stream of this process.
 */
function isPlain(socket: WebSocket): boolean {
  return socket.extensions === "" && !("Bun" in globalThis);
}
