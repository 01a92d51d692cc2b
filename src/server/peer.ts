/**
 * The server's end of a connection: a session that collects what it sends, has topics, and notices
 * when the client is gone.
 *
 * @module
 */

import type { Channel, Flushable, Outgoing, Receiver } from "../core/channel.ts";
import type { Handshake, ServerMembers, SubscriberConnection } from "../core/connection.ts";
import {
  CHANNEL,
  COUNT_DROPPED,
  DISPATCHER,
  EXPLAINS,
  HOST,
  OPEN,
  PENDING,
  REMOVE_TOPIC,
  REPLY,
  SEND,
  TOPICS,
  USER_CHANGED,
} from "../core/internal.ts";
import type { OutgoingCall, RunOutgoing } from "../core/outgoing.ts";
import { PendingCalls } from "../core/pending_calls.ts";
import type { CallOptions } from "../core/pending_calls.ts";
import type { IncomingRequest } from "../core/request.ts";
import { addServerMembers, NO_TOPICS } from "../core/server_connection.ts";
import { markAnswered } from "../core/server_request.ts";
import { RpcSession } from "../core/session.ts";
import type { SessionHost } from "../core/session.ts";
import {
  RpcConnectionError,
  RpcError,
  RpcInvalidParamsError,
  RpcParseError,
} from "../protocol/errors.ts";
import type { Message } from "../protocol/message.ts";
import { parseUntrusted } from "../protocol/untrusted.ts";
import { OneShotTimer } from "../util/timer.ts";
import { IncomingQueue } from "./incoming_queue.ts";
import type { IncomingQueueHost, QueuedPeer } from "./incoming_queue.ts";
import { closeWhenAnswered } from "./last_answers.ts";
import { ServerDispatcher } from "./server_dispatcher.ts";
import type { ServerDispatcherHost } from "./server_dispatcher.ts";
import type { SlowPeer } from "./memory_budget.ts";
import type { TurnPacer } from "./turn_pacer.ts";
import { WriteQueue } from "./write_queue.ts";

/** The server that a peer belongs to. */
export interface PeerHost extends SessionHost, ServerDispatcherHost {
  /** Whether callers are told why they were refused. @default {false} */
  readonly explainRefusals?: boolean;
  /** Shares turns between peers. */
  readonly pacer?: TurnPacer;
  /** Called once, when nothing more can be sent to the peer. */
  ended?(peer: Peer): void;
  /** Called once, after `ended`, when the carrier is gone and its place is free. */
  closed?(peer: Peer, code: number, reason: string): void;
  /** Called when the user of the connection has changed. */
  userChanged?(peer: Peer): void;
  /** Runs the middleware around calls to clients; `undefined` if there is none. */
  readonly outgoing?: RunOutgoing<OutgoingCall> | undefined;
}

