import { test } from "node:test";
import {
  assert,
  assertEquals,
  assertInstanceOf,
  assertRejects,
  assertStrictEquals,
  assertStringIncludes,
  assertThrows,
} from "@std/assert";
import { connect, guard, JsonRpc, RpcError, RpcInternalError } from "@x/jsonrpc";
import type { CallMiddleware, Connection } from "@x/jsonrpc";
import type { HandshakeCheck, Plugin } from "@x/jsonrpc/plugin";
import { SKIPS } from "../../src/core/internal.ts";
import { compose } from "../../src/core/middleware.ts";
import type { Middleware } from "../../src/core/middleware.ts";
import { EventReader } from "../helpers/event_reader.ts";
import { pair } from "../helpers/client.ts";
import { quietMoment, until } from "../helpers/deferred.ts";
import { silentLog } from "../helpers/log.ts";
import { serveHere } from "../helpers/server.ts";
import { bareClient } from "../helpers/wire.ts";

/** A layer that writes down when it is entered and left. */
function traced(trace: string[], name: string): CallMiddleware {
  return (_request, next) => {
    trace.push(`${name} in`);
    const result = next();
    trace.push(`${name} out`);
    return result;
  };
}

// -- the onion by itself --

test("compose() runs layers from the first inwards, and values return through them", () => {
  const trace: string[] = [];
  const layer = (name: string): Middleware<string[]> => (context, next) => {
    context.push(name);
    return `${name}(${next()})`;
  };
  const core = compose([layer("a"), layer("b"), layer("c")], (context) => context.join(""));
  assertEquals([core(trace), trace], ["a(b(c(abc)))", ["a", "b", "c"]]);
});

test("compose() gives the core itself when there are no layers", () => {
  const core = () => 1;
  assertStrictEquals(compose([], core), core);
});

test("compose() leaves out a layer for the contexts that it has nothing to do for", () => {
  const odd: Middleware<number> = (_context, next) => `odd ${next()}`;
  const layer = Object.assign(odd, { [SKIPS]: (context: number) => context % 2 === 0 });
  const run = compose<number>([layer, (_context, next) => `(${next()})`], (context) => context);
  assertEquals([run(1), run(2), run(3)], ["odd (1)", "(2)", "odd (3)"]);
});

test("compose() stays synchronous where all layers are", () => {
  const pass: Middleware<null> = (_context, next) => next();
  const forget: Middleware<null> = (_context, next) => void next();
  assertStrictEquals(compose([pass, forget, pass], () => "now")(null), "now");
});

test("compose() waits where one layer does, or the core", async () => {
  const wait: Middleware<null> = async (_context, next) => {
    await quietMoment();
    return await next();
  };
  const pass: Middleware<null> = (_context, next) => next();
  assertInstanceOf(compose([pass, wait], () => 1)(null), Promise);
  assertEquals(await compose([pass, wait], () => 1)(null), 1);
  assertEquals(await compose([pass], () => Promise.resolve(2))(null), 2);
});

test("compose() may be run many times, also at the same time", async () => {
  const run = compose<number>([async (_n, next) => await next()], (n) => n * 2);
  assertEquals(await Promise.all([1, 2, 3].map(run)), [2, 4, 6]);
});

test("compose() passes on what next() gave when a layer returns nothing", async () => {
  const core = () => "core";
  const layers: Record<string, Middleware<null>> = {
    sync: (_context, next) => void next(),
    async: async (_context, next) => void await next(),
    impatient: async (_context, next) => {
      next();
      await quietMoment();
    },
  };
  for (const layer of Object.values(layers)) {
    assertEquals(await compose([layer], core)(null), "core");
    assertEquals(await compose([layer, layer], async () => await core())(null), "core");
  }
});

test("compose() takes null, false, 0 and the empty string for answers", () => {
  for (const answer of [null, false, 0, ""]) {
    assertStrictEquals(compose([() => answer], () => "core")(null), answer);
  }
});

test("compose() fails when a layer neither returns nor calls next()", async () => {
  const expected = "neither returned nor called next()";
  assertThrows(() => compose([function idle() {}], () => 1)(null), Error, `idle ${expected}`);
  await assertRejects(async () => await compose([async () => {}], () => 1)(null), Error, expected);
});

