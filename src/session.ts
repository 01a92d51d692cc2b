/**
 * One socket of a client, from the attempt to open it to its end.
 *
 * @module
 */

import type { Channel, Receiver } from "./channel.ts";
import type { ClientBounds, ClientOptions } from "./client_options.ts";
import type { Dialer } from "./dialer.ts";
import { isThenable } from "./middleware.ts";
import { Conversation } from "./conversation.ts";
import type { ConversationHost } from "./conversation.ts";
import type { Pending } from "./pending.ts";
import type { Handshake } from "./request.ts";
import { Responder } from "./responder.ts";
import { openSocket } from "./socket.ts";
import type { StandardSocket } from "./socket.ts";
import { quiet } from "./timer.ts";
import type { Timer } from "./timer.ts";

/** What sessions are made of. */
export interface SessionOptions {
  /** Makes the socket. */
  readonly dialer: Dialer;
  /** What runs calls of the server. */
  readonly host: ConversationHost;
  /** Where calls wait. */
  readonly pending: Pending;
  /** How long things may take. */
  readonly bounds: ClientBounds;
  /** Runs before the session counts as open. */
  readonly prepare: ClientOptions["prepare"];
}

/** What a session tells: that it is open and, later, that it has ended; or that it never will be. */
export interface SessionEvents {
  /** Called at most once. */
  opened(peer: Conversation): void;
  /** Called at most once, instead of `opened`. */
  refused(why: string, cause?: unknown): void;
  /** Called at most once, after `opened`. */
  ended(code: number, reason: string): void;
}

/** One generation of a client's connection. Once it has ended, nothing of it is heard any more. */
export class Session {
  readonly #options: SessionOptions;
  readonly #events: SessionEvents;
  #socket: StandardSocket | undefined;
  #peer: Conversation | undefined;
  #open = false;
  #over = false;
  #timer: Timer | undefined;
  #heardAt = -1;
  #openedAt = 0;

  /**
   * @param options What it is made of.
   * @param events Who is told.
   */
  constructor(options: SessionOptions, events: SessionEvents) {
    this.#options = options;
    this.#events = events;
  }

  /** Whether it was of use: the server said something, or stayed for a while. */
  get usable(): boolean {
    return this.#heardAt >= 0 || this.lasted;
  }

  /** Whether it stayed for a while. */
  get lasted(): boolean {
    return performance.now() - this.#openedAt > LASTED_MS;
  }

  /** Begins. */
  start(): void {
    const { dialer, bounds: { connectMs } } = this.#options;
    if (connectMs > 0) this.#after(connectMs, () => this.#refuse(`(not within ${connectMs} ms)`));
    try {
      const socket = dialer.dial();
      if (!isThenable(socket)) return this.#use(socket);
      socket.then(
        (made) => this.#use(made),
        (error) => this.#refuse("(no address, or no token)", error),
      );
    } catch (error) {
      this.#refuse("(no socket could be made)", error);
    }
  }

  /** Leaves at once, and says so where anybody is there. Nothing is told of it. */
  drop(code: number, reason: string): void {
    this.#end();
    if (this.#peer !== undefined) this.#peer.close(code, reason);
    else this.#socket?.close();
  }

  /** Says good-bye; `ended` is called when the server has too, or has taken too long to. */
  close(): void {
    this.#peer?.close(1000, "");
  }

  #use(socket: StandardSocket): void {
    this.#socket = socket;
    if (this.#over) return socket.close();
    openSocket(socket, {
      opened: (channel) => this.#opened(channel),
      refused: (code, reason) => this.#refuse(`(${code}${reason && `: ${reason}`})`),
    });
  }

  #opened(channel: Channel): Receiver {
    const { dialer, host, pending, prepare } = this.#options;
    const handshake = {
      url: dialer.name,
      headers: new Headers(),
      remoteAddress: undefined,
      user: null,
    };
    const peer = new ServerPeer(
      channel,
      // A server that is gone answers no close.
      { ...host, ended: () => this.#after(CLOSE_MS, () => this.#closed(1006, "No answer")) },
      handshake,
      pending,
    );
    this.#peer = peer;
    if (this.#over) peer.close();
    else if (prepare === undefined) this.#ready(peer);
    else {
      // As a promise, whatever it gives: by then the socket has somebody to hand its texts to.
      Promise.resolve(peer).then(prepare).then(
        () => this.#ready(peer),
        (error) => this.#refuse("(prepare failed)", error),
      );
    }
    return {
      receive: (text) => {
        this.#heardAt = performance.now();
        peer.receive(text);
      },
      alive: () => {},
      closed: (code, reason) => {
        peer.closed(code, reason);
        this.#closed(code, reason);
      },
    };
  }

  #ready(peer: Conversation): void {
    if (this.#over) return;
    this.#open = true;
    this.#openedAt = performance.now();
    const { pingMs } = this.#options.bounds;
    clearTimeout(this.#timer);
    if (pingMs > 0) this.#watch(peer, pingMs);
    this.#events.opened(peer);
  }

  #refuse(why: string, cause?: unknown): void {
    if (this.#over) return;
    this.drop(1000, "");
    this.#events.refused(why, cause);
  }

  #closed(code: number, reason: string): void {
    if (this.#over) return;
    if (!this.#open) return this.#refuse(`(${code}${reason && `: ${reason}`})`);
    this.#end();
    this.#events.ended(code, reason);
  }

  /** Asks for a sign of life after a silence, and drops the connection after another. */
  #watch(peer: Conversation, pingMs: number, asked = false): void {
    const silentSince = Math.max(this.#heardAt, this.#openedAt);
    const left = silentSince + pingMs * (asked ? 2 : 1) - performance.now();
    this.#after(left, () => {
      const heard = Math.max(this.#heardAt, this.#openedAt) > silentSince;
      if (heard) return this.#watch(peer, pingMs);
      if (asked) {
        this.drop(1001, "");
        return this.#events.ended(1006, `Silent for ${2 * pingMs} ms`);
      }
      // Whatever comes back is heard as any message is.
      peer.call("rpc.ping", undefined, { timeoutMs: 0 }).catch(() => {});
      this.#watch(peer, pingMs, true);
    });
  }

  #end(): void {
    this.#over = true;
    clearTimeout(this.#timer);
  }

  #after(ms: number, run: () => void): void {
    clearTimeout(this.#timer);
    if (!this.#over) this.#timer = quiet(setTimeout(run, Math.max(0, Math.ceil(ms))));
  }
}

// How long a server may take to answer a close.
const CLOSE_MS = 1000;
// A session that lived that long was of use, even if nobody had anything to say.
const LASTED_MS = 10_000;

/** The server, as a client has it. */
class ServerPeer extends Conversation {
  protected override readonly responder: Responder;

  constructor(channel: Channel, host: ConversationHost, handshake: Handshake, pending: Pending) {
    super(channel, host, handshake, pending);
    this.responder = new Responder(host, this, this);
  }
}
