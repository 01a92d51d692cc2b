/**
 * The boundary between a session and what carries its texts: one small interface per direction. The
 * carrier implements {@linkcode Channel}; the session implements {@linkcode Receiver}.
 *
 * @module
 */

import { byteLength, encoder } from "../util/utf8.ts";

/**
 * One text for many connections. A carrier that builds frames itself keeps the frame here, so that an
 * event is encoded and framed once, however many connections it goes to.
 */
export class SharedText {
  /** The text, encoded once. */
  readonly text: string;
  /** The frame of the text. Only the carrier writes and reads it. */
  frame: unknown = undefined;
  #byteLength: number | undefined;

  /** @param text The text to share. */
  constructor(text: string) {
    this.text = text;
  }

  /** The text, so that `String(message)` is the text of any {@linkcode Outgoing}. */
  toString(): string {
    return this.text;
  }

  /** Bytes of UTF-8 that the text has; counted on first use. */
  get byteLength(): number {
    return this.#byteLength ??= byteLength(this.text);
  }
}

/** A text to send. */
export type Outgoing = string | SharedText;

/** A queue of texts that {@linkcode Channel.defer} empties later. */
export interface Flushable {
  /** Sends all texts of the queue. Does not throw. */
  flush(): void;
}

/** The outgoing direction. The carrier makes it; one session uses it. */
export interface Channel {
  /**
   * Sends one message. Does not throw; does nothing once the channel is closed.
   *
   * @param message The message. `String(message)` is its text.
   * @param ids The calls of this side in it, if {@linkcode Transport.isConnectionless}; none for
   * notifications.
   */
  send(message: Outgoing, ids?: readonly number[]): void;
  /**
   * Notes that a call needs no answer any more, if {@linkcode Transport.isConnectionless}: a message
   * all of whose calls were cancelled may be aborted. Does not throw.
   *
   * @param id One of the `ids` that `send` was given.
   */
  cancel?(id: number): void;
  /**
   * Sends several texts, in order, in one write. A carrier has this and `defer` only if one write for
   * many texts is faster there. Never throws; does nothing once the channel is closed.
   */
  sendAll?(messages: readonly Outgoing[]): void;
  /**
   * Calls `flush` once, at the end of the current turn of the event loop. A session sends at once if
   * its channel has no `defer`.
   */
  defer?(queue: Flushable): void;
  /**
   * Whether `bufferedAmount` counts everything that was sent in a turn, and falls only in later turns,
   * even if the network would take it at once.
   *
   * @default {false}
   */
  readonly countsWholeTurns?: boolean;
  /**
   * Whether the carrier itself joins texts that are sent while it delivers one. On such a carrier
   * sending at once is faster than `defer`.
   *
   * @default {false}
   */
  readonly corksReceive?: boolean;
  /**
   * Starts to close the connection. Later calls do nothing. Never throws. The carrier then calls the
   * receiver's `closed`, after this has returned.
   *
   * @param code A close code of RFC 6455, section 7.4.
   * @param reason A text for the peer. The carrier cuts it to 123 bytes.
   */
  close(code: number, reason: string): void;
  /** Drops the connection without a closing handshake, for a peer that does not answer. */
  terminate?(): void;
  /** Sends a ping frame. Missing if the runtime lets no program send one. */
  ping?(): void;
  /**
   * Stops reading what the other side sends, until `resume` is called: for a program that hands messages on to
   * somebody slower. Missing if the carrier cannot, as standard WebSockets.
   */
  pause?(): void;
  /** Reads on after `pause`. */
  resume?(): void;
  /** Bytes that were sent and that the network has not taken yet. */
  readonly bufferedAmount: number;
  /**
   * Whether the carrier itself notices that a peer is gone, so that a server sends no heartbeats.
   *
   * @default {false}
   */
  readonly watchesPeer?: boolean;
  /**
   * Whether the other side can end what it sends and still read, as a program whose input comes from a pipe.
   * The carrier then asks the receiver's `inputEnded`.
   *
   * @default {false}
   */
  readonly halfCloses?: boolean;
  /** Whether the peer can send nothing, so that it could not answer calls. @default {false} */
  readonly oneWay?: boolean;
}

