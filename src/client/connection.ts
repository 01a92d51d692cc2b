/**
 * A client's end of one connection: a session, from the attempt to open it to its end.
 *
 * @module
 */

import { closeText } from "../core/channel.ts";
import type { Channel, Outgoing, Receiver } from "../core/channel.ts";
import type { Handshake } from "../core/connection.ts";
import { Dispatcher } from "../core/dispatcher.ts";
import { CHANNEL, DISPATCHER, HOST, OPEN, PENDING, SEND, START } from "../core/internal.ts";
import type { PendingCalls } from "../core/pending_calls.ts";
import { RpcSession } from "../core/session.ts";
import { describeError, RpcConnectionError } from "../protocol/errors.ts";
import type { Message } from "../protocol/message.ts";
import { runSafely } from "../util/maybe_promise.ts";
import { OneShotTimer } from "../util/timer.ts";
import { isHidden } from "./online.ts";
import type { ClientHost } from "./host.ts";

// How often a client looks whether it has slept; how long a server may leave too much unread, without
// reading any of it; and how long a connection lasts that was of use, even if nothing was sent on it.
const LONG_MS = 10_000;
// How long a server may take to answer a ping after that.
const PROBE_MS = 2000;

/** What a connection reports: that it is open and, later, that it has ended; or that it never opened. */
export interface ClientConnectionEvents {
  /** Called at most once. */
  opened(connection: ClientConnection): void;
  /** Called at most once, instead of `opened`. */
  refused(why: string, cause?: unknown): void;
  /** Called at most once, after `opened`. */
  ended(code: number, reason: string): void;
}

/** One connection of a client. After it has ended it reports nothing more. */
export class ClientConnection extends RpcSession<ClientHost> implements Receiver {
  declare protected readonly [DISPATCHER]: Dispatcher;
  declare protected readonly [PENDING]: PendingCalls;
  readonly #events: ClientConnectionEvents;
  readonly #attempt = new AbortController();
  // For what is due next: the end of the attempt, a heartbeat, the end of the closing handshake.
  readonly #timer = new OneShotTimer();
  #ready = false;
  #over = false;
  #receivedAt = -1;
  #probedAt = -Infinity;
  // For a server that leaves too much unread.
  #unreadTimer: OneShotTimer | undefined;
  #openedAt = 0;

  /**
   * @param host The client.
   * @param pending The calls that wait for an answer. They outlive this connection.
   * @param events Where it reports.
   */
  constructor(host: ClientHost, pending: PendingCalls, events: ClientConnectionEvents) {
    const { name: url = "the server" } = host.transport;
    super(host, { url, headers: new Headers(), user: null } as Handshake);
    this[PENDING] = pending;
    this[DISPATCHER] = new Dispatcher(host, this, () => pending);
    this.#events = events;
  }

  /** Whether it was of use: the server sent something, or it lasted for a while. */
  get usable(): boolean {
    return this.#receivedAt >= 0 || this.lasted;
  }

  /** Whether it lasted for a while. */
  get lasted(): boolean {
    return performance.now() - this.#openedAt > LONG_MS;
  }

