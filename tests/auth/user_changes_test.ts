import { assert, assertEquals } from "@std/assert";
import { test } from "node:test";
import {
  guard,
  JsonRpc,
  loginRequired,
  permissionRequired,
  RpcError,
  userPassesTest,
} from "@x/jsonrpc";
import type { CallMiddleware, Connection, Handshake } from "@x/jsonrpc";
import type { HandshakeCheck, Plugin } from "@x/jsonrpc/plugin";
import { rawPost, rawRequest, RawSocket, rawUpgrade } from "../helpers/raw_client.ts";
import { deferred, quietMoment, until } from "../helpers/deferred.ts";
import { silentLog } from "../helpers/log.ts";
import { serveHere } from "../helpers/server.ts";
import type { LocalServer } from "../helpers/server.ts";
import { call, codesOf, failure, notice, result } from "../helpers/messages.ts";
import type { Message } from "../helpers/messages.ts";

interface User {
  readonly name: string;
  readonly permissions: readonly string[];
  readonly rooms: readonly string[];
}

const PEOPLE: ReadonlyMap<string, User> = new Map([
  ["ada", { name: "ada", permissions: ["operate"], rooms: ["1", "2"] }],
  ["bob", { name: "bob", permissions: [], rooms: ["2"] }],
]);

/** A backend for tests: the URL says who asks. */
const byUrl: Plugin<User | null> = {
  name: "by url",
  handshake(handshake) {
    handshake.user = PEOPLE.get(new URL(handshake.url).searchParams.get("as") ?? "") ?? null;
  },
};

const inRoom = guard(({ user, name }) =>
  (user as User | null)?.rooms.includes(name.slice("room.".length)) === true
);

/** Methods, topics and subscriptions by id, for all, for some, for few. */
function testServer() {
  const log = silentLog();
  const ran: string[] = [];
  const ended: string[] = [];
  async function* count(
    _params: unknown,
    { method, signal }: { method: string; signal: AbortSignal },
  ) {
    try {
      yield `first of ${method}`;
      await new Promise((resolve) => signal.addEventListener("abort", resolve));
      yield "one too many";
    } finally {
      ended.push(method);
    }
  }
  const by = (name: string) => ({ unsubscribe: `${name}_end`, notification: name });
  const rpc = new JsonRpc({ logger: log }).use(byUrl)
    .method("ping", { get: true }, () => "pong")
    .method("whoami", { get: true }, (_params: unknown, { user }) => user?.name ?? null)
    .method("note", ([text]: [string]) => void ran.push(text))
    .method("secret", { use: [loginRequired], get: true }, () => (ran.push("secret"), 42))
    .method("operate", { use: [permissionRequired("operate")] }, () => (ran.push("operate"), 1))
    .method("login_as", ([name]: [string], { connection }) => {
      connection.login(PEOPLE.get(name) as User);
      return true;
    })
    .method("log_out", (_params: unknown, { connection }) => (connection.logout(), true))
    .topic("news", { retain: true })
    .topic("secrets", { guards: [loginRequired], retain: true })
    .topic("orders", { guards: [permissionRequired("operate")], retain: true })
    .topic("room.*", { guards: [inRoom] })
    .stream("items", by("items"), count)
    .stream("secret_items", { ...by("secret_items"), use: [loginRequired] }, count)
    .stream(
      "operated_items",
      { ...by("operated_items"), use: [permissionRequired("operate")] },
      count,
    );
  return { rpc, log, ran, ended };
}

type TestServer = ReturnType<typeof testServer>["rpc"];

function as(name: string, { url }: LocalServer): Promise<RawSocket> {
  return RawSocket.open(`${url}/?as=${name}`);
}

/** The server's side of a line that was opened last. */
function lastConnection({ connections }: TestServer): Connection<User | null> {
  return [...connections].at(-1) as Connection<User | null>;
}

async function answersTo(line: RawSocket, method: string, params?: unknown): Promise<unknown> {
  const { result, error } = await line.ask(call(method, method, params));
  return error?.code ?? result;
}

async function post({ url }: LocalServer, who: string, message: unknown): Promise<unknown> {
  const headers = { "content-type": "application/json" };
  const body = JSON.stringify(message);
  const response = await fetch(`${url}/?as=${who}`, { method: "POST", headers, body });
  assertEquals(response.status, 200);
  const text = await response.text();
  return text === "" ? undefined : JSON.parse(text);
}

