/**
 * Topics, and the methods that belong to them.
 */
import { assert, assertEquals } from "@std/assert";
import { Post, RawSocket } from "../helpers/raw_client.ts";
import { call, failure, notice, result } from "../helpers/messages.ts";
import { codeOf, line, post, through } from "./case.ts";

async function publish(url: string, topic: string, ...events: unknown[]): Promise<void> {
  await through(new Post(url), async (post) => {
    assertEquals(await post.ask(call("publish", 1, [topic, ...events])), result(1));
  });
}

line("subscribes to one topic, a list and a record of topics", async (line) => {
  for (const params of ["news", ["news"], { topics: "news" }, { topics: ["news", "news"] }]) {
    assertEquals(await line.ask(call("subscribe", 1, params)), result(1, ["news"]));
    assertEquals(await line.ask(call("unsubscribe", 1, params)), result(1, []));
  }
  await line.notify(notice("subscribe", "news"));
  assertEquals(await line.ask(call("get_subscriptions", 1)), result(1, ["news"]));
});

line("leaves unknown and forbidden topics out of the subscriptions, alike", async (line) => {
  const names = ["news", "nothing", "secret", "__proto__", "room", "room.1.2", "room.*", "*", ""];
  assertEquals(await line.ask(call("subscribe", 1, names)), result(1, ["news"]));
  assertEquals(await line.ask(call("subscribe", 1, "secret")), result(1, ["news"]));
  assertEquals(await line.ask(call("get_subscriptions", 1)), result(1, ["news"]));
  assertEquals(await line.ask(call("unsubscribe", 1, names)), result(1, []));
});

line("answers with the subscriptions when it gets no topic", async (line) => {
  await line.ask(call("subscribe", 1, "news"));
  for (const params of [undefined, null, [], { topics: [] }]) {
    for (const method of ["subscribe", "unsubscribe"]) {
      assertEquals(await line.ask(call(method, 1, params)), result(1, ["news"]));
    }
  }
});

line("answers -32602 when topics are no strings", async (line) => {
  for (const params of [1, true, [1], [["news"]], [null], {}, { topics: 1 }, { topics: null }]) {
    for (const method of ["subscribe", "unsubscribe"]) {
      assertEquals(await codeOf(line, call(method, 1, params)), -32602);
    }
  }
});

line("sends events in order, scalars as they are, until unsubscribed", async (line, url) => {
  const events = [1, "a", null, [2], { a: 3 }, 0, "", false, ...Array(500).keys()];
  await line.ask(call("subscribe", 1, "news"));
  await publish(url, "news", ...events);
  assertEquals(await line.some(events.length), events.map((event) => notice("news", event)));
  assertEquals(await line.ask(call("unsubscribe", 1, "news")), result(1, []));
  await publish(url, "news", "not received");
});

line("sends the last event after the answer, then new events", async (line, url) => {
  await publish(url, "weather", "rain", "sun");
  line.send(call("subscribe", 1, "weather"));
  assertEquals(await line.some(2), [result(1, ["weather"]), notice("weather", "sun")]);
  await publish(url, "weather", "snow");
  assertEquals(await line.next(), notice("weather", "snow"));
  assertEquals(await line.ask(call("subscribe", 2, "weather")), result(2, ["weather"]));
});

line("sends the last event after the answer of a whole batch", async (line, url) => {
  await publish(url, "weather", "fog");
  line.send([call("subscribe", 1, "weather"), call("later", 2, [])]);
  const answers = [result(1, ["weather"]), result(2, [])];
  assertEquals(await line.some(2), [answers, notice("weather", "fog")]);
});

line("sends no earlier event of a topic without retain", async (line, url) => {
  await publish(url, "news", "old");
  await line.ask(call("subscribe", 1, "news"));
});

line("subscribes to single names of a pattern", async (line, url) => {
  assertEquals(await line.ask(call("subscribe", 1, "room.7")), result(1, ["room.7"]));
  await publish(url, "room.8", "elsewhere");
  await publish(url, "room.7", "here");
  assertEquals(await line.next(), notice("room.7", "here"));
});

line("sends an event to each subscriber once", async (line, url) => {
  await through(RawSocket.open(url), async (other) => {
    for (const each of [line, line, other]) await each.ask(call("subscribe", 1, "news"));
    await publish(url, "news", "all");
    for (const each of [line, other]) assertEquals(await each.next(), notice("news", "all"));
  });
  await publish(url, "news", "one");
  assertEquals(await line.next(), notice("news", "one"));
});

line("answers -32006 to more than 1,024 subscriptions, and keeps those it has", async (line) => {
  const rooms = (count: number) => Array.from({ length: count }, (_, room) => `room.many${room}`);
  assertEquals(await codeOf(line, call("subscribe", 1, rooms(1_025))), -32006);
  assertEquals((await line.ask(call("subscribe", 1, rooms(1_024)))).result, rooms(1_024));
  assertEquals(await codeOf(line, call("subscribe", 1, "news")), -32006);
  assertEquals((await line.ask(call("get_subscriptions", 1))).result, rooms(1_024));
});

post("has no methods over POST that need a connection", async (post) => {
  const names = ["subscribe", "unsubscribe", "get_subscriptions"];
  for (const name of names) {
    assertEquals(await post.ask(call(name, 1, ["news"])), failure(1, -32601));
  }
  const listed = (await post.ask(call("get_methods", 1))).result as string[];
  assertEquals(names.filter((name) => listed.includes(name)), []);
  assertEquals(await post.ask(call("askBack", 1)), failure(1, -32603));
});

line("lists the methods that need a connection over WebSocket", async (line) => {
  const listed = (await line.ask(call("get_methods", 1))).result as string[];
  for (const name of ["subscribe", "unsubscribe", "get_subscriptions"]) {
    assert(listed.includes(name));
  }
});
