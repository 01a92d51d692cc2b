/**
 * Topics as server-sent events.
 */
import { assert, assertEquals } from "@std/assert";
import { Post } from "../helpers/raw_client.ts";
import { EventReader } from "../helpers/event_reader.ts";
import { call, result } from "../helpers/messages.ts";
import { eventually, hostile, noConnectionIsLeft, through } from "./case.ts";

async function publish(url: string, topic: string, ...events: unknown[]): Promise<void> {
  await through(new Post(url), async (post) => {
    assertEquals(await post.ask(call("publish", 1, [topic, ...events])), result(1));
  });
}

hostile(
  "streams topics as server-sent events, and no longer counts a reader that leaves",
  async (url) => {
    await noConnectionIsLeft(url);
    const reader = await EventReader.open(url, "topics=news,room.sse");
    assertEquals(reader.response.status, 200);
    assertEquals(reader.response.headers.get("content-type"), "text/event-stream");
    await reader.block();
    await publish(url, "news", "one", { two: 2 });
    await publish(url, "room.sse", "three");
    const events = await reader.some(3);
    assertEquals(events.map(({ event, data }) => [event, data]), [
      ["news", '"one"'],
      ["news", '{"two":2}'],
      ["room.sse", '"three"'],
    ]);
    assertEquals(new Set(events.map(({ id }) => id)).size, 3);
    await reader.leave();
    await noConnectionIsLeft(url);
  },
);

hostile(
  "continues server-sent events from Last-Event-ID, and reports a gap",
  async (url) => {
    const first = await EventReader.open(url, "topics=weather");
    await first.block();
    await publish(url, "weather", "rain");
    while ((await first.next()).data !== '"rain"');
    const { lastEventId } = first;
    await first.leave();
    await publish(url, "weather", "sun");
    const second = await EventReader.open(url, "topics=weather", { "last-event-id": lastEventId });
    assertEquals((await second.next()).data, '"sun"');
    await second.leave();
    await publish(url, "weather", "fog", "snow");
    const third = await EventReader.open(url, "topics=weather", { "last-event-id": lastEventId });
    const [gap, last] = await third.some(2);
    assertEquals([gap?.event, gap?.data], ["gap", '{"topic":"weather"}']);
    assertEquals([last?.event, last?.data], ["weather", '"snow"']);
    await third.leave();
  },
);

hostile(
  "answers 404 to an event stream of unknown or forbidden topics, and does not say which",
  async (url) => {
    const texts = new Set<string>();
    for (
      const topics of ["nowhere", "secret", "news,secret", "news,nowhere", "room.*", "__proto__"]
    ) {
      const reader = await EventReader.open(url, `topics=${topics}`);
      assertEquals(reader.response.status, 404);
      texts.add(await reader.text());
    }
    assertEquals(texts.size, 1);
    await noConnectionIsLeft(url);
  },
);

hostile(
  "counts event streams among its connections, and never closes a silent one",
  async (url) => {
    const readers: EventReader[] = [];
    for (let n = 0; n < 20; n++) readers.push(await EventReader.open(url, "topics=news"));
    const post = new Post(url);
    await eventually(
      "20 connections",
      async () => (await post.ask(call("connections", 1))).result as number >= 20,
    );
    await publish(url, "news", "for all");
    for (const reader of readers) assert((await reader.next()).data === '"for all"');
    for (const reader of readers) await reader.leave();
    await noConnectionIsLeft(url);
  },
);
