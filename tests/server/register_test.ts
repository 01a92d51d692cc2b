import {
  assert,
  assertEquals,
  assertRejects,
  assertStringIncludes,
  assertThrows,
} from "@std/assert";
import { test } from "node:test";
import { connect, JsonRpc, loginRequired } from "@x/jsonrpc";
import { stream } from "@x/jsonrpc/stream";
import type { Connection, Plugin } from "@x/jsonrpc/plugin";
import { pair } from "../helpers/client.ts";
import { deferred, until } from "../helpers/deferred.ts";
import { silentLog } from "../helpers/log.ts";
import { Post, RawSocket } from "../helpers/raw_client.ts";
import { serveHere } from "../helpers/server.ts";

const NAMES = { unsubscribe: "count_end", notification: "count_item", notifyEnd: true };

function serverOf() {
  return new JsonRpc({ logger: silentLog() }).method("ping", () => "pong").topic("stays");
}

test("register() takes methods, groups, streams, topics and middleware back", async () => {
  const rpc = serverOf();
  await using server = await serveHere(rpc);
  await using client = await connect(server.ws, { logger: silentLog() });
  const before = [
    await client.getMethods(),
    await client.getTopics(),
    await client.call("rpc.discover"),
  ];
  const calls: string[] = [];
  const takeBack = rpc.register((rpc) =>
    rpc.method("one", () => 1).addMethods("group", { two: () => 2 })
      .stream("count", NAMES, function* () {})
      .topic("news").topic("room.*")
      .use(({ method }, next) => (calls.push(method), next()))
  );
  assertEquals([await client.call("one"), await client.call("group.two")], [1, 2]);
  await client.subscribe("news", () => {});
  const lost = new Promise((resolve) => client.addEventListener("subscriptionlost", resolve));
  const heard = [...calls];
  assertEquals(heard, ["one", "group.two", "subscribe"]);

  takeBack();
  await lost;
  for (const method of ["one", "group.two", "count", "count_end"]) {
    await assertRejects(() => client.call(method), Error, "Method not found");
    const { error } = await new Post(server.url).ask({ jsonrpc: "2.0", method, id: 1 });
    assertEquals((error as { code: number }).code, -32601);
  }
  assertThrows(() => rpc.publish("news" as "stays", 1), TypeError, "no such topic");
  assertEquals(
    [await client.getMethods(), await client.getTopics(), await client.call("rpc.discover")],
    before,
  );
  assertEquals([await client.call("ping"), calls], ["pong", heard]);
  // Again, as a module that is loaded again does; and taking it back twice takes nothing else back.
  const again = rpc.register((rpc) => rpc.method("one", () => "new").topic("news"));
  takeBack();
  assertEquals([await client.call("one"), rpc.publish("news" as "stays", 1).deliveries], [
    "new",
    0,
  ]);
  again[Symbol.dispose]();
  await assertRejects(() => client.call("one"), Error, "Method not found");
});

test("a call that runs when its method is taken back is answered", async () => {
  const rpc = serverOf();
  await using server = await serveHere(rpc);
  await using client = await connect(server.ws);
  const [started, release] = [deferred(), deferred<string>()];
  const takeBack = rpc.register((rpc) =>
    rpc.method("slow", () => (started.resolve(), release.promise))
  );
  const call = client.call("slow");
  await started.promise;
  takeBack();
  release.resolve("done");
  assertEquals(await call, "done");
});

test("a stream that is taken back ends its subscriptions, and says so", async () => {
  const rpc = serverOf();
  await using server = await serveHere(rpc);
  await using client = await connect(server.ws);
  let ended = false;
  const takeBack = rpc.register((rpc) =>
    rpc.stream("count", NAMES, async function* (_params, { signal }) {
      try {
        for (let i = 0; !signal.aborted; i++) {
          yield i;
          await new Promise((resolve) => setTimeout(resolve, 1));
        }
      } finally {
        ended = true;
      }
    })
  );
  const items: unknown[] = [];
  const error = await (async () => {
    for await (const item of stream(client, "count", [], NAMES)) {
      if (items.push(item) === 3) takeBack();
    }
  })().catch((error) => error);
  assert(items.length >= 3);
  assertStringIncludes(String(error), "The server has removed the method");
  await until(() => ended);
});

test("a plugin that is taken back leaves no method, hook or check, and is disposed once", async () => {
  const rpc = serverOf();
  await using server = await serveHere(rpc);
  const events: string[] = [];
  const takeBack = rpc.register((rpc) =>
    rpc.use({
      name: "strict",
      handshake: ({ headers }) =>
        headers.has("x-key") ? undefined : new Response("No key", { status: 403 }),
      middleware: loginRequired,
      methods: { extra: { handler: () => "extra" } },
      fetch: () => new Response("a page"),
      onOpen: () => void events.push("open"),
      dispose: () => void events.push("disposed"),
    })
  );
  await assertRejects(() => RawSocket.open(server.url));
  assertEquals((await fetch(server.url, { headers: { "x-key": "1" } })).status, 200);
  takeBack();
  assertEquals(events, ["disposed"]);
  await (await RawSocket.open(server.url)).leave();
  const page = await fetch(server.url);
  await page.text();
  assertEquals([page.status, events], [405, ["disposed"]]);
  const { error } = await new Post(server.url).ask({ jsonrpc: "2.0", method: "extra", id: 1 });
  assertEquals((error as { code: number }).code, -32601);
  await rpc.close();
  assertEquals(events, ["disposed"]);
});

