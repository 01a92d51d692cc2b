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

/**
 * A subject of the stream, as the server that leads the stream has it. Other servers of the cluster may
 * lag, and servers before 2.10.23 may lack messages for good, so that a consumer, which the cluster may
 * place on any of them, is no source to rely on.
 */
export interface SubjectLog {
  /**
   * The message with a sequence; `undefined` if it is gone, or of another subject. May be one that
   * gives topics without events their position.
   */
  at(seq: number): Promise<KeptMessage | undefined>;
  /** The first message with at least a sequence; `undefined` if there is none. */
  next(seq: number): Promise<KeptMessage | undefined>;
  /** How many messages there are; `Infinity` if there are so many that the stream may have dropped some. */
  count(): Promise<number>;
}

interface Place {
  readonly epoch: string;
  readonly last: KeptMessage;
}

/** Where a topic ends. */
export interface TopicEnd extends Place {
  /** Its last message; of a topic without messages, one that came before all that it may get. */
  readonly last: KeptMessage;
  readonly isEmpty: boolean;
}

/** Some of a subject's messages. */
interface HistoryPage {
  readonly messages: readonly KeptMessage[];
  /** After this sequence none is missing. */
  readonly from: number;
  /** Up to this sequence none is missing. */
  readonly reached: number;
}

/** How the page relates to the position that was asked from. */
type Anchor = "same" | "replaced" | "unknown";

// As many messages are read one by one. They also tell how densely the topic's messages lie.
const SHORT = 16;
// The rest is read in parallel, in stretches of about so many messages each. They may lie more densely
// than those before them; a stretch ends after the second number.
const STRETCHES = 8;
const STRETCH = 32;
const LONGEST_STRETCH = 128;

/** Reads what a query asks for. */
export async function readHistory(
  log: SubjectLog,
  { epoch, last, isEmpty }: TopicEnd,
  keep: Retention,
  query: HistoryQuery,
): Promise<BrokerHistory> {
  const { first = Infinity, limit = Infinity, since } = query;
  const known = since?.epoch === epoch;
  if (isEmpty) {
    if (since === undefined) return nothing({ epoch, last }, "same");
    return known ? readEmpty(log, { epoch, last }, since) : nothing({ epoch, last }, "unknown");
  }
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
    const page = { messages: [last], from: last.seq - 1, reached: last.seq };
    return historyOf({ epoch, last }, page, keep, { ...query, anchor: "same" });
  }
  const from = known ? since.offset : 0;
  const to = last.seq;
  const page = limit < Infinity
    ? await readNewest(log, { from, to, least: Math.min(limit, keep.size) })
    : await readPage(log, { from, to, most: Math.max(1, first) });
  const anchor = since === undefined
    ? "same"
    : !known
    ? "unknown"
    : await anchorOf(log, since, false);
  return historyOf({ epoch, last }, page, keep, { ...query, anchor });
}

/** Says whether a topic without messages had none since a position either. */
async function readEmpty(
  log: SubjectLog,
  end: Place,
  since: Position,
): Promise<BrokerHistory> {
  const { epoch, last } = end;
  const anchor = await anchorOf(log, since, true);
  if (anchor !== "same") {
    return nothing(end, since.offset > last.seq ? "replaced" : anchor);
  }
  // Another process may know a later message that gives topics without events their position.
  if (since.offset <= last.seq) return nothing(end, "same");
  return nothing({ epoch, last: { ...last, seq: since.offset, id: since.id as string } }, "same");
}

/** Reads messages after a sequence. */
async function readPage(
  log: SubjectLog,
  { from, to, most }: { from: number; to: number; most: number },
): Promise<HistoryPage> {
  const messages: KeptMessage[] = [];
  let next = from + 1;
  while (next <= to && messages.length < most) {
    const message = await nextOf(log, next);
    next = Math.min(message.seq, to) + 1;
    if (message.seq <= to) messages.push(message);
    if (messages.length < SHORT || next > to) continue;
    const [oldest, newest] = [messages[0] as KeptMessage, message];
    const spacing = Math.ceil((newest.seq - oldest.seq) / (messages.length - 1));
    const wanted = Math.min(STRETCH * STRETCHES, most - messages.length);
    const end = Math.min(to, next - 1 + spacing * wanted);
    const stretch = await readAtOnce(log, next, end);
    messages.push(...stretch.messages);
    next = stretch.reached + 1;
  }
  if (next > to && messages.length <= most) return { messages, from, reached: to };
  // A position names an event: the page ends with its last one, not somewhere behind that.
  messages.length = Math.min(messages.length, most);
  return { messages, from, reached: (messages.at(-1) as KeptMessage).seq };
}

/**
 * Reads messages from the end, more than `least` of them or all after a sequence. Looks back further until
 * there are enough, and less far if there are too many.
 */
