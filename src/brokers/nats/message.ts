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
} as const;

/** A message of a topic. */
export interface KeptMessage {
  readonly seq: number;
  readonly at: number;
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

/** When a message was published; `otherwise` if the broker did not publish it. */
export function publishedAt(headers: MsgHdrs | undefined, otherwise: number): number {
  return Number(headers?.get(Header.at)) || otherwise;
}

/** Whether a message only gives a position. */
export function isStart(headers: MsgHdrs | undefined): boolean {
  return headers?.has(Header.start) ?? false;
}

/**
 * A short hash that tells a message from any other that is given its sequence after a loss of data:
 * FNV-1a of the message's id, or of its data if somebody else published it without an id.
 */
export function identityOf(headers: MsgHdrs | undefined, data: string): string {
  return shortHash(headers?.get(Header.id) || data);
}

/** The identity of a message with this id. */
export function shortHash(text: string): string {
  let hash = 0x811c9dc5;
  for (let n = 0; n < text.length; n++) hash = Math.imul(hash ^ text.charCodeAt(n), 0x01000193);
  return (hash >>> 0).toString(36);
}

/** What the broker needs of a message. */
export function keptMessage({ headers, seq, timestamp, string }: RawMessage): KeptMessage {
  const text = string();
  return {
    seq,
    at: publishedAt(headers, Date.parse(timestamp)),
    id: identityOf(headers, text),
    data: isStart(headers) ? undefined : text,
  };
}
