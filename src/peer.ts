/**
 * One conversation: texts in, answers out; calls of our own, and their answers.
 *
 * @module
 */

import type { Channel, Flushable, Outgoing, Receiver } from "./channel.ts";
import { Dispatcher } from "./dispatch.ts";
import type { DispatchHost, Outlet, Replies } from "./dispatch.ts";
import { describeError, RpcConnectionError, RpcParseError } from "./errors.ts";
import type { RpcError } from "./errors.ts";
import { checkLength, exceedsBytes } from "./limits.ts";
import { Pending } from "./pending.ts";
import type { CallOptions } from "./pending.ts";
import { checkParams, errorText, notificationText, parseMessage } from "./protocol.ts";
import type { Message } from "./protocol.ts";
import { Connection } from "./request.ts";
import type { Handshake, RpcRequest } from "./request.ts";

/** The side that a peer belongs to: a server, or a client. */
export interface PeerHost extends DispatchHost {
  /** Called once, when nothing more can be said to the peer. */
  ended?(peer: Peer): void;
  /** Called once, after `ended`, when the carrier is gone and its place is free. */
  closed?(peer: Peer, code: number, reason: string): void;
  /** Called when the user of the connection is another than before. */
  userChanged?(peer: Peer): void;
  /** Called for an answer that belongs to no single call: its id is null. */
  orphan?(message: Message): void;
}

/** Both ends of a connection are one of these. */
export class Peer extends Connection implements Receiver, Replies, Outlet, Flushable {
  readonly #host: PeerHost;
  readonly #channel: Channel;
  readonly #dispatcher: Dispatcher;
  #pending: Pending | undefined;
  // A client's calls may go on with its next connection: it settles them itself.
  readonly #sharesPending: boolean;
  #queue: Outgoing[] | undefined;
  #queuedLength = 0;
  #receiving = false;
  #open = true;
  #heard = true;
  #lastBuffered = 0;

  /**
   * @param channel The way out.
   * @param host The side this peer belongs to.
   * @param handshake How the other end came in.
   * @param pending Where calls wait; a client's outlive one connection. Made on first use if left out.
   */
  constructor(channel: Channel, host: PeerHost, handshake: Handshake, pending?: Pending) {
    super(handshake, host.logger);
    this.#channel = channel;
    this.#host = host;
    this.#pending = pending;
    this.#sharesPending = pending !== undefined;
    this.#dispatcher = new Dispatcher(host, this, this);
  }

  override get isOpen(): boolean {
    return this.#open;
  }

  /** Calls of the other end that wait for their handler here. */
  get inFlight(): number {
    return this.#dispatcher.inFlight;
  }

  /** Whether a call waits for its answer, here or at the other end. */
  get isBusy(): boolean {
    return this.#dispatcher.inFlight > 0 || (this.#pending?.size ?? 0) > 0;
  }

  override get bufferedAmount(): number {
    return this.#channel.bufferedAmount + this.#queuedLength;
  }