test("compose() fails when a layer calls next() twice", async () => {
  const twice: Middleware<null> = function greedy(_context, next) {
    next();
    return next();
  };
  assertThrows(
    () => compose([twice], () => 1)(null),
    Error,
    "Cannot call next() twice: middleware greedy",
  );
  const late: Middleware<null> = async (_context, next) => {
    await next();
    return await next();
  };
  await assertRejects(async () => await compose([late], () => 1)(null), Error, "twice");
});

test("compose() lets a layer catch what is thrown further in", async () => {
  const fail = () => {
    throw new Error("inside");
  };
  const sync: Middleware<null> = (_context, next) => {
    try {
      return next();
    } catch (error) {
      return `caught ${(error as Error).message}`;
    }
  };
  const async: Middleware<null> = async (_context, next) => {
    try {
      return await next();
    } catch (error) {
      return `caught ${(error as Error).message}`;
    }
  };
  assertEquals(compose([sync], fail)(null), "caught inside");
  assertEquals(await compose([async], fail)(null), "caught inside");
  assertEquals(
    await compose([async], () => Promise.reject(new Error("inside")))(null),
    "caught inside",
  );
});

test("compose() does not take a failure that a layer swallowed for an answer", async () => {
  const fail = () => {
    throw new Error("inside");
  };
  const swallow = (next: () => unknown) => {
    try {
      next();
    } catch {
      // Forgets to answer.
    }
  };
  const sync: Middleware<null> = (_context, next) => swallow(next);
  const async: Middleware<null> = async (_context, next) => await swallow(next);
  assertThrows(() => compose([sync], fail)(null));
  await assertRejects(async () => await compose([async], fail)(null));
});

// -- around calls --

test("use() puts the first layer outermost: the server's, the group's, the method's", async () => {
  const trace: string[] = [];
  const layer = (name: string) => traced(trace, name);
  const rpc = new JsonRpc()
    .use(layer("first"))
    .method("ping", { use: [layer("method"), layer("last")] }, () => trace.push("ping"))
    .addMethods("group", { pong: () => trace.push("pong") }, { use: [layer("group")] })
    .use(layer("second"));
  await using client = await pair(rpc);
  await client.call("ping");
  const order = ["first", "second", "method", "last"];
  const around = (core: string, names: string[]) => [
    ...names.map((name) => `${name} in`),
    core,
    ...names.toReversed().map((name) => `${name} out`),
  ];
  assertEquals(trace.splice(0), around("ping", order));
  await client.call("group.pong");
  assertEquals(trace, around("pong", ["first", "second", "group"]));
});

test("use() holds for methods that were registered and called before", async () => {
  const rpc = new JsonRpc().method("ping", () => "pong");
  await using client = await pair(rpc);
  assertEquals(await client.call("ping"), "pong");
  rpc.use((_request, next) => `${next()}!`);
  assertEquals(await client.call("ping"), "pong!");
  rpc.use((_request, next) => `${next()}?`);
  assertEquals(await client.call("ping"), "pong?!");
});

test("use() sees every call: unknown, built in, notified, in a batch, over WebSocket and POST", async () => {
  const seen: unknown[] = [];
  const rpc = new JsonRpc({ logger: silentLog() })
    .method("ping", () => "pong")
    .topic("clock")
    .use(({ method, id }, next) => {
      seen.push(id === undefined ? `${method}, notified` : method);
      return next();
    });
  await using server = await serveHere(rpc);
  for (const url of [server.ws, server.url]) {
    await using client = await connect(url);
    await client.call("ping");
    client.notify("ping");
    await until(() => seen.length === 2);
    await client.call("nowhere").catch(() => {});
    await client.call("get_methods");
    await client.call("subscribe", ["clock"]).catch(() => {});
    await client.batch((b) => {
      b.notify("ping");
      return [b.call("ping"), b.call("nowhere").catch(() => {})];
    });
    assertEquals(seen.splice(0), [
      "ping",
      "ping, notified",
      "nowhere",
      "get_methods",
      "subscribe",
      "ping, notified",
      "ping",
      "nowhere",
    ]);
  }
});

test("use() sees no message that is no call", async () => {
  let calls = 0;
  const rpc = new JsonRpc().method("ping", () => "pong").use((_request, next) => (calls++, next()));
  const wire = bareClient(rpc);
  wire.send("no JSON");
  wire.send({ jsonrpc: "2.0", id: 1 });
  wire.send({ jsonrpc: "2.0", method: "ping", params: "text", id: 2 });
  wire.send({ jsonrpc: "2.0", result: 1, id: 3 });
  wire.call(undefined, "$/cancelRequest", { id: 4 });
  wire.call(undefined, "$/progress", { token: 5 });
  await wire.some(3);
  assertEquals(calls, 0);
  wire.close();
});

