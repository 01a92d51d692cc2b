import { assertEquals } from "@std/assert";
import { test } from "node:test";
import type { BrokerEvent, BrokerHistory, HistoryQuery } from "../../src/brokers/broker.ts";
import { TopicReader } from "../../src/brokers/remote/topic_reader.ts";
import type { LiveEvent } from "../../src/brokers/remote/topic_reader.ts";
import { escapeTopic } from "../../src/brokers/remote/topic_name.ts";
import { Heard } from "./broker_cases.ts";
import { deferred, until } from "../helpers/deferred.ts";

const EPOCH = "one";

/** What an engine has of a topic: offsets from `oldest` on to `last`, each with the one before it. */
class Past {
  epoch = EPOCH;
  oldest = 1;
  last = 0;
  readonly asked: HistoryQuery[] = [];
  /** Where reading waits. */
  door: Promise<void> | undefined;

  readonly read = async (query: HistoryQuery): Promise<BrokerHistory> => {
    this.asked.push(query);
    await this.door;
    const { first = Infinity, since } = query;
    const from = since?.offset ?? 0;
    const events: BrokerEvent[] = [];
    for (let n = Math.max(from + 1, this.oldest); n <= this.last && events.length < first; n++) {
      events.push(eventOf(this.epoch, n));
    }
    const complete = since?.epoch === this.epoch && from >= this.oldest - 1 && from <= this.last;
    return { events, complete, position: { epoch: this.epoch, offset: this.last } };
  };
}

function eventOf(epoch: string, offset: number): BrokerEvent {
  return { position: { epoch, offset }, data: `${offset}`, at: 0 };
}

function live(offset: number, previous: number | undefined = offset - 1, epoch = EPOCH): LiveEvent {
  const event = eventOf(epoch, offset);
  return { position: event.position, previous, event };
}

function range(from: number, to: number): number[] {
  return Array.from({ length: to - from }, (_, index) => from + index);
}

async function newFollower(past: Past, from = 0) {
  const heard = new Heard();
  const follower = new TopicReader(heard, past.read);
  follower.begin({ epoch: EPOCH, offset: from });
  await new Promise((resolve) => setTimeout(resolve));
  return { follower, heard };
}

test("Follower brings what comes in order, and asks for nothing", async () => {
  const past = new Past();
  const { follower, heard } = await newFollower(past);
  for (const n of range(1, 10)) follower.take(live(n));
  assertEquals([heard.data, past.asked], [range(1, 10), []]);
});

test("Follower keeps back what comes before its position is known", async () => {
  const [past, heard] = [new Past(), new Heard()];
  const follower = new TopicReader(heard, past.read);
  for (const n of range(1, 6)) follower.take(live(n));
  follower.begin({ epoch: EPOCH, offset: 3 });
  follower.take(live(6));
  assertEquals(heard.data, []);
  await until(() => heard.events.length === 3);
  assertEquals([heard.data, past.asked], [[4, 5, 6], []]);
});

test("Follower drops what it has had", async () => {
  const past = new Past();
  const { follower, heard } = await newFollower(past, 5);
  for (const n of [3, 5, 6, 6, 1, 7]) follower.take(live(n));
  assertEquals([heard.data, past.asked], [[6, 7], []]);
});

test("Follower fills a hole from history, and then goes on with what came meanwhile", async () => {
  const past = new Past();
  const { follower, heard } = await newFollower(past);
  const held = deferred();
  past.door = held.promise;
  past.last = 5;
  for (const n of [1, 2, 5, 6, 7]) follower.take(live(n));
  assertEquals(heard.data, [1, 2]);
  held.resolve();
  await until(() => heard.events.length === 7);
  follower.take(live(8));
  assertEquals([heard.data, heard.gaps], [range(1, 9), []]);
  assertEquals(past.asked.map(({ since }) => since?.offset), [2]);
});

test("Follower reads again where something is missing in what came meanwhile", async () => {
  const past = new Past();
  const { follower, heard } = await newFollower(past);
  const held = deferred();
  past.door = held.promise;
  follower.take(live(3));
  for (const n of [4, 7]) follower.take(live(n));
  past.last = 9;
  held.resolve();
  await until(() => heard.events.length === 9);
  assertEquals([heard.data, heard.gaps], [range(1, 10), []]);
});

test("Follower tells of a gap where history does not reach, and goes on behind it", async () => {
  const past = new Past();
  const { follower, heard } = await newFollower(past);
  follower.take(live(1));
  [past.oldest, past.last] = [5, 9];
  follower.take(live(9));
  await until(() => heard.gaps.length === 1);
  follower.take(live(10));
  assertEquals([heard.data, heard.gaps], [[1, 10], [{ epoch: EPOCH, offset: 9 }]]);
});

