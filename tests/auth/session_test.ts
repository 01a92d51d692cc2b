import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import { SignJWT } from "jose";
import { test } from "node:test";
import {
  connect,
  JsonRpc,
  loginRequired,
  permissionRequired,
  RpcConnectionError,
  RpcMethodNotFoundError,
} from "@x/jsonrpc";
import type {
  Connection,
  Handshake,
  JsonRpcClient,
  JsonRpcOptions,
  RpcRequest,
  StandardSocket,
} from "@x/jsonrpc";
import type { Plugin } from "@x/jsonrpc/plugin";
import { jwt } from "@x/jsonrpc/jwt";
import { cookie, session } from "@x/jsonrpc/session";
import type { LoadSession, SessionAuthOptions } from "@x/jsonrpc/session";
import { linkedSockets } from "@x/jsonrpc/testing";
import { WebSocket as WsSocket } from "ws";
import { rawPost, rawUpgrade } from "../helpers/raw_client.ts";
import { deferred, quietMoment, until } from "../helpers/deferred.ts";
import { silentLog } from "../helpers/log.ts";
import { serveHere } from "../helpers/server.ts";
import type { LocalServer } from "../helpers/server.ts";
import { bareClient } from "../helpers/wire.ts";
import { freePort } from "../helpers/ports.ts";
import { spawnServer } from "../helpers/spawn_server.ts";
import { needs } from "../helpers/needs.ts";

interface User {
  readonly name: string;
  readonly permissions?: readonly string[];
}

const WHOAMI = '{"jsonrpc":"2.0","method":"whoami","id":1}';

/** Sessions in a Map, and a server that knows them. */
function testServer(
  load?: LoadSession<User>,
  options: SessionAuthOptions & JsonRpcOptions = {},
) {
  const log = silentLog();
  const sessions = new Map<string, User>([["ada-1", { name: "ada" }], ["bob-1", { name: "bob" }]]);
  const find = (handshake: Handshake) => sessions.get(cookie(handshake, "sid") ?? "");
  const { recheckMs, ...rest } = options;
  const rpc = new JsonRpc({ logger: log, ...rest })
    .use(session(load ?? find, recheckMs === undefined ? {} : { recheckMs }))
    .method("ping", () => "pong")
    .method("whoami", (_params: unknown, { user }) => user?.name ?? null)
    .method("secret", { use: [loginRequired] }, () => 42)
    .topic("news")
    .topic("secrets", { guards: [loginRequired] })
    .topic("orders", { guards: [permissionRequired("operate")] });
  return { rpc, log, sessions, find };
}

/** A client with a cookie, as a browser has it. */
function withCookie(url: string, header: string): Promise<JsonRpcClient> {
  const headers = { cookie: header };
  const WebSocket = class extends WsSocket {
    constructor(target: string, protocols?: string[]) {
      super(target, protocols ?? [], { headers });
    }
  } as unknown as new (url: string, protocols?: string[]) => StandardSocket;
  return connect(url, { headers, WebSocket, reconnect: false });
}

/** How a connection ended, once it has. */
function ending(client: JsonRpcClient): Promise<number> {
  return new Promise((resolve) => {
    client.addEventListener("close", (event) => resolve((event as Event & { code: number }).code));
  });
}

function handshakeWith(header: string): Handshake {
  const headers = new Headers({ cookie: header });
  return { url: "", headers, remoteAddress: undefined, user: null };
}

// -- cookies --