async function get({ url }: LocalServer, who: string, method: string): Promise<Message> {
  const path = `/?as=${who}&method=${method}&id=1`;
  return JSON.parse((await rawRequest(url, { path, headers: { connection: "close" } })).body);
}

// -- middleware, over each carrier --

const BUILT_IN = ["get_methods", "get_topics", "rpc.discover"];
const SOCKET_ONLY = [
  "get_subscriptions",
  "subscribe",
  "unsubscribe",
  "items",
  "items_end",
];
const NAMES = ["ping", "note", "secret", "unknown", "constructor", ...BUILT_IN, ...SOCKET_ONLY];

/** All kinds of calls: alone, as a notification, and in a batch. */
function everyKind(): unknown[] {
  return [
    ...NAMES.map((name) => call(name, name, ["news"])),
    ...NAMES.map((name) => notice(name, ["news"])),
    NAMES.flatMap((name) => [call(name, name, ["news"]), notice(name, ["news"])]),
  ];
}

const SEEN = [...NAMES, ...NAMES, ...NAMES.flatMap((name) => [name, name])];

async function sayEveryKind(server: LocalServer, who: string): Promise<unknown[]> {
  const line = await as(who, server);
  const answers: unknown[] = [];
  for (const message of everyKind()) {
    line.send(message);
    while (Array.isArray(message) || "id" in (message as Message)) {
      const heard = await line.next();
      // Items of subscriptions come in between.
      if (!Array.isArray(heard) && heard.method !== undefined) continue;
      answers.push(heard);
      break;
    }
  }
  line.disconnect();
  return answers.flat();
}

async function postEveryKind(server: LocalServer, who: string): Promise<unknown[]> {
  const answers: unknown[] = [];
  for (const message of everyKind()) answers.push(await post(server, who, message));
  return answers.flat().filter((answer) => answer !== undefined);
}

const CARRIERS = { WebSocket: sayEveryKind, POST: postEveryKind };

for (const [carrier, sayTo] of Object.entries(CARRIERS)) {
  test(`a middleware gets every kind of call, with its user, over ${carrier}`, async () => {
    const { rpc } = testServer();
    const seen: unknown[] = [];
    rpc.use(({ method, user }, next) => (seen.push([method, (user as User).name]), next()));
    await using server = await serveHere(rpc);
    await sayTo(server, "ada");
    assertEquals(seen, SEEN.map((name) => [name, "ada"]));
  });

  for (
    const [what, layer, code] of [
      ["that throws", () => Promise.reject(new RpcError(7, "Not today")), 7],
      ["that answers nothing", () => undefined, -32603],
      ["that is a guard", loginRequired, -32601],
    ] as [string, CallMiddleware, number][]
  ) {
    test(`a middleware ${what} stops every kind of call over ${carrier}`, async () => {
      const { rpc, ran } = testServer();
      rpc.use(layer);
      await using server = await serveHere(rpc);
      const answers = await sayTo(server, "nobody") as Message[];
      assertEquals(codesOf(answers), Array(2 * NAMES.length).fill(code));
      if (code === -32601) {
        for (const answer of answers) assertEquals(answer, failure(answer.id, -32601));
      }
      assertEquals([ran, rpc.publish("news", 1).deliveries], [[], 0]);
    });
  }

  test(`a guarded method and topic look like missing ones over ${carrier}`, async () => {
    const { rpc, ran } = testServer();
    await using server = await serveHere(rpc);
    const ask = async (message: Message): Promise<string> => {
      if (carrier === "POST") return JSON.stringify(await post(server, "nobody", message));
      const line = await as("nobody", server);
      const answer = await line.ask(message);
      line.disconnect();
      return JSON.stringify(answer);
    };
    for (const [guarded, missing] of [["secret", "unknown"], ["items_", "operated_items"]]) {
      assertEquals(await ask(call(guarded ?? "", 1)), await ask(call(missing ?? "", 1)));
    }
    for (const method of ["subscribe", "unsubscribe"]) {
      const [forbidden, unknown] = [["secrets"], ["no_topic"]];
      assertEquals(await ask(call(method, 1, forbidden)), await ask(call(method, 1, unknown)));
    }
    assertEquals(ran, []);
  });
}

// -- one list of handshake checks for WebSocket and HTTP --