test("a layer may answer for an unknown method, or in place of a known one", async () => {
  const rpc = new JsonRpc().method("ping", () => "pong")
    .use(({ method }, next) => method === "ping" || method === "late" ? `layer ${method}` : next());
  await using client = await pair(rpc);
  assertEquals(await client.call("ping"), "layer ping");
  assertEquals(await client.call("late" as "ping"), "layer late");
});

test("a layer may put other params in place", async () => {
  const rpc = new JsonRpc()
    .method("add", { names: ["a", "b"] }, ({ a, b }: { a: number; b: number }) => a + b)
    .use((request, next) => {
      request.params = [1, 2];
      return next();
    });
  await using client = await pair(rpc);
  assertEquals(await client.call("add", { a: 5, b: 5 }), 3);
});

test("a layer may refuse with an RpcError", async () => {
  const logger = silentLog();
  const rpc = new JsonRpc({ logger }).method("ping", () => "pong").use(() => {
    throw new RpcError(429, "Slow down", { data: { seconds: 3 } });
  });
  await using client = await pair(rpc);
  const error = await assertRejects(() => client.call("ping"), RpcError, "Slow down");
  assertEquals([error.code, error.data], [429, { seconds: 3 }]);
  assertEquals(logger.lines, []);
});

const broken: Readonly<Record<string, readonly [CallMiddleware, logged: string]>> = {
  "neither returns nor calls next()": [() => {}, "neither returned nor called next()"],
  "neither returns nor calls next(), later": [async () => await quietMoment(), "neither returned"],
  "calls next() twice": [(_request, next) => [next(), next()], "Cannot call next() twice"],
  "calls next() twice, later": [async (_request, next) => [await next(), await next()], "twice"],
  "throws": [() => {
    throw new Error("secret detail");
  }, "secret detail"],
  "rejects": [() => Promise.reject(new Error("secret detail")), "secret detail"],
};

for (const [what, [layer, logged]] of Object.entries(broken)) {
  test(`a layer that ${what} is answered with -32603 and logged`, async () => {
    const logger = silentLog();
    const rpc = new JsonRpc({ logger }).method("ping", () => "pong").use(layer);
    await using client = await pair(rpc);
    const error = await assertRejects(() => client.call("ping"), RpcInternalError);
    assertEquals([error.message, error.data], ["Internal error", undefined]);
    assertEquals(logger.lines.length, 1);
    assertStringIncludes(logger.text, 'error: Method "ping" failed');
    assertStringIncludes(logger.text, logged);
  });
}

test("a layer that does not wait for the handler does no harm when that fails", async () => {
  const logger = silentLog();
  const rpc = new JsonRpc({ logger })
    .method("fail", async () => {
      await quietMoment();
      throw new Error("nobody waits for this");
    })
    .use((_request, next) => {
      next();
      return "cached";
    });
  await using client = await pair(rpc);
  assertEquals(await client.call("fail"), "cached");
  await quietMoment();
  await quietMoment();
  assertEquals(await client.call("fail"), "cached");
});

test("a handler that gives a query, which runs each time it is waited for, has it run once", async () => {
  let runs = 0;
  const query = () => ({
    then: (resolve: (rows: number) => void) => void queueMicrotask(() => resolve(++runs)),
  });
  const layers: Readonly<Record<string, CallMiddleware>> = {
    returns: (_request, next) => next(),
    calls: (_request, next) => void next(),
    waits: async (_request, next) => await next(),
    guards: guard(() => true),
  };
  const rpc = new JsonRpc().method("none", query);
  for (const [name, layer] of Object.entries(layers)) rpc.method(name, { use: [layer] }, query);
  rpc.method("all", { use: Object.values(layers) }, query);
  await using client = await pair(rpc);
  for (const name of ["none", ...Object.keys(layers), "all"]) {
    const before = runs;
    assertEquals([await client.call(name as "none"), runs], [before + 1, before + 1], name);
  }
});

