/**
 * A WebSocket that also ends if the other side sends a close frame and then keeps the connection. The WebSocket of
 * Node waits for the end of the TCP connection for ever.
 *
 * @module
 */

import type { SocketEvent, StandardSocket } from "../core/web_socket_channel.ts";

const CLOSING = 2;
const CLOSED = 3;

/**
 * Wraps a socket.
 *
 * @param socket The socket.
 * @returns A socket that reports its end with code 1006 when it has been closing for a few seconds.
 */
export function endedSocket(socket: StandardSocket): StandardSocket {
  const listeners: ((event: SocketEvent) => void)[] = [];
  let checks = 0;
  const timer = setInterval(() => {
    const { readyState } = socket;
    if (readyState < CLOSING || (readyState === CLOSING && ++checks < CHECKS)) return;
    clearInterval(timer);
    if (readyState === CLOSED) return;
    const reason = "closed, and the other side keeps the connection";
    for (const listener of listeners) listener({ type: "close", code: 1006, reason });
  }, CHECK_MS);
  return {
    get readyState() {
      return socket.readyState;
    },
    get bufferedAmount() {
      return socket.bufferedAmount;
    },
    send: (data) => socket.send(data),
    close: (code, reason) => socket.close(code, reason),
    addEventListener(type, listener) {
      if (type === "close") listeners.push(listener);
      socket.addEventListener(type, listener);
    },
  };
}

const CHECK_MS = 500;
const CHECKS = 4;