async function readNewest(
  log: SubjectLog,
  { from, to, least }: { from: number; to: number; least: number },
): Promise<HistoryPage> {
  const most = 4 * least + SHORT;
  let [near, far] = [to, -Infinity];
  for (let back = least + 1;; back *= 4) {
    const start = far < 0 ? Math.max(from, to - back) : Math.floor((near + far) / 2);
    const page = await readPage(log, { from: start, to, most });
    if (page.reached < to) far = start;
    // One more than are asked for, since the first may only give a position.
    else if (page.messages.length > least || start === from || start <= far) return page;
    else near = start;
  }
}

/** Reads a range of sequences in several stretches at the same time, or as far as one of them is cut. */
async function readAtOnce(log: SubjectLog, from: number, to: number): Promise<HistoryPage> {
  const width = Math.ceil((to - from + 1) / STRETCHES);
  const stretches = await Promise.all(
    Array.from({ length: STRETCHES }, (_, n) => from + n * width)
      .map((start) => readStretch(log, start, Math.min(to, start + width - 1))),
  );
  const cut = stretches.findIndex(({ messages }) => messages.length === LONGEST_STRETCH);
  const whole = cut < 0 ? stretches : stretches.slice(0, cut + 1);
  return {
    messages: whole.flatMap(({ messages }) => messages),
    from: from - 1,
    reached: cut < 0 ? to : (stretches[cut] as HistoryPage).reached,
  };
}

async function readStretch(log: SubjectLog, from: number, to: number): Promise<HistoryPage> {
  const messages: KeptMessage[] = [];
  let reached = from - 1;
  for (let next = from; next <= to; next = reached + 1) {
    const message = await nextOf(log, next);
    reached = Math.min(message.seq, to);
    if (message.seq > to) break;
    messages.push(message);
    if (messages.length === LONGEST_STRETCH) break;
  }
  return { messages, from: from - 1, reached };
}

async function nextOf(log: SubjectLog, seq: number): Promise<KeptMessage> {
  const message = await log.next(seq);
  // There was a later one a moment ago.
  if (message === undefined) throw new Error("the stream's leader is behind");
  return message;
}

/** Asks the leader, now that the page has been read, for the message that it is to follow. */
async function anchorOf(log: SubjectLog, since: Position, isEmpty: boolean): Promise<Anchor> {
  const { id, nextId, offset } = since;
  if (nextId !== undefined) {
    const next = await log.at(offset + 1);
    return next?.id === nextId ? await sameIfKept(log, next, isEmpty) : "unknown";
  }
  if (id === undefined) return "unknown";
  const start = await log.at(offset);
  if (start !== undefined) {
    const anchor = compare(since, start);
    return anchor === "same" ? await sameIfKept(log, start, isEmpty) : anchor;
  }
  // Messages go oldest first: if an older one is there, this one never was.
  const oldest = await log.next(1);
  return oldest !== undefined && oldest.seq < offset ? "replaced" : "unknown";
}

/** Whether the stream has kept all messages of a topic since one that may be of all topics. */
async function sameIfKept(
  log: SubjectLog,
  { keepsSince }: KeptMessage,
  isEmpty: boolean,
): Promise<Anchor> {
  // The topic had no message then. If it has had too many since, the stream has dropped some.
  const isKept = keepsSince === undefined || isEmpty || await log.count() <= keepsSince;
  return isKept ? "same" : "unknown";
}

/** Whether the message at a position is the one that the position names. */
function compare({ id }: Position, message: KeptMessage): Anchor {
  // Positions of an older version have no id.
  return id === undefined ? "unknown" : id === message.id ? "same" : "replaced";
}

function historyOf(
  { epoch, last }: Place,
  { messages, from, reached }: HistoryPage,
  { size, ageMs }: Retention,
  query: HistoryQuery & { readonly anchor: Anchor },
): BrokerHistory {
  const { anchor, first = Infinity, limit = Infinity, since } = query;
  const events = messages.filter(({ data }) => data !== undefined);
  const oldest = Date.now() - ageMs;
  // What follows the last one that is too old, although clocks may say otherwise: without a hole.
  const young = events.slice(events.findLastIndex(({ storedAt }) => storedAt < oldest) + 1);
  // The stream may keep more than this topic declares.
  const newest = young.slice(-Math.min(limit, first === Infinity ? size : Infinity));
  const isWhole = newest.length === events.length && messages.length <= size &&
    from <= (since?.offset ?? 0);
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
  { epoch, last }: Place,
): Position {
  const message = seq >= last.seq ? last : messages.find((each) => each.seq === seq) as KeptMessage;
  return { epoch, offset: message.seq, id: message.id };
}

function nothing({ epoch, last }: Place, anchor: Anchor): BrokerHistory {
  const position = { epoch, offset: last.seq, id: last.id };
  return {
    events: [],
    position,
    reached: position,
    complete: anchor === "same",
    replaced: anchor === "replaced",
  };
}
