/**
 * Wraps a standard WebSocket as a channel, for clients, for Deno, and for sockets that a program passes
 * to `attach`.
 *
 * @module
 */

import { closeReason } from "./channel.ts";
import type { Channel, Outgoing, Receiver } from "./channel.ts";
import type { Transport, TransportContext } from "./transport.ts";

const OPEN = 1;

/** The members that this module reads of a standard WebSocket's events. */
export interface SocketEvent {
  /** `open`, `message`, `close` or `error`. */
  readonly type: string;
  /** Of a message: the data, a string for a text frame. */
  readonly data?: unknown;
  /** Of a close: its code. */
  readonly code?: number;
  /** Of a close: its reason. */
  readonly reason?: string;
  /** Of an error: its message, if the runtime gives one. */
  readonly message?: string;
}

/** The part of the standard WebSocket interface that this module uses. Sockets of `ws` have it too. */
export interface StandardSocket {
  /** 0 connecting, 1 open, 2 closing, 3 closed. */
  readonly readyState: number;
  /** Bytes that were sent and that the network has not taken yet. */
  readonly bufferedAmount: number;
  /** Sends a text frame. */
  send(data: string): void;
  /** Begins the closing handshake. */
  close(code?: number, reason?: string): void;
  /** Listens for `open`, `message`, `close`, `error`. */
  addEventListener(type: string, listener: (event: SocketEvent) => void): void;
}

/** The two outcomes of opening a socket. */
export type SocketContext = Pick<TransportContext, "opened" | "refused">;

/**
 * A socket that the program made, as a transport for one connection.
 *
 * @param socket The socket, open or about to open.
 * @returns A transport that cannot reconnect.
 */
export function socketTransport(socket: StandardSocket): Transport {
  return {
    open(context) {
      // Whoever opens it may not want it any more.
      context.signal.addEventListener("abort", () => socket.close());
      openSocket(socket, context);
    },
  };
}

/**
 * Connects a standard WebSocket to a receiver, as soon as the socket is open.
 *
 * @param socket The socket, open or about to open.
 * @param opening Called when the socket is open, or when it has ended before.
 */
export function openSocket(socket: StandardSocket, opening: SocketContext): void {
  let receiver: Receiver | undefined;
  let closed = socket.readyState > OPEN;
  // Set to undefined once called, so that the socket does not keep what it references alive.
  let waiting: SocketContext | undefined = opening;
  function open(): void {
    receiver = waiting?.opened(new SocketChannel(socket));
    waiting = undefined;
  }
  function end(code = 1006, reason = ""): void {
    // Deno fires `close` twice for a peer that does not answer a ping.
    if (closed) return;
    closed = true;
    if (receiver) receiver.closed(code, reason);
    else waiting?.refused(code, reason);
  }
  socket.addEventListener("message", ({ data }) => {
    receiver?.receive(typeof data === "string" ? data : undefined);
  });
  socket.addEventListener("error", ({ message }) => {
    // Node 22 fires no `close` for a socket that never opened, only this `error`.
    // Bun quotes the URL, which may hold secrets.
    if (!receiver) end(1006, message?.replace(/["'].*["']|:\/\S+/s, ""));
  });
  socket.addEventListener("close", ({ code, reason }) => end(code, reason));
  if (closed) opening.refused(1006, "closed");
  else if (socket.readyState === OPEN) open();
  else socket.addEventListener("open", open);
}

class SocketChannel implements Channel {
  readonly #socket: StandardSocket;

  constructor(socket: StandardSocket) {
    this.#socket = socket;
  }

  get bufferedAmount(): number {
    return this.#socket.bufferedAmount;
  }

  send(message: Outgoing): void {
    if (this.#socket.readyState === OPEN) this.#socket.send(`${message}`);
  }

  close(code: number, reason: string): void {
    const short = closeReason(reason);
    try {
      this.#socket.close(code, short);
    } catch {
      // Standard client sockets throw on codes other than 1000 and 3000 to 4999: send 4001 for 1001.
      this.#socket.close(code < 3000 ? code + 3000 : 1000, short);
    }
  }
}