const no = () => new Response("Go away", { status: 403 });
const REFUSING: Readonly<Record<string, readonly [HandshakeCheck, status: number]>> = {
  "gives a Response": [no, 403],
  "gives one later": [() => quietMoment().then(no), 403],
  "throws a Response": [() => {
    throw no();
  }, 403],
  "rejects with one": [() => Promise.reject(no()), 403],
  "throws": [() => {
    throw new Error("broke");
  }, 500],
  "rejects": [() => Promise.reject(new Error("broke")), 500],
};

for (const [what, [refuse, status]] of Object.entries(REFUSING)) {
  test(`a handshake check that ${what} refuses WebSocket and POST, before anything runs`, async () => {
    const { rpc, ran } = testServer();
    const asked: string[] = [];
    const check = (name: string): Plugin => ({ name, handshake: () => void asked.push(name) });
    rpc.use(check("before")).use({ name: "test", handshake: refuse }).use(check("after"))
      .use({ name: "test", fetch: () => new Response("A page") })
      .use(({ method }, next) => (ran.push(method), next()));
    await using server = await serveHere(rpc);
    const headers = { connection: "close" };
    const responses = [
      await rawUpgrade(server.ws),
      await rawPost(server.url, JSON.stringify(call("ping", 1)), headers),
      await rawPost(server.url, JSON.stringify([call("ping", 1), notice("ping")]), headers),
      await rawRequest(server.url, { path: "/?method=ping&id=1", headers }),
      await rawRequest(server.url, { path: "/page", headers }),
      await rawRequest(server.url, { method: "OPTIONS", headers }),
    ];
    assertEquals(responses.map((response) => response.status), Array(6).fill(status));
    assertEquals([ran, asked], [[], Array(6).fill("before")]);
    assertEquals(rpc.connections.size, 0);
  });
}

test("handshake checks set the user, over WebSocket and POST alike", async () => {
  const { rpc } = testServer();
  await using server = await serveHere(rpc);
  for (const [who, name, secret] of [["ada", "ada", 42], ["nobody", null, undefined]] as const) {
    const line = await as(who, server);
    const batch = [call("whoami", 1), call("secret", 2)];
    for (const answers of [await line.ask(batch), await post(server, who, batch)]) {
      assertEquals((answers as Message[]).map(({ result }) => result), [name, secret]);
    }
    assertEquals((await get(server, who, "whoami")).result, name);
    assertEquals((await get(server, who, "secret")).result, secret);
    line.disconnect();
  }
});

// -- changes on an open connection --

const FOR_ALL = ["ping", "whoami", "note", "login_as", "log_out", "items", "items_end"];
const FOR_USERS = ["secret", "secret_items", "secret_items_end"];
const FOR_OPERATORS = ["operate", "operated_items", "operated_items_end"];

/** The methods and topics that a user sees. */
async function listings(line: RawSocket): Promise<{ methods: unknown[]; topics: unknown }> {
  const own = (name: unknown) => !/^(?:get_|rpc\.|(?:un)?subscribe)/.test(name as string);
  const methods = (await answersTo(line, "get_methods") as unknown[]).filter(own);
  const described = await answersTo(line, "rpc.discover") as { methods: { name: string }[] };
  assertEquals(described.methods.map(({ name }) => name).filter(own), methods);
  return { methods: methods.sort(), topics: await answersTo(line, "get_topics") };
}

const LISTED = {
  nobody: { methods: [...FOR_ALL].sort(), topics: ["news"] },
  bob: { methods: [...FOR_ALL, ...FOR_USERS].sort(), topics: ["news", "secrets"] },
  ada: {
    methods: [...FOR_ALL, ...FOR_USERS, ...FOR_OPERATORS].sort(),
    topics: ["news", "secrets", "orders"],
  },
};

test("a login, another user and a logout change at once what is listed and what can be called", async () => {
  const { rpc } = testServer();
  await using server = await serveHere(rpc);
  const line = await RawSocket.open(server.url);
  const other = await RawSocket.open(server.url);
  for (const who of ["ada", "bob", "ada"] as const) {
    assertEquals(await answersTo(line, "login_as", [who]), true);
    assertEquals(await listings(line), LISTED[who]);
    assertEquals(await answersTo(line, "operate"), who === "ada" ? 1 : -32601);
    assertEquals(await answersTo(line, "secret"), 42);
    // No other connection changes its user.
    assertEquals(await listings(other), LISTED.nobody);
  }
  assertEquals(await answersTo(line, "log_out"), true);
  assertEquals(await listings(line), LISTED.nobody);
  assertEquals([await answersTo(line, "secret"), await answersTo(line, "operate")], [
    -32601,
    -32601,
  ]);
  await line.leave();
  await other.leave();
});