const COOKIES: readonly (readonly [header: string, value: string | undefined])[] = [
  ["sid=1", "1"],
  ["a=0; sid=1; b=2", "1"],
  ["a=0;sid=1;b=2", "1"],
  ["a=0;\t sid \t=  1  ; b=2", "1"],
  ["sid=", ""],
  ["sid=1=2==", "1=2=="],
  // Nothing is decoded.
  ["sid=%41%3B+%00", "%41%3B+%00"],
  ['sid="quoted"', '"quoted"'],
  // Which of the two this site has set cannot be known.
  ["sid=first; sid=second", undefined],
  ["sid=same; a=1; sid=same", undefined],
  ["\u00a0sid=planted", undefined],
  ["sid\u00a0=planted", undefined],
  ["\u00a0sid=planted; sid=1", "1"],
  ["sid=\u00a01\u00a0", "\u00a01\u00a0"],
  ["\u000bsid=planted", undefined],
  ["sid=1,sid=2", "1,sid=2"],
  ["", undefined],
  [";;=; ;", undefined],
  ["sid", undefined],
  ["=1", undefined],
  ["SID=1", undefined],
  ["xsid=1; sidx=1; s id=1; a=sid=1", undefined],
  ["%73id=1", undefined],
  ["$Version=1; constructor=1", undefined],
];

test("cookie() gives the value exactly as it was sent", () => {
  for (const [header, value] of COOKIES) {
    assertEquals([header, cookie(handshakeWith(header), "sid")], [header, value]);
  }
  assertEquals(cookie({ ...handshakeWith(""), headers: new Headers() }, "sid"), undefined);
  assertEquals(cookie(handshakeWith("a=1; __Host-sid=2"), "__Host-sid"), "2");
  assertEquals(cookie(handshakeWith("a.b=1; aXb=2"), "a.b"), "1");
  assertEquals(cookie(handshakeWith("__proto__=1"), "__proto__"), "1");
});

// -- users --

test("session() sets the user of a WebSocket and of a POST, in a batch and alone", async () => {
  const { rpc } = testServer();
  await using server = await serveHere(rpc);
  for (const url of [server.ws, server.url]) {
    await using ada = await withCookie(url, "theme=dark; sid=ada-1");
    await using bob = await withCookie(url, "sid=bob-1");
    assertEquals([await ada.call("whoami"), await bob.call("whoami")], ["ada", "bob"]);
    const batch = ada.batch((b) => [b.call("whoami"), b.call("secret")]);
    assertEquals(await batch, ["ada", 42]);
  }
});

test("session() waits for an asynchronous load", async () => {
  const { promise: passed, resolve: open } = deferred<User>();
  const { rpc } = testServer(() => passed);
  await using server = await serveHere(rpc);
  const clients = [withCookie(server.ws, "sid=1"), withCookie(server.url, "sid=1")];
  const names = clients.map(async (client) => (await client).call("whoami"));
  await quietMoment();
  assertEquals(rpc.connections.size, 0);
  open({ name: "ada" });
  assertEquals(await Promise.all(names), ["ada", "ada"]);
  for (const client of clients) await (await client).close();
});

test("session() gives no user to an unknown id, and never makes a session of it", async () => {
  const { rpc, sessions } = testServer();
  await using server = await serveHere(rpc);
  const before = [...sessions];
  for (const id of ["planted", "", "__proto__", "constructor", '"ada-1"', "ada-1,x"]) {
    const header = { cookie: `sid=${id}` };
    const upgrade = await rawUpgrade(server.ws, header);
    const post = await rawPost(server.url, WHOAMI, header);
    assertEquals([upgrade.status, post.status], [101, 200]);
    assertEquals(JSON.parse(post.body).result, null);
    for (const { headers } of [upgrade, post]) assertEquals(headers.get("set-cookie"), null);
    await using client = await withCookie(server.ws, header.cookie);
    assertEquals(await client.call("whoami"), null);
    await assertRejects(() => client.call("secret"), RpcMethodNotFoundError);
  }
  assertEquals([...sessions], before);
});

test("session() calls load once for each upgrade and each POST, not for each message", async () => {
  const asked: string[] = [];
  const { rpc } = testServer((handshake) => {
    asked.push(cookie(handshake, "sid") ?? "none");
    return null;
  });
  await using server = await serveHere(rpc);
  await using live = await withCookie(server.ws, "sid=live");
  for (let n = 0; n < 3; n++) await live.call("whoami");
  assertEquals(asked.splice(0), ["live"]);
  await using poster = await withCookie(server.url, "sid=post");
  for (let n = 0; n < 3; n++) await poster.batch((b) => [b.call("ping"), b.call("ping")]);
  assertEquals(asked, ["post", "post", "post"]);
});

