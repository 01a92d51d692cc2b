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

/** The part of Bun's `Server` that is used. */
interface BunHost {
  upgrade(request: Request, options: { data: BunData; headers: Record<string, string> }): boolean;
  requestIP(request: Request): { address: string } | null;
  timeout?(request: Request, seconds: number): void;
}

/** The part of Bun's `ServerWebSocket` that is used. */
export interface BunSocket {
  /** What `upgrade` was given. */
  readonly data: BunData;
  /** Bytes sent, -1 where they wait, 0 where they were dropped. */
  send(text: string): number;
  /** Begins the closing handshake. */
  close(code: number, reason: string): void;
  /** Cuts the connection. */
  terminate(): void;
  /** Sends a ping. */
  ping(): void;
  /** Joins what is sent meanwhile into one write. */
  cork(run: () => void): void;
  /** Bytes that wait. */
  getBufferedAmount(): number;
}

/** What a socket carries from its upgrade to its handlers. */
export interface BunData {
  /** What to do once it is open. */
  readonly admission: UpgradeContext;
  /** Where its messages go, once it is open. */
  receiver: Receiver | undefined;
  /** How it ended, where that was before anybody could be told. */
  closing?: readonly [code: number, reason: string];
}

/** What `Bun.serve` takes as `websocket`. */
export interface BunWebSocketHandler {
  /** Bytes of the longest message. */
  readonly maxPayloadLength: number;
  /** Bytes that may wait for one peer; past it Bun drops what is sent. */
  readonly backpressureLimit: number;
  /** Seconds without a message until Bun closes; 0: never. */
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

/** Whether `fetch` was given Bun's server. */
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

  upgrade(request, host, admission) {
    const { protocol } = admission;
    const headers: Record<string, string> = {};
    // Bun would answer with the first subprotocol that was offered: perhaps somebody's token.
    if (protocol === undefined) request.headers.delete("sec-websocket-protocol");
    else headers["sec-websocket-protocol"] = protocol;
    const data: BunData = { admission, receiver: undefined };
    if ((host as BunHost).upgrade(request, { data, headers })) return new Response(null);
    admission.refused(1006, "The client is gone");
    return new Response("Upgrade failed", { status: 400 });
  },
};

/** The one table of handlers that all sockets of a Bun server share. */
export function bunWebSocketHandler(limits: Limits): BunWebSocketHandler {
  return {
    maxPayloadLength: Math.min(limits.maxMessageBytes, MAX_INT),
    // Beyond what the server's own rule lets wait, so that it acts first.
    backpressureLimit: Math.min(limits.maxBufferedBytes + limits.maxMessageBytes, MAX_INT),
    idleTimeout: 0, // the server's own heartbeat finds dead peers
    perMessageDeflate: false,
    open(socket) {
      const { data } = socket;
      const receiver = data.receiver = data.admission.opened(new BunChannel(socket));
      // Bun tells of a close within the call that closes, which may have been just now.
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
    // 0: dropped. A call whose answer is dropped would hang for ever: better no connection at all.
    if (this.#socket.send(textOf(message)) === 0) this.#socket.terminate();
  }

  sendAll(messages: readonly Outgoing[]): void {
    this.#socket.cork(() => messages.forEach((message) => this.send(message)));
  }

  defer(outbox: Flushable): void {
    defer(outbox);
  }

  close(code: number, reason: string): void {
    this.#socket.close(code, closeReason(reason));
  }

  terminate(): void {
    this.#socket.terminate();
  }

  ping(): void {
    this.#socket.ping();
  }
}

const defer = createFlushScheduler((run) => setImmediate(run));