test("a change by the program, from outside of any call, holds at once", async () => {
  const { rpc } = testServer();
  await using server = await serveHere(rpc);
  const line = await as("ada", server);
  const connection = lastConnection(rpc);
  connection.login({ ...PEOPLE.get("ada") as User, permissions: [] });
  assertEquals(await listings(line), LISTED.bob);
  connection.logout();
  assertEquals(await listings(line), LISTED.nobody);
  connection.login(PEOPLE.get("ada") as User);
  assertEquals(await listings(line), LISTED.ada);
  await line.leave();
});

test("a change holds for the later entries of a batch, and not for the earlier ones", async () => {
  const { rpc } = testServer();
  await using server = await serveHere(rpc);
  const line = await RawSocket.open(server.url);
  const batch = [
    call("secret", 1),
    notice("login_as", ["ada"]),
    call("secret", 2),
    call("log_out", 3),
    call("secret", 4),
  ];
  const expected = [failure(1, -32601), result(2, 42), result(3, true), failure(4, -32601)];
  assertEquals(await line.ask(batch), expected);
  await line.leave();
});

test("a change over POST ends with its request", async () => {
  const { rpc } = testServer();
  await using server = await serveHere(rpc);
  const batch = [call("login_as", 1, ["ada"]), call("secret", 2)];
  assertEquals(await post(server, "nobody", batch), [result(1, true), result(2, 42)]);
  assertEquals(await post(server, "nobody", call("secret", 3)), failure(3, -32601));
});

test("a change holds at the next step of calls that run: for their user, and for inner guards", async () => {
  const { rpc, ran } = testServer();
  const waiting = deferred();
  let held = 0;
  const slowly: CallMiddleware = async (_request, next) => {
    held++;
    await waiting.promise;
    return next();
  };
  rpc.method("slow_secret", { use: [slowly, loginRequired] }, () => (ran.push("slow"), 42))
    .method("slow_operate", { use: [slowly, permissionRequired("operate")] }, () => 43)
    .method("before_and_after", async (_params: unknown, request) => {
      const before = request.user;
      held++;
      await waiting.promise;
      return [before?.name, request.user?.name ?? null, request.connection.user === request.user];
    });
  await using server = await serveHere(rpc);
  const lines = [await as("ada", server), await as("ada", server), await as("ada", server)];
  const [out, changed, revoked] = lines as [RawSocket, RawSocket, RawSocket];
  const [first, second, third] = rpc.connections;
  const calls = ["slow_secret", "slow_operate", "before_and_after"].map((name) => call(name, name));
  for (const line of lines) line.send(...calls);
  await until(() => held === 9);
  first?.logout();
  second?.login(PEOPLE.get("bob") as User);
  assertEquals(rpc.revoke((connection) => connection.id === third?.id), 1);
  assertEquals((await revoked.closed()).code, 1008);
  waiting.resolve();
  assertEquals(await byId(out, 3), {
    slow_secret: -32601,
    slow_operate: -32601,
    before_and_after: ["ada", null, true],
  });
  assertEquals(await byId(changed, 3), {
    slow_secret: 42,
    slow_operate: -32601,
    before_and_after: ["ada", "bob", true],
  });
  // Of the two that may still have run for ada, only that of bob has.
  await quietMoment();
  assertEquals([ran, third?.user], [["slow"], null]);
  await out.leave();
  await changed.leave();
});

async function byId(line: RawSocket, count: number): Promise<Record<string, unknown>> {
  const answers = await line.some(count);
  return Object.fromEntries(answers.map(({ id, result, error }) => [id, error?.code ?? result]));
}

// -- subscriptions --

const TOPICS = ["news", "secrets", "orders", "room.1", "room.2"] as const;

/** Publishes one event to each topic. Returns the topics that had a subscriber. */
function publish(rpc: TestServer, data: unknown): string[] {
  return TOPICS.filter((topic) => rpc.publish(topic, data).deliveries > 0);
}

