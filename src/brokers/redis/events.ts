/**
 * What Redis says of events, as the broker understands it.
 *
 * @module
 */

import type { BrokerEvent, BrokerHistory, HistoryQuery, Position } from "../broker.ts";
import type { LiveEvent } from "../remote/topic_reader.ts";

/** What the script `READ` returns. */
export type ReadReply = [
  epoch: string,
  offset: string,
  id: string,
  entries: Entry[],
];

type Entry = [id: string, fields: string[]];

type LiveHead = [
  head: string,
  epoch: string,
  offset: string,
  id: string,
  before: string,
  beforeId: string,
];

/** An event's place within its epoch. */
interface Place {
  readonly offset: number;
  readonly id: string;
}

/** The id that stands for "no event yet". */
export const NO_EVENT_ID = "0";

/** Makes names that no other broker makes, in any process. */
export class NameMaker {
  readonly #own: string = randomText(8);
  readonly #more: string = randomText(6);
  #count = 0;

  /** A name for an event, which tells it from another with the same offset. */
  next(): string {
    return this.#own + (++this.#count).toString(36);
  }

  /** A name for an epoch: longer, since it is compared with those of all time. */
  epoch(next: string): string {
    return `${this.#more}-${next}`;
  }
}

function randomText(length: number): string {
  let text = "";
  for (const byte of crypto.getRandomValues(new Uint8Array(length))) {
    text += (byte % 36).toString(36);
  }
  return text;
}

// Epoch, offset and id of the event, and the same two of the event before it.
const LIVE = /^(\S+) (\d+)\.(\w+) (\d+)\.(\w+) /;

/** Reads a message of a topic's channel; `undefined` if the script `PUBLISH` did not send it. */
export function liveEvent(message: string): LiveEvent | undefined {
  const found = LIVE.exec(message);
  if (found === null) return undefined;
  const [head, epoch, offset, id, before, beforeId] = found as string[] as LiveHead;
  const event = eventOf(epoch, { offset: Number(offset), id }, message.slice(head.length));
  return {
    position: event.position,
    previous: { offset: Number(before), id: beforeId },
    event,
  };
}

/** Reads what `READ` returned for a query, in the order that was asked for. */
export function historyOf(
  [epoch, lastOffset, id, entries]: ReadReply,
  { since, first = Infinity }: HistoryQuery,
  order: "oldest" | "newest",
): BrokerHistory {
  if (order === "newest") entries.reverse();
  const position = { epoch, offset: Number(lastOffset), id };
  const read = entries.map((entry) => linkOf(epoch, entry));
  const links = order === "newest" ? chainTo(position, read) : chainFrom(read);
  const events = links.map(({ event }) => event);
  const given = events.slice(0, first);
  const last = given.at(-1)?.position;
  const isWhole = order === "newest" && given.length === events.length;
  const previous = links[0]?.previous ?? position;
  const isKnown = since?.epoch === epoch;
  return {
    events: given,
    position,
    reached: isWhole || last === undefined ? position : last,
    complete: since === undefined || (isKnown && follows(since, previous, events[0]?.position)),
    replaced: isKnown && isReplaced(since, previous, position),
  };
}

/** An event that was read. Each names the one before it. */
interface Link {
  readonly event: BrokerEvent;
  readonly previous: Place;
}

function linkOf(epoch: string, [entry, [, before = "", , id = "", , data = ""]]: Entry): Link {
  const event = eventOf(epoch, { offset: Number(entry.slice(0, -2)), id }, data);
  return { event, previous: placeOf(before) };
}

/**
 * The first events, up to where one is missing: Redis does not keep what a publisher declared not to keep,
 * although others declare that they keep the topic's events.
 */
function chainFrom(links: readonly Link[]): readonly Link[] {
  const cut = links.findIndex(({ previous }, n) => n > 0 && !isAt(links[n - 1], previous));
  return cut < 0 ? links : links.slice(0, cut);
}

/** The last events without a hole between them, or before the position where the topic stands. */
function chainTo(position: Place, links: readonly Link[]): readonly Link[] {
  const cut = links.findLastIndex((link, n) => !isAt(link, links[n + 1]?.previous ?? position));
  return links.slice(cut + 1);
}

function isAt(link: Link | undefined, { offset, id }: Place): boolean {
  return link?.event.position.offset === offset && link.event.position.id === id;
}

/** Whether the first event that was read comes right after a position. */
function follows(since: Position, previous: Place, first: Position | undefined): boolean {
  if (since.nextId !== undefined) {
    return first?.offset === since.offset + 1 && first.id === since.nextId;
  }
  return since.offset === previous.offset && since.id === previous.id;
}

/**
 * Whether the event at a position is certainly not in the topic: another has its offset, or the topic
 * ends before it, or the event that was read names an older one as the one before it.
 */
function isReplaced({ id, offset }: Position, previous: Place, last: Place): boolean {
  if (id === undefined) return false;
  if (offset > last.offset) return true;
  return previous.offset === offset ? previous.id !== id : previous.offset < offset;
}

/** An offset is a time in microseconds. */
function eventOf(epoch: string, { offset, id }: Place, data: string): BrokerEvent {
  return { position: { epoch, offset, id }, data, at: Math.floor(offset / 1000) };
}

function placeOf(text: string): Place {
  const [offset = "", id = ""] = text.split(".");
  return { offset: Number(offset), id };
}