  /** Begins the attempt to connect. */
  [START](): void {
    const { transport, limits: { connectMs, maxMessageBytes } } = this[HOST];
    if (connectMs) {
      this.#timer.setDeadline(connectMs, () => this.#refuse(`(not within ${connectMs} ms)`));
    }
    runSafely(() =>
      transport.open({
        maxMessageBytes,
        signal: this.#attempt.signal,
        opened: (channel) => this.#opened(channel),
        refused: (code, reason) => this.closed(code, reason),
      }), (error) => this.#refuse(`(${error})`, error));
  }

  override receive(text: string | undefined): void {
    this.#receivedAt = performance.now();
    super.receive(text);
  }

  markAlive(): void {}

  exchanged(ids: readonly number[], answer: string | Error, status = ""): void {
    const pending = this[PENDING];
    let cause: unknown;
    try {
      if (typeof answer !== "string") throw answer;
      this.part(ids, answer);
    } catch (error) {
      cause = error;
    }
    // A notification needs no answer, and a cancelled call no error.
    if (ids.length > 0 ? !ids.some((id) => pending.get(id)) : answer === "") return;
    const why = (answer as Error).message ?? `${status} ${(answer as string).slice(0, 200)}`;
    const message = `${this.handshake.url} did not answer the call: ${why}`;
    // The carrier cannot tell whether the message had arrived before the exchange failed.
    const error = new RpcConnectionError(message, "unknown", { cause });
    for (const id of ids) pending.fail(id, error);
    if (ids.length === 0) this.logger.warn(`A notification failed: ${describeError(error)}`);
  }

  listens(ids: readonly number[]): boolean {
    const pending = this[PENDING];
    return ids.some((id) => pending.get(id)?.options.onProgress) || this[HOST].listens();
  }

  part(ids: readonly number[], message: string): boolean {
    const pending = this[PENDING];
    for (const each of [this.parse(message)].flat() as (Message | null)[]) {
      const { id = null, error, method } = each ?? {};
      if (method !== undefined) this[DISPATCHER].handle(each, this);
      else {
        for (const own of ids) {
          // An error without an id is about the whole message.
          if (own === id || (id === null && error)) pending.settle({ ...each, id: own });
        }
      }
    }
    return ids.length === 0 || ids.some((id) => pending.get(id));
  }

  override closed(code: number, reason: string): void {
    super.closed(code, reason);
    if (!this.#ready) return this.#refuse(closeText(code, reason));
    if (this.#over) return;
    this.#end();
    this.#events.ended(code, reason);
  }

  /** Closes; `ended` is reported once the server has closed too, or has not done so in time. */
  override close(code?: number, reason?: string): void {
    super.close(code, reason);
    // A server that is gone answers no close. One that lives has a second to do so.
    if (!this.#over) this.#timer.setUnref(1000, () => this.closed(1006, "No answer"));
  }

  /** Closes at once and reports nothing of it. */
  drop(code?: number): void {
    this.#end();
    this.close(code);
    this.#attempt.abort();
  }

  /** Asks the server at once whether it is still there, with little patience. */
  probe(): void {
    const now = performance.now();
    if (!this.isOpen || now < this.#probedAt + PROBE_MS || this[HOST].transport.isConnectionless) {
      return;
    }
    this.#probedAt = now;
    this.#ask(PROBE_MS);
  }

  /** Sends a text. Unlike a server, a client gives the other end time to read. */
  override [SEND](message: Outgoing, ids?: readonly number[]): void {
    if (!this.isOpen) return;
    this[CHANNEL].send(message, ids);
    this.#checkUnread();
  }

  /** Tells the server, as its carrier can, that a call needs no answer any more. */
  cancel(id: number): void {
    const channel = this[CHANNEL];
    if (channel.cancel) channel.cancel(id);
    else this.notify("$/cancelRequest", { id });
  }

  #opened(channel: Channel): Receiver {
    this[OPEN](channel);
    // Not at once: the transport must have its receiver before it is told to close.
    void Promise.resolve(this).then(this.#over ? undefined : this[HOST].prepare).then(
      (prepared) => this.#begin(prepared),
      (error) => this.#refuse(`(prepare failed: ${error})`, error),
    );
    return this;
  }

  #begin(prepared: unknown): void {
    if (this.#over) return this.close();
    if (prepared === false) return this.#refuse("(prepare gave false)");
    if (!this.isOpen) return this.#refuse("(prepare closed the connection)");
    this.#ready = true;
    this.#openedAt = performance.now();
    this.#timer.clear();
    if (!this[HOST].transport.isConnectionless) this.#watch();
    this.#events.opened(this);
  }

  #refuse(why: string, cause?: unknown): void {
    if (this.#over) return;
    this.drop();
    this.#events.refused(why, cause);
  }

  /** Asks for a sign of life after a silence, and after a sleep of this computer. */
  #watch(): void {
    const { heartbeatMs } = this[HOST].limits;
    const silentMs = performance.now() - Math.max(this.#receivedAt, this.#openedAt);
    this.#wait(heartbeatMs > 0 ? heartbeatMs - silentMs : LONG_MS, (slept) => {
      if (slept && !isHidden()) return this.#ask(PROBE_MS);
      const isDue = heartbeatMs > 0 && this.#receivedAt < performance.now() - heartbeatMs;
      if (isDue) this.#ask(heartbeatMs);
      else this.#watch();
    });
  }

  /** Asks for a sign of life. Without one the connection is dropped. */
  #ask(patienceMs: number): void {
    const askedAt = performance.now();
    // Any message counts as a sign of life, an error too.
    this.call("rpc.ping", undefined, { timeoutMs: 0 }).catch(() => {});
    this.#wait(patienceMs, (slept) => {
      if (this.#receivedAt >= askedAt) return this.#watch();
      // What was sent before a sleep proves nothing: the answer may have been lost with the network.
      if (slept) return this.#ask(PROBE_MS);
      this.drop(1001);
      this.#events.ended(1006, `No answer to a ping within ${patienceMs} ms`);
    });
  }

  /** Waits, and tells whether this computer slept meanwhile. */
  #wait(delayMs: number, next: (slept: boolean) => void): void {
    // The clock of `performance` may stand still during a sleep.
    const dueAt = Date.now() + delayMs;
    this.#timer.setDeadline(delayMs, () => next(Date.now() - dueAt > PROBE_MS));
  }

  /** Closes the connection if the server leaves too much unread for too long. */
  #checkUnread(): void {
    const { maxBufferedBytes } = this[HOST].limits;
    const unread = this.bufferedAmount;
    if (unread <= maxBufferedBytes || this.#unreadTimer) return;
    (this.#unreadTimer = new OneShotTimer()).setDeadline(LONG_MS, () => {
      this.#unreadTimer = undefined;
      // As long as it reads anything it is only slow.
      if (this.bufferedAmount < unread) return this.#checkUnread();
      this.close(1013, `Over ${maxBufferedBytes} bytes unread (maxBufferedBytes)`);
    });
  }

  #end(): void {
    this.#over = true;
    this.#timer.clear();
    this.#unreadTimer?.clear();
  }
}
