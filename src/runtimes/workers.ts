/**
 * Cloudflare Workers: `export default { fetch: rpc.fetch }`.
 *
 * A Worker may touch a socket or a timer only during the request that made it, so nothing here is shared
 * by requests, and nothing is made while the module loads. Connections that share topics live in a
 * Durable Object: see `./workers`.
 *
 * @see {@link https://developers.cloudflare.com/workers/runtime-apis/websockets/}
 *
 * @module
 */

import { closeReason, textOf } from "../core/channel.ts";
import type { Channel, Outgoing, Receiver, UpgradeContext } from "../core/channel.ts";
import { onAbort } from "./runtime.ts";
import type { Runtime } from "./runtime.ts";

// -- types --

/** The part of a Worker's `WebSocket` that this module uses. */
export interface WorkersSocket {
  /** Bytes that were sent and that the network has not taken yet. Versions before 2026 do not tell. */
  readonly bufferedAmount?: number;
  /** Takes the messages in this request, by events. */
  accept(): void;
  /** Sends a text frame. Throws once the socket is closed. */
  send(text: string): void;
  /** Begins, or answers, the closing handshake. */
  close(code?: number, reason?: string): void;
  /** Listens for `message`, `close` and `error`. */
  addEventListener(type: string, listener: (event: WorkersSocketEvent) => void): void;
}

/** The members that this module reads of an event of a socket. */
export interface WorkersSocketEvent {
  /** Of a message: the data, a string for a text frame. */
  readonly data?: unknown;
  /** Of a close: its code. */
  readonly code?: number;
  /** Of a close: its reason. */
  readonly reason?: string;
}

// -- runtime --

/** Whether this process runs Workers. */
export function isWorkers(): boolean {
  return workers ??= pairClass() !== undefined;
}

let workers: boolean | undefined;

/** Workers, without hibernation. */
export const workersRuntime: Runtime = {
  remoteAddress({ headers }) {
    // Cloudflare sets this header itself: what a client sends is replaced.
    return headers.get("cf-connecting-ip") ?? undefined;
  },

  onLeave(request, _host, left) {
    return onAbort(request, left);
  },

  upgrade(_request, _host, context) {
    const [client, socket] = socketPair();
    socket.accept();
    const channel = new RequestChannel(socket);
    const receiver = channel.receiver = context.opened(channel);
    socket.addEventListener("message", ({ data }) => {
      if (!channel.isClosed) receiver.receive(typeof data === "string" ? data : undefined);
    });
    socket.addEventListener("close", ({ code, reason }) => channel.closedByPeer(code, reason));
    socket.addEventListener("error", () => channel.closedByPeer(1006, ""));
    return upgradeResponse(client, context);
  },
};

// -- helpers --

/** Makes a socket for the client, to be returned in a response, and the one of this side. */
export function socketPair(): [client: unknown, socket: WorkersSocket] {
  const Pair = pairClass() as new () => Record<number, WorkersSocket>;
  const { 0: client, 1: socket } = new Pair();
  return [client, socket as WorkersSocket];
}

/** The answer to an upgrade. */
export function upgradeResponse(client: unknown, { protocol }: UpgradeContext): Response {
  const headers = new Headers();
  if (protocol !== undefined) headers.set("sec-websocket-protocol", protocol);
  // Only Workers know the member `webSocket`, and allow the status 101.
  return new Response(null, { status: 101, headers, webSocket: client } as ResponseInit);
}

function pairClass(): unknown {
  return (globalThis as { WebSocketPair?: unknown }).WebSocketPair;
}

// -- channel --

/** One socket of a Worker. */
export class WorkersChannel implements Channel {
  readonly watchesPeer = true;
  /** Takes the messages. */
  receiver: Receiver | undefined;
  /** Whether either side has closed it. */
  isClosed = false;
  readonly #socket: WorkersSocket;

  /** @param socket The accepted socket. */
  constructor(socket: WorkersSocket) {
    this.#socket = socket;
  }

  get bufferedAmount(): number {
    return this.#socket.bufferedAmount ?? 0;
  }

  send(message: Outgoing): void {
    if (this.isClosed) return;
    this.try(() => this.#socket.send(textOf(message)));
  }

  close(code: number, reason: string): void {
    if (this.isClosed) return;
    this.#answer(code, reason);
    // Workers wait for the peer's answer by themselves, and need not be told if it does not come.
    this.#lost(code, reason);
  }

  /**
   * Notes that the peer has closed the socket, and answers.
   *
   * @param code The close code. @default {1006}
   * @param reason The reason. @default {""}
   */
  closedByPeer(code = 1006, reason = ""): void {
    if (this.isClosed) return;
    this.#answer(code === 1006 ? 1011 : code, reason);
    this.isClosed = true;
    this.receiver?.closed(code, reason);
  }

  /** Uses the socket. A subclass may do that later. */
  protected use(action: () => void): void {
    action();
  }

  /** Uses the socket; if that fails, the peer is gone. */
  protected try(action: () => void): void {
    try {
      this.use(action);
    } catch {
      if (!this.isClosed) this.#lost(1006, "The socket cannot be written to");
    }
  }

  #answer(code: number, reason: string): void {
    try {
      this.use(() =>
        code === 1005 ? this.#socket.close() : this.#socket.close(code, closeReason(reason))
      );
    } catch {
      // It is closed already.
    }
  }

  #lost(code: number, reason: string): void {
    this.isClosed = true;
    queueMicrotask(() => this.receiver?.closed(code, reason));
  }
}

/**
 * The socket of one request. Other requests may not use it: what they send, such as an event of a topic,
 * waits until this request runs again.
 */
class RequestChannel extends WorkersChannel {
  readonly #waiting: (() => void)[] = [];
  #wake: (() => void) | undefined;

  constructor(socket: WorkersSocket) {
    super(socket);
    this.#run();
  }

  override get bufferedAmount(): number {
    try {
      return super.bufferedAmount;
    } catch {
      return 0; // only its own request may look
    }
  }

  protected override use(action: () => void): void {
    if (this.#waiting.length === 0) {
      try {
        return action();
      } catch (error) {
        if (!isForeign(error)) throw error;
      }
    }
    this.#waiting.push(action);
    this.#wake?.();
  }

  /** Runs in its own request, as that made the promises that it waits for. */
  async #run(): Promise<void> {
    while (!this.isClosed || this.#waiting.length > 0) {
      await new Promise<void>((resolve) => this.#wake = resolve);
      for (const action of this.#waiting.splice(0)) this.try(action);
    }
  }
}

function isForeign(error: unknown): boolean {
  return /different request/.test(String(error));
}
