import { assertEquals } from "@std/assert";
import { test } from "node:test";
import type { BrokerEvent, BrokerHistory, HistoryQuery } from "../../src/brokers/broker.ts";
import { RecentEvents } from "../../src/brokers/remote/recent_events.ts";
import { TopicReader } from "../../src/brokers/remote/topic_reader.ts";
import type { LiveEvent } from "../../src/brokers/remote/topic_reader.ts";
import { escapeTopic } from "../../src/brokers/remote/topic_name.ts";
import { Recorder } from "./broker_cases.ts";
import { deferred, until } from "../helpers/deferred.ts";

const EPOCH = "one";

/** What an engine has of a topic: offsets from `oldest` on to `last`, each with the one before it. */
class Past {
  epoch = EPOCH;
  oldest = 1;
  last = 0;
  readonly asked: HistoryQuery[] = [];
  /** Where reading waits. */
  entry: Promise<void> | undefined;

  readonly read = async (query: HistoryQuery): Promise<BrokerHistory> => {
    this.asked.push(query);
    await this.entry;
    const { first = Infinity, since } = query;
    const from = since?.offset ?? 0;
    const events: BrokerEvent[] = [];
    for (let n = Math.max(from + 1, this.oldest); n <= this.last && events.length < first; n++) {
      events.push(eventOf(this.epoch, n));
    }
    const replaced = since?.epoch === this.epoch && from > this.last;
    const complete = since?.epoch === this.epoch && from >= this.oldest - 1 &&
      from <= this.last;
    const position = { epoch: this.epoch, offset: this.last };
    const reached = events.at(-1)?.position ?? position;
    return { events, complete, position, reached, replaced };
  };
}

function eventOf(epoch: string, offset: number): BrokerEvent {
  return { position: { epoch, offset }, data: `${offset}`, at: 0 };
}

function live(offset: number, previous = offset - 1, epoch = EPOCH): LiveEvent {
  const event = eventOf(epoch, offset);
  return { position: event.position, previous: { offset: previous }, event };
}

/** An event that says who it is, and who was before it. */
function named(offset: number, id: string, before?: string): LiveEvent {
  const event = { position: { epoch: EPOCH, offset, id }, data: `${offset}`, at: 0 };
  const previous = { offset: offset - 1, ...(before === undefined ? {} : { id: before }) };
  return { position: event.position, previous, event };
}

function range(from: number, to: number): number[] {
  return Array.from({ length: to - from }, (_, index) => from + index);
}

async function newReader(past: Past, from = 0, recent?: RecentEvents<TopicReader>) {
  const recorder = new Recorder();
  const reader = new TopicReader(recorder, past.read, recent);
  reader.begin({ epoch: EPOCH, offset: from });
  await new Promise((resolve) => setTimeout(resolve));
  return { reader, recorder };
}

test("TopicReader brings what comes in order, and asks for nothing", async () => {
  const past = new Past();
  const { reader, recorder } = await newReader(past);
  for (const n of range(1, 10)) reader.take(live(n));
  assertEquals([recorder.data, past.asked], [range(1, 10), []]);
});

test("TopicReader keeps back what comes before its position is known", async () => {
  const [past, recorder] = [new Past(), new Recorder()];
  const reader = new TopicReader(recorder, past.read);
  for (const n of range(1, 6)) reader.take(live(n));
  reader.begin({ epoch: EPOCH, offset: 3 });
  reader.take(live(6));
  assertEquals(recorder.data, []);
  await until(() => recorder.events.length === 3);
  assertEquals([recorder.data, past.asked], [[4, 5, 6], []]);
});

test("TopicReader drops what it has had", async () => {
  const past = new Past();
  const { reader, recorder } = await newReader(past, 5);
  for (const n of [5, 6, 6, 7]) reader.take(live(n));
  assertEquals([recorder.data, past.asked], [[6, 7], []]);
});

test("TopicReader looks whether the store still has the last event when a lower offset comes", async () => {
  const past = new Past();
  const { reader, recorder } = await newReader(past, 5);
  past.last = 7;
  for (const n of [6, 7, 3]) reader.take(live(n));
  assertEquals(past.asked, [{ since: { epoch: EPOCH, offset: 7 }, first: 1 }]);
  await new Promise((resolve) => setTimeout(resolve));
  reader.take(live(8));
  assertEquals([recorder.data, recorder.gaps], [[6, 7, 8], []]);
});