test("a layer passes on a handler that has no result", async () => {
  const rpc = new JsonRpc().method("quiet", () => {}).use((_request, next) => next());
  await using client = await pair(rpc);
  assertStrictEquals(await client.call("quiet"), null);
});

// -- plugins --

test("use() mounts every member of a plugin", async () => {
  const told: string[] = [];
  const say = (what: string) => void told.push(what);
  const plugin: Plugin = {
    name: "everything",
    middleware: ({ method }, next) => (say(`call ${method}`), next()),
    handshake: ({ url }) => say(`handshake ${new URL(url).pathname}`),
    methods: {
      whoAmI: { handler: (_params: unknown, { user }: { user: unknown }) => user },
      scalar: { handler: (params: unknown) => params, scalarParams: true },
      lasting: { handler: () => "lasting", socketOnly: true },
      guarded: { handler: () => "guarded", use: [traced(told, "guarded")] },
    },
    fetch: (request) => new Response(`page ${new URL(request.url).pathname}`),
    onClose: (connection) => say(`ended ${connection.isOpen}`),
    onUserChange: (connection) => say(`user ${connection.user}`),
    dispose: () => say("close"),
  };
  const rpc = new JsonRpc().use(plugin);
  const server = await serveHere(rpc);

  const posting = await connect(`${server.url}/post`);
  await assertRejects(() => posting.call("lasting"), RpcError, "Method not found");
  assertEquals((await posting.getMethods()).includes("lasting"), false);
  assertEquals(told.splice(0), [
    "handshake /post",
    "call lasting",
    "handshake /post",
    "call get_methods",
  ]);

  assertEquals(await (await fetch(`${server.url}/index.html`)).text(), "page /index.html");
  assertEquals(told.splice(0), ["handshake /index.html"]);

  const client = await connect(`${server.ws}/socket`);
  assertEquals(await client.call("lasting"), "lasting");
  assertEquals(await client.call("guarded"), "guarded");
  for (const connection of rpc.connections) {
    connection.login("ada" as never);
    connection.logout();
  }
  assertEquals(await client.call("whoAmI"), null);
  await client.close();
  await until(() => told.includes("ended false"));
  await server.stop();
  assertEquals(told, [
    "handshake /socket",
    "call lasting",
    "call guarded",
    "guarded in",
    "guarded out",
    "user ada",
    "user null",
    "call whoAmI",
    "ended false",
    "close",
  ]);
});

test("use() lets a plugin take params that are no array or object", async () => {
  const rpc = new JsonRpc().use({
    name: "test",
    methods: { scalar: { handler: (params: unknown) => params, scalarParams: true } },
  });
  const wire = bareClient(rpc);
  wire.call(1, "scalar", "text");
  assertEquals((await wire.next()).result, "text");
  wire.close();
});

test("use() throws TypeError when a plugin brings a method whose name is taken", () => {
  const methods = { ping: { handler: () => 1 } };
  assertThrows(
    () => new JsonRpc().method("ping", () => 0).use({ name: "test", methods }),
    TypeError,
    "taken",
  );
  assertThrows(
    () => new JsonRpc().use({ name: "test", methods: { subscribe: { handler: () => 1 } } }),
    TypeError,
  );
});

test("use() takes a frozen plugin, and the same for two servers", async () => {
  const plugin = Object.freeze({
    name: "frozen",
    methods: Object.freeze({ ping: Object.freeze({ handler: () => "pong" }) }),
  });
  for (const rpc of [new JsonRpc().use(plugin), new JsonRpc().use(plugin)]) {
    await using client = await pair(rpc);
    assert((await client.getMethods()).includes("ping"));
  }
});

test("fetch() asks plugins in turn, and answers 405 when none of them has an answer", async () => {
  const rpc = new JsonRpc()
    .use({ name: "test", fetch: () => undefined })
    .use({
      name: "test",
      fetch: async ({ url }) => url.endsWith("/page") ? new Response(await "page") : undefined,
    })
    .use({
      name: "test",
      fetch: ({ url }) => url.endsWith("e") ? new Response("late") : undefined,
    });
  await using server = await serveHere(rpc);
  const answers = ["page", "here", "nowhere?"].map((path) => fetch(`${server.url}/${path}`));
  const [page, here, missing] = await Promise.all(answers);
  assertEquals([await page?.text(), await here?.text()], ["page", "late"]);
  assertEquals([missing?.status, missing?.headers.get("allow")], [405, "POST"]);
  await missing?.body?.cancel();
});

