/**
 * Topics, and the methods that belong to them.
 */
import { assert, assertEquals } from "@std/assert";
import { Post, RawSocket } from "../helpers/raw_client.ts";
import { call, failure, notice, result } from "../helpers/messages.ts";
import { codeOf, overPost, overWebSocket, through } from "./case.ts";

async function publish(url: string, topic: string, ...events: unknown[]): Promise<void> {
  await through(new Post(url), async (post) => {
    assertEquals(await post.ask(call("publish", 1, [topic, ...events])), result(1));
  });
}

overWebSocket("subscribes to one topic, a list and a record of topics", async (client) => {
  for (const params of ["news", ["news"], { topics: "news" }, { topics: ["news", "news"] }]) {
    assertEquals(await client.ask(call("subscribe", 1, params)), result(1, ["news"]));
    assertEquals(await client.ask(call("unsubscribe", 1, params)), result(1, []));
  }
  await client.notify(notice("subscribe", "news"));
  assertEquals(await client.ask(call("get_subscriptions", 1)), result(1, ["news"]));
});

overWebSocket(
  "leaves unknown and forbidden topics out of the subscriptions, alike",
  async (client) => {
    const names = ["news", "nothing", "secret", "__proto__", "room", "room.1.2", "room.*", "*", ""];
    assertEquals(await client.ask(call("subscribe", 1, names)), result(1, ["news"]));
    assertEquals(await client.ask(call("subscribe", 1, "secret")), result(1, ["news"]));
    assertEquals(await client.ask(call("get_subscriptions", 1)), result(1, ["news"]));
    assertEquals(await client.ask(call("unsubscribe", 1, names)), result(1, []));
  },
);

overWebSocket("answers with the subscriptions when it gets no topic", async (client) => {
  await client.ask(call("subscribe", 1, "news"));
  for (const params of [undefined, null, [], { topics: [] }]) {
    for (const method of ["subscribe", "unsubscribe"]) {
      assertEquals(await client.ask(call(method, 1, params)), result(1, ["news"]));
    }
  }
});

overWebSocket("answers -32602 when topics are no strings", async (client) => {
  for (const params of [1, true, [1], [["news"]], [null], {}, { topics: 1 }, { topics: null }]) {
    for (const method of ["subscribe", "unsubscribe"]) {
      assertEquals(await codeOf(client, call(method, 1, params)), -32602);
    }
  }
});

overWebSocket(
  "sends events in order, scalars as they are, until unsubscribed",
  async (client, url) => {
    const events = [1, "a", null, [2], { a: 3 }, 0, "", false, ...Array(500).keys()];
    await client.ask(call("subscribe", 1, "news"));
    await publish(url, "news", ...events);
    assertEquals(await client.some(events.length), events.map((event) => notice("news", event)));
    assertEquals(await client.ask(call("unsubscribe", 1, "news")), result(1, []));
    await publish(url, "news", "not received");
  },
);

overWebSocket("sends the last event after the answer, then new events", async (client, url) => {
  await publish(url, "weather", "rain", "sun");
  client.send(call("subscribe", 1, "weather"));
  assertEquals(await client.some(2), [result(1, ["weather"]), notice("weather", "sun")]);
  await publish(url, "weather", "snow");
  assertEquals(await client.next(), notice("weather", "snow"));
  assertEquals(await client.ask(call("subscribe", 2, "weather")), result(2, ["weather"]));
});

overWebSocket("sends no retained event to a client that asks for none", async (client, url) => {
  await publish(url, "weather", "hail");
  const params = { topics: "weather", retained: false };
  assertEquals(await client.ask(call("subscribe", 1, params)), result(1, ["weather"]));
  await publish(url, "weather", "sleet");
  assertEquals(await client.next(), notice("weather", "sleet"));
});

overWebSocket("sends the last event after the answer of a whole batch", async (client, url) => {
  await publish(url, "weather", "fog");
  client.send([call("subscribe", 1, "weather"), call("later", 2, [])]);
  const answers = [result(1, ["weather"]), result(2, [])];
  assertEquals(await client.some(2), [answers, notice("weather", "fog")]);
});

overWebSocket("sends no earlier event of a topic without retain", async (client, url) => {
  await publish(url, "news", "old");
  await client.ask(call("subscribe", 1, "news"));
});

overWebSocket("subscribes to single names of a pattern", async (client, url) => {
  assertEquals(await client.ask(call("subscribe", 1, "room.7")), result(1, ["room.7"]));
  await publish(url, "room.8", "elsewhere");
  await publish(url, "room.7", "here");
  assertEquals(await client.next(), notice("room.7", "here"));
});

overWebSocket("sends an event to each subscriber once", async (client, url) => {
  await through(RawSocket.open(url), async (other) => {
    for (const each of [client, client, other]) await each.ask(call("subscribe", 1, "news"));
    await publish(url, "news", "all");
    for (const each of [client, other]) assertEquals(await each.next(), notice("news", "all"));
  });
  await publish(url, "news", "one");
  assertEquals(await client.next(), notice("news", "one"));
});

overWebSocket(
  "answers -32006 to more than 1,024 subscriptions, and keeps those it has",
  async (client) => {
    const rooms = (count: number) => Array.from({ length: count }, (_, room) => `room.many${room}`);
    assertEquals(await codeOf(client, call("subscribe", 1, rooms(1_025))), -32006);
    assertEquals((await client.ask(call("subscribe", 1, rooms(1_024)))).result, rooms(1_024));
    assertEquals(await codeOf(client, call("subscribe", 1, "news")), -32006);
    assertEquals((await client.ask(call("get_subscriptions", 1))).result, rooms(1_024));
  },
);

overPost("has no methods over POST that need a connection", async (post) => {
  const names = ["subscribe", "unsubscribe", "get_subscriptions"];
  for (const name of names) {
    assertEquals(await post.ask(call(name, 1, ["news"])), failure(1, -32601));
  }
  const listed = (await post.ask(call("get_methods", 1))).result as string[];
  assertEquals(names.filter((name) => listed.includes(name)), []);
  assertEquals(await post.ask(call("askBack", 1)), failure(1, -32603));
});

overWebSocket("lists the methods that need a connection over WebSocket", async (client) => {
  const listed = (await client.ask(call("get_methods", 1))).result as string[];
  for (const name of ["subscribe", "unsubscribe", "get_subscriptions"]) {
    assert(listed.includes(name));
  }
});
