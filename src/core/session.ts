/**
 * One session over one channel: it answers the messages of the other end, and makes calls to it.
 *
 * @module
 */

import { RpcConnectionError, RpcParseError } from "../protocol/errors.ts";
import type { ErrorClasses } from "../protocol/errors.ts";
import type { RpcError } from "../protocol/errors.ts";
import { errorText, outgoingText, parseMessage } from "../protocol/message.ts";
import { exceedsBytes } from "../util/utf8.ts";
import { closeCode, closeText } from "./channel.ts";
import type { Channel, Outgoing } from "./channel.ts";
import { BaseConnection } from "./connection.ts";
import type { Handshake } from "./connection.ts";
import type { Dispatcher, DispatcherHost } from "./dispatcher.ts";
import { ANSWERED, CHANNEL, DISPATCHER, HOST, OPEN, PENDING, REPLY, SEND } from "./internal.ts";
import { PendingCalls } from "./pending_calls.ts";
import type { CallOptions } from "./pending_calls.ts";
import type { IncomingRequest, ResponseSink } from "./request.ts";

/** The side that a session belongs to: a server, or a client. */
export interface SessionHost extends DispatcherHost {
  /** The classes of errors that the other side answers with. */
  readonly errors?: ErrorClasses | undefined;
  /** Called once, when the session has ended. */
  ended?(connection: BaseConnection): void;
}

/**
 * The base class of both ends of a connection. It sends each text at once.
 *
 * @typeParam Host The side that the session belongs to.
 */
export abstract class RpcSession<Host extends SessionHost = SessionHost> extends BaseConnection
  implements ResponseSink {
  /** The side that the session belongs to. */
  protected readonly [HOST]: Host;
  /** The outgoing direction. */
  protected [CHANNEL]: Channel = NOT_CONNECTED;
  /** Calls that wait for answers of the other end. Made on first use: most peers of a server have none. */
  protected [PENDING]: PendingCalls | undefined;
  /** Answers the messages of the other end. */
  protected abstract readonly [DISPATCHER]: Dispatcher;
  #open = false;
  // Messages in a row that could not be parsed.
  #unreadable = 0;

  /**
   * @param host The side that the session belongs to.
   * @param handshake How the other end connected.
   * @param pending Where calls wait. A client passes its own, since its calls outlive one connection.
   */
  constructor(host: Host, handshake: Handshake, pending?: PendingCalls) {
    super(handshake, host.logger);
    this[HOST] = host;
    this[PENDING] = pending;
  }

  get isOpen(): boolean {
    return this.#open;
  }

  get bufferedAmount(): number {
    return this[CHANNEL].bufferedAmount;
  }

  /** See {@linkcode Receiver.receive}. */
  receive(text: string | undefined): void {
    if (!this.#open) return;
    const { maxMessageBytes, maxDepth, maxValues } = this[HOST].limits;
    if (text !== undefined && exceedsBytes(text, maxMessageBytes)) {
      return this.close(1009, `Message over ${maxMessageBytes} bytes (maxMessageBytes)`);
    }
    let message: unknown;
    try {
      if (text === undefined) throw BINARY;
      message = parseMessage(text, maxDepth, maxValues);
    } catch (error) {
      // Each costs a parse, an answer and perhaps a line in a log. No client does that for long.
      if (++this.#unreadable > MAX_UNREADABLE) {
        return this.close(1008, `Over ${MAX_UNREADABLE} messages in a row are no JSON`);
      }
      return this[SEND](errorText(null, error as RpcError));
    }
    this.#unreadable = 0;
    this[DISPATCHER].handle(message, this);
  }

  /** See {@linkcode Receiver.closed}. */
  closed(code: number, reason: string): void {
    this.#end(code, reason);
  }

  [REPLY](text: string | undefined, request: IncomingRequest | undefined): void {
    if (text !== undefined) this[SEND](text);
    request?.[ANSWERED]();
  }

  call<Result = unknown>(
    method: string,
    params?: unknown,
    options: CallOptions = {},
  ): Promise<Result> {
    if (!this.#open) {
      return Promise.reject(
        new RpcConnectionError(`Cannot call "${method}": the connection is closed`),
      );
    }
    const pending = this[PENDING] ??= new PendingCalls({
      limits: this[HOST].limits,
      logger: this.logger,
      errors: this[HOST].errors,
      cancel: (id) => this.notify("$/cancelRequest", { id }),
    });
    const request = { method, params, options, connectionOnly: true };
    return pending.call(request, (text) => this[SEND](text)) as Promise<Result>;
  }

  notify(method: string, params?: unknown): void {
    this[SEND](outgoingText({ method, params }, this[HOST].limits.maxMessageBytes));
  }

  close(code = 1000, reason = ""): void {
    if (!this.#open) return;
    const valid = closeCode(code);
    this.#end(valid, reason);
    this[CHANNEL].close(valid, reason);
  }

  /** Sends a text that is encoded already and may be shared with other connections. */
  [SEND](message: Outgoing, ids?: readonly number[]): void {
    if (!this.#open) return;
    this[CHANNEL].send(message, ids);
    this.checkBuffered();
  }

  /**
   * Opens the session: from now on it sends and receives.
   *
   * @param channel The outgoing direction.
   */
  protected [OPEN](channel: Channel): void {
    this[CHANNEL] = channel;
    this.#open = true;
  }

  /**
   * Closes the connection if the other end leaves too much unread.
   *
   * @returns How many bytes it leaves unread.
   */
  protected checkBuffered(): number {
    const { maxBufferedBytes } = this[HOST].limits;
    const { bufferedAmount } = this[CHANNEL];
    if (this.#open && bufferedAmount > maxBufferedBytes && !this.isBurst(bufferedAmount)) {
      this.close(1013, `Over ${maxBufferedBytes} bytes unread (maxBufferedBytes)`);
    }
    return bufferedAmount;
  }

  /** Whether so much is unread only for now, so that the other end may be judged later. */
  protected isBurst(_unread: number): boolean {
    return false;
  }

  #end(code: number, reason: string): void {
    if (!this.#open) return;
    this.#open = false;
    const why = `the connection was closed ${closeText(code, reason)}`;
    // A client settles its other calls itself, since its next connection may carry them on.
    this[PENDING]?.failAll((_id, { method, connectionOnly }) =>
      connectionOnly
        ? new RpcConnectionError(`No answer to "${method}": ${why}`, "unknown")
        : undefined
    );
    this[DISPATCHER].abort(new RpcConnectionError(`The caller is gone: ${why}`, "unknown"));
    this.ended();
    this[HOST].ended?.(this);
  }
}

const BINARY = new RpcParseError({ data: "Expected a text frame, got a binary one" });
const NOT_CONNECTED: Channel = { bufferedAmount: 0, send() {}, close() {} };
const MAX_UNREADABLE = 100;
