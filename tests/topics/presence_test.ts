import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import { test } from "node:test";
import { connect, guard, JsonRpc, RpcInvalidParamsError } from "@x/jsonrpc";
import type { JsonRpcClient } from "@x/jsonrpc";
import { presence } from "@x/jsonrpc/presence";
import type { PresenceEvent, PresenceMember, PresenceOptions } from "@x/jsonrpc/presence";
import { pair } from "../helpers/client.ts";
import { cuttableProxy } from "../helpers/cuttable_proxy.ts";
import { EventReader } from "../helpers/event_reader.ts";
import { quietMoment, until } from "../helpers/deferred.ts";
import { silentLog } from "../helpers/log.ts";
import { serveHere } from "../helpers/server.ts";
import { withClock } from "../helpers/sleep.ts";

/** A server whose method `login` sets the user, with presence in all rooms. */
function serverOf(options: PresenceOptions = {}, logger = silentLog()) {
  const who = presence(["room.*", "lobby"], options);
  const rpc = new JsonRpc({ logger })
    .user<object>()
    .topic("room.*")
    .topic("lobby", { guards: [guard(({ user }) => (user as { banned?: true })?.banned !== true)] })
    .topic("elsewhere")
    .method("login", (user: object, { connection }) => connection.login(user))
    .method("logout", (_params, { connection }) => connection.logout())
    .use(who);
  return { rpc, who };
}

type Server = ReturnType<typeof serverOf>["rpc"];

/** A client that writes down what it is told of a room: `=` for the list, `+` and `-` for changes. */
async function member(rpc: Server, name?: string, topic = "lobby") {
  return await joined(await pair(rpc) as unknown as JsonRpcClient, name, topic);
}

async function joined(client: JsonRpcClient, name?: string, topic = "lobby") {
  const lines: string[] = [];
  client.method("presence", ({ members, joined, left }: PresenceEvent) => {
    for (const [sign, list] of [["=", members], ["+", joined], ["-", left]] as const) {
      if (list !== undefined) lines.push(sign + list.map(({ key }) => key).join());
    }
  });
  if (name !== undefined) await client.call("login", { name });
  await client.subscribe(topic, () => {});
  await until(() => lines.length > 0);
  return { client, lines };
}

const keys = (members: unknown) => (members as readonly PresenceMember[]).map(({ key }) => key);

test("a subscriber gets the list of those who are here, and is told who joins and leaves", async () => {
  const { rpc, who } = serverOf();
  const ann = await member(rpc, "ann");
  const bob = await member(rpc, "bob");
  await until(() => ann.lines.length === 2);
  assertEquals(keys(who.members("lobby")), ["ann", "bob"]);
  assertEquals(keys(await ann.client.call("presence", { topic: "lobby" })), ["ann", "bob"]);
  assertEquals(await bob.client.call("presence", ["lobby"]), who.members("lobby"));
  await bob.client.unsubscribe("lobby");
  await until(() => ann.lines.length === 3);
  assertEquals(ann.lines, ["=ann", "+bob", "-bob"]);
  assertEquals(bob.lines, ["=ann,bob"]);
  assertEquals(keys(who.members("lobby")), ["ann"]);
  await ann.client.close();
  await bob.client.close();
  await rpc.close();
});

test("rooms are apart, and topics that match no pattern have no presence", async () => {
  const { rpc, who } = serverOf();
  const ann = await member(rpc, "ann", "room.1");
  const bob = await member(rpc, "bob", "room.2");
  await ann.client.subscribe("elsewhere", () => {});
  await bob.client.subscribe("room.1", () => {});
  await until(() => ann.lines.length === 2);
  assertEquals([ann.lines, bob.lines], [["=ann", "+bob"], ["=bob", "=ann,bob"]]);
  assertEquals(keys(who.members("room.2")), ["bob"]);
  assertEquals(who.members("elsewhere"), []);
  for (const topic of ["elsewhere", "room.2", "nowhere", 5]) {
    const asked = () => ann.client.call("presence", { topic });
    await assertRejects(asked, RpcInvalidParamsError);
  }
  await ann.client.close();
  await bob.client.close();
});

test("several connections of one user count once, and it leaves with the last", async () => {
  const { rpc, who } = serverOf({ graceMs: 0 });
  const bob = await member(rpc, "bob");
  const tabs = await Promise.all([1, 2, 3].map(() => member(rpc, "ann")));
  await until(() => bob.lines.includes("+ann"));
  assertEquals(keys(who.members("lobby")), ["bob", "ann"]);
  await tabs[0]?.client.close();
  await tabs[1]?.client.unsubscribe("lobby");
  await bob.client.getTopics();
  assertEquals(keys(who.members("lobby")), ["bob", "ann"]);
  await tabs[2]?.client.close();
  await until(() => bob.lines.includes("-ann"));
  assertEquals(bob.lines, ["=bob", "+ann", "-ann"]);
  await bob.client.close();
});