/** The incoming direction. The session makes it; the carrier calls it. */
export interface Receiver {
  /**
   * Handles one message. The carrier calls it for each message, in order, and never after `closed`.
   * Does not throw.
   *
   * @param text The message, or `undefined` for a binary frame.
   */
  receive(text: string | undefined): void;
  /** Notes a sign of life other than a message, such as a pong. Does not throw. */
  markAlive(): void;
  /**
   * Asks what to do when the other side has ended what it sends, and may still read. Does not throw. Without
   * this the connection ends.
   *
   * @returns Whether the connection stays open until this side closes it.
   */
  inputEnded?(): boolean;
  /**
   * Notes that the connection has ended. The carrier calls it exactly once, whichever side closed the
   * connection. Does not throw.
   *
   * @param code The close code; 1006 if no close frame arrived.
   * @param reason The close reason, or an empty text.
   */
  closed(code: number, reason: string): void;
  /**
   * Handles the answer to one message, if {@linkcode Transport.isConnectionless}. The carrier calls it
   * once for each `send`. Only a client's receiver has this. Does not throw.
   *
   * @param ids What `send` was given.
   * @param answer The answer's text, or why it did not come; `""` if there was none, or if `part` got it.
   * @param status What else the carrier knows of the answer, for an error's message: `404 Not Found`.
   */
  exchanged?(ids: readonly number[], answer: string | Error, status?: string): void;
  /**
   * Tells whether this side wants to know what the other side tells before its answer, such as progress, if
   * {@linkcode Transport.isConnectionless}. The carrier then asks the other side for an answer that is a stream
   * of messages. If it never does, `onProgress` and the client's methods get nothing, and no error says so.
   * Only a client's receiver has this. Does not throw.
   *
   * @param ids What `send` was given.
   */
  listens?(ids: readonly number[]): boolean;
  /**
   * Handles one message of an answer that is a stream of messages; the last of them is the answer itself. The
   * carrier calls it for each message as it arrives, and still calls `exchanged` at the end. Only a client's receiver has this.
   *
   * @param ids What `send` was given.
   * @param message The text of the message.
   * @returns Whether a call still waits; if not, the rest of the stream is of no use.
   * @throws {RpcParseError} If the message is not JSON, or exceeds a limit.
   */
  part?(ids: readonly number[], message: string): boolean;
}

/** What a runtime needs to open a connection. */
export interface UpgradeContext {
  /** The subprotocol to answer with, if any. */
  readonly protocol: string | undefined;
  /** Bytes that one message may have, for a runtime that can refuse a longer one as it arrives. */
  readonly maxMessageBytes: number;
  /** Milliseconds between pings, for a runtime that sends its own. 0 turns pings off. */
  readonly heartbeatMs: number;
  /** Called once, when the connection is open. */
  opened(channel: Channel): Receiver;
  /** Called once instead of `opened`, if the connection ends before it is open. */
  refused(code: number, reason: string): void;
}

/** Returns the text of an outgoing message, for a carrier that keeps no frames. */
export function textOf(message: Outgoing): string {
  return typeof message === "string" ? message : message.text;
}

/** Counts the bytes of UTF-8 of an outgoing message. */
export function bytesOf(message: Outgoing): number {
  return typeof message === "string" ? byteLength(message) : message.byteLength;
}

/**
 * A close code that may be sent. Some codes may only be reported: 1005 for a close frame without a code,
 * 1006 for a connection without a close frame, 1015 for TLS that failed. A program that hands on how
 * another connection has ended would make carriers throw, or send what peers must refuse.
 *
 * @param code The code as a program gave it.
 * @returns The code if it may be sent; 1000 for 1005, and 1011 for everything else.
 * @see {@link https://www.rfc-editor.org/rfc/rfc6455#section-7.4 | RFC 6455, section 7.4}
 */
export function closeCode(code: number): number {
  if (code === 1005) return 1000;
  return /^(?:100[0-37-9]|101[0-4]|[34]\d{3})$/.test(`${code}`) ? code : 1011;
}

/** Cuts a close reason to the 123 bytes that a close frame has room for (RFC 6455, section 5.5). */
export function closeReason(reason: string): string {
  // encodeInto never writes a part of a character.
  return reason.slice(0, encoder.encodeInto(reason, new Uint8Array(123)).read);
}

/** Formats a close code and reason for error texts: `(1012: Restart)`. */
export function closeText(code: number, reason: string): string {
  return `(${code}${reason && `: ${reason}`})`;
}

/**
 * Gives a channel that passes everything on to another, and maps what is sent: message by message, or all of a turn.
 *
 * @param channel The other channel.
 * @param map Gives what is sent in place of a message; `undefined` if nothing is.
 */
export function mapChannel(
  channel: Channel,
  map: (message: Outgoing) => Outgoing | undefined,
): Channel {
  return {
    get bufferedAmount() {
      return channel.bufferedAmount;
    },
    corksReceive: channel.corksReceive ?? false,
    countsWholeTurns: channel.countsWholeTurns ?? false,
    halfCloses: channel.halfCloses ?? false,
    oneWay: channel.oneWay ?? false,
    watchesPeer: channel.watchesPeer ?? false,
    send(message, ids) {
      const mapped = map(message);
      if (mapped !== undefined) channel.send(mapped, ids);
    },
    ...channel.sendAll && {
      sendAll(messages: readonly Outgoing[]) {
        const mapped = messages.map(map).filter((each) => each !== undefined);
        if (mapped.length > 0) channel.sendAll?.(mapped);
      },
    },
    ...channel.defer && { defer: (queue: Flushable) => channel.defer?.(queue) },
    ...channel.cancel && { cancel: (id: number) => channel.cancel?.(id) },
    close: (code, reason) => channel.close(code, reason),
    ...channel.terminate && { terminate: () => channel.terminate?.() },
    ...channel.ping && { ping: () => channel.ping?.() },
    ...channel.pause && { pause: () => channel.pause?.(), resume: () => channel.resume?.() },
  };
}
