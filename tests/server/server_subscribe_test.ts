import { assertEquals, assertRejects } from "@std/assert";
import { test } from "node:test";
import { guard, JsonRpc, RpcServerError } from "@x/jsonrpc";
import { until } from "../helpers/deferred.ts";
import { silentLog } from "../helpers/log.ts";
import { call } from "../helpers/messages.ts";
import { Post, RawSocket } from "../helpers/raw_client.ts";
import { serveHere } from "../helpers/server.ts";

function serverOf() {
  const events: string[] = [];
  const rpc = new JsonRpc({ logger: silentLog(), maxSubscriptions: 3 })
    .use({
      name: "hooks",
      onSubscribe: (_connection, topic) => void events.push(`+${topic}`),
      onUnsubscribe: (_connection, topic, reason) => void events.push(`-${topic} ${reason}`),
    })
    .user<string>()
    .method("ping", () => "pong")
    .method("join", async ([topics, last]: [string | string[], number?], { connection }) => {
      await connection.subscribe(topics, last === undefined ? {} : { last });
      return [...connection.subscriptions];
    })
    .method("leave", async (topics: string[], { connection }) => {
      await connection.unsubscribe(topics);
      return [...connection.subscriptions];
    })
    .method("log in", (_params, { connection }) => connection.login("ann"))
    .topic("news", { retain: true, history: { size: 10 } })
    .topic("secret", { guards: [guard(({ user }) => user === "ann")] })
    .topic("room.*");
  return { rpc, events };
}

test("connection.subscribe() gives a client topics, the retained event first, and takes them away", async () => {
  const { rpc, events } = serverOf();
  await using server = await serveHere(rpc);
  rpc.publish("news", 1);
  rpc.publish("news", 2);
  const socket = await RawSocket.open(server.url);
  socket.send(call("join", 1, ["news"]));
  const [first, second] = await socket.some(2);
  // The event may come before the answer to the method that has subscribed the client.
  const joined = [first, second].find((message) => message?.id === 1);
  const event = [first, second].find((message) => message?.method === "news");
  assertEquals([joined?.result, event?.params], [["news"], 2]);
  rpc.publish("news", 3);
  assertEquals((await socket.next()).params, 3);
  assertEquals((await socket.ask(call("leave", 2, ["news"]))).result, []);
  assertEquals(rpc.publish("news", 4).deliveries, 0);
  assertEquals(events, ["+news", "-news call"]);
  // With history, and for several at once.
  socket.send(call("join", 3, [["news", "room.7"], 2]));
  const messages = await socket.some(3);
  assertEquals(messages.filter(({ id }) => id === undefined).map(({ params }) => params), [3, 4]);
  await socket.leave();
});

test("connection.subscribe() is held to guards, middleware and limits, and says so", async () => {
  const { rpc } = serverOf();
  await using server = await serveHere(rpc);
  const socket = await RawSocket.open(server.url);
  const message = async (id: number, topics: unknown) =>
    (await socket.ask(call("join", id, [topics]))).error;
  for (const topic of ["secret", "nothing"]) {
    assertEquals(await message(1, topic), {
      code: -32602,
      message: `Cannot subscribe to "${topic}": no such topic, or not for this client`,
    });
  }
  assertEquals((await message(1, ["room.0", "nothing"]) as { code: number }).code, -32602);
  const [peer] = rpc.connections;
  assertEquals([...peer!.subscriptions], ["room.0"]);
  await peer!.unsubscribe("room.0");
  const rooms = ["room.1", "room.2", "room.3", "room.4"];
  assertEquals((await message(2, rooms) as { code: number }).code, -32006);
  await socket.ask(call("log in", 3));
  assertEquals((await socket.ask(call("join", 4, ["secret"]))).result, ["secret"]);
  rpc.use((request, next) => {
    if (request.method === "subscribe") throw new RpcServerError(-32050, "Not today");
    return next();
  });
  assertEquals(await message(5, "news"), { code: -32050, message: "Not today" });
  const [connection] = rpc.connections;
  await socket.leave();
  await until(() => connection?.isOpen === false);
  await assertRejects(async () => await connection?.subscribe("news"), Error, "closed");
});

test("over POST connection.subscribe() rejects: nothing lasts there", async () => {
  const { rpc } = serverOf();
  await using server = await serveHere(rpc);
  const post = new Post(server.url);
  for (const method of ["join", "leave"]) {
    const { error } = await post.ask(call(method, 1, ["news"]));
    assertEquals((error as { code: number }).code, -32603);
  }
});