const BROKEN: Readonly<Record<string, LoadSession<User>>> = {
  "throws": () => {
    throw new Error("The store is down");
  },
  "rejects": () => Promise.reject(new Error("The store is down")),
  "throws nothing": () => {
    throw undefined;
  },
  "gives true": () => true as unknown as User,
  "gives false": () => Promise.resolve(false as unknown as User),
  "gives a text": () => "ada" as unknown as User,
  "gives a function": () => Object as unknown as User,
};

for (const [what, load] of Object.entries(BROKEN)) {
  test(`session() answers with 500 and logs the error if load ${what}`, async () => {
    const { rpc, log } = testServer(load);
    await using server = await serveHere(rpc);
    const responses = [await rawUpgrade(server.ws), await rawPost(server.url, WHOAMI)];
    for (const { status, body } of responses) {
      assertEquals([status, body], [500, "Internal error"]);
    }
    await assertRejects(() => connect(server.ws), RpcConnectionError);
    assertEquals([rpc.connections.size, log.lines.length], [0, 3]);
    assert(log.lines.every((line) => line.startsWith("error: A handshake check failed")));
  });
}

test("session() refuses with the Response that load throws", async () => {
  const { rpc, log } = testServer(() => {
    throw new Response("Banned", { status: 403 });
  });
  await using server = await serveHere(rpc);
  for (const { status, body } of [await rawUpgrade(server.ws), await rawPost(server.url, WHOAMI)]) {
    assertEquals([status, body], [403, "Banned"]);
  }
  assertEquals(log.lines, []);
});

// -- its end --

test("rpc.revoke() ends all connections of a session, at once", async () => {
  const { rpc, sessions } = testServer();
  rpc.method("logout", (_params: unknown, { connection }) => {
    const id = cookie(connection.handshake, "sid");
    if (id === undefined || !sessions.delete(id)) return 0;
    return rpc.revoke(({ handshake }) => cookie(handshake, "sid") === id);
  });
  await using server = await serveHere(rpc);
  const two = [await withCookie(server.ws, "sid=ada-1"), await withCookie(server.ws, "sid=ada-1")];
  await using bob = await withCookie(server.ws, "sid=bob-1");
  await using stranger = await withCookie(server.ws, "other=1");
  const heard: unknown[] = [];
  for (const client of two) await client.subscribe("secrets", (data) => heard.push(data));
  await bob.subscribe("secrets", () => {});
  const ends = two.map(ending);
  const [first, second] = two as [JsonRpcClient, JsonRpcClient];
  await using poster = await withCookie(server.url, "sid=ada-1");
  assertEquals(await poster.call("logout"), 2);
  assertEquals(rpc.publish("secrets", "after").deliveries, 1);
  assertEquals(await Promise.all(ends), [1008, 1008]);
  for (const client of [first, second]) {
    await assertRejects(() => client.call("secret"), RpcConnectionError);
  }
  assertEquals(heard, []);
  assertEquals([await bob.call("whoami"), await stranger.call("whoami")], ["bob", null]);
  // The id no longer counts, over WebSocket and POST.
  assertEquals(await poster.call("whoami"), null);
  await using again = await withCookie(server.ws, "sid=ada-1");
  assertEquals(await again.call("whoami"), null);
});

test("session() closes with 4401 if a recheck finds no session, and closes no others", async () => {
  const { rpc, sessions, log } = testServer(undefined, { recheckMs: 50 });
  await using server = await serveHere(rpc);
  const ada = await withCookie(server.ws, "sid=ada-1");
  await using bob = await withCookie(server.ws, "sid=bob-1");
  await using stranger = await withCookie(server.ws, "sid=unknown");
  await ada.subscribe("news", () => {});
  const [connection] = rpc.subscribers(["news"]);
  const end = ending(ada);
  sessions.delete("ada-1");
  assertEquals(await end, 4401);
  assertEquals([rpc.publish("news", 1).deliveries, connection?.user], [0, null]);
  assertEquals([await bob.call("whoami"), await stranger.call("whoami")], ["bob", null]);
  // A connection without a user does not get one later.
  sessions.set("unknown", { name: "eve" });
  const third = await withCookie(server.ws, "sid=unknown");
  sessions.delete("unknown");
  assertEquals(await ending(third), 4401);
  assertEquals(await stranger.call("whoami"), null);
  assertEquals(log.lines, []);
});

