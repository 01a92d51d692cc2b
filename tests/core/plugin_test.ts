import { assertEquals, assertRejects, assertStringIncludes, assertThrows } from "@std/assert";
import { test } from "node:test";
import { connect, JsonRpc, loginRequired } from "@x/jsonrpc";
import type { Plugin } from "@x/jsonrpc/plugin";
import { linkedSockets } from "@x/jsonrpc/testing";
import { RawSocket } from "../helpers/raw_client.ts";
import { EventReader } from "../helpers/event_reader.ts";
import { deferred, unsettled, until } from "../helpers/deferred.ts";
import { silentLog } from "../helpers/log.ts";
import { serveHere } from "../helpers/server.ts";

interface Person {
  readonly name: string;
}

/** A backend as others could write one: its methods are known to the compiler. */
function trusting(): Plugin<Person | null, { login(params: { name: string }): boolean }> {
  const backend = {
    name: "trusting",
    methods: {
      login: {
        handler: (
          person: Person,
          { connection }: { connection: { login(user: object): void } },
        ) => {
          connection.login(person);
          return true;
        },
        socketOnly: true,
      },
    },
  };
  return backend;
}

test("use() gives clients the methods of a plugin, and handlers its user, as types too", async () => {
  const rpc = new JsonRpc()
    .use(trusting())
    .use((_request, next) => next())
    .method("whoami", { use: [loginRequired] }, (_params: unknown, { user }) => user.name);
  const [near, far] = linkedSockets();
  rpc.attach(far);
  await using client = await connect<typeof rpc>(near);
  const done: boolean = await client.call("login", { name: "ada" });
  const name: string = await client.remote.whoami();
  assertEquals([done, name], [true, "ada"]);
  // @ts-expect-error -- not what login takes
  await client.call("login", { who: "ada" });
});

test("a plugin whose hooks throw costs no connection its place, and keeps no other plugin from its own", async () => {
  const logger = silentLog();
  const received: string[] = [];
  const names = ["onUserChange", "onClose"] as const;
  const hooks = (run: (name: string) => void): Plugin => ({
    name: "test",
    ...Object.fromEntries(names.map((name) => [name, () => run(name)])),
  });
  const rpc = new JsonRpc({ logger, maxConnections: 1 })
    .use(hooks((name) => {
      throw new Error(`Broken ${name}`);
    }))
    .use(hooks((name) => void received.push(name)))
    .method("leave", (_params: unknown, { connection }) => {
      connection.logout();
      return "left";
    });
  await using server = await serveHere(rpc);
  for (let round = 0; round < 2; round++) {
    const client = await connect<typeof rpc>(server.ws);
    assertEquals(await client.call("leave"), "left");
    await client.close();
    await until(() => rpc.connections.size === 0);
  }
  assertEquals(received, [...names, ...names]);
  for (const name of names) assertStringIncludes(logger.text, `Broken ${name}`);
});

test("a plugin whose hooks reject has that logged, and the process goes on", async () => {
  const logger = silentLog();
  const names = ["onOpen", "onUserChange", "onClose"] as const;
  const rpc = new JsonRpc({ logger })
    .use({
      name: "test",
      ...Object.fromEntries(names.map((name) => [name, async () => {
        await Promise.resolve();
        throw new Error(`Broken ${name}`);
      }])),
    })
    .method("leave", (_params: unknown, { connection }) => {
      connection.logout();
      return "left";
    });
  const [near, far] = linkedSockets();
  rpc.attach(far);
  const client = await connect<typeof rpc>(near);
  assertEquals(await client.call("leave"), "left");
  await client.close();
  await until(() => names.every((name) => logger.text.includes(`Broken ${name}`)));
  await rpc.close();
});

test("a plugin whose `onDrop` throws keeps no event from others", async () => {
  const logger = silentLog();
  const rpc = new JsonRpc({ logger, maxBufferedBytes: 2 })
    .use({
      name: "test",
      onDrop() {
        throw new Error("Broken dropped");
      },
    })
    .topic("clock", { slowConsumer: "latest" });
  const sockets = [linkedSockets(), linkedSockets()] as const;
  for (const [, far] of sockets) rpc.attach(far);
  const slow = await connect<typeof rpc>(sockets[0][0]);
  const quick = await connect<typeof rpc>(sockets[1][0]);
  const received: unknown[] = [];
  await slow.subscribe("clock", () => {});
  await quick.subscribe("clock", (data) => received.push(data));
  Object.defineProperty(sockets[0][1], "bufferedAmount", { value: 1 });
  for (let n = 1; n <= 3; n++) rpc.publish("clock", n);
  await until(() => received.length === 3);
  assertEquals(received, [1, 2, 3]);
  assertStringIncludes(logger.text, "Broken dropped");
  await Promise.all([slow.close(), quick.close()]);
});

