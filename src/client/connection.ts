/**
 * A client's end of a connection: a conversation, from the attempt to open a socket to its end.
 *
 * @module
 */

import { closeText } from "../core/channel.ts";
import type { Channel, Receiver } from "../core/channel.ts";
import type { ClientBounds, ClientOptions } from "./options.ts";
import { RpcSession } from "../core/session.ts";
import type { SessionHost } from "../core/session.ts";
import type { Connector } from "./web_socket.ts";
import { isThenable } from "../util/maybe_promise.ts";
import type { PendingCalls } from "../core/pending_calls.ts";
import { Dispatcher } from "../core/dispatcher.ts";
import { openSocket } from "../core/web_socket_channel.ts";
import type { StandardSocket } from "../core/web_socket_channel.ts";
import { OneShotTimer } from "../util/timer.ts";

/** What sessions are made of. */
export interface ClientConnectionOptions {
  /** Makes the socket. */
  readonly connector: Connector;
  /** What runs calls of the server. */
  readonly host: SessionHost;
  /** Where calls wait. */
  readonly pending: PendingCalls;
  /** How long things may take. */
  readonly bounds: ClientBounds;
  /** Runs before the session counts as open. */
  readonly prepare: ClientOptions["prepare"];
}

/** What a session tells: that it is open and, later, that it has ended; or that it never will be. */
export interface ClientConnectionEvents {
  /** Called at most once. */
  opened(session: ClientConnection): void;
  /** Called at most once, instead of `opened`. */
  refused(why: string, cause?: unknown): void;
  /** Called at most once, after `opened`. */
  ended(code: number, reason: string): void;
}

/** One generation of a client's connection. Once it has ended, nothing of it is heard any more. */
export class ClientConnection extends RpcSession implements Receiver {
  protected override readonly dispatcher: Dispatcher;
  readonly #options: ClientConnectionOptions;
  readonly #events: ClientConnectionEvents;
  // For what is due next: the end of the attempt, a look for signs of life, the end of a good-bye.
  readonly #timer = new OneShotTimer();
  #socket: StandardSocket | undefined;
  #ready = false;
  #over = false;
  #heardAt = -1;
  #openedAt = 0;

  /**
   * @param options What it is made of.
   * @param events Who is told.
   */
  constructor(options: ClientConnectionOptions, events: ClientConnectionEvents) {
    const { connector: { name: url }, host, pending } = options;
    super(host, { url, headers: new Headers(), remoteAddress: undefined, user: null }, pending);
    this.dispatcher = new Dispatcher(host, this, pending);
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
    const { connector, bounds: { connectMs } } = this.#options;
    if (connectMs > 0) {
      this.#timer.setUnref(connectMs, () => this.#refuse(`(not within ${connectMs} ms)`));
    }
    const failed = (error: unknown) => this.#refuse(`(${error})`, error);
    try {
      const socket = connector.connect();
      if (!isThenable(socket)) return this.#use(socket);
      socket.then((made) => this.#use(made), failed);
    } catch (error) {
      failed(error);
    }
  }

  override receive(text: string | undefined): void {
    this.#heardAt = performance.now();
    super.receive(text);
  }

  markAlive(): void {}

  override closed(code: number, reason: string): void {
    super.closed(code, reason);
    if (this.#over) return;
    if (!this.#ready) return this.#refuse(closeText(code, reason));
    this.#end();
    this.#events.ended(code, reason);
  }

  /** Says good-bye; `ended` is called when the server has too, or has taken too long to. */
  override close(code = 1000, reason = ""): void {
    super.close(code, reason);
    // A server that is gone answers no close.
    if (!this.#over) this.#timer.setUnref(CLOSE_MS, () => this.closed(1006, "No answer"));
  }

  /** Leaves at once, and says so where anybody is there. Nothing is told of it. */
  drop(code = 1000): void {
    this.#end();
    this.close(code);
    this.#socket?.close();
  }

  #use(socket: StandardSocket): void {
    this.#socket = socket;
    // Also where nobody waits for it any more: an error of `ws` that nobody hears ends the process.
    openSocket(socket, {
      opened: (channel) => this.#opened(channel),
      refused: (code, reason) => this.closed(code, reason),
    });
    if (this.#over) socket.close();
  }

  #opened(channel: Channel): Receiver {
    const { prepare } = this.#options;
    this.open(channel);
    if (this.#over) this.close();
    else if (prepare === undefined) this.#begin();
    else {
      // As a promise, whatever it gives: by then the socket has somebody to hand its texts to.
      Promise.resolve(this).then(prepare).then(
        () => this.#begin(),
        (error) => this.#refuse("(prepare failed)", error),
      );
    }
    return this;
  }

  #begin(): void {
    if (!this.isOpen) return this.#refuse("(prepare failed)");
    this.#ready = true;
    this.#openedAt = performance.now();
    this.#timer.clear();
    if (this.#options.bounds.heartbeatMs > 0) this.#watch(false);
    this.#events.opened(this);
  }

  #refuse(why: string, cause?: unknown): void {
    if (this.#over) return;
    this.drop();
    this.#events.refused(why, cause);
  }

  /** Asks for a sign of life after a silence, and drops the connection after another. */
  #watch(asked: boolean): void {
    const { heartbeatMs } = this.#options.bounds;
    const silentSince = Math.max(this.#heardAt, this.#openedAt);
    const patience = asked ? 2 * heartbeatMs : heartbeatMs;
    this.#timer.setUnref(silentSince + patience - performance.now(), () => {
      if (this.#heardAt > silentSince) return this.#watch(false);
      if (asked) {
        this.drop(1001);
        return this.#events.ended(1006, `Silent for ${patience} ms`);
      }
      // Whatever comes back is heard as any message is.
      this.call("rpc.ping", undefined, { timeoutMs: 0 }).catch(() => {});
      this.#watch(true);
    });
  }

  #end(): void {
    this.#over = true;
    this.#timer.clear();
  }
}

// How long a server may take to answer a close.
const CLOSE_MS = 1000;
// A session that lived that long was of use, even if nobody had anything to say.
const LASTED_MS = 10_000;