test("logout and changed permissions drop the subscriptions that are no longer allowed, and no others", async () => {
  const { rpc } = testServer();
  await using server = await serveHere(rpc);
  const line = await as("ada", server);
  assertEquals(await answersTo(line, "subscribe", TOPICS), [...TOPICS]);
  assertEquals(publish(rpc, 1), [...TOPICS]);
  await line.some(TOPICS.length);

  assertEquals(await answersTo(line, "login_as", ["bob"]), true);
  const left = ["news", "secrets", "room.2"];
  assertEquals([publish(rpc, 2), await topicsHeard(line, 3)], [left, left]);
  assertEquals(await answersTo(line, "get_subscriptions"), left);

  assertEquals(await answersTo(line, "log_out"), true);
  assertEquals([publish(rpc, 3), await topicsHeard(line, 1)], [["news"], ["news"]]);
  assertEquals(await answersTo(line, "subscribe", TOPICS), ["news"]);
  await line.assertSilent();

  // What was lost does not come back by itself, but can be had again, with its last event.
  assertEquals(await answersTo(line, "login_as", ["ada"]), true);
  assertEquals(publish(rpc, 4), ["news"]);
  await line.next();
  assertEquals(await answersTo(line, "subscribe", ["orders"]), ["news", "orders"]);
  assertEquals(await line.next(), notice("orders", 4));
  await line.leave();
});

async function topicsHeard(line: RawSocket, count: number): Promise<unknown[]> {
  return (await line.some(count)).map(({ method }) => method);
}

for (const how of ["in its handler", "later in its handler", "from outside"] as const) {
  test(`nothing is delivered after the answer to a logout that happens ${how}`, async () => {
    const { rpc } = testServer();
    const ready = deferred();
    rpc.method("leave", async (_params: unknown, { connection }) => {
      if (how !== "in its handler") await ready.promise;
      rpc.publish("secrets", "before");
      if (how !== "from outside") connection.logout();
      else await new Promise<void>((resolve) => setTimeout(() => resolve(connection.logout())));
      rpc.publish("secrets", "after");
      await quietMoment();
      rpc.publish("secrets", "long after");
      return "bye";
    });
    await using server = await serveHere(rpc);
    const lines = await Promise.all(Array.from({ length: 10 }, () => as("ada", server)));
    for (const line of lines) {
      assertEquals(await answersTo(line, "subscribe", ["secrets"]), ["secrets"]);
    }
    ready.resolve();
    for (const [index, line] of lines.entries()) {
      line.send(call("leave", "leave"));
      // Connections that are still open get every event.
      for (let before = 0; before < 3 * index; before++) await line.next();
      assertEquals(await line.next(), notice("secrets", "before"));
      assertEquals(await line.next(), result("leave", "bye"));
      for (const other of lines.slice(0, index)) await other.assertSilent();
    }
    assertEquals(rpc.publish("secrets", "the end").deliveries, 0);
    for (const line of lines) await line.leave();
  });
}

for (const order of ["before", "after"] as const) {
  test(`a subscription that is begun just ${order} a logout ends with it`, async () => {
    const { rpc } = testServer();
    rpc.publish("secrets", "the last event");
    await using server = await serveHere(rpc);
    const line = await as("ada", server);
    const batch = [call("subscribe", 1, ["secrets", "news"]), call("log_out", 2)];
    await line.ask(order === "before" ? batch : batch.reverse());
    await line.assertSilent();
    assertEquals(await answersTo(line, "get_subscriptions"), ["news"]);
    assertEquals([rpc.publish("secrets", 1).deliveries, rpc.publish("news", 1).deliveries], [0, 1]);
    assertEquals(await line.next(), notice("news", 1));
    await line.leave();
  });
}

for (const change of ["a logout", "another user"] as const) {
  test(`a guard for the whole server ends subscriptions with ${change}, too`, async () => {
    const { rpc } = testServer();
    rpc.use(userPassesTest((user: User) => user.name !== "bob"));
    await using server = await serveHere(rpc);
    const line = await as("ada", server);
    assertEquals(await answersTo(line, "subscribe", ["news", "secrets"]), ["news", "secrets"]);
    assertEquals(typeof await answersTo(line, "items"), "string");
    await line.next();
    const connection = lastConnection(rpc);
    if (change === "a logout") connection.logout();
    else connection.login(PEOPLE.get("bob") as User);
    assertEquals([publish(rpc, 1), [...connection.subscriptions]], [[], []]);
    assertEquals(await answersTo(line, "ping"), -32601);
    line.disconnect();
  });
}

