/**
 * A standard WebSocket as a channel: the one wrapper for clients, Deno, and sockets that a program
 * brings itself.
 *
 * @module
 */

import { closeReason, textOf } from "./channel.ts";
import type { Channel, Outgoing, Receiver, UpgradeContext } from "./channel.ts";

/** What is used of the events of a standard WebSocket. */
export interface SocketEvent {
  /** `open`, `message`, `close` or `error`. */
  readonly type: string;
  /** Of a message: a string for a text frame. */
  readonly data?: unknown;
  /** Of a close. */
  readonly code?: number;
  /** Of a close. */
  readonly reason?: string;
  /** Of an error, where the runtime tells. */
  readonly message?: string;
}

/** What is used of the standard WebSocket interface: the runtimes' own, and `ws`, have it. */
export interface StandardSocket {
  /** 0 connecting, 1 open, 2 closing, 3 closed. */
  readonly readyState: number;
  /** Bytes that were sent and not yet taken by the network. */
  readonly bufferedAmount: number;
  /** Sends a text frame. */
  send(data: string): void;
  /** Begins the closing handshake. */
  close(code?: number, reason?: string): void;
  /** Listens for `open`, `message`, `close`, `error`. */
  addEventListener(type: string, listener: (event: SocketEvent) => void): void;
}

/** Ties a standard WebSocket to a receiver, as soon as it is open. */
export function openSocket(
  socket: StandardSocket,
  opening: Pick<UpgradeContext, "opened" | "refused">,
): void {
  let receiver: Receiver | undefined;
  let closed = socket.readyState > OPEN;
  // Let go of once it is told: what it holds would stay for as long as the socket.
  let waiting: typeof opening | undefined = opening;
  function open(): void {
    receiver = waiting?.opened(new SocketChannel(socket));
    waiting = undefined;
  }
  function end(code = 1006, reason = ""): void {
    // Deno says it twice of a peer that does not answer a ping.
    if (closed) return;
    closed = true;
    if (receiver !== undefined) receiver.closed(code, reason);
    else waiting?.refused(code, reason);
  }
  socket.addEventListener("message", ({ data }) => {
    receiver?.receive(typeof data === "string" ? data : undefined);
  });
  socket.addEventListener("error", ({ message }) => {
    // Of a socket that never opened Node 22 says no more than this.
    if (receiver === undefined) end(1006, message);
  });
  socket.addEventListener("close", ({ code, reason }) => end(code, reason));
  if (closed) opening.refused(1006, "The socket is closed");
  else if (socket.readyState === OPEN) open();
  else socket.addEventListener("open", open);
}

const OPEN = 1;

class SocketChannel implements Channel {
  readonly #socket: StandardSocket;

  constructor(socket: StandardSocket) {
    this.#socket = socket;
  }

  get bufferedAmount(): number {
    return this.#socket.bufferedAmount;
  }

  send(message: Outgoing): void {
    if (this.#socket.readyState === OPEN) this.#socket.send(textOf(message));
  }

  close(code: number, reason: string): void {
    const short = closeReason(reason);
    try {
      this.#socket.close(code, short);
    } catch {
      // Standard client sockets may only say 1000 and 3000 to 4999: 1001 is said as 4001.
      this.#socket.close(code < 3000 ? code + 3000 : 1000, short);
    }
  }
}
