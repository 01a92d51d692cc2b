/**
 * One session over one channel: it answers the messages of the other end, and makes calls to it.
 *
 * @module
 */

import { RpcConnectionError } from "../protocol/errors.ts";
import type { ErrorClasses } from "../protocol/errors.ts";
import type { RpcError } from "../protocol/errors.ts";
import { errorText, outgoingText, parseMessage } from "../protocol/message.ts";
import type { Reviver } from "../protocol/message.ts";
import { exceedsBytes } from "../util/utf8.ts";
import { closeCode, closeText } from "./channel.ts";
import type { Channel, Outgoing } from "./channel.ts";
import { BaseConnection } from "./connection.ts";
import type { Handshake } from "./connection.ts";
import type { Dispatcher, DispatcherHost } from "./dispatcher.ts";
import { CHANNEL, DISPATCHER, HOST, OPEN, PENDING, REPLY, SEND } from "./internal.ts";
import type { CallOptions, PendingCalls } from "./pending_calls.ts";
import type { IncomingRequest, ResponseSink } from "./request.ts";

/** The side that a session belongs to: a server, or a client. */
export interface SessionHost extends DispatcherHost {
  /** The classes of errors that the other side answers with. */
  readonly errors?: ErrorClasses | undefined;
  /** Changes the values of each message that a client receives. */
  readonly reviver?: Reviver | undefined;
}

/**
 * The base class of both ends of a connection. It sends each text at once.
 *
 * @typeParam Host The side that the session belongs to.
 */
export abstract class RpcSession<Host extends SessionHost = SessionHost> extends BaseConnection
  implements ResponseSink {
  /** The side that the session belongs to. */
  declare protected readonly [HOST]: Host;
  /** The outgoing direction. */
  protected [CHANNEL]: Channel = NOT_CONNECTED;
  /** Calls that wait for answers of the other end; set by the time that `call` is called. */
  protected abstract readonly [PENDING]: PendingCalls | undefined;
  /** Answers the messages of the other end. */
  protected abstract readonly [DISPATCHER]: Dispatcher;
  #open = false;

  /**
   * @param host The side that the session belongs to.
   * @param handshake How the other end connected.
   */
  constructor(host: Host, handshake: Handshake) {
    super(handshake, host.logger);
    this[HOST] = host;
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
    const { maxMessageBytes } = this[HOST].limits;
    if (text !== undefined && exceedsBytes(text, maxMessageBytes)) {
      return this.close(1009, `Message over ${maxMessageBytes} bytes (maxMessageBytes)`);
    }
    let message: unknown;
    try {
      message = this.parse(text ?? "");
    } catch (error) {
      return this.unreadable(error as RpcError, text === undefined);
    }
    this[DISPATCHER].handle(message, this);
  }

  /** See {@linkcode Receiver.closed}. */
  closed(code: number, reason: string): void {
    this.#end(code, reason);
  }

  [REPLY](text: string | undefined, _request: IncomingRequest | undefined): void {
    if (text !== undefined) this[SEND](text);
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
    const request = { method, params, options, connectionOnly: true };
    const pending = this[PENDING] as PendingCalls;
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
  abstract [SEND](message: Outgoing, ids?: readonly number[]): void;

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
   * Parses a message.
   *
   * @throws {RpcParseError} If it is not JSON, or exceeds a limit.
   */
  protected parse(text: string): unknown {
    const { limits: { maxDepth }, reviver } = this[HOST];
    return parseMessage(text, maxDepth, reviver);
  }

  /** Answers a message that could not be parsed. */
  protected unreadable(error: RpcError, _isBinary: boolean): void {
    this[SEND](errorText(null, error));
  }

  #end(code: number, reason: string): void {
    if (!this.#open) return;
    this.#open = false;
    const why = `the connection was closed ${closeText(code, reason)}`;
    // A client settles its other calls itself, since its next connection may carry them on.
    this[PENDING]?.failAll(why, (_id, { connectionOnly }) => !connectionOnly);
    this[DISPATCHER].abort(new RpcConnectionError(`The caller is gone: ${why}`, "unknown"));
    this.ended();
  }
}

// Nothing is sent before the session is open.
const NOT_CONNECTED = { bufferedAmount: 0 } as Channel;