test("subscriptions by id end when a guard refuses them, and their generators with them", async () => {
  const { rpc, ended } = testServer();
  await using server = await serveHere(rpc);
  const line = await as("ada", server);
  const other = await as("ada", server);
  const names = ["items", "secret_items", "operated_items"];
  for (const each of [line, other]) {
    for (const name of names) {
      const subscription = await answersTo(each, name);
      const item = { subscription, result: `first of ${name}` };
      assertEquals(await each.next(), notice(name, item));
    }
  }
  assertEquals(await answersTo(line, "login_as", ["bob"]), true);
  await until(() => ended.length > 0);
  assertEquals(ended.splice(0), ["operated_items"]);
  await line.assertSilent();
  assertEquals(await answersTo(line, "log_out"), true);
  await until(() => ended.length > 0);
  assertEquals(ended.splice(0), ["secret_items"]);
  await line.assertSilent();
  rpc.revoke(({ user }) => user === null);
  assertEquals((await line.closed()).code, 1008);
  await until(() => ended.length > 0);
  assertEquals(ended, ["items"]);
  await other.leave();
  await until(() => ended.length === 4);
});

test("a subscription by id that is begun beside a logout sends nothing", async () => {
  const { rpc } = testServer();
  await using server = await serveHere(rpc);
  const line = await as("ada", server);
  const batch = [call("secret_items", 1), call("log_out", 2), call("secret_items", 3)];
  assertEquals(codesOf(await line.ask(batch)), [undefined, undefined, -32601]);
  await line.leave();
});

// -- revoke --

test("revoke() ends calls in both directions, topics and subscriptions by id at once", async () => {
  const { rpc, ended, log } = testServer();
  const [waits, aborted] = [deferred(), deferred<unknown>()];
  rpc.method("wait", (_params: unknown, { signal }) => {
    waits.resolve();
    return new Promise((resolve) => {
      signal.addEventListener("abort", () => resolve(aborted.resolve(signal.reason)));
    });
  });
  await using server = await serveHere(rpc);
  const [line, bob] = [await as("ada", server), await as("bob", server)];
  const [connection] = rpc.connections;
  for (const each of [line, bob]) await answersTo(each, "subscribe", ["news", "room.2"]);
  await answersTo(line, "items");
  await line.next();
  line.send(call("wait", "never answered"));
  await waits.promise;
  const asked = connection?.call("question") as Promise<unknown>;
  const unanswered = asked.catch((error: unknown) => error);
  assertEquals((await line.next()).method, "question");
  const rest = line.next().catch(String);

  assertEquals(rpc.revoke(({ user }) => user?.name === "ada"), 1);
  rpc.publish("news", "after");
  assertEquals([rpc.publish("room.2", 1).deliveries, connection?.isOpen], [1, false]);
  assertEquals(await line.closed(), { code: 1008, reason: "Revoked" });
  assertEquals(await rest, "Error: Closed: 1008 Revoked");
  assert(String(await aborted.promise).includes("1008: Revoked"));
  assert(String(await unanswered).includes("1008: Revoked"));
  await until(() => ended.length === 1);
  assertEquals(await bob.some(2), [notice("news", "after"), notice("room.2", 1)]);
  assertEquals(log.lines, []);
  await bob.leave();
});

test("revoke() holds for connections whose handshake still runs", async () => {
  const { rpc } = testServer();
  const arrived: Handshake[] = [];
  const waiting = deferred();
  rpc.use({
    name: "test",
    handshake(handshake) {
      arrived.push(handshake);
      return waiting.promise;
    },
  });
  await using server = await serveHere(rpc);
  const lines = ["ada", "bob"].map((who) => as(who, server));
  await until(() => arrived.length === 2);
  // None is open yet: how many it will end nobody knows.
  assertEquals(rpc.revoke(({ user }) => user?.name === "ada"), 0);
  waiting.resolve();
  const [ada, bob] = await Promise.all(lines) as [RawSocket, RawSocket];
  assertEquals((await ada.closed()).code, 1008);
  await bob.leave();
  // Connections that come later are not concerned.
  await (await as("ada", server)).leave();
  await until(() => rpc.connections.size === 0);
});
