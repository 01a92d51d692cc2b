/**
 * Reads a page of a topic's history, and says exactly how far it is whole.
 *
 * The stream drops a subject's messages oldest first. So a message that is still there once the page
 * has been read proves that all later ones were. It has to be the same message, not one that was
 * given the same sequence after the stream had lost data: that is what its id is for.
 *
 * @module
 */

import type { BrokerHistory, HistoryQuery, Position, Retention } from "../broker.ts";
import type { KeptMessage } from "./message.ts";

/** A subject of the stream. All but `pull` asks the server that leads the stream. */
export interface SubjectLog {
  /** The message with a sequence; `undefined` if it is gone, or of another subject. */
  at(seq: number): Promise<KeptMessage | undefined>;
  /** The first message with at least a sequence; `undefined` if there is none. */
  next(seq: number): Promise<KeptMessage | undefined>;
  /**
   * Many messages from a sequence on, from any server of the cluster, and about how many there are.
   * Rejects if that server is behind, or has others than the leader.
   */
  pull(
    range: { from: number; to: number; most: number },
  ): Promise<{ messages: KeptMessage[]; count: number }>;
}

/** Where a topic stands. */
export interface TopicEnd {
  readonly epoch: string;
  /** Its last message. */
  readonly last: KeptMessage;
}

/** Messages after a sequence. */
interface HistoryPage {
  readonly messages: readonly KeptMessage[];
  /** About how many there are up to the last one, in the page or after it. */
  readonly count: number;
  /** Up to this sequence none is missing. */
  readonly reached: number;
}

/** How the page relates to the position that was asked from. */
type Anchor = "same" | "replaced" | "unknown";

// As many messages are read one by one through the leader. Beyond that a consumer is cheaper, but the
// cluster may place it on a server that lags.
const SHORT = 16;

/** Reads what a query asks for. */
export async function readHistory(
  log: SubjectLog,
  { epoch, last }: TopicEnd,
  keep: Retention,
  query: HistoryQuery,
): Promise<BrokerHistory> {
  const { first = Infinity, limit = Infinity, since } = query;
  const known = since?.epoch === epoch;
  if (since !== undefined && known) {
    if (since.offset > last.seq) return nothing({ epoch, last }, "replaced");
    if (since.offset === last.seq) {
      return nothing({ epoch, last }, compare(since, last));
    }
  }
  if (keep.size === 0 || limit === 0) {
    return nothing({ epoch, last }, since === undefined ? "same" : "unknown");
  }
  if (limit === 1 && since === undefined) {
    return historyOf({ epoch, last }, { messages: [last], count: 1, reached: last.seq }, keep, {
      ...query,
      anchor: "same",
    });
  }
  const from = known ? since.offset : 0;
  const most = limit === Infinity ? Math.max(1, first) : Infinity;
  const page = await readPage(log, { from, to: last.seq, most });
  const anchor = since === undefined ? "same" : !known ? "unknown" : await anchorOf(log, since);
  return historyOf({ epoch, last }, page, keep, { ...query, anchor });
}

/** Reads messages after a sequence. */
async function readPage(
  log: SubjectLog,
  { from, to, most }: { from: number; to: number; most: number },
): Promise<HistoryPage> {
  const messages: KeptMessage[] = [];
  let next = from + 1;
  const walk = async (length: number): Promise<void> => {
    while (next <= to && messages.length < length) {
      const message = await log.next(next);
      if (message === undefined) throw new Error("the stream's leader is behind");
      next = Math.min(message.seq, to) + 1;
      if (message.seq <= to) messages.push(message);
    }
  };
  await walk(Math.min(SHORT, most));
  let count = messages.length;
  if (next <= to && messages.length < most) {
    try {
      const more = await log.pull({ from: next, to, most: most - messages.length });
      messages.push(...more.messages);
      count += more.count;
      next = (messages.length < most ? to : (messages.at(-1) as KeptMessage).seq) + 1;
    } catch {
      // No server but the leader is sure to have them: take the slow way, which is right.
      await walk(most);
      count = messages.length;
    }
  }
  return { messages, count, reached: next - 1 };
}

/** Asks the leader, now that the page has been read, for the message that it is to follow. */
async function anchorOf(log: SubjectLog, since: Position): Promise<Anchor> {
  const { id, nextId, offset } = since;
  if (nextId !== undefined) {
    const next = await log.at(offset + 1);
    return next?.id === nextId ? "same" : "unknown";
  }
  if (id === undefined) return "unknown";
  const start = await log.at(offset);
  if (start !== undefined) return compare(since, start);
  // Messages go oldest first: if an older one is there, this one never was.
  const oldest = await log.next(1);
  return oldest !== undefined && oldest.seq < offset ? "replaced" : "unknown";
}

/** Whether the message at a position is the one that the position names. */
function compare({ id }: Position, message: KeptMessage): Anchor {
  // Positions of an older version have no id.
  return id === undefined ? "unknown" : id === message.id ? "same" : "replaced";
}

function historyOf(
  { epoch, last }: TopicEnd,
  { messages, count, reached }: HistoryPage,
  { size, ageMs }: Retention,
  query: HistoryQuery & { readonly anchor: Anchor },
): BrokerHistory {
  const { anchor, first = Infinity, limit = Infinity, since } = query;
  const events = messages.filter(({ data }) => data !== undefined);
  const oldest = Date.now() - ageMs;
  const young = events.filter(({ at }) => at >= oldest);
  // The stream may keep more than this topic declares.
  const newest = young.slice(-Math.min(limit, first === Infinity ? size : Infinity));
  const isWhole = newest.length === events.length && count <= size;
  const given = newest.slice(0, first);
  const end = given.length < newest.length ? given.at(-1) : undefined;
  return {
    events: given.map(({ seq, id, data = "", at }) => (
      { position: { epoch, offset: seq, id }, data, at }
    )),
    position: { epoch, offset: last.seq, id: last.id },
    reached: positionAt(end?.seq ?? reached, messages, { epoch, last }),
    complete: since === undefined || (anchor === "same" && isWhole),
    replaced: anchor === "replaced",
  };
}

function positionAt(
  seq: number,
  messages: readonly KeptMessage[],
  { epoch, last }: TopicEnd,
): Position {
  const message = seq >= last.seq ? last : messages.find((each) => each.seq === seq) as KeptMessage;
  return { epoch, offset: message.seq, id: message.id };
}

function nothing({ epoch, last }: TopicEnd, anchor: Anchor): BrokerHistory {
  const position = { epoch, offset: last.seq, id: last.id };
  return {
    events: [],
    position,
    reached: position,
    complete: anchor === "same",
    replaced: anchor === "replaced",
  };
}