/** One client, as its server sees it. */
export class Peer extends RpcSession<PeerHost>
  implements Receiver, Flushable, SubscriberConnection, SlowPeer, QueuedPeer {
  static {
    addServerMembers(this);
  }

  protected override readonly [DISPATCHER]: ServerDispatcher;
  // These are made on first use: most connections of a busy server are idle, and are not called.
  protected override [PENDING]: PendingCalls | undefined;
  #queue: WriteQueue | undefined;
  #topics: Set<string> | undefined;
  #dropped = 0;
  #receiving = false;
  // Messages in a row that could not be parsed.
  #unreadable = 0;
  #alive = true;
  #lastBuffered = 0;
  // Messages that wait for later turns, while there are some.
  #incoming: IncomingQueue | undefined;
  // What to do once those are handled: the carrier has ended, or its input has.
  #atEnd: (() => void) | undefined;
  // Runs while much is unread that may be only a burst.
  #burst: OneShotTimer | undefined;

  /**
   * @param channel Carries the texts that are sent.
   * @param host The server.
   * @param handshake How the client connected.
   */
  constructor(channel: Channel, host: PeerHost, handshake: Handshake) {
    super(host, handshake);
    this[DISPATCHER] = new ServerDispatcher(host, this, () => this[PENDING]);
    this[OPEN](channel);
  }

  override get id(): string {
    return this.handshake.id ?? super.id;
  }

  override get bufferedAmount(): number {
    return this[CHANNEL].bufferedAmount + (this.#queue?.byteLength ?? 0);
  }

  /** Whether the server has to find out by heartbeats whether the client is gone. */
  get needsHeartbeat(): boolean {
    return this[CHANNEL].watchesPeer !== true;
  }

  /** Whether the server can drop the connection without a closing handshake. */
  get canTerminate(): boolean {
    return this[CHANNEL].terminate !== undefined;
  }

  override get subscriptions(): ReadonlySet<string> {
    return this.#topics ?? NO_TOPICS;
  }

  override get dropped(): number {
    return this.#dropped;
  }

  /** How many calls of the client are under way. */
  get inFlight(): number {
    return this[DISPATCHER].inFlight;
  }

  /** How many calls to the client are under way. */
  get pendingCalls(): number {
    return this[PENDING]?.size ?? 0;
  }

  /** Whether a call is under way, from the client or to it, or messages wait. */
  get isBusy(): boolean {
    return this.inFlight > 0 || this.pendingCalls > 0 || this.#incoming !== undefined;
  }

  override receive(text: string | undefined): void {
    if (this.isOpen) this.#alive = true;
    const { pacer } = this[HOST];
    // Most turns are so short that nothing has to wait.
    const isLate = this.#incoming !== undefined ||
      (pacer !== undefined && !pacer.admit(text === undefined ? 0 : text.length));
    if (isLate) {
      this.#incoming ??= new IncomingQueue(this, this[CHANNEL], this[HOST] as IncomingQueueHost);
      if (this.#incoming.take(text)) return;
    }
    this.#receiving = true;
    this.handle(text);
    this.#receiving = false;
    // The queue would be written only after messages of others were handled.
    if (isLate) this.flush();
  }

  handle(text: string | undefined): void {
    const dispatcher = this[DISPATCHER];
    dispatcher.messageLength = text?.length ?? 0;
    dispatcher.text = text ?? "";
    super.receive(text);
    dispatcher.text = "";
  }

  drained(): void {
    this.#incoming = undefined;
    this.#atEnd?.();
  }

  markAlive(): void {
    this.#alive = true;
  }

  inputEnded(): boolean {
    this[PENDING]?.failAll("the client has ended what it sends", () => false);
    this.#endsLater(true);
    return this.isBusy && closeWhenAnswered(this);
  }

  override closed(code: number, reason: string): void {
    if (this.#endsLater(false, () => this.closed(code, reason))) return;
    super.closed(code, reason);
    this[HOST].closed?.(this, code, reason);
  }

  /** Whether messages wait. What came before the end is handled before it, as if none had to wait. */
  #endsLater(reads: boolean, end?: () => void): boolean {
    const waits = this.#incoming?.end(reads) === true;
    this.#atEnd = waits ? end : undefined;
    if (!waits) this.#incoming = undefined;
    return waits;
  }

  override call<Result = unknown>(
    method: string,
    params?: unknown,
    options?: CallOptions,
  ): Promise<Result> {
    if (this[CHANNEL].oneWay) {
      const text = `Cannot call "${method}": the peer reads an event stream, and cannot answer`;
      return Promise.reject(new RpcConnectionError(text));
    }
    this[PENDING] ??= new PendingCalls({
      limits: this[HOST].limits,
      logger: this.logger,
      errors: this[HOST].errors,
      cancel: (id) => this.notify("$/cancelRequest", { id }),
    });
    const { outgoing } = this[HOST];
    if (outgoing === undefined) return super.call<Result>(method, params, options);
    const call: OutgoingCall = { connection: this, method, params, options: options ?? {} };
    const send = (each: OutgoingCall) => super.call(each.method, each.params, each.options);
    return outgoing(call, send) as Promise<Result>;
  }

  override [REPLY](text: string | undefined, request: IncomingRequest | undefined): void {
    if (text !== undefined) {
      this[HOST].pacer?.count(text.length);
      this[SEND](text);
    }
    markAnswered(request);
  }

  // Getters, since TypeScript lets no method override a member of a merged interface.
  override get subscribe(): ServerMembers["subscribe"] {
    return (topics, { last = 0 } = {}) => this.#subscribe(topics, last);
  }

  override get unsubscribe(): ServerMembers["unsubscribe"] {
    return async (topics) => void await this.#ask("unsubscribe", { topics: [topics].flat() });
  }

  async #subscribe(topics: string | readonly string[], last: number): Promise<void> {
    const names = [topics].flat();
    const counts = Object.fromEntries(names.map((name) => [name, last]));
    const answer = await this.#ask("subscribe", { topics: names, last: counts }) as string[];
    const refused = names.find((name) => !answer.includes(name));
    if (refused === undefined) return;
    throw new RpcInvalidParamsError({
      message: `Cannot subscribe to "${refused}": no such topic, or not for this client`,
    });
  }

  /** Runs a call as if the client had sent it, so that guards, middleware and limits hold. */
  #ask(method: string, params: unknown): Promise<unknown> {
    if (!this.isOpen) {
      const message = `Cannot call "${method}" for the peer: the connection is closed`;
      return Promise.reject(new RpcConnectionError(message));
    }
    const { promise, resolve, reject } = Promise.withResolvers<unknown>();
    const message = { jsonrpc: "2.0", method, params, id: crypto.randomUUID() };
    this[DISPATCHER].handle(message, {
      [REPLY](text, request) {
        const { result, error } = JSON.parse(text ?? "{}") as Message;
        if (error === undefined) resolve(result);
        else {
          const { code, message, data } = error as RpcError;
          reject(new RpcError(code, message, { data }));
        }
        markAnswered(request);
      },
    });
    return promise;
  }

  /** Sends a text: at once if that is fast, else together with everything else of this turn. */
  override [SEND](message: Outgoing): void {
    if (!this.isOpen) return;
    const channel = this[CHANNEL];
    const waits = this.#queue !== undefined && !this.#queue.isEmpty;
    if (!waits && (channel.defer === undefined || (this.#receiving && channel.corksReceive))) {
      channel.send(message);
      this.#checkBuffered();
      return;
    }
    const queue = this.#queue ??= new WriteQueue();
    queue.push(message);
    if (!waits) channel.defer?.(this);
    else if (queue.isFull) this.flush();
  }

  /** Sends what was collected in this turn. */
  flush(): void {
    if (this.#queue === undefined || this.#queue.isEmpty) return;
    this.#queue.flush(this[CHANNEL]);
    this.#checkBuffered();
  }

  override close(code = 1000, reason = ""): void {
    if (this.isOpen) this.flush();
    super.close(code, reason);
  }

  /** Pings the client, or drops it if it gave no sign of life since the last heartbeat. */
  heartbeat(): void {
    const channel = this[CHANNEL];
    const { bufferedAmount } = channel;
    const before = this.#lastBuffered;
    // A client that reads is alive, even if its pong waits behind what it still has to read.
    // So is one that waits for its turn to be read.
    const alive = this.#alive || bufferedAmount < before || this.#incoming !== undefined;
    this.#alive = false;
    this.#lastBuffered = bufferedAmount;
    if (this.#atEnd !== undefined) return;
    if (alive) channel.ping?.();
    else if (channel.terminate !== undefined) channel.terminate();
    // This carrier cannot ping, so silence proves nothing unless the client also leaves things unread.
    else if (before > 0) this.close(1001, "No sign of life");
  }

  /** Drops the connection without a closing handshake, if the runtime can. */
  terminate(): void {
    this[CHANNEL].terminate?.();
  }

  drop(): boolean {
    this.logger.warn("Dropped a peer that does not read: all peers together use too much memory");
    this.close(1013, "Too much is unread by all peers together (maxTotalBytes)");
    this.terminate();
    return this.canTerminate;
  }

  protected override parse(text: string): unknown {
    const { maxDepth, maxValues } = this[HOST].limits;
    const message = parseUntrusted(text, maxDepth, maxValues);
    this.#unreadable = 0;
    return message;
  }

  protected override unreadable(error: RpcError, isBinary: boolean): void {
    // Each costs a parse, an answer and perhaps a line in a log. No client does that for long.
    if (++this.#unreadable <= MAX_UNREADABLE) super.unreadable(isBinary ? BINARY : error, isBinary);
    else this.close(1008, `Over ${MAX_UNREADABLE} messages in a row are no JSON`);
  }

  /** Closes the connection if the client leaves too much unread. */
  #checkBuffered(): void {
    const { maxBufferedBytes } = this[HOST].limits;
    const { bufferedAmount } = this[CHANNEL];
    if (this.isOpen && bufferedAmount > maxBufferedBytes && !this.#isBurst(bufferedAmount)) {
      this.close(1013, `Over ${maxBufferedBytes} bytes unread (maxBufferedBytes)`);
    }
    this[HOST].budget?.note(this, bufferedAmount);
  }

  /** Whether so much is unread only for now, so that the client is judged later. */
  #isBurst(unread: number): boolean {
    const { maxBufferedBytes } = this[HOST].limits;
    if (!this[CHANNEL].countsWholeTurns || unread > BURST * maxBufferedBytes) return false;
    if (this.#burst !== undefined) return true;
    this.#burst = new OneShotTimer();
    this.#burst.setDeadline(BURST_MS, () => {
      this.#burst = undefined;
      if (!this.isOpen || this[CHANNEL].bufferedAmount <= maxBufferedBytes) return;
      this.close(1013, `Over ${maxBufferedBytes} bytes unread (maxBufferedBytes)`);
    });
    return true;
  }

  get [EXPLAINS](): boolean {
    return this[HOST].explainRefusals === true;
  }

  get [TOPICS](): Set<string> {
    return this.#topics ??= new Set();
  }

  [REMOVE_TOPIC](topic: string): void {
    if (this.#topics?.delete(topic) && this.#topics.size === 0) this.#lastTopicEnded();
  }

  [COUNT_DROPPED](count: number): void {
    this.#dropped += count;
  }

  protected override ended(): void {
    super.ended();
    this[HOST].ended?.(this);
  }

  [USER_CHANGED](): void {
    this[HOST].userChanged?.(this);
  }

  /** Closes an event stream whose last topic has ended, unless a call of its is still to be answered. */
  #lastTopicEnded(): void {
    if (!this[CHANNEL].oneWay || this.isBusy) return;
    // Later, because the caller still notifies the peer of why the topic ended.
    queueMicrotask(() => this.close(1000, "No topics are left"));
  }
}

// How much of a burst may wait, in times of `maxBufferedBytes`, and for how long.
const BURST = 4;
const BURST_MS = 1000;
const BINARY = new RpcParseError({ data: "Expected a text frame, got a binary one" });
const MAX_UNREADABLE = 100;
