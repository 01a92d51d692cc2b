/**
 * A client's connection to its server: one carrier connection after the other, until it is closed.
 *
 * @module
 */

import { closeText } from "../core/channel.ts";
import { SEND, START } from "../core/internal.ts";
import type { PendingCall, PendingCalls } from "../core/pending_calls.ts";
import { RpcConnectionError } from "../protocol/errors.ts";
import { backoffMs, DEFAULT_BACKOFF } from "../util/backoff.ts";
import type { BackoffOptions } from "../util/backoff.ts";
import { checkLimits } from "../util/check_option.ts";
import { MAX_TIMER_MS, OneShotTimer } from "../util/timer.ts";
import { ClientConnection } from "./connection.ts";
import type { ClientHost } from "./host.ts";
import { onOnline } from "./online.ts";
import type { ReconnectOptions } from "./options.ts";
import { SendQueue } from "./send_queue.ts";
import type { QueuedMessage } from "./send_queue.ts";

/**
 * The state of a client: `idle` before the first call, then `connecting` and `open`; `waiting` between
 * two attempts to reconnect; `closed` at last.
 */
export type ConnectionState = "idle" | "connecting" | "open" | "waiting" | "closed";

/** The connection of one client. */
export class ReconnectingConnection {
  readonly #host: ClientHost;
  readonly #pending: PendingCalls;
  readonly #sendQueue: SendQueue;
  readonly #canReconnect: boolean;
  readonly #repeatsFirst: boolean;
  readonly #backoff: BackoffOptions;
  // How many attempts have failed since the last success.
  #attempts = 0;
  // For the next attempt; while a session is open, for messages that wait for the server or the network.
  readonly #timer = new OneShotTimer();
  readonly #ended = Promise.withResolvers<void>();
  #state: ConnectionState = "idle";
  #connecting: PromiseWithResolvers<void> | undefined;
  #connection: ClientConnection | undefined;
  #wasOpen = false;
  // Whether the server closed the last session because of who this client is.
  #wasRejected = false;
  // Whether messages wait because the network has much to send already.
  #isBlocked = false;
  // Whether the wait may be cut short: not if the server has asked for it.
  #mayHurry = false;
  #stopListening: (() => void) | undefined;