test("a check that is taken back while a handshake waits does not let it skip the others", async () => {
  const release = deferred();
  const rpc = serverOf();
  const takeBack = rpc.register((rpc) =>
    rpc.use({ name: "slow", handshake: () => release.promise })
  );
  rpc.use({ name: "closed", handshake: () => new Response("No", { status: 403 }) });
  await using server = await serveHere(rpc);
  const response = fetch(server.url, { method: "POST", body: "{}" });
  await new Promise((resolve) => setTimeout(resolve, 20));
  takeBack();
  release.resolve();
  assertEquals((await response).status, 403);
});

test("register() takes all back if its function throws; one within another goes with it", async () => {
  const logger = silentLog();
  const rpc = new JsonRpc({ logger }).method("ping", () => "pong");
  assertThrows(
    () => rpc.register((rpc) => rpc.method("one", () => 1).method("ping", () => 2)),
    TypeError,
    "taken",
  );
  const takeBack = rpc.register((rpc) => {
    rpc.method("one", () => 1);
    rpc.register((rpc) => rpc.method("two", () => 2));
    rpc.use({ name: "bad", dispose: () => Promise.reject(new Error("stuck")) });
  });
  await using server = await serveHere(rpc);
  await using client = await connect(server.ws);
  assertEquals([await client.call("one"), await client.call("two")], [1, 2]);
  takeBack();
  const names = await client.getMethods();
  assertEquals(names.filter((name) => ["one", "two", "ping"].includes(name)), ["ping"]);
  assertStringIncludes(logger.text, "Taking a registration back failed: Error: stuck");
});

/** A plugin that writes down what it is told of connections. */
function recorder(name: string, lines: string[], onOpen?: () => void): Plugin {
  const ids: string[] = [];
  const note = (what: string, connection: Connection): void => {
    if (!ids.includes(connection.id)) ids.push(connection.id);
    lines.push(`${name} ${what} ${ids.indexOf(connection.id)}`);
  };
  return {
    name,
    onOpen: (connection) => (note("open", connection), onOpen?.()),
    onSubscribe: (connection, topic) => note(`+${topic}`, connection),
    onUnsubscribe: (connection, topic, reason) => note(`-${topic} ${reason}`, connection),
    onClose: (connection) => note("close", connection),
    dispose: () => void lines.push(`${name} dispose`),
  };
}

test("a plugin that is taken back sees one onClose for each connection that is open, then dispose", async () => {
  const rpc = serverOf();
  const lines: string[] = [];
  const takeBack = rpc.register((rpc) => rpc.use(recorder("a", lines)));
  rpc.use(recorder("b", lines));
  await using server = await serveHere(rpc);
  const gone = await connect(server.ws);
  await gone.close();
  await until(() => rpc.connections.size === 0);
  const [one, two] = [await connect(server.ws), await connect(server.ws)];
  await one.subscribe("stays", () => {});
  takeBack();
  takeBack();
  const own = (name: string) => lines.filter((line) => line.startsWith(name));
  const seen = ["a open 0", "a close 0", "a open 1", "a open 2", "a +stays 1"];
  const end = ["a -stays close 1", "a close 1", "a close 2", "a dispose"];
  assertEquals(own("a"), [...seen, ...end]);
  await Promise.all([one.close(), two.close()]);
  await until(() => rpc.connections.size === 0);
  assertEquals(own("a"), [...seen, ...end]);
  // A plugin that stays sees each end when it comes.
  assertEquals(own("b").filter((line) => line.includes("close")).length, 4);
});

test("a plugin that another one takes back while a connection opens does not see it open", async () => {
  const rpc = serverOf();
  const lines: string[] = [];
  let takeBack = (): void => {};
  rpc.use(recorder("a", lines, () => takeBack()));
  takeBack = rpc.register((rpc) => rpc.use(recorder("b", lines)));
  await using client = await pair(rpc);
  await client.call("ping");
  assertEquals(lines, ["a open 0", "b close 0", "b dispose"]);
});

test("a hook of a plugin that is taken back may fail, and takes nothing else with it", async () => {
  const logger = silentLog();
  const rpc = new JsonRpc({ logger });
  let disposed = false;
  const takeBack = rpc.register((rpc) =>
    rpc.use({
      name: "broken",
      onClose() {
        throw new Error("Cannot close");
      },
      dispose: () => void (disposed = true),
    })
  );
  await using client = await pair(rpc);
  takeBack();
  assert(disposed);
  assertStringIncludes(logger.text, 'onClose of plugin "broken" failed: Error: Cannot close');
  assertEquals(client.state, "open");
});
