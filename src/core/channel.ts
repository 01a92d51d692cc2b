/**
 * The gate between a conversation and whatever carries its texts: two small records, one for each
 * direction. A runtime fills the first and feeds the second.
 *
 * @module
 */

import { byteLength } from "../util/utf8.ts";

/**
 * One text for many connections. A carrier that can frame it ahead keeps the frame here, so that
 * an event is encoded and framed once, however many receive it.
 */
export class SharedText {
  /** The text, encoded once. */
  readonly text: string;
  /** What the carrier made of the text; its own to fill and to read. */
  frame: unknown = undefined;
  #byteLength: number | undefined;

  /** @param text The text to share. */
  constructor(text: string) {
    this.text = text;
  }

  /** Bytes of UTF-8 that the text has; counted once, where somebody asks. */
  get byteLength(): number {
    return this.#byteLength ??= byteLength(this.text);
  }
}

/** A text on its way out. */
export type Outgoing = string | SharedText;

/** Something that holds texts back until {@linkcode Channel.defer} calls it. */
export interface Flushable {
  /** Sends what was held back. Does not throw. */
  flush(): void;
}

/** The way out. Made by a runtime, held by one conversation. */
export interface Channel {
  /** Sends one text frame. Never throws; does nothing once the channel is closed. */
  send(message: Outgoing): void;
  /**
   * Sends several texts, in order, in one write. Only carriers that gain by it have this and
   * `defer`. Never throws; does nothing once the channel is closed.
   */
  sendAll?(messages: readonly Outgoing[]): void;
  /**
   * Calls `flush` once, at the end of the current turn of the event loop. Where this is missing,
   * texts are sent at once.
   */
  defer?(outbox: Flushable): void;
  /**
   * Whether the carrier itself joins what is sent while it delivers a text: there, sending at once
   * is the fast way.
   */
  readonly corksReceive?: boolean;
  /**
   * Begins the closing handshake, once; later calls do nothing. Never throws. The receiver's
   * `closed` follows.
   *
   * @param code A close code of RFC 6455, section 7.4.
   * @param reason At most 123 bytes arrive; the carrier cuts the rest.
   */
  close(code: number, reason: string): void;
  /** Drops the connection without a closing handshake, for a peer that no longer answers. */
  terminate?(): void;
  /** Sends a ping frame, where the runtime has one that a program may send. */
  ping?(): void;
  /** Bytes that were sent and not yet taken by the network. */
  readonly bufferedAmount: number;
  /** Whether nothing comes back, so that calls could never be answered. @default {false} */
  readonly oneWay?: boolean;
}

/** The way in. Made by a conversation, called by a runtime. */
export interface Receiver {
  /**
   * Takes one message; `undefined` stands for a binary frame. Called for each message in order,
   * never after `closed`. Does not throw.
   */
  receive(text: string | undefined): void;
  /** Notes a sign of life that is no message: a pong. Does not throw. */
  markAlive(): void;
  /**
   * Says that the connection has ended, whoever ended it. Called exactly once, with 1006 where no
   * close frame came. Does not throw.
   */
  closed(code: number, reason: string): void;
}

/** What a runtime is told of a connection that is to be opened. */
export interface UpgradeContext {
  /** The subprotocol to answer with, if any. */
  readonly protocol: string | undefined;
  /** What a runtime that can refuse a long message while it arrives should refuse. */
  readonly maxMessageBytes: number;
  /** Milliseconds between pings, for a runtime that sends its own; 0: none. */
  readonly heartbeatMs: number;
  /** Called once, when texts can pass. */
  opened(channel: Channel): Receiver;
  /** Called once instead of `opened`, when the connection ended before it was open. */
  refused(code: number, reason: string): void;
}

/** The text of an outgoing message, for carriers that share nothing. */
export function textOf(message: Outgoing): string {
  return typeof message === "string" ? message : message.text;
}

/** How many bytes of UTF-8 an outgoing message has. */
export function bytesOf(message: Outgoing): number {
  return typeof message === "string" ? byteLength(message) : message.byteLength;
}

/** Cuts a close reason to the 123 bytes that fit a control frame (RFC 6455, section 5.5). */
export function closeReason(reason: string): string {
  if (reason.length * 3 <= 123) return reason;
  // encodeInto stops after the last character that fits as a whole.
  return reason.slice(0, new TextEncoder().encodeInto(reason, new Uint8Array(123)).read);
}

/** How a connection has ended, in words for people: `(1012: Restart)`. */
export function closeText(code: number, reason: string): string {
  return `(${code}${reason && `: ${reason}`})`;
}
