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

/**
 * Opens a connection on a socket.
 *
 * @param socket The socket, which is open.
 * @param stream The network stream below it.
 * @param context Opens the connection.
 */
export function openWs(socket: WebSocket, stream: Duplex, context: UpgradeContext): void {
  const channel = isPlain(socket) ? new JoinedChannel(socket, stream) : new PlainChannel(socket);
  const receiver = context.opened(channel);
  socket.on("message", (data: Buffer, isBinary: boolean) => {
    receiver.receive(isBinary ? undefined : data.toString());
  });
  socket.on("pong", () => receiver.markAlive());
  socket.on("close", (code: number, reason: Buffer) => receiver.closed(code, reason.toString()));
  // A close event follows, with the code that says what was wrong.
  socket.on("error", () => {});
}

/** Sends through `ws`. */
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

  pause(): void {
    this.socket.pause();
  }

  resume(): void {
    this.socket.resume();
  }
}

/** Writes frames to the network stream: one write per turn, and frames that many sockets share. */
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

  defer(queue: Flushable): void {
    defer(queue);
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
 * Whether this module may write frames itself, beside those of `ws`: not if an extension changes frames,
 * and not on Bun, whose `ws` is Bun's own socket and writes to no stream of this process.
 */
function isPlain(socket: WebSocket): boolean {
  return socket.extensions === "" && !("Bun" in globalThis);
}