test("a plugin whose `opened` throws closes the connection with 1011, on each kind of connection that lasts", async () => {
  const logger = silentLog();
  const rpc = new JsonRpc({ logger })
    .use({
      name: "test",
      onOpen() {
        throw new Error("Broken opened");
      },
    })
    .topic("clock");
  const [near, far] = linkedSockets();
  const code = new Promise((resolve) =>
    near.addEventListener("close", ({ code }) => resolve(code))
  );
  rpc.attach(far);
  assertEquals(await code, 1011);
  await using server = await serveHere(rpc);
  const reader = await EventReader.open(server.url, "topics=clock");
  await reader.ended();
  await until(() => rpc.connections.size === 0);
  assertStringIncludes(logger.text, "Broken opened");
});

test("a plugin that closes a connection in `opened` leaves its place free", async () => {
  const rpc = new JsonRpc({ maxConnections: 2 })
    .use({
      name: "test",
      onOpen(connection) {
        connection.notify("why", ["No more of you"]);
        connection.close(1008, "No more of you");
      },
    });
  await using server = await serveHere(rpc);
  for (let round = 0; round < 3; round++) {
    const line = await RawSocket.open(server.url);
    assertEquals(await line.closed(), { code: 1008, reason: "No more of you" });
    assertEquals((await line.next()).method, "why");
    await until(() => rpc.connections.size === 0);
  }
});

test("a plugin whose `close` fails keeps none from being closed, and close() tells of it then", async () => {
  const closed: string[] = [];
  const slow = deferred();
  const rpc = new JsonRpc()
    .use({
      name: "test",
      dispose() {
        throw new Error("Broken close");
      },
    })
    .use({ name: "test", dispose: () => void closed.push("second") })
    .use({ name: "test", dispose: () => slow.promise.then(() => void closed.push("third")) });
  const closing = rpc.close();
  await until(() => closed.length > 0);
  assertEquals(await unsettled([closing]), [0]);
  slow.resolve();
  await assertRejects(() => closing, Error, "Broken close");
  assertEquals(closed, ["second", "third"]);
});

test("a plugin whose `fetch` fails is answered with 500 and logged, and tells nobody why", async () => {
  const logger = silentLog();
  const page = new Response("A page");
  await page.text();
  const broken: Readonly<Record<string, () => Response | Promise<Response>>> = {
    throws() {
      throw new Error("secret of one that throws");
    },
    rejects: () => Promise.reject(new Error("secret of one that rejects")),
    "is used up": () => page,
  };
  const rpc = new JsonRpc({ logger, origins: ["https://app.example"] }).method("ping", () => "pong")
    .use({
      name: "test",
      fetch: (request) => broken[decodeURI(new URL(request.url).pathname.slice(1))]?.(),
    });
  await using server = await serveHere(rpc);
  for (const [method, body] of [["GET", null], ["PUT", "x".repeat(1000)]] as const) {
    for (const how of Object.keys(broken)) {
      const headers = { origin: "https://app.example" };
      const response = await fetch(`${server.url}/${how}`, { method, body, headers });
      const text = await response.text();
      assertEquals([response.status, text], [500, "Internal error"], how);
    }
  }
  assertEquals(logger.lines.length, 6);
  for (
    const why of ["fetch of plugin", "secret of one that throws", "secret of one that rejects"]
  ) {
    assertStringIncludes(logger.text, why);
  }
  const client = await connect<typeof rpc>(server.url);
  assertEquals(await client.call("ping"), "pong");
  await client.close();
});

test("a plugin brings methods under rpc., and replaces a method if it says so", async () => {
  const rpc = new JsonRpc()
    .use({
      name: "pubsub",
      methods: { "rpc.on": { handler: ([topic]: [string]) => `on ${topic}` } },
    })
    .use({
      name: "short list",
      methods: { get_methods: { handler: () => ["just this"], replaces: true } },
    });
  const [near, far] = linkedSockets();
  rpc.attach(far);
  await using client = await connect(near);
  assertEquals(await client.call("rpc.on", ["news"]), "on news");
  assertEquals(await client.call("get_methods"), ["just this"]);
  const registration = rpc.register(() => {
    rpc.use({ name: "other", methods: { "rpc.on": { handler: () => "other", replaces: true } } });
  });
  assertEquals(await client.call("rpc.on", ["news"]), "other");
  registration[Symbol.dispose]();
  assertEquals(await client.call("rpc.on", ["news"]), "on news");
  assertThrows(
    () => rpc.use({ name: "careless", methods: { subscribe: { handler: () => 1 } } }),
    TypeError,
    "taken",
  );
});