  receive(text: string | undefined): void {
    if (!this.#open) return;
    this.#heard = true;
    const { maxMessageBytes, maxDepth } = this.#host.limits;
    if (text === undefined) return this.send(BINARY_TEXT);
    if (exceedsBytes(text, maxMessageBytes)) {
      return this.close(1009, `Message over ${maxMessageBytes} bytes (maxMessageBytes)`);
    }
    let message: unknown;
    try {
      message = parseMessage(text, maxDepth);
    } catch (error) {
      return this.send(errorText(null, error as RpcError));
    }
    this.#receiving = true;
    this.#dispatcher.handle(message, this);
    this.#receiving = false;
  }

  alive(): void {
    this.#heard = true;
  }

  closed(code: number, reason: string): void {
    this.#end(code, reason);
    this.#host.closed?.(this, code, reason);
  }

  reply(text: string | undefined, request: RpcRequest | undefined): void {
    if (text !== undefined) this.send(text);
    request?.answered();
  }

  awaits(id: unknown): boolean {
    return this.#pending?.has(id) === true;
  }

  settle(message: Message): void {
    if (message.id === null || message.id === undefined) this.#host.orphan?.(message);
    else this.#pending?.settle(message);
  }

  progress(params: unknown): void {
    try {
      this.#pending?.progress(params);
    } catch (error) {
      this.logger.error(`A call's onProgress failed: ${describeError(error)}`);
    }
  }

  override call<Result = unknown>(
    method: string,
    params?: unknown,
    options: CallOptions = {},
  ): Promise<Result> {
    if (!this.#open) {
      return Promise.reject(
        new RpcConnectionError(`Cannot call "${method}": the connection is closed`),
      );
    }
    const pending = this.#pending ??= new Pending({
      limits: this.#host.limits,
      cancel: (id) => this.notify("$/cancelRequest", { id }),
    });
    const request = { method, params, options, bound: true };
    return pending.call(request, (text) => this.send(text)) as Promise<Result>;
  }

  override notify(method: string, params?: unknown): void {
    const text = this.#checked(method, notificationText(method, checkParams(params)));
    this.send(text);
  }

  /** The one way out: at once where that is fast, else together with all else of this turn. */
  override send(message: Outgoing): void {
    if (!this.#open) return;
    const channel = this.#channel;
    const queued = this.#queue !== undefined && this.#queue.length > 0;
    if (!queued && (channel.defer === undefined || (this.#receiving && channel.corksReceive))) {
      channel.send(message);
      return this.#checkBuffered();
    }
    const queue = this.#queue ??= [];
    this.#queuedLength += typeof message === "string" ? message.length : message.text.length;
    if (queue.push(message) === 1) channel.defer?.(this);
    else if (this.#queuedLength > FLUSH_LENGTH) this.flush();
  }

  /** Sends what this turn has queued. */
  flush(): void {
    const queue = this.#queue;
    if (queue === undefined || queue.length === 0) return;
    this.#queuedLength = 0;
    if (queue.length === 1) {
      const message = queue[0] as Outgoing;
      queue.length = 0;
      this.#channel.send(message);
    } else {
      this.#queue = undefined;
      this.#channel.sendAll?.(queue);
    }
    this.#checkBuffered();
  }

  override close(code = 1000, reason = ""): void {
    if (!this.#open) return;
    this.flush();
    this.#end(code, reason);
    this.#channel.close(code, reason);
  }

  /** Pings the other end, or drops it if it gave no sign of life since the last beat. */
  beat(): void {
    const { bufferedAmount } = this.#channel;
    const before = this.#lastBuffered;
    // Whoever takes what is sent lives, even if its pong has to wait behind that.
    const lives = this.#heard || bufferedAmount < before;
    this.#heard = false;
    this.#lastBuffered = bufferedAmount;
    if (lives) this.#channel.ping?.();
    else if (this.#channel.terminate !== undefined) this.#channel.terminate();
    // Without pings of ours, silence tells something only of one that leaves things unread.
    else if (before > 0) this.close(1001, "No sign of life");
  }

  /** Cuts the connection off, where the runtime can. */
  terminate(): void {
    this.#channel.terminate?.();
  }

  protected override userChanged(): void {
    this.#host.userChanged?.(this);
  }

  #end(code: number, reason: string): void {
    if (!this.#open) return;
    this.#open = false;
    const why = `the connection was closed (${code}${reason === "" ? "" : `: ${reason}`})`;
    if (!this.#sharesPending) {
      this.#pending?.failAll((_id, { method }) =>
        new RpcConnectionError(`No answer to "${method}": ${why}`, "unknown")
      );
    }
    this.#dispatcher.abort(new RpcConnectionError(`The caller is gone: ${why}`, "unknown"));
    this.ended();
    this.#host.ended?.(this);
  }

  #checkBuffered(): void {
    const { maxBufferedBytes } = this.#host.limits;
    if (this.#open && this.#channel.bufferedAmount > maxBufferedBytes) {
      this.close(1013, `Over ${maxBufferedBytes} bytes unread (maxBufferedBytes)`);
    }
  }

  #checked(method: string, text: string): string {
    return checkLength(text, this.#host.limits.maxMessageBytes, `send "${method}"`);
  }
}

const BINARY_TEXT = errorText(
  null,
  new RpcParseError({ data: "Expected a text frame, got a binary one" }),
);
// What a turn may queue before it is written early, so that a burst does not pile up twice.
const FLUSH_LENGTH = 64 * 1024;