test("by connection each one counts, users or not", async () => {
  const { rpc, who } = serverOf({ by: "connection" });
  const one = await member(rpc, "ann");
  const two = await member(rpc);
  assertEquals(who.members("lobby").length, 2);
  const ids = [...rpc.connections].map(({ id }) => id);
  assertEquals(keys(who.members("lobby")).sort(), ids.sort());
  await two.client.close();
  await until(() => one.lines.some((line) => line.startsWith("-")));
  await one.client.close();
});

test("by user a connection without one does not count, and sees who does", async () => {
  const { rpc, who } = serverOf();
  const guest = await member(rpc);
  const ann = await member(rpc, "ann");
  await until(() => guest.lines.length === 2);
  assertEquals([guest.lines, ann.lines], [["=", "+ann"], ["=ann"]]);
  assertEquals(keys(who.members("lobby")), ["ann"]);
  await guest.client.close();
  await ann.client.close();
  await rpc.close();
});

test("a short absence is not told", async () => {
  const { rpc, who } = serverOf({ graceMs: 2 ** 30 });
  await using server = await serveHere(rpc);
  await using proxy = await cuttableProxy(server);
  const bob = await member(rpc, "bob");
  await using client = await connect<typeof rpc>(proxy.ws, {
    reconnect: { minMs: 0, maxMs: 1 },
    prepare: (connection) => connection.call("login", { name: "ann" }),
  });
  const ann = await joined(client as unknown as JsonRpcClient);
  await until(() => bob.lines.includes("+ann"));
  for (let round = 2; round < 5; round++) {
    proxy.cut();
    await until(() => ann.lines.length === round);
  }
  assertEquals(keys(who.members("lobby")), ["bob", "ann"]);
  assertEquals(bob.lines, ["=bob", "+ann"]);
  assertEquals(new Set(ann.lines), new Set(["=bob,ann"]));
  await client.close();
  await quietMoment();
  assertEquals(keys(who.members("lobby")), ["bob", "ann"]);
  await bob.client.close();
  await rpc.close();
});

test("an absence that was short is not told by a server that slept before it read of the return", () =>
  withClock(async (clock) => {
    const { rpc, who } = serverOf();
    async function enter(): Promise<JsonRpcClient> {
      const client = await pair(rpc) as unknown as JsonRpcClient;
      await client.call("login", { name: "bob" });
      await client.subscribe("lobby", () => {});
      return client;
    }
    void (await enter()).close();
    await clock.tickAsync(1100);
    clock.jump(600_000);
    assertEquals(keys(who.members("lobby")), ["bob"]);
    const again = await enter();
    await clock.tickAsync(10_000);
    assertEquals(keys(who.members("lobby")), ["bob"]);
    void again.close();
    await clock.tickAsync(10_000);
    assertEquals(who.members("lobby"), []);
  }));

test("a long absence is told", async () => {
  const { rpc, who } = serverOf({ graceMs: 1 });
  const bob = await member(rpc, "bob");
  const names = ["ann", "eve", "kim"];
  const others = await Promise.all(names.map((name) => member(rpc, name)));
  for (const { client } of others) await client.close();
  await until(() =>
    names.every((name) => bob.lines.some((line) => /^-/.test(line) && line.includes(name)))
  );
  assertEquals(keys(who.members("lobby")), ["bob"]);
  await bob.client.close();
});

test("who unsubscribes, is forbidden or whose topic is removed leaves at once", async () => {
  const { rpc, who } = serverOf({ graceMs: 2 ** 30 });
  const bob = await member(rpc, "bob");
  const ends: Record<string, (client: JsonRpcClient) => Promise<unknown>> = {
    unsubscribed: (client) => client.unsubscribe("lobby"),
    forbidden: (client) => client.call("login", { name: "forbidden", banned: true }),
    other: (client) => client.call("login", { name: "another" }),
    nobody: (client) => client.call("logout"),
  };
  for (const [name, end] of Object.entries(ends)) {
    const one = await member(rpc, name);
    await until(() => bob.lines.includes(`+${name}`));
    await end(one.client);
    await until(() => bob.lines.includes(`-${name}`));
    await one.client.unsubscribe("lobby");
    await one.client.close();
  }
  rpc.removeTopic("lobby");
  assertEquals(who.members("lobby"), []);
  await bob.client.close();
});

test("a user that changes on an open connection is another member", async () => {
  const { rpc, who } = serverOf();
  const bob = await member(rpc, "bob");
  const guest = await member(rpc);
  await guest.client.call("login", { name: "ann" });
  await until(() => bob.lines.includes("+ann"));
  await guest.client.call("login", { name: "eve" });
  await until(() => bob.lines.includes("+eve"));
  assertEquals(bob.lines.filter((line) => line === "-ann").length, 1);
  assertEquals(keys(who.members("lobby")), ["bob", "eve"]);
  // The subscription is not new, so it gets changes and no list.
  assertEquals(guest.lines.filter((line) => line.startsWith("=")), ["=bob"]);
  await guest.client.close();
  await bob.client.close();
  await rpc.close();
});