test("session() closes with 1011 if a recheck fails, and logs the error", async () => {
  let broken = false;
  const { rpc, log } = testServer(async () => {
    await quietMoment();
    if (broken) throw new Error("The store is down");
    return { name: "ada" };
  }, { recheckMs: 50 });
  await using server = await serveHere(rpc);
  await using client = await connect(server.ws);
  const end = ending(client);
  assertEquals(await client.call("whoami"), "ada");
  broken = true;
  assertEquals(await end, 1011);
  assert(log.text.includes("Cannot check a session again: Error: The store is down"), log.text);
});

test("session() gives an open connection the user that a recheck finds", async () => {
  const { rpc, sessions } = testServer(undefined, { recheckMs: 20 });
  sessions.set("ada-1", { name: "ada", permissions: ["operate"] });
  await using server = await serveHere(rpc);
  await using client = await withCookie(server.ws, "sid=ada-1");
  await client.subscribe("orders", () => {});
  await client.subscribe("secrets", () => {});
  sessions.set("ada-1", { name: "Ada" });
  await until(() => rpc.publish("orders", 1).deliveries === 0);
  assertEquals([await client.call("whoami"), rpc.publish("secrets", 1).deliveries], ["Ada", 1]);
  assertEquals(await client.getSubscriptions(), ["secrets"]);
});

test("session() does not call load again for a connection that was logged out or has ended", async () => {
  const asked: string[] = [];
  const { rpc } = testServer((handshake) => {
    const id = cookie(handshake, "sid") ?? "";
    asked.push(id);
    return { name: id };
  }, { recheckMs: 20 });
  await using server = await serveHere(rpc);
  const gone = await withCookie(server.ws, "sid=gone");
  await using out = await withCookie(server.ws, "sid=out");
  await gone.close();
  for (const connection of rpc.connections) connection.logout();
  await until(() => rpc.connections.size === 1);
  asked.length = 0;
  await using live = await withCookie(server.ws, "sid=live");
  await until(() => asked.length > 5);
  assertEquals([...new Set(asked)], ["live"]);
  assertEquals([await out.call("whoami"), await live.call("whoami")], [null, "live"]);
});

test("session() does not undo changes that happen while load runs", async () => {
  const met = new Set<Handshake>();
  const asked: ((user: User | null) => void)[] = [];
  const { rpc, log } = testServer((handshake) => {
    if (!met.has(handshake)) return met.add(handshake), { name: `user ${met.size}` };
    return new Promise((resolve) => asked.push(resolve));
  }, { recheckMs: 20 });
  const answered = (user: User | null) => {
    for (const resolve of asked.splice(0)) resolve(user);
    return quietMoment();
  };
  await using server = await serveHere(rpc);
  await using out = await connect(server.ws);
  await using changed = await connect(server.ws);
  const gone = await connect(server.ws);
  const [first, second, third] = rpc.connections;
  await until(() => asked.length === 3);
  first?.logout();
  second?.login({ name: "changed" });
  await gone.close();
  await until(() => !third?.isOpen);
  await answered({ name: "loaded" });
  assertEquals([await out.call("whoami"), await changed.call("whoami")], [null, "changed"]);
  assertEquals(third?.user?.name, "user 3");
  // The session no longer decides about a connection whose user somebody else has set.
  await new Promise((resolve) => setTimeout(resolve, 100));
  assertEquals([asked.length, await changed.call("whoami"), log.lines], [0, "changed", []]);
});

