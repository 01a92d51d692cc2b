/**
 * Connections without a network, for tests.
 *
 * @module
 */

import type { SocketEvent, StandardSocket } from "../core/web_socket_channel.ts";

/** One end of a linked pair: the part of the standard WebSocket interface that a connection uses. */
export interface LinkedSocket extends StandardSocket {
  /** Sends a text frame, or a binary one, to the other end. */
  send(data: string | ArrayBuffer): void;
}

/**
 * Makes two open sockets that are linked: each receives what the other sends, in order, in a later
 * microtask.
 *
 * @returns One end for `rpc.attach()`, the other for `connect()`.
 *
 * @example A server and a client in one process
 * ```ts
 * import { connect, JsonRpc } from "@x/jsonrpc";
 * import { linkedSockets } from "@x/jsonrpc/testing";
 *
 * const rpc = new JsonRpc().method("ping", () => "pong");
 * const [near, far] = linkedSockets();
 * rpc.attach(far);
 *
 * const client = await connect<typeof rpc>(near);
 * console.assert(await client.call("ping") === "pong");
 * await client.close();
 * ```
 */
export function linkedSockets(): [LinkedSocket, LinkedSocket] {
  const near = new LinkedEnd();
  const far = new LinkedEnd();
  near.other = far;
  far.other = near;
  return [near, far];
}

type Listener = (event: SocketEvent) => void;

class LinkedEnd implements LinkedSocket {
  other!: LinkedEnd;
  readyState = 1;
  readonly bufferedAmount = 0;
  readonly #listeners: { readonly type: string; readonly listener: Listener }[] = [];

  addEventListener(type: string, listener: Listener): void {
    this.#listeners.push({ type, listener });
  }

  send(data: string | ArrayBuffer): void {
    const { other } = this;
    if (this.readyState !== 1) return;
    queueMicrotask(() => {
      if (other.readyState === 1) other.#dispatch({ type: "message", data });
    });
  }

  close(code = 1005, reason = ""): void {
    const { other } = this;
    if (this.readyState !== 1) return;
    this.readyState = 2;
    queueMicrotask(() => {
      other.#closed(code, reason);
      this.#closed(code, reason);
    });
  }

  #closed(code: number, reason: string): void {
    if (this.readyState === 3) return;
    this.readyState = 3;
    this.#dispatch({ type: "close", code, reason });
  }

  #dispatch(event: SocketEvent): void {
    for (const { type, listener } of this.#listeners) if (type === event.type) listener(event);
  }
}