test("TopicReader tells of a gap if another event has the offset of the last one", async () => {
  const past = new Past();
  const { reader, recorder } = await newReader(past);
  reader.take(named(1, "a"));
  reader.take(named(2, "b", "a"));
  [past.oldest, past.last] = [4, 2];
  reader.take(named(2, "c", "a"));
  await until(() => recorder.gaps.length === 1);
  reader.take(named(3, "d", "c"));
  [past.oldest, past.last] = [6, 4];
  reader.take(named(4, "f", "e"));
  await until(() => recorder.gaps.length === 2);
  assertEquals(recorder.data, [1, 2, 3]);
});

test("TopicReader brings an event once that the store had lost and is given again", async () => {
  const recorder = new Recorder();
  const [epoch, other] = [EPOCH, named(2, "other", "a").position];
  let replaced = true;
  const reader = new TopicReader(recorder, ({ since }) => {
    const position = replaced ? other : since as typeof other;
    return Promise.resolve({
      events: [],
      complete: !replaced,
      replaced,
      position,
      reached: position,
    });
  });
  reader.begin({ epoch, offset: 0 });
  await new Promise((resolve) => setTimeout(resolve));
  reader.take(named(1, "a"));
  reader.take(named(2, "b", "a"));
  reader.take(named(2, "other", "a"));
  reader.take(named(3, "b", "other"));
  reader.take(named(4, "c", "b"));
  await until(() => recorder.gaps.length === 1);
  replaced = false;
  await until(() => recorder.events.length === 3);
  assertEquals([recorder.data, recorder.gaps], [[1, 2, 4], [other]]);
  // Only that one time: ids are short.
  reader.take(named(5, "b", "c"));
  await until(() => recorder.events.length === 4);
});

test("TopicReader brings each of several events once that the store had lost and is given again", async () => {
  const recorder = new Recorder();
  const end = named(2, "b").position;
  // The store loses c, d and e. Their publishers send them again, and others send f and g.
  const after = ["d", "f", "e", "c", "g"].map((id, n) => named(n + 3, id).event as BrokerEvent);
  let isLost = true;
  const reader = new TopicReader(recorder, ({ since }) => {
    const position = isLost ? end : after.at(-1)?.position ?? end;
    const events = isLost
      ? []
      : after.filter(({ position: { offset } }) => offset > (since?.offset ?? 0));
    return Promise.resolve({
      ...{ events, complete: !isLost, replaced: isLost, position },
      reached: position,
    });
  });
  reader.begin({ epoch: EPOCH, offset: 0 });
  await new Promise((resolve) => setTimeout(resolve));
  for (const [n, id] of ["a", "b", "c", "d", "e"].entries()) reader.take(named(n + 1, id));
  reader.check();
  await until(() => recorder.gaps.length === 1);
  isLost = false;
  await until(() => recorder.events.length === 7);
  assertEquals(
    [recorder.events.map(({ position }) => position.id), recorder.gaps],
    [["a", "b", "c", "d", "e", "f", "g"], [end]],
  );
});

test("TopicReader knows the last event of a topic again, however many others have had since", async () => {
  const past = new Past();
  const recent = new RecentEvents<TopicReader>();
  const { reader, recorder } = await newReader(past, 0, recent);
  const other = await newReader(new Past(), 0, recent);
  for (const n of [1, 2]) reader.take(named(n, `a${n}`));
  for (const n of range(1, 2000)) other.reader.take(named(n, `b${n}`));
  past.last = 1;
  reader.check();
  await until(() => recorder.gaps.length === 1);
  past.last = 3;
  reader.take(named(2, "a2"));
  reader.take(named(3, "a3"));
  await until(() => recorder.data.includes(3));
  assertEquals(recorder.data, [1, 2, 3]);
});

test("RecentEvents keeps so many ids for all readers together, the newest", () => {
  const recent = new RecentEvents<object>();
  const [quiet, busy] = [{}, {}];
  recent.add(quiet, "first");
  for (let n = 0; n < 1_023; n++) recent.add(busy, `${n}`);
  assertEquals([[...recent.of(quiet)], recent.of(busy).size], [["first"], 1_023]);
  recent.add(busy, "1023");
  assertEquals([recent.of(quiet).size, recent.of(busy).size], [0, 1_024]);
});