test("outgoing runs around each call to a client, outermost first, and may change or answer it", async () => {
  const notes: string[] = [];
  const outer: Plugin = {
    name: "outer",
    outgoing: async ({ connection, method, params, options }, next) => {
      notes.push(`${method} ${JSON.stringify(params)} ${connection.isOpen} ${options.timeoutMs}`);
      const result = await next({ params: [2] });
      notes.push(`= ${result}`);
      return result;
    },
  };
  const inner: Plugin = {
    name: "inner",
    outgoing: ({ method }, next) => {
      if (method === "fail") throw new Error("No such call");
      return method === "cached" ? "kept" : next();
    },
  };
  const rpc = new JsonRpc({ logger: silentLog() })
    .use(outer)
    .use(inner)
    .method("ask", async ([name]: [string], request) => {
      request.notify("note");
      return await request.call(name, [1], { timeoutMs: 5000 });
    });
  const [near, far] = linkedSockets();
  rpc.attach(far);
  await using client = await connect(near);
  client.method("double", ([n]: [number]) => 2 * n);
  assertEquals(await client.call("ask", ["double"]), 4);
  assertEquals(await client.call("ask", ["cached"]), "kept");
  await assertRejects(() => client.call("ask", ["fail"]), Error, "Internal error");
  const seen = (name: string) => `${name} [1] true 5000`;
  assertEquals(notes, [seen("double"), "= 4", seen("cached"), "= kept", seen("fail")]);
});

test("outgoing of a plugin runs from the mounting of the plugin until it is taken back", async () => {
  let calls = 0;
  const rpc = new JsonRpc({ logger: silentLog() })
    .method("ask", (_params, request) => request.call("ping"));
  const [near, far] = linkedSockets();
  rpc.attach(far);
  await using client = await connect(near);
  client.method("ping", () => "pong");
  assertEquals(await client.call("ask"), "pong");
  const remove = rpc.register((rpc) =>
    rpc.use({ name: "counter", outgoing: (_call, next) => (calls++, next()) })
  );
  assertEquals([await client.call("ask"), calls], ["pong", 1]);
  remove();
  assertEquals(await client.call("ask"), "pong");
  assertEquals(calls, 1);
});

test("post of a plugin answers POSTs after all checks, or leaves them to others", async () => {
  const logger = silentLog();
  const seen: unknown[] = [];
  const rpc = new JsonRpc({ logger, maxMessageBytes: 1000 })
    .method("ping", () => "pong")
    .use({
      name: "guard",
      handshake: ({ headers }) =>
        headers.has("x-blocked") ? new Response(null, { status: 401 }) : undefined,
    })
    .use({
      name: "first",
      post({ text, message, handshake }) {
        seen.push([text, message, new URL(handshake.url).pathname]);
        if (handshake.url.endsWith("/broken")) throw new Error("secret");
        return handshake.url.endsWith("/mine") ? Response.json("mine") : undefined;
      },
    })
    .use({ name: "second", post: () => Promise.resolve(undefined) });
  await using server = await serveHere(rpc);
  const post = async (path: string, body: string, headers = {}) => {
    const type = { "content-type": "application/json" };
    const init = { method: "POST", body, headers: { ...type, ...headers } };
    const response = await fetch(server.url + path, init);
    return [response.status, await response.text()];
  };
  const body = '{"jsonrpc":"2.0","method":"ping","id":1}';
  assertEquals(await post("/mine", body), [200, '"mine"']);
  assertEquals(await post("/", body), [200, '{"jsonrpc":"2.0","result":"pong","id":1}']);
  assertEquals(await post("/broken", body), [500, "Internal error"]);
  assertStringIncludes(String(logger.lines), "post of plugin");
  const message = JSON.parse(body);
  assertEquals(seen.splice(0), ["/mine", "/", "/broken"].map((path) => [body, message, path]));
  // None of these reaches a plugin.
  assertEquals((await post("/mine", body, { "x-blocked": "1" }))[0], 401);
  assertEquals((await post("/mine", body, { "content-type": "text/plain" }))[0], 415);
  assertEquals((await post("/mine", `"${"a".repeat(1000)}"`))[0], 413);
  assertStringIncludes(String((await post("/mine", "{"))[1]), "-32700");
  assertEquals(seen, []);
});
