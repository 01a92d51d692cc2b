/**
 * Pulls a topic's messages out of a stream: all of them, in order, or none.
 *
 * A pull may end early if the server or this process is under load, and messages may be lost on the
 * way if the connection is. Neither may ever pass for the whole.
 *
 * @module
 */

import { keptMessage } from "./message.ts";
import type { KeptMessage, RawMessage } from "./message.ts";

/** A message as a consumer delivers it. */
export interface PulledMessage extends RawMessage {
  readonly info: { readonly deliverySequence: number };
}

/** A consumer that has delivered nothing yet. */
export interface PullSource {
  fetch(
    options: { max_messages: number; expires: number },
  ): Promise<AsyncIterable<PulledMessage>>;
}

/** Which messages to pull. */
export interface PullRange {
  /** The first sequence that may be among them. */
  readonly from: number;
  /** The last sequence that is of interest. It was there a moment ago. */
  readonly to: number;
  /** At most so many messages. */
  readonly most: number;
}

// How long one pull waits for a server of a cluster that is a little behind.
const PULL_MS = 2_000;

/**
 * Pulls messages until the last that is of interest has come, or as many as were asked for.
 *
 * @param source Where they come from.
 * @param range Which messages.
 * @returns Them, the oldest first.
 * @throws {Error} If they do not come, if one of them is lost on the way, or if the consumer begins
 *   before `from`. Servers before 2.11 let it do so on a replica that has not yet received that
 *   sequence, and the replica's count of messages is then wrong as well.
 */
export async function pullAll(source: PullSource, range: PullRange): Promise<KeptMessage[]> {
  const { from, to, most } = range;
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
      if (message.seq <= reached) throw new Error("a replica is behind and cannot serve history");
      reached = message.seq;
      if (reached <= to) pulled.push(keptMessage(rawOf(message)));
      if (reached >= to || pulled.length === most) break;
    }
    if (delivered === before) throw new Error("history did not come");
  }
  return pulled;
}

function rawOf(message: PulledMessage): RawMessage {
  const { headers, seq, timestamp } = message;
  return { headers, seq, timestamp, string: () => message.string() };
}