test("TopicReader asks again before it believes that the store has lost what it delivered", async () => {
  const past = new Past();
  const { reader, recorder } = await newReader(past);
  for (const n of [1, 2, 3]) reader.take(live(n));
  past.last = 2; // a server that has not caught up answers
  reader.check();
  await until(() => past.asked.length === 2);
  past.last = 4;
  await until(() => recorder.events.length === 4);
  assertEquals([recorder.data, recorder.gaps], [[1, 2, 3, 4], []]);
  // It goes back once the store keeps saying so.
  past.last = 2;
  reader.check();
  await until(() => recorder.gaps.length === 1);
  reader.take(live(3));
  assertEquals([recorder.data.at(-1), recorder.gaps], [3, [{ epoch: EPOCH, offset: 2 }]]);
});

test("TopicReader fills a hole from history, and then goes on with what came meanwhile", async () => {
  const past = new Past();
  const { reader, recorder } = await newReader(past);
  const held = deferred();
  past.entry = held.promise;
  past.last = 5;
  for (const n of [1, 2, 5, 6, 7]) reader.take(live(n));
  assertEquals(recorder.data, [1, 2]);
  held.resolve();
  await until(() => recorder.events.length === 7);
  reader.take(live(8));
  assertEquals([recorder.data, recorder.gaps], [range(1, 9), []]);
  assertEquals(past.asked.map(({ since }) => since?.offset), [2]);
});

test("TopicReader reads again where something is missing in what came meanwhile", async () => {
  const past = new Past();
  const { reader, recorder } = await newReader(past);
  const held = deferred();
  past.entry = held.promise;
  reader.take(live(3));
  for (const n of [4, 7]) reader.take(live(n));
  past.last = 9;
  held.resolve();
  await until(() => recorder.events.length === 9);
  assertEquals([recorder.data, recorder.gaps], [range(1, 10), []]);
});

test("TopicReader tells of a gap where history does not reach, and goes on behind it", async () => {
  const past = new Past();
  const { reader, recorder } = await newReader(past);
  reader.take(live(1));
  [past.oldest, past.last] = [5, 9];
  reader.take(live(9));
  await until(() => recorder.gaps.length === 1);
  reader.take(live(10));
  assertEquals([recorder.data, recorder.gaps], [[1, 10], [{ epoch: EPOCH, offset: 9 }]]);
});

test("TopicReader takes nothing for lost that may be on its way, where no history is kept", async () => {
  const past = new Past();
  const { reader, recorder } = await newReader(past);
  [past.oldest, past.last] = [4, 3];
  reader.take(live(1));
  reader.check();
  reader.take(live(2));
  await until(() => recorder.events.length === 2);
  reader.take(live(3));
  reader.check();
  reader.take(live(4));
  await until(() => recorder.events.length === 4);
  assertEquals([recorder.data, recorder.gaps], [range(1, 5), []]);
});

test("TopicReader tells of a gap where what may be on its way does not come", async () => {
  const past = new Past();
  const { reader, recorder } = await newReader(past);
  [past.oldest, past.last] = [4, 3];
  reader.check();
  reader.take(live(1));
  await until(() => recorder.gaps.length === 1);
  reader.take(live(4));
  assertEquals([recorder.data, recorder.gaps], [[1, 4], [{ epoch: EPOCH, offset: 3 }]]);
});

test("TopicReader brings what follows on that which was on its way and is lost", async () => {
  const past = new Past();
  const { reader, recorder } = await newReader(past);
  [past.oldest, past.last] = [4, 3];
  reader.check();
  await until(() => past.asked.length === 1);
  await new Promise((resolve) => setTimeout(resolve));
  past.last = 4;
  for (const n of [4, 5]) reader.take(live(n));
  assertEquals([recorder.data, recorder.gaps], [[4, 5], [{ epoch: EPOCH, offset: 3 }]]);
  assertEquals(past.asked.length, 1);
});

test("TopicReader tells of a gap where what came is not all that may be on its way", async () => {
  const past = new Past();
  const { reader, recorder } = await newReader(past);
  for (const [index, last] of [3, 5].entries()) {
    [past.oldest, past.last] = [last + 1, last];
    reader.check();
    await until(() => past.asked.length === index + 1);
    await new Promise((resolve) => setTimeout(resolve));
    if (index === 0) { for (const n of range(1, 4)) reader.take(live(n)); }
  }
  await until(() => recorder.gaps.length === 1);
  assertEquals([recorder.data, recorder.gaps], [[1, 2, 3], [{ epoch: EPOCH, offset: 5 }]]);
});

