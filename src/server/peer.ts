/**
 * A server's end of a connection: a conversation that gathers what it says, and watches the other end.
 *
 * @module
 */

import { bytesOf } from "../core/channel.ts";
import type { Channel, Flushable, Outgoing, Receiver } from "../core/channel.ts";
import type { ConversationHost } from "../core/session.ts";
import { RpcConnectionError } from "../protocol/errors.ts";
import { Guest } from "./guest.ts";
import type { CallOptions } from "../core/pending_calls.ts";
import type { Handshake } from "../core/request.ts";

/** The server that a peer belongs to. */
export interface PeerHost extends ConversationHost {
  /** Called once, when nothing more can be said to the peer. */
  ended?(peer: Peer): void;
  /** Called once, after `ended`, when the carrier is gone and its place is free. */
  closed?(peer: Peer, code: number, reason: string): void;
  /** Called when the user of the connection is another than before. */
  userChanged?(peer: Peer): void;
}

/** What a server has of each client. */
export class Peer extends Guest implements Receiver, Flushable {
  readonly #host: PeerHost;
  readonly #channel: Channel;
  #queue: Outgoing[] | undefined;
  #queuedLength = 0;
  // How much of the queue was counted in bytes: only whoever asks pays for that.
  #counted = 0;
  #countedBytes = 0;
  #receiving = false;
  #heard = true;
  #lastBuffered = 0;

  /**
   * @param channel The way out.
   * @param host The server.
   * @param handshake How the client came in.
   */
  constructor(channel: Channel, host: PeerHost, handshake: Handshake) {
    super(channel, host, handshake);
    this.#channel = channel;
    this.#host = host;
  }

  override get bufferedAmount(): number {
    const queue = this.#queue;
    if (queue === undefined || queue.length === 0) return this.#channel.bufferedAmount;
    while (this.#counted < queue.length) {
      this.#countedBytes += bytesOf(queue[this.#counted++] as Outgoing);
    }
    return this.#channel.bufferedAmount + this.#countedBytes;
  }

  override receive(text: string | undefined): void {
    if (this.isOpen) this.#heard = true;
    this.#receiving = true;
    super.receive(text);
    this.#receiving = false;
  }

  alive(): void {
    this.#heard = true;
  }

  override closed(code: number, reason: string): void {
    super.closed(code, reason);
    this.#host.closed?.(this, code, reason);
  }

  override call<Result = unknown>(
    method: string,
    params?: unknown,
    options?: CallOptions,
  ): Promise<Result> {
    if (!this.#channel.oneWay) return super.call<Result>(method, params, options);
    return Promise.reject(
      new RpcConnectionError(`Cannot call "${method}": the peer only reads, and cannot answer`),
    );
  }

  /** The one way out: at once where that is fast, else together with all else of this turn. */
  override send(message: Outgoing): void {
    if (!this.isOpen) return;
    const channel = this.#channel;
    const queued = this.#queue !== undefined && this.#queue.length > 0;
    if (!queued && (channel.defer === undefined || (this.#receiving && channel.corksReceive))) {
      channel.send(message);
      return this.checkBuffered();
    }
    const queue = this.#queue ??= [];
    // Characters: to count bytes would cost each message, and `maxBufferedBytes` is judged by the
    // carrier's own count, right after this turn's flush.
    this.#queuedLength += typeof message === "string" ? message.length : message.text.length;
    if (queue.push(message) === 1) channel.defer?.(this);
    else if (this.#queuedLength > FLUSH_LENGTH) this.flush();
  }

  /** Sends what this turn has queued. */
  flush(): void {
    const queue = this.#queue;
    if (queue === undefined || queue.length === 0) return;
    this.#queuedLength = this.#counted = this.#countedBytes = 0;
    if (queue.length === 1) {
      const message = queue[0] as Outgoing;
      queue.length = 0;
      this.#channel.send(message);
    } else {
      this.#queue = undefined;
      this.#channel.sendAll?.(queue);
    }
    this.checkBuffered();
  }

  override close(code = 1000, reason = ""): void {
    if (this.isOpen) this.flush();
    super.close(code, reason);
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

  /** One that only reads has nothing left to wait for, unless it is just about to be answered. */
  protected override lostTopics(): void {
    if (!this.#channel.oneWay || this.isBusy) return;
    // It is still told why.
    queueMicrotask(() => this.close(1000, "No topics are left"));
  }

  protected override userChanged(): void {
    this.#host.userChanged?.(this);
  }
}

// What a turn may queue before it is written early, so that a burst does not pile up twice.
const FLUSH_LENGTH = 64 * 1024;