test("session() gives no privilege back after a login through another backend", async () => {
  const root: User = { name: "root", permissions: ["operate"] };
  let asked = 0;
  const other: Plugin = {
    name: "other",
    methods: {
      login: {
        handler: (
          _params: unknown,
          { connection }: RpcRequest,
        ) => (connection.login({ name: "guest" }), true),
        socketOnly: true,
      },
    },
  };
  const rpc = new JsonRpc().use(session(() => (asked++, root), { recheckMs: 20 })).use(other)
    .method("whoami", (_params: unknown, { user }) => user?.name ?? null)
    .method("operate", { use: [permissionRequired("operate")] }, () => true);
  await using server = await serveHere(rpc);
  await using client = await connect(server.ws) as unknown as JsonRpcClient;
  await using witness = await connect(server.ws);
  await until(() => asked > 4);
  assertEquals([await client.call("operate"), await client.call("login")], [true, true]);
  const before = asked;
  await until(() => asked > before + 5); // for the witness
  assertEquals([await client.call("whoami"), await witness.call("whoami")], ["guest", "root"]);
  await assertRejects(() => client.call("operate"), RpcMethodNotFoundError);
});

test("session() removes its timers with their connections", async () => {
  const asked: string[] = [];
  const load = ({ url }: Handshake) => (asked.push(url), { name: url });
  const backend: Plugin = session(load, { recheckMs: 20 });
  const open = async (url: string) => {
    const handshake: Handshake = { ...handshakeWith(""), url };
    await backend.handshake?.(handshake, silentLog());
    const { user } = handshake;
    const fake = {
      handshake,
      isOpen: true,
      user,
      login: (next: unknown) => void (fake.user = next),
    };
    const connection = fake as unknown as Connection;
    backend.onOpen?.(connection);
    return connection;
  };
  backend.onClose?.(await open("gone"));
  const stays = await open("stays");
  await until(() => asked.length > 4);
  backend.onClose?.(stays);
  assertEquals(asked.filter((url) => url === "gone").length, 1);
});

// -- beside other backends --

for (const first of ["jwt", "session"] as const) {
  test(`session() and jwt() together, ${first} first: the token decides, and not the cookie`, async () => {
    const secret = crypto.getRandomValues(new Uint8Array(32));
    const token = await new SignJWT({ sub: "eve", exp: Date.now() / 1000 + 60 })
      .setProtectedHeader({ alg: "HS256" }).sign(secret);
    let asked = 0;
    const backends = [
      jwt<User>({ secret, algorithms: ["HS256"], toUser: ({ sub = "" }) => ({ name: sub }) }),
      session((handshake) => {
        asked++;
        return cookie(handshake, "sid") === "ada-1" ? { name: "ada" } : null;
      }, { recheckMs: 20 }),
    ] as [Plugin<User | null>, Plugin<User | null>];
    if (first === "session") backends.reverse();
    const rpc = new JsonRpc().use(backends[0]).use(backends[1])
      .method("whoami", (_params: unknown, { user }) => user?.name ?? null);
    await using server = await serveHere(rpc);
    for (
      const [headers, name] of [
        [{ authorization: `Bearer ${token}`, cookie: "sid=ada-1" }, "eve"],
        [{ authorization: `Bearer ${token}` }, "eve"],
        [{ cookie: "sid=ada-1" }, "ada"],
        [{ cookie: "sid=unknown" }, null],
      ] as const
    ) {
      const { body } = await rawPost(server.url, WHOAMI, headers);
      assertEquals(JSON.parse(body).result, name);
    }
    // A bad token is not made good by a cookie.
    const bad = { authorization: `Bearer ${token}x`, cookie: "sid=ada-1" };
    assertEquals((await rawPost(server.url, WHOAMI, bad)).status, 401);
    assertEquals((await rawUpgrade(server.ws, bad)).status, 401);
    // Whom the token has let in is not asked about again by the session's backend.
    await using byToken = await connect(server.ws, { token });
    await using byCookie = await withCookie(server.ws, "sid=ada-1");
    asked = 0;
    await until(() => asked > 3);
    assertEquals([await byToken.call("whoami"), await byCookie.call("whoami")], ["eve", "ada"]);
  });
}