// -- handshakes --

const refusals: Readonly<Record<string, HandshakeCheck>> = {
  "returns a Response": () => new Response("no", { status: 401 }),
  "throws a Response": () => {
    throw new Response("no", { status: 401 });
  },
  "resolves with a Response": async () => {
    await quietMoment();
    return new Response("no", { status: 401 });
  },
  "rejects with a Response": () => Promise.reject(new Response("no", { status: 401 })),
};

/** What a server answers over POST and WebSocket: the status of a POST, and whether a WebSocket opens. */
async function knock(url: string, ws: string): Promise<[status: number, opened: boolean]> {
  const headers = { "content-type": "application/json" };
  const body = '{"jsonrpc":"2.0","method":"ping","id":1}';
  const response = await fetch(url, { method: "POST", headers, body });
  await response.body?.cancel();
  const client = await connect(ws).catch(() => undefined);
  await client?.close();
  return [response.status, client !== undefined];
}

for (const [what, handshake] of Object.entries(refusals)) {
  test(`a handshake function that ${what} refuses POST and WebSocket`, async () => {
    const later: string[] = [];
    const rpc = new JsonRpc().method("ping", () => "pong").use({ name: "test", handshake })
      .use({ name: "test", handshake: () => void later.push("asked") });
    await using server = await serveHere(rpc);
    assertEquals(await knock(server.url, server.ws), [401, false]);
    assertEquals([rpc.connections.size, later], [0, []]);
  });
}

const DENIED = new Response("Not here", { status: 403, headers: { "x-why": "denied" } });
const constants: Record<string, () => Response | Promise<Response>> = {
  "returns": () => DENIED,
  "resolves": () => Promise.resolve(DENIED),
  "throws": () => {
    throw DENIED;
  },
};

for (const [does, handshake] of Object.entries(constants)) {
  test(`a handshake function that ${does} one and the same Response refuses everybody`, async () => {
    const rpc = new JsonRpc({ origins: "*" }).use({ name: "test", handshake });
    await using server = await serveHere(rpc);
    for (const origin of ["", "https://app.example"]) {
      for (let round = 0; round < 3; round++) {
        const method = round === 0 ? "GET" : "POST";
        const response = await fetch(server.url, { method, headers: origin ? { origin } : {} });
        const { status, headers } = response;
        assertEquals([status, headers.get("x-why")], [403, "denied"]);
        assertEquals(await response.text(), "Not here");
        assertEquals(await connect(server.ws).catch(() => "refused"), "refused");
      }
    }
    assertEquals(rpc.connections.size, 0);
  });
}

test("a handshake function whose Response was read before refuses with 500, and it is logged", async () => {
  const logger = silentLog();
  const read = new Response("no", { status: 403 });
  await read.text();
  for (const handshake of [() => read, () => Promise.reject(read)]) {
    const rpc = new JsonRpc({ logger }).method("ping", () => "pong").use({
      name: "test",
      handshake,
    });
    await using server = await serveHere(rpc);
    assertEquals(await knock(server.url, server.ws), [500, false]);
  }
  assertEquals(logger.lines.length, 4);
  assertStringIncludes(logger.text, "A handshake check failed: ");
});

for (const verdict of [false, true, null, 0, "", "no", {}]) {
  test(`a handshake function that gives ${JSON.stringify(verdict)}, at once or later, refuses POST and WebSocket`, async () => {
    for (const handshake of [() => verdict, () => Promise.resolve(verdict)]) {
      const logger = silentLog();
      const rpc = new JsonRpc({ logger }).method("ping", () => "pong")
        .use({ name: "test", handshake: handshake as never });
      await using server = await serveHere(rpc);
      assertEquals(await knock(server.url, server.ws), [500, false]);
      assertStringIncludes(logger.text, "Expected a Response or nothing, got `");
    }
  });
}

for (const manner of ["throws", "rejects"]) {
  test(`a handshake function that ${manner} is answered with 500 and logged`, async () => {
    const logger = silentLog();
    const error = new Error("secret detail", { cause: new Error("secret cause") });
    const rpc = new JsonRpc({ logger }).method("ping", () => "pong").use({
      name: "test",
      handshake: () => {
        if (manner === "throws") throw error;
        return Promise.reject(error);
      },
    });
    await using server = await serveHere(rpc);
    assertEquals(await knock(server.url, server.ws), [500, false]);
    assertEquals(logger.lines.length, 2);
    for (const trace of ["handshake", "secret detail", "secret cause"]) {
      assertStringIncludes(logger.text, trace);
    }
    const response = await fetch(server.url, { method: "POST" });
    assert(!(await response.text()).includes("secret"));
  });
}