  /**
   * @param host The client.
   * @param pending The calls that wait for an answer.
   * @throws {RangeError} If an option of `reconnect` is not a whole number.
   */
  constructor(host: ClientHost, pending: PendingCalls) {
    const { transport: { canReconnect, isConnectionless }, reconnect = true, limits } = host;
    // `true` and `false` have none of its members.
    const backoff = reconnect as Partial<ReconnectOptions>;
    this.#canReconnect = !!reconnect && canReconnect === true && !isConnectionless;
    this.#repeatsFirst = this.#canReconnect && backoff.first === true;
    this.#backoff = checkLimits(backoff, DEFAULT_BACKOFF);
    this.#pending = pending;
    this.#host = host;
    // A carrier without connections is never away, so nothing has to wait for it.
    const queueLimits = isConnectionless ? { maxQueued: Infinity, maxQueuedMs: Infinity } : limits;
    this.#sendQueue = new SendQueue(queueLimits, (message) => {
      this.#drop(message, `waited ${limits.maxQueuedMs} ms (maxQueuedMs)`);
    });
  }

  /** The state now. */
  get state(): ConnectionState {
    return this.#state;
  }

  /**
   * Connects, unless it is connected. If it waits to reconnect, it makes the attempt at once.
   *
   * @returns Resolves when calls can be sent. Rejects with {@linkcode RpcConnectionError} if the
   * attempt fails.
   */
  connect(): Promise<void> {
    if (this.#state === "closed") return Promise.reject(closedError("connect"));
    if (this.#state === "idle" || this.#state === "waiting") this.#attempt();
    return (this.#connecting as PromiseWithResolvers<void>).promise;
  }

  /**
   * Sends a message: at once, or as soon as there is a session.
   *
   * @param text The message.
   * @param ids The calls in it; none for notifications.
   * @throws {RpcConnectionError} If the client is closed, or `maxQueued` messages wait already.
   */
  send(text: string, ids: readonly number[]): void {
    if (this.#state === "closed") throw closedError("send");
    const session = this.#session;
    if (session && !this.#mustWait(session)) return session[SEND](text, ids);
    this.#sendQueue.add({ text, ids });
    if (this.#state === "idle") this.#attempt();
  }

  /**
   * Tells the server that a call needs no answer any more, if the call was sent.
   *
   * @param id The call's id.
   */
  cancel(id: number): void {
    if (!this.#sendQueue.cancel(id)) this.#connection?.cancel(id);
  }

  /**
   * Queues a call again that the server was too busy to run.
   *
   * @param id The call's id.
   * @param call The call.
   * @returns Whether it was queued.
   */
  retry(id: number, call: PendingCall): boolean {
    if (this.#state !== "open" || !this.#canReconnect) return false;
    // A server that shuts down answers so, and the next session sends the call. If it stays, this one
    // does after a second.
    if (this.#sendQueue.size === 0) this.#timer.setUnref(1000, () => this.#flush());
    this.#sendQueue.takeBack(id, call);
    return true;
  }

  /**
   * Closes for good. Calls that wait are rejected.
   *
   * @returns Resolves when the server has closed too, or has not done so in time.
   */
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

  /** The session that calls can be sent on now. */
  get #session(): ClientConnection | undefined {
    return this.#state === "open" && this.#connection?.isOpen ? this.#connection : undefined;
  }

  #attempt(): void {
    this.#stopListening ??= onOnline(() => {
      if (this.#state === "open") this.#connection?.probe();
      else if (this.#state === "waiting" && this.#mayHurry) this.#attempt();
    });
    this.#timer.clear();
    this.#state = "connecting";
    // Those who wait for the first connection go on waiting.
    if (!this.#repeatsFirst || this.#wasOpen) this.#connecting = undefined;
    this.#connecting ??= Promise.withResolvers();
    // `connect()` hands the failure to its callers; if there are none, nothing is lost by ignoring it.
    this.#connecting.promise.catch(() => {});
    this.#connection = new ClientConnection(this.#host, this.#pending, {
      opened: (session) => this.#opened(session),
      refused: (why, cause) => this.#refused(why, cause),
      ended: (code, reason) => this.#sessionEnded(code, reason),
    });
    this.#connection[START]();
  }

  #opened(session: ClientConnection): void {
    this.#state = "open";
    const again = this.#wasOpen;
    this.#wasOpen = true;
    this.#connecting?.resolve();
    this.#host.opened(session, again);
    this.#flush();
  }

  #flush(): void {
    this.#isBlocked = false;
    for (let session; (session = this.#session) && !this.#mustWait(session);) {
      const message = this.#sendQueue.next();
      if (!message) return;
      const { text, ids } = message;
      // A batch whose calls were all cancelled meanwhile need not run.
      if (ids.length === 0 || ids.some((id) => this.#pending.get(id))) {
        session[SEND](text, ids);
      }
    }
  }

  /** Whether messages have to wait until the network has sent more of what it has. */
  #mustWait({ bufferedAmount }: ClientConnection): boolean {
    if (!this.#isBlocked && bufferedAmount > this.#host.limits.maxBufferedBytes / 4) {
      this.#isBlocked = true;
      // A standard socket has no event for this, so look again every 20 ms.
      this.#timer.setUnref(20, () => this.#flush());
    }
    return this.#isBlocked;
  }

  #refused(why: string, cause: unknown): void {
    const { canReconnect, name = "the server" } = this.#host.transport;
    const message = `Cannot connect to ${name} ${why}`;
    const waitsOn = this.#repeatsFirst && !this.#wasOpen;
    if (!waitsOn) {
      this.#connecting?.reject(new RpcConnectionError(message, undefined, { cause }));
    }
    if (waitsOn || this.#wasOpen) {
      // A network that is away comes back, but a login that is refused has to be seen.
      if (why.startsWith("(prepare")) this.#host.logger.warn(message);
      return this.#wait(0);
    }
    if (canReconnect) {
      // It never was connected: the next call makes another attempt.
      this.#state = "idle";
      return this.#settle(message);
    }
    this.#finish(message);
    this.#end(1006, message);
  }

  #sessionEnded(code: number, reason: string): void {
    const why = `the connection was closed ${closeText(code, reason)}`;
    if (this.#state === "closed" || !this.#mayReconnect(code)) {
      this.#finish(why);
      return this.#end(code, reason);
    }
    this.#state = "waiting";
    this.#settle(why, resendable(code, reason));
    this.#host.closed(code, reason, false);
    if (this.#state === "waiting") this.#wait(retryAfter(code, reason));
  }

  /** Whether another session is to follow one that has ended. */
  #mayReconnect(code: number): boolean {
    const { usable, lasted } = this.#connection as ClientConnection;
    const isExpired = code === 4401;
    const isRejected = isExpired || code === 1008;
    // A server that could not keep up, with 4013 this client's word for it, may not keep up again.
    const isSlow = code % 3000 === 1013;
    if (isRejected || isSlow ? lasted : usable) this.#attempts = 0;
    // A token may live for a short time only, so being usable is enough; a revoked user stays revoked.
    if (isExpired ? usable : lasted) this.#wasRejected = false;
    if (!this.#canReconnect || code === 1000) return false;
    if (!isRejected) return true;
    // Only other credentials or another address can help, and only once in a row.
    if (this.#wasRejected) return false;
    return this.#wasRejected = this.#host.transport.hasFreshCredentials === true;
  }

  #wait(atLeastMs: number): void {
    if (this.#attempts >= this.#backoff.maxAttempts) {
      const why = `gave up after ${this.#attempts} attempts`;
      this.#finish(why);
      return this.#end(1006, why);
    }
    // A listener for the `close` event may have called `connect()`, and that may have failed by now.
    this.#timer.clear();
    this.#state = "waiting";
    const delay = backoffMs(this.#backoff, this.#attempts++);
    const delayMs = Math.min(atLeastMs + delay, MAX_TIMER_MS);
    // Keeps the process alive, as an open connection does.
    this.#timer.set(delayMs, () => this.#attempt());
    this.#mayHurry = atLeastMs === 0;
    this.#host.reconnecting(this.#attempts, delayMs);
  }

  /** Rejects everything that waits, and everything to come. */
  #finish(why: string): void {
    this.#timer.clear();
    this.#stopListening?.();
    this.#state = "closed";
    this.#connecting?.reject(new RpcConnectionError(`Cannot connect: ${why}`));
    this.#settle(why);
  }

  #end(code: number, reason: string): void {
    this.#host.closed(code, reason, true);
    this.#ended.resolve();
  }

  /**
   * Rejects the calls that cannot go on with the next session.
   *
   * @param why Why there is no answer.
   * @param resends Which of the calls that were sent can be sent again; left out if no session follows.
   */
  #settle(why: string, resends?: (call: PendingCall) => boolean): void {
    if (!resends) { for (const message of this.#sendQueue.clear()) this.#drop(message, why); }
    const unsent = this.#sendQueue.ids();
    this.#pending.failAll(why, (id, call) => {
      if (unsent.has(id)) return true;
      if (!resends?.(call)) return false;
      this.#sendQueue.takeBack(id, call);
      return true;
    });
  }

  #drop({ ids, text, outcome }: QueuedMessage, why: string): void {
    const what = `Not sent${outcome ? " again" : ""}: ${why}`;
    for (const id of ids) this.#pending.fail(id, new RpcConnectionError(what, outcome));
    // Without `why`: what Bun and browsers say of a malformed token contains the token.
    if (ids.length === 0) this.#host.logger.warn(`Notification not sent: ${text.slice(0, 200)}`);
  }
}

/** Which calls that were sent and not answered may be sent again on the next session. */
function resendable(code: number, reason: string): (call: PendingCall) => boolean {
  const isAsked = reason.startsWith("retry-after=");
  // A message that was too long for the server or, with 4009, for this client, would be so again. The
  // calls may also be what the server, or this client, could not keep up with.
  const isOurs = code % 3000 === 1009 || (code % 3000 === 1013 && !isAsked);
  if (isOurs) return () => false;
  // A server that drains closes so after it has answered all that it ran: the rest has not run.
  if (code === 1012 && isAsked) return () => true;
  return (call) => {
    call.outcome = "unknown";
    return call.options.idempotent === true;
  };
}

/**
 * How many milliseconds a server that goes away asks its clients to stay away: an hour at most, since a
 * server that is hostile, or counts wrongly, must not send its clients away for days.
 */
function retryAfter(code: number, reason: string): number {
  if (code !== 1012 && code !== 1013) return 0;
  return Math.min(Number(/retry-after=(\d+)/.exec(reason)?.[1] ?? 0), 3_600_000);
}

function closedError(action: string): RpcConnectionError {
  return new RpcConnectionError(`Cannot ${action}: the client is closed`);
}