test("a member is called by id, sub or name, or as `key` says, and shows its `info`", async () => {
  const users: readonly (readonly [user: unknown, key: string])[] = [
    [{ id: 7, sub: "s", name: "n" }, "7"],
    [{ sub: "s", name: "n" }, "s"],
    [{ name: "n" }, "n"],
    [{ id: "", name: "n" }, ""],
  ];
  for (const [user, key] of users) {
    const { rpc, who } = serverOf();
    const one = await member(rpc);
    await one.client.call("login", user as object);
    assertEquals(keys(who.members("lobby")), [key]);
    await one.client.close();
    await rpc.close();
  }
  const { rpc, who } = serverOf({
    key: ({ user }) => (user as { mail?: string } | null)?.mail,
    info: ({ user }) => ({ color: (user as { color: string }).color, skip: undefined }),
  });
  const client = await pair(rpc);
  await client.call("login", { mail: "ann@example", color: "red" });
  await client.subscribe("lobby", () => {});
  assertEquals(who.members("lobby"), [{ key: "ann@example", info: { color: "red" } }]);
  await client.close();
  await rpc.close();
});

test("a user without a name is logged once and does not count", async () => {
  const logger = silentLog();
  const { rpc, who } = serverOf({}, logger);
  for (let n = 0; n < 2; n++) {
    const one = await member(rpc);
    await one.client.call("login", { color: "red" });
    await one.client.close();
  }
  assertEquals(who.members("lobby"), []);
  assertEquals(logger.lines.length, 1);
  assert(logger.lines[0]?.includes("presence does not count a user without `id`"));
});

test("an `info` that throws or has no JSON is logged, and harms nobody else", async () => {
  for (
    const info of [() => 1n, () => {
      throw new Error("broken");
    }]
  ) {
    const logger = silentLog();
    let broken = false;
    const { rpc, who } = serverOf({ info: () => broken ? info() : 1 }, logger);
    const ann = await member(rpc, "ann");
    broken = true;
    const client = await pair(rpc);
    await client.call("login", { name: "bob" });
    await client.subscribe("lobby", () => {});
    await client.close();
    broken = false;
    const eve = await member(rpc, "eve");
    await until(() => ann.lines.includes("+eve"));
    assertEquals(keys(who.members("lobby")), ["ann", "eve"]);
    assert(logger.lines[0]?.includes('onSubscribe of plugin "presence" failed'));
    await ann.client.close();
    await eve.client.close();
    await rpc.close();
  }
});

test("many that join at once are told together, and long lists come in parts", async () => {
  const { rpc, who } = serverOf({ by: "connection" });
  const first = await member(rpc);
  const others = await Promise.all(Array.from({ length: 1200 }, async () => {
    const client = await pair(rpc);
    await client.subscribe("lobby", () => {});
    return client;
  }));
  const told = () => new Set(first.lines.slice(1).flatMap((line) => line.slice(1).split(",")));
  await until(() => told().size === 1200);
  assert(first.lines.length < 1200);
  const last = await member(rpc);
  await until(() => last.lines.length === 3);
  assertEquals(last.lines.map((line) => [line[0], line.split(",").length]), [
    ["=", 500],
    ["+", 500],
    ["+", 202],
  ]);
  assertEquals(new Set(last.lines.flatMap((line) => line.slice(1).split(","))).size, 1202);
  await Promise.all([first.client, last.client, ...others].map((client) => client.close()));
  await until(() => who.members("lobby").length === 0);
});

test("an event stream is told too, and counts", async () => {
  const { rpc, who } = serverOf({ by: "connection" });
  await using server = await serveHere(rpc);
  const reader = await EventReader.open(server.url, "topics=lobby");
  const first = await reader.next();
  assertEquals(first.event, "presence");
  assertEquals(JSON.parse(first.data), { topic: "lobby", members: who.members("lobby") });
  const ann = await member(rpc, "ann");
  assertEquals(JSON.parse((await reader.next()).data).joined.length, 1);
  await reader.leave();
  await until(() => {
    // A runtime notices that a reader has left when something is sent to it.
    for (const connection of rpc.connections) connection.notify("ping");
    return who.members("lobby").length === 1;
  });
  await ann.client.close();
});

test("two plugins with names of their own live side by side", async () => {
  const rpc = new JsonRpc().topic("a").topic("b")
    .use(presence("a", { by: "connection" }))
    .use(presence("b", { by: "connection", name: "others" }));
  await using client = await pair(rpc);
  const told: string[] = [];
  for (const name of ["presence", "others"]) {
    client.method(name, ({ topic }: PresenceEvent) => void told.push(`${name} ${topic}`));
  }
  await client.subscribe("a", () => {});
  await client.subscribe("b", () => {});
  await until(() => told.length === 2);
  await quietMoment();
  assertEquals(told, ["presence a", "others b"]);
});

test("presence() refuses a graceMs out of range", () => {
  for (const graceMs of [-1, NaN, 2 ** 31, "5" as never]) {
    assertThrows(() => presence("a", { graceMs }), RangeError, "`graceMs`");
  }
});