for (const manner of ["at once", "later"]) {
  test(`a handshake function sets the user ${manner}, over WebSocket and POST`, async () => {
    const rpc = new JsonRpc()
      .use({
        name: "test",
        handshake: (handshake) => {
          const user = new URL(handshake.url).searchParams.get("user");
          if (manner === "at once") handshake.user = user;
          else return quietMoment().then(() => void (handshake.user = user));
        },
      })
      .method("whoAmI", (_params: unknown, { user }) => user);
    await using server = await serveHere(rpc);
    for (const url of [server.ws, server.url]) {
      await using client = await connect<typeof rpc>(`${url}/?user=ada`);
      assertEquals(await client.call("whoAmI"), "ada" as never);
    }
  });
}

test("a handshake function that refuses many at once keeps no place from others", async () => {
  const rpc = new JsonRpc({ maxConnections: 1 }).topic("news").use({
    name: "test",
    handshake: () => new Response("No", { status: 401 }),
  });
  const headers = { accept: "text/event-stream" };
  const ask = () => rpc.fetch(new Request("http://localhost/?topics=news", { headers }));
  const answers = await Promise.all([ask(), ask(), ask()]);
  assertEquals(answers.map(({ status }) => status), [401, 401, 401]);
  for (const answer of answers) assertEquals(await answer.text(), "No");
});

test("a handshake function sees URL, headers and address, over WebSocket and POST", async () => {
  const seen: unknown[] = [];
  const rpc = new JsonRpc().method("ping", () => "pong").use({
    name: "test",
    handshake: ({ url, headers, remoteAddress, user }) =>
      void seen.push([new URL(url).search, headers.has("host"), remoteAddress, user]),
  });
  await using server = await serveHere(rpc);
  for (const url of [server.ws, server.url]) {
    await using client = await connect<typeof rpc>(`${url}/?a=1`);
    await client.call("ping");
  }
  const expected = ["?a=1", true, "127.0.0.1", null];
  assertEquals(seen, [expected, expected]);
});

for (const entry of ["fetch", "handleUpgrade"] as const) {
  test(`connection.handshake can be read for as long as the connection is open, through ${entry}()`, async () => {
    const rpc = new JsonRpc().method("where", (_params: unknown, { connection }) => {
      const { url, headers, remoteAddress } = connection.handshake;
      return [new URL(url).pathname, headers.get("upgrade")?.toLowerCase(), remoteAddress];
    });
    const { websocket, close } = rpc;
    await using server = await serveHere({ fetch: rpc[entry], websocket, close: close.bind(rpc) });
    await using client = await connect<typeof rpc>(`${server.ws}/path`);
    const expected = ["/path", "websocket", "127.0.0.1"];
    assertEquals(await client.call("where"), expected as never);
    assertEquals(await client.call("where"), expected as never);
  });
}

test("connection.handshake can be read for as long as an event stream is open", async () => {
  const rpc = new JsonRpc().topic("clock");
  await using server = await serveHere(rpc);
  const reader = await EventReader.open(server.url, "topics=clock");
  const [connection] = rpc.connections;
  const { url, headers, remoteAddress } = connection?.handshake ?? {};
  const expected = ["/?topics=clock", "text/event-stream", "127.0.0.1"];
  assertEquals(
    [url?.replace(server.url, ""), headers?.get("accept"), remoteAddress],
    expected,
  );
  await rpc.close();
  await reader.ended();
});

test("connection.state is room of its own for each connection", async () => {
  const rpc = new JsonRpc().method(
    "count",
    (_params: unknown, { connection }: { connection: Connection }) => {
      const { state } = connection;
      assertEquals(state.toString, undefined);
      return state.count = Number(state.count ?? 0) + 1;
    },
  );
  await using first = await pair(rpc);
  await using second = await pair(rpc);
  const counts = [await first.call("count"), await first.call("count"), await second.call("count")];
  assertEquals(counts, [1, 2, 1]);
  const ids = [...rpc.connections].map(({ id }) => id);
  assertEquals(new Set(ids).size, 2);
});