test("session() does not check a socket that the program attached with a user", async () => {
  const { rpc } = testServer(() => null, { recheckMs: 1 });
  const [near, far] = linkedSockets();
  rpc.attach(far, { user: { name: "attached" } });
  const wire = bareClient(rpc);
  await using client = await connect(near);
  await new Promise((resolve) => setTimeout(resolve, 50));
  assertEquals([await client.call("whoami"), rpc.connections.size], ["attached", 2]);
  wire.close();
});

// -- options --

test("session() throws if an argument is wrong, and accepts frozen options", () => {
  assertThrows(() => session(undefined as unknown as LoadSession<User>), TypeError, "load");
  for (const recheckMs of [0, -1, 0.5, NaN, "1" as unknown as number]) {
    assertThrows(() => session(() => null, { recheckMs }), RangeError, "recheckMs");
  }
  session(() => null, Object.freeze({ recheckMs: Infinity }));
});

// -- the example --

for (const name of ["deno", "bun", "node"] as const) {
  test(
    `examples/hono_session.ts keeps its sessions safe on ${name}`,
    await needs(name),
    async () => {
      const port = String(await freePort());
      const server = await spawnServer(name, "examples/hono_session.ts", [], { PORT: port });
      try {
        await assertSafeSessions({ ...server, ws: server.url.replace("http", "ws") });
      } finally {
        await server.stop();
      }
    },
  );
}

async function assertSafeSessions({ url, ws }: Pick<LocalServer, "url" | "ws">): Promise<void> {
  assertEquals(await logIn(url, "ada", "wrong"), undefined);
  // An id that an attacker has planted: the login makes another, and the planted one gets no user.
  const id = await logIn(url, "ada", "secret", "planted");
  assert(id !== undefined && id !== "planted" && id.length >= 22, id);
  assertEquals([await whoami(url, "planted"), await whoami(url, id)], [null, "ada"]);
  // A second login gives a new id, and ends all that the first one had open.
  const first = await withCookie(`${ws}/rpc`, `sid=${id}`);
  const ends = [ending(first)];
  const next = await logIn(url, "ada", "secret", id);
  assert(next !== undefined && next !== id);
  assertEquals([await ends[0], await whoami(url, id)], [1008, null]);
  const two = [
    await withCookie(`${ws}/rpc`, `sid=${next}`),
    await withCookie(`${ws}/rpc`, `sid=${next}`),
  ];
  await using stranger = await withCookie(`${ws}/rpc`, "theme=dark");
  for (const client of two) await client.subscribe("news", () => {});
  assertEquals(await two[0]?.call("publish", ["hello"]), 2);
  await assertRejects(() => stranger.call("publish", ["hello"]), RpcMethodNotFoundError);
  ends.push(...two.map(ending));
  await fetch(`${url}/logout`, { method: "POST", headers: { cookie: `sid=${next}` } });
  assertEquals(await Promise.all(ends), [1008, 1008, 1008]);
  assertEquals([await whoami(url, next), await stranger.call("whoami")], [null, null]);
  // A logout without a session ends no connection, above all not all those without a session.
  await fetch(`${url}/logout`, { method: "POST" });
  assertEquals(await stranger.call("whoami"), null);
}

async function logIn(
  url: string,
  name: string,
  password: string,
  id = "",
): Promise<string | undefined> {
  const headers = { "content-type": "application/json", cookie: `sid=${id}` };
  const body = JSON.stringify({ name, password });
  const response = await fetch(`${url}/login`, { method: "POST", headers, body });
  await response.body?.cancel();
  const [, fresh] = /^sid=([^;]*);.*HttpOnly/.exec(response.headers.get("set-cookie") ?? "") ?? [];
  return fresh;
}

async function whoami(url: string, id: string | undefined): Promise<unknown> {
  await using client = await withCookie(`${url}/rpc`, `sid=${id}`);
  return await client.call("whoami");
}