test("TopicReader tells of a gap where an epoch begins, and goes on in it", async () => {
  const past = new Past();
  const { reader, recorder } = await newReader(past, 70);
  [past.epoch, past.last] = ["two", 1];
  reader.take(live(1, 0, "two"));
  reader.take(live(2, 1, "two"));
  await until(() => recorder.events.length === 1);
  reader.take(live(3, 2, "two"));
  assertEquals([recorder.data, recorder.gaps], [[2, 3], [{ epoch: "two", offset: 1 }]]);
});

test("TopicReader goes on where the engine has nothing left of what was before", async () => {
  const past = new Past();
  const { reader, recorder } = await newReader(past, 5);
  reader.take({ ...live(90), previous: undefined });
  reader.take(live(95, 90));
  reader.take({ ...live(96), event: undefined });
  reader.take(live(97));
  assertEquals([recorder.data, past.asked], [[90, 95, 97], []]);
});

test("TopicReader catches up when it is told to, page by page", async () => {
  const past = new Past();
  const { reader, recorder } = await newReader(past);
  past.last = 2500;
  reader.check();
  reader.check();
  await until(() => recorder.events.length === 2500);
  assertEquals(recorder.data, range(1, 2501));
  reader.take(live(2501));
  await until(() => recorder.events.length === 2501);
  assertEquals(recorder.gaps, []);
});

/** Lets a reader look at the store, and gives it live events while the store takes its time. */
async function readDuring(past: Past, events: number, kept: number) {
  const { reader, recorder } = await newReader(past);
  const held = deferred();
  past.entry = held.promise;
  reader.check();
  for (const n of range(1, events + 1)) {
    [past.oldest, past.last] = [Math.max(1, n + 1 - kept), n];
    reader.take(live(n));
  }
  held.resolve();
  await until(() => recorder.data.at(-1) === events || recorder.gaps.length > 0);
  reader.take(live(events + 1));
  await until(() => recorder.data.at(-1) === events + 1);
  return recorder;
}

test("TopicReader keeps only so much in memory while it reads, and loses nothing", async () => {
  const recorder = await readDuring(new Past(), 25_000, Infinity);
  assertEquals([recorder.data, recorder.gaps], [range(1, 25_002), []]);
});

test("TopicReader tells of no gap if the store drops what live events bring while it reads", async () => {
  const recorder = await readDuring(new Past(), 3_000, 1_000);
  assertEquals([recorder.data, recorder.gaps], [range(1, 3_002), []]);
});

test("TopicReader is live again after a gap, however fast events come while it reads", async () => {
  const recorder = await readDuring(new Past(), 25_000, 1_000);
  assertEquals([recorder.data, recorder.gaps], [[25_001], [{ epoch: EPOCH, offset: 25_000 }]]);
});

test("TopicReader says nothing any more once it has ended", async () => {
  const past = new Past();
  const { reader, recorder } = await newReader(past);
  const held = deferred();
  past.entry = held.promise;
  past.last = 3;
  reader.check();
  reader.take(live(4));
  reader.end();
  held.resolve();
  reader.take(live(5));
  reader.check();
  await until(() => past.asked.length === 1);
  await new Promise((resolve) => setTimeout(resolve));
  assertEquals([recorder.data, recorder.gaps, past.asked.length], [[], [], 1]);
});

test("escapeTopic() leaves simple names as they are, and gives each of the others its own", () => {
  const simple = ["news", "room.7", "a-b_C.d"];
  assertEquals(simple.map(escapeTopic), simple);
  const odd = ["", ".", "..", "a.", ".a", "*", ">", "a b", "a*", "%", "%2A", "%25", "~", "!", "'"];
  odd.push("{a}", "\0", "\r\n", "ä", "\ud800", "\udc00", "%ud800", "😀", "x".repeat(1001));
  odd.push("x".repeat(1002), "ä".repeat(400), "..".repeat(900));
  const names = odd.map(escapeTopic);
  assertEquals(new Set(names).size, names.length);
  assertEquals(names.filter((name) => !/^[\w%-]+(?:\.[\w%-]+)*$/.test(name)), []);
  assertEquals(names.filter((name) => name.length > 1000), []);
});
