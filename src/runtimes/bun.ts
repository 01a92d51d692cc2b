/**
 * Bun: `Bun.serve({ fetch: rpc.fetch, websocket: rpc.websocket })`.
 *
 * @module
 */

import { closeReason, textOf } from "../core/channel.ts";
import type { Channel, Flushable, Outgoing, Receiver, UpgradeContext } from "../core/channel.ts";
import type { Limits } from "../protocol/limits.ts";
import { createFlushScheduler } from "./flush_scheduler.ts";
import { onAbort } from "./runtime.ts";
import type { Runtime } from "./runtime.ts";

// -- types --

/** The part of Bun's `Server` that this module uses. */
interface BunHost {
  upgrade(request: Request, options: { data: BunData; headers: Record<string, string> }): boolean;
  requestIP(request: Request): { address: string } | null;
  timeout?(request: Request, seconds: number): void;
}

/** The part of Bun's `ServerWebSocket` that this module uses. */
export interface BunSocket {
  /** What `upgrade` was given. */
  readonly data: BunData;
  /** Sends a text; gives the bytes sent, -1 if they wait, 0 if they were dropped. */
  send(text: string): number;
  /** Begins the closing handshake. */
  close(code: number, reason: string): void;
  /** Drops the connection without a closing handshake. */
  terminate(): void;
  /** Sends a ping. */
  ping(): void;
  /** Joins everything that is sent during `run` into one write. */
  cork(run: () => void): void;
  /** Bytes that were sent and not yet taken by the network. */
  getBufferedAmount(): number;
  /** Stops reading. Missing before Bun 1.4. */
  pause?(): void;
  /** Reads on. */
  resume?(): void;
}

/** What a socket carries from its upgrade to its handlers. */
export interface BunData {
  /** Opens the connection. */
  readonly context: UpgradeContext;
  /** Takes the messages, once the socket is open. */
  receiver: Receiver | undefined;
  /** How the socket ended, if that was before there was a receiver. */
  closing?: readonly [code: number, reason: string];
}

/** What `Bun.serve` takes as `websocket`. */
export interface BunWebSocketHandler {
  /** Bytes that one message may have. */
  readonly maxPayloadLength: number;
  /** Bytes that may wait for one peer; Bun drops what is sent beyond that. */
  readonly backpressureLimit: number;
  /** Seconds without a message until Bun closes the socket; 0 for never. */
  readonly idleTimeout: number;
  /** Whether messages are compressed. */
  readonly perMessageDeflate: boolean;
  /** A socket is open. */
  open(socket: BunSocket): void;
  /** A message came. */
  message(socket: BunSocket, data: string | Uint8Array): void;
  /** A pong came. */
  pong(socket: BunSocket): void;
  /** A socket is closed. */
  close(socket: BunSocket, code: number, reason: string): void;
}

// -- runtime --

/** Whether the second argument of `fetch` is Bun's server. */
export function isBunHost(host: unknown): boolean {
  return typeof (host as BunHost | undefined)?.upgrade === "function";
}

/** Bun's own server. */
export const bunRuntime: Runtime = {
  remoteAddress(request, host) {
    return (host as BunHost | undefined)?.requestIP?.(request)?.address;
  },

  onLeave(request, _host, left) {
    return onAbort(request, left);
  },

  keepOpen(request, host) {
    (host as BunHost).timeout?.(request, 0);
  },

  upgrade(request, host, context) {
    const { protocol } = context;
    const headers: Record<string, string> = {};
    // By default Bun answers with the first subprotocol that was offered, which may be a token.
    if (protocol === undefined) request.headers.delete("sec-websocket-protocol");
    else headers["sec-websocket-protocol"] = protocol;
    const data: BunData = { context, receiver: undefined };
    if ((host as BunHost).upgrade(request, { data, headers })) return new Response(null);
    context.refused(1006, "The client is gone");
    return new Response("Upgrade failed", { status: 400 });
  },
};

/**
 * Makes the handlers that all sockets of a Bun server share.
 *
 * @param limits The limits that hold.
 * @returns What `Bun.serve` takes as `websocket`.
 * @see {@link https://bun.com/docs/api/websockets}
 */
export function bunWebSocketHandler(limits: Limits): BunWebSocketHandler {
  return {
    maxPayloadLength: Math.min(limits.maxMessageBytes, MAX_INT),
    // More than `maxBufferedBytes`, so that the server closes a slow peer before Bun drops a message.
    backpressureLimit: Math.min(limits.maxBufferedBytes + limits.maxMessageBytes, MAX_INT),
    idleTimeout: 0, // the server's own heartbeat drops dead peers
    perMessageDeflate: false,
    open(socket) {
      const { data } = socket;
      const receiver = data.receiver = data.context.opened(new BunChannel(socket));
      // Bun calls `close` inside the call that closes the socket, and a plugin may just have done that.
      if (data.closing !== undefined) receiver.closed(...data.closing);
    },
    message(socket, data) {
      socket.data.receiver?.receive(typeof data === "string" ? data : undefined);
    },
    pong(socket) {
      socket.data.receiver?.markAlive();
    },
    close(socket, code, reason) {
      const { data } = socket;
      if (data.receiver !== undefined) data.receiver.closed(code, reason);
      else data.closing = [code, reason];
    },
  };
}

const MAX_INT = 2 ** 31 - 1;

// -- channel --

class BunChannel implements Channel {
  readonly #socket: BunSocket;

  constructor(socket: BunSocket) {
    this.#socket = socket;
  }

  get bufferedAmount(): number {
    return this.#socket.getBufferedAmount();
  }

  get corksReceive(): boolean {
    return true;
  }

  send(message: Outgoing): void {
    // 0 means dropped. A call whose answer is dropped would wait for ever, so end the connection.
    if (this.#socket.send(textOf(message)) === 0) this.#socket.terminate();
  }

  sendAll(messages: readonly Outgoing[]): void {
    this.#socket.cork(() => messages.forEach((message) => this.send(message)));
  }

  defer(queue: Flushable): void {
    defer(queue);
  }

  close(code: number, reason: string): void {
    this.#socket.close(code, closeReason(reason));
  }

  terminate(): void {
    this.#socket.terminate();
  }

  pause(): void {
    this.#socket.pause?.();
  }

  resume(): void {
    this.#socket.resume?.();
  }

  ping(): void {
    this.#socket.ping();
  }
}

// Not by its plain name, so that this file also compiles in projects without the types of Bun or Node.
const { setImmediate: soon } = globalThis as unknown as {
  readonly setImmediate: (run: () => void) => void;
};
const defer = createFlushScheduler((run) => soon(run));
