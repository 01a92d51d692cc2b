/**
 * One conversation: texts in, answers out; calls of our own, and their answers.
 *
 * @module
 */

import { closeText } from "./channel.ts";
import type { Channel, Outgoing } from "./channel.ts";
import { RpcConnectionError, RpcParseError } from "../protocol/errors.ts";
import type { RpcError } from "../protocol/errors.ts";
import { exceedsBytes } from "../protocol/limits.ts";
import { Pending } from "./pending_calls.ts";
import type { CallOptions } from "./pending_calls.ts";
import { errorText, outgoingText, parseMessage } from "../protocol/message.ts";
import { Connection } from "./request.ts";
import type { Handshake, Outlet, RpcRequest } from "./request.ts";
import type { Responder, ResponderHost } from "./dispatcher.ts";

/** The side that a conversation belongs to: a server, or a client. */
export interface ConversationHost extends ResponderHost {
  /** Called once, when nothing more can be said to the other end. */
  ended?(connection: Connection): void;
}

/** Both ends of a connection are one of these. What it says goes out at once. */
export abstract class Conversation extends Connection implements Outlet {
  readonly #host: ConversationHost;
  #channel: Channel | undefined;
  #open = false;
  /** Where calls wait for the answer of the other end; a server's peers seldom have any. */
  protected pending: Pending | undefined;

  /**
   * @param host The side this end belongs to.
   * @param handshake How the other end came in.
   * @param pending Where calls wait; a client's outlive one connection. Made on first use if left out.
   */
  constructor(host: ConversationHost, handshake: Handshake, pending?: Pending) {
    super(handshake, host.logger);
    this.#host = host;
    this.pending = pending;
  }

  /**
   * Says that messages pass from now on.
   *
   * @param channel The way out.
   */
  protected begin(channel: Channel): void {
    this.#channel = channel;
    this.#open = true;
  }

  /** What answers the other end. */
  protected abstract readonly responder: Responder;

  override get isOpen(): boolean {
    return this.#open;
  }

  override get bufferedAmount(): number {
    return this.#channel?.bufferedAmount ?? 0;
  }

  /** Takes one message; `undefined` stands for a binary frame. Does not throw. */
  receive(text: string | undefined): void {
    if (!this.#open) return;
    const { maxMessageBytes, maxDepth } = this.#host.limits;
    if (text !== undefined && exceedsBytes(text, maxMessageBytes)) {
      return this.close(1009, `Message over ${maxMessageBytes} bytes (maxMessageBytes)`);
    }
    let message: unknown;
    try {
      if (text === undefined) throw BINARY;
      message = parseMessage(text, maxDepth);
    } catch (error) {
      return this.send(errorText(null, error as RpcError));
    }
    this.responder.handle(message, this);
  }

  /** Says that the connection has ended. Does not throw. */
  closed(code: number, reason: string): void {
    this.#end(code, reason);
  }

  reply(text: string | undefined, request: RpcRequest | undefined): void {
    if (text !== undefined) this.send(text);
    request?.answered();
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
    const pending = this.pending ??= new Pending({
      limits: this.#host.limits,
      logger: this.logger,
      cancel: (id) => this.notify("$/cancelRequest", { id }),
    });
    const request = { method, params, options, bound: true };
    return pending.call(request, (text) => this.send(text)) as Promise<Result>;
  }

  override notify(method: string, params?: unknown): void {
    this.send(outgoingText({ method, params }, this.#host.limits.maxMessageBytes));
  }

  override send(message: Outgoing): void {
    if (!this.#open) return;
    this.#channel?.send(message);
    this.checkBuffered();
  }

  override close(code = 1000, reason = ""): void {
    if (!this.#open) return;
    this.#end(code, reason);
    this.#channel?.close(code, reason);
  }

  /** Closes the connection where the other end leaves too much unread. */
  protected checkBuffered(): void {
    const { maxBufferedBytes } = this.#host.limits;
    if (this.#open && (this.#channel as Channel).bufferedAmount > maxBufferedBytes) {
      this.close(1013, `Over ${maxBufferedBytes} bytes unread (maxBufferedBytes)`);
    }
  }

  #end(code: number, reason: string): void {
    if (!this.#open) return;
    this.#open = false;
    const why = `the connection was closed ${closeText(code, reason)}`;
    // A client's other calls may go on with its next connection: the client settles them itself.
    this.pending?.failAll((_id, { method, bound }) =>
      bound ? new RpcConnectionError(`No answer to "${method}": ${why}`, "unknown") : undefined
    );
    this.responder.abort(new RpcConnectionError(`The caller is gone: ${why}`, "unknown"));
    this.ended();
    this.#host.ended?.(this);
  }
}

const BINARY = new RpcParseError({ data: "Expected a text frame, got a binary one" });
