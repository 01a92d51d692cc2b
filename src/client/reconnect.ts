/**
 * The client's way to its server: one socket after the other, for as long as it is not closed.
 *
 * @module
 */

import { Backoff, DEFAULT_BACKOFF } from "../util/backoff.ts";
import type { BackoffBounds } from "../util/backoff.ts";
import { closeText } from "../core/channel.ts";
import { SEND } from "../core/internal.ts";
import type { RpcSession } from "../core/session.ts";
import { RpcConnectionError } from "../protocol/errors.ts";
import { SendQueue } from "./send_queue.ts";
import type { QueuedMessage } from "./send_queue.ts";
import type { PendingCall } from "../core/pending_calls.ts";
import { ClientConnection } from "./connection.ts";
import type { ClientConnectionOptions } from "./connection.ts";
import { MAX_TIMER_MS, OneShotTimer } from "../util/timer.ts";
import { onOnline } from "./online.ts";

/**
 * `idle` before the first call, then `connecting` and `open`; `waiting` between two attempts to
 * connect again; `closed` at last.
 */
export type ConnectionState = "idle" | "connecting" | "open" | "waiting" | "closed";

/** What a link tells its client. */
export interface ReconnectingConnectionEvents {
  /**
   * Called each time that calls can be sent, before any that waited is.
   *
   * @param peer Who can be talked to.
   * @param again Whether there was a connection before.
   */
  opened(peer: RpcSession, again: boolean): void;
  /** Called each time that a connection has ended, and once where the link ends without one. */
  closed(code: number, reason: string, final: boolean): void;
  /** Called each time that a wait begins. */
  reconnecting(attempt: number, delayMs: number): void;
}

/** What a link is made of. */
export interface ReconnectingConnectionOptions extends ClientConnectionOptions {
  /** How it is connected again; `undefined` for not at all. */
  readonly reconnect: BackoffBounds | undefined;
  /** Who is told. */
  readonly events: ReconnectingConnectionEvents;
}

/** The way from a client to its server. */
export class ReconnectingConnection {
  readonly #options: ReconnectingConnectionOptions;
  readonly #sendQueue: SendQueue;
  readonly #backoff: Backoff;
  // The wait before the next attempt; while it is open, that of calls which the server has refused.
  readonly #timer = new OneShotTimer();
  readonly #ended = Promise.withResolvers<void>();
  #state: ConnectionState = "idle";
  #connecting: PromiseWithResolvers<void> | undefined;
  #connection: ClientConnection | undefined;
  #wasOpen = false;
  // Whether the last session was ended because of who this client is.
  #wasRefused = false;
  #stopListening: (() => void) | undefined;

