/**
 * A topic's messages as the stream keeps them.
 *
 * @module
 */

import type { MsgHdrs } from "@nats-io/transport-node";

/** What the broker writes into a message's headers. */
export const Header = {
  /** The epoch that its publisher knew. */
  epoch: "Rpc-Epoch",
  /** When it was published, in milliseconds since 1970. */
  at: "Rpc-At",
  /** Marks a message that only gives a position. */
  start: "Rpc-Start",
  /** The server drops a second message with the same id. */
  id: "Nats-Msg-Id",
  /** Of a live message: its place in the stream, and that of the one before it in its subject. */
  sequence: "Nats-Sequence",
  previous: "Nats-Last-Sequence",
} as const;

/** A message of a topic. */
export interface KeptMessage {
  readonly seq: number;
  /** When it was published, by the clock of its publisher. */
  readonly at: number;
  /** When the stream took it, by the clock of the server: publishers' clocks differ. */
  readonly storedAt: number;
  /** Tells it from another message that was given the same sequence. */
  readonly id: string;
  /** `undefined` if it only gives a position. */
  readonly data: string | undefined;
  /**
   * Of a message that gives topics without events their position: how many events of each topic the
   * stream has kept since then, at least.
   */
  readonly keepsSince?: number;
}

/** A message as the server sends it. */
export interface RawMessage {
  readonly seq: number;
  readonly headers?: MsgHdrs | undefined;
  readonly timestamp: string;
  string(): string;
}

/** What headers say of a message; empty texts for what they lack. */
export interface MessageHeaders {
  epoch: string;
  at: string;
  id: string;
  sequence: string;
  previous: string;
  /** Whether it only gives a position. */
  isStart: boolean;
}

/** Reads all headers at once: the client would look through all of them for each. */
export function readHeaders(headers: MsgHdrs | undefined): MessageHeaders {
  const found = { epoch: "", at: "", id: "", sequence: "", previous: "", isStart: false };
  for (const [name, values] of headers ?? []) {
    const value = values[0] ?? "";
    switch (name) {
      case Header.epoch:
        found.epoch = value;
        break;
      case Header.at:
        found.at = value;
        break;
      case Header.id:
        found.id = value;
        break;
      case Header.sequence:
        found.sequence = value;
        break;
      case Header.previous:
        found.previous = value;
        break;
      case Header.start:
        found.isStart = true;
        break;
    }
  }
  return found;
}

/**
 * A short hash that tells a message from any other that is given its sequence after a loss of data:
 * FNV-1a of the message's id, or of its data if somebody else published it without an id.
 */
export function identityOf({ id }: MessageHeaders, data: string): string {
  return shortHash(id || data);
}

/** The identity of a message with this id. */
export function shortHash(text: string): string {
  let hash = 0x811c9dc5;
  for (let n = 0; n < text.length; n++) hash = Math.imul(hash ^ text.charCodeAt(n), 0x01000193);
  return (hash >>> 0).toString(36);
}

/** What the broker needs of a message. */
export function keptMessage(message: RawMessage): KeptMessage {
  const headers = readHeaders(message.headers);
  const text = message.string();
  const storedAt = Date.parse(message.timestamp);
  return {
    seq: message.seq,
    at: Number(headers.at) || storedAt,
    storedAt,
    id: identityOf(headers, text),
    data: headers.isStart ? undefined : text,
  };
}
