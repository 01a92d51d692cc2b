/**
 * Pulling a topic's messages out of a stream: all of them, in order, or none.
 *
 * A pull may end early, where the server or this process is under load, and what was sent may be lost where
 * the connection was lost. Neither is ever taken for the whole.
 *
 * @module
 */

import type { MsgHdrs } from "@nats-io/transport-node";

/** What the broker says of a message. */
export const Header = {
  /** The epoch that its publisher knew. */
  epoch: "Rpc-Epoch",
  /** When it was published, in milliseconds since 1970. */
  at: "Rpc-At",
  /** Only gives a quiet topic a position. */
  start: "Rpc-Start",
} as const;

/** A message of a topic. */
export interface KeptMessage {
  readonly seq: number;
  readonly at: number;
  /** `undefined` where it only gives a position. */
  readonly data: string | undefined;
}

/** A message as a consumer delivers it. */
export interface PulledMessage {
  readonly seq: number;
  readonly info: { readonly deliverySequence: number };
  readonly headers?: MsgHdrs | undefined;
  readonly timestamp: string;
  string(): string;
}

/** A consumer that has delivered nothing yet. */
export interface PullSource {
  fetch(
    options: { max_messages: number; expires: number },
  ): Promise<AsyncIterable<PulledMessage>>;
}

/** What was pulled. */
export interface Pulled {
  /** The oldest first. */
  readonly messages: readonly KeptMessage[];
  /** Whether all that followed the first of them is among them, as far as was asked for. */
  readonly isWhole: boolean;
}

/** What is of interest. */
export interface PullRange {
  /** The first sequence that may be among them. */
  readonly from: number;
  /** The last sequence that is of interest. It is there, unless it was thrown away meanwhile. */
  readonly to: number;
  /** At most so many messages. */
  readonly most: number;
}

// How long a pull waits for a server of a cluster that is a little behind.
const PULL_MS = 2_000;

/**
 * Pulls messages until the last that is of interest has come.
 *
 * @param isThere Whether a message is still kept.
 * @throws {Error} Where they do not come, or one of them is missing.
 */
export async function pullAll(
  source: PullSource,
  range: PullRange,
  isThere: (seq: number) => Promise<boolean>,
): Promise<Pulled> {
  const messages = await pullFrom(source, range);
  const [first] = messages;
  // What goes from a stream goes oldest first: what is before what is left may have gone unread.
  return { messages, isWhole: first !== undefined && await isThere(first.seq) };
}

async function pullFrom(
  source: PullSource,
  { from, to, most }: PullRange,
): Promise<KeptMessage[]> {
  const pulled: KeptMessage[] = [];
  let delivered = 0;
  let reached = from - 1;
  while (reached < to && pulled.length < most) {
    const before = delivered;
    const max_messages = Math.min(most - pulled.length, to - reached);
    for await (const message of await source.fetch({ max_messages, expires: PULL_MS })) {
      // The consumer counts what it delivers.
      if (message.info.deliverySequence !== ++delivered) {
        throw new Error("a part of the history was lost on the way");
      }
      reached = message.seq;
      if (reached <= to) pulled.push(keptMessage(message));
      if (reached >= to || pulled.length === most) break;
    }
    if (delivered === before) throw new Error("history did not come");
  }
  return pulled;
}

/** When a message was published; `otherwise`, where somebody else published it. */
export function publishedAt(headers: MsgHdrs | undefined, otherwise: number): number {
  return Number(headers?.get(Header.at)) || otherwise;
}

/** Whether a message only gives a position. */
export function isStart(headers: MsgHdrs | undefined): boolean {
  return headers?.has(Header.start) ?? false;
}

/** What is of interest of a message. */
export function keptMessage(message: Omit<PulledMessage, "info">): KeptMessage {
  const { headers, seq, timestamp } = message;
  return {
    seq,
    at: publishedAt(headers, Date.parse(timestamp)),
    data: isStart(headers) ? undefined : message.string(),
  };
}