test("Follower takes nothing for lost that may be on its way, where no history is kept", async () => {
  const past = new Past();
  const { follower, heard } = await newFollower(past);
  [past.oldest, past.last] = [4, 3];
  follower.take(live(1));
  follower.check();
  follower.take(live(2));
  await until(() => heard.events.length === 2);
  follower.take(live(3));
  follower.check();
  follower.take(live(4));
  await until(() => heard.events.length === 4);
  assertEquals([heard.data, heard.gaps], [range(1, 5), []]);
});

test("Follower tells of a gap where what may be on its way does not come", async () => {
  const past = new Past();
  const { follower, heard } = await newFollower(past);
  [past.oldest, past.last] = [4, 3];
  follower.check();
  follower.take(live(1));
  await until(() => heard.gaps.length === 1);
  follower.take(live(4));
  assertEquals([heard.data, heard.gaps], [[1, 4], [{ epoch: EPOCH, offset: 3 }]]);
});

test("Follower brings what follows on that which was on its way and is lost", async () => {
  const past = new Past();
  const { follower, heard } = await newFollower(past);
  [past.oldest, past.last] = [4, 3];
  follower.check();
  await until(() => past.asked.length === 1);
  await new Promise((resolve) => setTimeout(resolve));
  past.last = 4;
  for (const n of [4, 5]) follower.take(live(n));
  assertEquals([heard.data, heard.gaps], [[4, 5], [{ epoch: EPOCH, offset: 3 }]]);
  assertEquals(past.asked.length, 1);
});

test("Follower tells of a gap where what came is not all that may be on its way", async () => {
  const past = new Past();
  const { follower, heard } = await newFollower(past);
  for (const [index, last] of [3, 5].entries()) {
    [past.oldest, past.last] = [last + 1, last];
    follower.check();
    await until(() => past.asked.length === index + 1);
    await new Promise((resolve) => setTimeout(resolve));
    if (index === 0) { for (const n of range(1, 4)) follower.take(live(n)); }
  }
  await until(() => heard.gaps.length === 1);
  assertEquals([heard.data, heard.gaps], [[1, 2, 3], [{ epoch: EPOCH, offset: 5 }]]);
});

test("Follower tells of a gap where an epoch begins, and goes on in it", async () => {
  const past = new Past();
  const { follower, heard } = await newFollower(past, 70);
  [past.epoch, past.last] = ["two", 1];
  follower.take(live(1, 0, "two"));
  follower.take(live(2, 1, "two"));
  await until(() => heard.events.length === 1);
  follower.take(live(3, 2, "two"));
  assertEquals([heard.data, heard.gaps], [[2, 3], [{ epoch: "two", offset: 1 }]]);
});

test("Follower goes on where the engine has nothing left of what was before", async () => {
  const past = new Past();
  const { follower, heard } = await newFollower(past, 5);
  follower.take({ ...live(90), previous: undefined });
  follower.take(live(95, 90));
  follower.take({ ...live(96), event: undefined });
  follower.take(live(97));
  assertEquals([heard.data, past.asked], [[90, 95, 97], []]);
});

test("Follower catches up when it is told to, page by page", async () => {
  const past = new Past();
  const { follower, heard } = await newFollower(past);
  past.last = 2500;
  follower.check();
  follower.check();
  await until(() => heard.events.length === 2500);
  assertEquals(heard.data, range(1, 2501));
  follower.take(live(2501));
  await until(() => heard.events.length === 2501);
  assertEquals(heard.gaps, []);
});

test("Follower keeps only so much in memory while it reads, and loses nothing", async () => {
  const past = new Past();
  const { follower, heard } = await newFollower(past);
  const held = deferred();
  past.door = held.promise;
  follower.check();
  for (const n of range(1, 5000)) {
    past.last = n;
    follower.take(live(n));
  }
  held.resolve();
  await until(() => heard.events.length === 4999);
  assertEquals([heard.data, heard.gaps], [range(1, 5000), []]);
});

test("Follower says nothing any more once it has ended", async () => {
  const past = new Past();
  const { follower, heard } = await newFollower(past);
  const held = deferred();
  past.door = held.promise;
  past.last = 3;
  follower.check();
  follower.take(live(4));
  follower.end();
  held.resolve();
  follower.take(live(5));
  follower.check();
  await until(() => past.asked.length === 1);
  await new Promise((resolve) => setTimeout(resolve));
  assertEquals([heard.data, heard.gaps, past.asked.length], [[], [], 1]);
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