  /** @param options What it is made of. */
  constructor(options: ReconnectingConnectionOptions) {
    this.#options = options;
    this.#backoff = new Backoff(options.reconnect ?? DEFAULT_BACKOFF);
    this.#sendQueue = new SendQueue(options.bounds, (message) => {
      this.#drop(message, `it waited ${options.bounds.maxQueuedMs} ms (maxQueuedMs)`);
    });
  }

  /** Where it stands. */
  get state(): ConnectionState {
    return this.#state;
  }

  /**
   * Opens the way, if it is not open; where it waits to connect again, at once. Rejects with
   * {@linkcode RpcConnectionError}.
   */
  connect(): Promise<void> {
    if (this.#state === "closed") return Promise.reject(closedError("connect"));
    if (this.#state === "idle" || this.#state === "waiting") this.#attempt();
    return (this.#connecting as PromiseWithResolvers<void>).promise;
  }

  /**
   * Sends a message: at once, or as soon as the way is open.
   *
   * @param ids The calls in it; none for notifications.
   * @throws {RpcConnectionError} Where the way is closed, or too much waits for it.
   */
  send(text: string, ids: readonly number[]): void {
    if (this.#state === "closed") throw closedError("send");
    if (this.#peer !== undefined) return this.#peer[SEND](text);
    this.#sendQueue.add({ text, ids });
    if (this.#state === "idle") this.#attempt();
  }

  /** Tells the server, if it knows of the call, that nobody waits for it any more. */
  cancel(id: number): void {
    if (!this.#sendQueue.cancel(id)) this.#connection?.notify("$/cancelRequest", { id });
  }

  /** Takes a call back that the server has refused and not run; answers whether it did. */
  refused(id: number, call: PendingCall): boolean {
    if (this.#state !== "open" || this.#options.reconnect === undefined) return false;
    // A server that goes away refuses so: then the next connection takes it. If it stays, this one.
    if (this.#sendQueue.size === 0) this.#timer.setUnref(REFUSED_MS, () => this.#flush());
    this.#sendQueue.takeBack(id, call);
    return true;
  }

  /** Ends it; calls that wait are rejected. */
  close(): Promise<void> {
    const state = this.#state;
    if (state !== "closed") {
      this.#finish("the client was closed");
      if (state === "open") this.#connection?.close();
      else {
        this.#connection?.drop();
        this.#end(1000, "");
      }
    }
    return this.#ended.promise;
  }

  /** Whom calls can be sent to, now. */
  get #peer(): ClientConnection | undefined {
    return this.#state === "open" && this.#connection?.isOpen ? this.#connection : undefined;
  }

  #attempt(): void {
    this.#stopWaiting();
    this.#state = "connecting";
    this.#connecting = Promise.withResolvers();
    // Whoever waits for it is told; a call is told by itself.
    this.#connecting.promise.catch(() => {});
    this.#connection = new ClientConnection(this.#options, {
      opened: (session) => this.#opened(session),
      refused: (why, cause) => this.#refused(why, cause),
      ended: (code, reason) => this.#connectionEnded(code, reason),
    });
    this.#connection.start();
  }

  #opened(session: ClientConnection): void {
    this.#state = "open";
    const again = this.#wasOpen;
    this.#wasOpen = true;
    this.#connecting?.resolve();
    this.#options.events.opened(session, again);
    this.#flush();
  }

  #flush(): void {
    while (this.#peer !== undefined) {
      const message = this.#sendQueue.next();
      if (message === undefined) return;
      const { text, ids } = message;
      // A batch whose calls were all given up in the meantime need not run.
      if (ids.length === 0 || ids.some((id) => this.#options.pending.awaits(id))) {
        this.#peer[SEND](text);
      }
    }
  }

  #refused(why: string, cause: unknown): void {
    const { connector } = this.#options;
    const message = `Cannot connect to ${connector.name} ${why}`;
    this.#connecting?.reject(new RpcConnectionError(message, "unsent", { cause }));
    if (this.#wasOpen) return this.#wait(0);
    if (connector.canReconnect) {
      // Nobody was connected yet: the next call begins anew.
      this.#state = "idle";
      return this.#settle(message);
    }
    this.#finish(message);
    this.#end(1006, message);
  }

  #connectionEnded(code: number, reason: string): void {
    const why = `the connection was closed ${closeText(code, reason)}`;
    if (this.#state === "closed" || !this.#mayReconnect(code)) {
      this.#finish(why);
      return this.#end(code, reason);
    }
    this.#state = "waiting";
    this.#settle(why, resendable(code, reason));
    this.#options.events.closed(code, reason, false);
    if (this.#state === "waiting") this.#wait(retryAfter(code, reason));
  }

  /** Whether another connection is to follow on one that has ended. */
  #mayReconnect(code: number): boolean {
    const { reconnect, connector } = this.#options;
    const { usable, lasted } = this.#connection as ClientConnection;
    const expired = code === 4401;
    const unwanted = expired || code === 1008;
    if (unwanted ? lasted : usable) this.#backoff.reset();
    // A token may live for a short time only; who is revoked is so for longer.
    if (expired ? usable : lasted) this.#wasRefused = false;
    if (reconnect === undefined || code === 1000) return false;
    if (!unwanted) return true;
    // Only another token or address can help, and only once in a row.
    const again = connector.hasFreshCredentials && !this.#wasRefused;
    this.#wasRefused = true;
    return again;
  }

  #wait(atLeastMs: number): void {
    const delay = this.#backoff.next();
    if (delay === undefined) {
      const why = `gave up after ${this.#backoff.attempts} attempts`;
      this.#finish(why);
      return this.#end(1006, why);
    }
    // Also for what waited before: whoever is told of an end may have tried in vain by now.
    this.#stopWaiting();
    this.#state = "waiting";
    const delayMs = Math.min(atLeastMs + delay, MAX_TIMER_MS);
    // Not quietly: as an open connection does, one that is to come keeps the process alive.
    this.#timer.set(delayMs, () => this.#attempt());
    // What the server asked for is kept to, whatever the browser says.
    if (atLeastMs === 0) this.#stopListening = onOnline(() => this.#attempt());
    this.#options.events.reconnecting(this.#backoff.attempts, delayMs);
  }

  #stopWaiting(): void {
    this.#timer.clear();
    this.#stopListening?.();
  }

  /** Ends everything that waits, and everything to come. */
  #finish(why: string): void {
    this.#stopWaiting();
    this.#state = "closed";
    this.#connecting?.reject(closedError("connect"));
    this.#settle(why);
  }

  #end(code: number, reason: string): void {
    this.#options.events.closed(code, reason, true);
    this.#ended.resolve();
  }

  /**
   * Rejects the calls that cannot go on with the next connection.
   *
   * @param resends Which of those that were sent can; left out where there is no next connection.
   */
  #settle(why: string, resends?: (call: PendingCall) => boolean): void {
    if (resends === undefined) {
      this.#sendQueue.clear().forEach((message) => this.#drop(message, why));
    }
    const unsent = this.#sendQueue.ids();
    this.#options.pending.failAll((id, call) => {
      if (unsent.has(id)) return undefined;
      if (resends?.(call)) return this.#sendQueue.takeBack(id, call);
      return new RpcConnectionError(`No answer to "${call.method}": ${why}`, "unknown");
    });
  }

  #drop({ ids, text, outcome }: QueuedMessage, why: string): void {
    const { pending, host: { logger } } = this.#options;
    const what = `Not sent${outcome ? " again" : ""}: ${why}`;
    for (const id of ids) pending.fail(id, new RpcConnectionError(what, outcome));
    // The log is not told why: what Bun and browsers say of a token that is none has it in it.
    if (ids.length === 0) logger.warn(`Not sent: no connection for ${text.slice(0, 200)}`);
  }
}

// When a call that was refused is sent again to a server that stays.
const REFUSED_MS = 1000;

/** Which calls that were sent and not answered go out again on the next connection. */
function resendable(code: number, reason: string): (call: PendingCall) => boolean {
  // Who found a message too long would find it so again: the server or, with 4009, this client.
  if (code % 3000 === 1009) return () => false;
  // A drain ends so, once all that came is answered: what is not answered has not run.
  if (code === 1012 && reason.startsWith("retry-after=")) return () => true;
  return (call) => {
    call.outcome = "unknown";
    return call.options.idempotent === true;
  };
}

/** Milliseconds that a server which goes away asks to stay away. */
function retryAfter(code: number, reason: string): number {
  if (code !== 1012 && code !== 1013) return 0;
  return Number(/retry-after=(\d+)/.exec(reason)?.[1] ?? 0);
}

/** Why nothing can be done with a client any more. */
function closedError(action: string): RpcConnectionError {
  return new RpcConnectionError(`Cannot ${action}: the client is closed`);
}
