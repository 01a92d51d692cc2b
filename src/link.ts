/**
 * The way from a client to its server. There are two: a WebSocket (here), and POSTs (`post.ts`).
 *
 * @module
 */

import type { Channel } from "./channel.ts";
import { RpcConnectionError } from "./errors.ts";
import { Peer } from "./peer.ts";
import type { PeerHost } from "./peer.ts";
import type { Pending } from "./pending.ts";
import { openSocket } from "./socket.ts";
import type { StandardSocket } from "./socket.ts";
import { quiet } from "./timer.ts";

/** `idle` before the first call, then `connecting`, `open`, and at last `closed`. */
export type LinkState = "idle" | "connecting" | "open" | "closed";

/** One way to a server. */
export interface Link {
  /** Where it stands. */
  readonly state: LinkState;
  /** Opens the way, if that has not begun. Rejects with {@linkcode RpcConnectionError}. */
  connect(): Promise<void>;
  /**
   * Sends a message: at once, or as soon as the way is open.
   *
   * @param ids The calls in it; none for notifications.
   * @throws {RpcConnectionError} Where the way is closed.
   */
  send(text: string, ids: readonly number[]): void;
  /** Tells the server, if it knows of the call, that nobody waits for it any more. */
  cancel(id: number): void;
  /** Ends it; calls that wait are rejected. */
  close(): Promise<void>;
}

/** What a link tells its client. */
export interface LinkEvents {
  /** Called once, when calls can be sent. */
  opened(): void;
  /** Called once, when it was closed, by whichever side. */
  closed(code: number, reason: string): void;
}

/** What a link over a WebSocket is made of. */
export interface SocketLinkOptions {
  /** What the socket is called in messages: its URL. */
  readonly name: string;
  /** Makes the socket. */
  readonly makeSocket: () => StandardSocket;
  /** What runs calls of the server. */
  readonly host: PeerHost;
  /** Where calls wait. */
  readonly pending: Pending;
  /** Who is told. */
  readonly events: LinkEvents;
}

/** A link over one WebSocket. */
export class SocketLink implements Link {
  readonly #options: SocketLinkOptions;
  #state: LinkState = "idle";
  #connecting: Promise<void> | undefined;
  #peer: Peer | undefined;
  #unsent: { readonly text: string; readonly ids: readonly number[] }[] = [];
  #whenClosed: (() => void) | undefined;

  /** @param options What it is made of. */
  constructor(options: SocketLinkOptions) {
    this.#options = options;
  }

  get state(): LinkState {
    return this.#state;
  }

  connect(): Promise<void> {
    if (this.#state === "closed") return Promise.reject(closedError("connect"));
    return this.#connecting ??= this.#open();
  }

  send(text: string, ids: readonly number[]): void {
    // A peer that is no longer open is about to tell that it has closed.
    if (this.#state === "closed" || this.#peer?.isOpen === false) throw closedError("send");
    if (this.#peer !== undefined) return this.#peer.send(text);
    this.#unsent.push({ text, ids });
    // Whoever waits is told by its own call.
    this.connect().catch(() => {});
  }

  cancel(id: number): void {
    const unsent = this.#unsent.some(({ ids }) => ids.includes(id));
    if (!unsent && this.#peer?.isOpen) this.#peer.notify("$/cancelRequest", { id });
  }

  async close(): Promise<void> {
    if (this.#state === "closed") return;
    this.#fail("the client was closed");
    const peer = this.#peer;
    if (peer === undefined) return this.#options.events.closed(1000, "");
    const closed = new Promise<void>((resolve) => this.#whenClosed = resolve);
    const giveUp = quiet(setTimeout(() => this.#closed(1006, "No answer to the close"), CLOSE_MS));
    peer.close(1000, "");
    await closed;
    clearTimeout(giveUp);
  }

  async #open(): Promise<void> {
    this.#state = "connecting";
    const { name, makeSocket, events } = this.#options;
    await new Promise<void>((resolve, reject) => {
      const refused = (why: string, cause?: unknown): void => {
        const error = new RpcConnectionError(`Cannot connect to ${name} ${why}`, "unsent", {
          cause,
        });
        this.#fail(error.message);
        reject(error);
      };
      const admission = {
        opened: (channel: Channel) => {
          if (this.#state === "closed") reject(closedError("connect"));
          else resolve();
          return this.#opened(channel);
        },
        refused: (code: number, reason: string) => refused(`(${code}${reason && `: ${reason}`})`),
      };
      try {
        openSocket(makeSocket(), admission);
      } catch (error) {
        refused("(no socket could be made)", error);
      }
    });
    // It may have been closed by now.
    if (this.state === "open") events.opened();
  }

  #opened(channel: Channel): Peer {
    const { name: url, host, pending } = this.#options;
    const handshake = { url, headers: new Headers(), remoteAddress: undefined, user: null };
    const peer = new Peer(
      channel,
      {
        ...host,
        closed: (_peer, code, reason) => this.#closed(code, reason),
      },
      handshake,
      pending,
    );
    if (this.#state === "closed") {
      peer.close(1000, "");
      return peer;
    }
    this.#peer = peer;
    this.#state = "open";
    for (const { text, ids } of this.#unsent) {
      // A call that was given up in the meantime need not run.
      if (ids.length === 0 || ids.some((id) => pending.has(id))) peer.send(text);
    }
    this.#unsent = [];
    return peer;
  }

  #closed(code: number, reason: string): void {
    if (this.#peer === undefined) return;
    this.#fail(`the connection was closed (${code}${reason === "" ? "" : `: ${reason}`})`);
    this.#peer = undefined;
    this.#whenClosed?.();
    this.#options.events.closed(code, reason);
  }

  /** Ends everything that waits, and everything to come. */
  #fail(why: string): void {
    this.#state = "closed";
    const unsent = new Set(this.#unsent.flatMap(({ ids }) => ids));
    this.#unsent = [];
    this.#options.pending.failAll((id, method) =>
      new RpcConnectionError(
        `No answer to "${method}": ${why}`,
        unsent.has(id) ? "unsent" : "unknown",
      )
    );
  }
}

/** Why nothing can be done with a client any more. */
export function closedError(action: string): RpcConnectionError {
  return new RpcConnectionError(`Cannot ${action}: the client is closed`);
}

// How long a server may take to answer a close.
const CLOSE_MS = 1000;
