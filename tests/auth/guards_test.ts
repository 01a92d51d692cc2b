import { test } from "node:test";
import {
  assert,
  assertEquals,
  assertRejects,
  assertStrictEquals,
  assertStringIncludes,
  assertThrows,
} from "@std/assert";
import {
  connect,
  guard,
  JsonRpc,
  loginRequired,
  permissionRequired,
  RpcMethodNotFoundError,
  userPassesTest,
} from "@x/jsonrpc";
import type { Guard } from "@x/jsonrpc";
import type { GuardQuestion } from "@x/jsonrpc/plugin";
import { linkedSockets } from "@x/jsonrpc/testing";
import { pair } from "../helpers/client.ts";
import { quietMoment } from "../helpers/deferred.ts";
import { silentLog } from "../helpers/log.ts";
import { serveHere } from "../helpers/server.ts";
import { bareClient, WirePeer } from "../helpers/wire.ts";

const nobody = guard(() => false);

/** A bare client of which the server knows who it is. */
function bareUser(rpc: Pick<JsonRpc, "attach">, user: unknown): WirePeer {
  const [near, far] = linkedSockets();
  const wire = new WirePeer(near);
  rpc.attach(far, { user });
  return wire;
}

/** A guard with a fixed answer, boolean or not. */
function guardGiving(answer: () => unknown): Guard {
  return guard(answer as () => boolean);
}

test("topic() throws if `guards` holds something that is not a guard", () => {
  const layer = (_request: unknown, next: () => unknown) => next();
  for (const use of [[layer], [nobody, layer], [undefined], [null], nobody, null]) {
    for (const name of ["secret", "secret.*"]) {
      assertThrows(
        () => new JsonRpc().topic(name, { guards: use as never }),
        TypeError,
        `Cannot declare topic "${name}": expected \`guards\` to be a list of guards`,
      );
    }
  }
});

test("topic() ends subscriptions by a pattern that the guards of the new topic refuse", async () => {
  const rpc = new JsonRpc().topic("room.*") as unknown as JsonRpc;
  const [ann, stranger] = [bareUser(rpc, { name: "ann" }), bareUser(rpc, null)];
  for (const wire of [ann, stranger]) {
    wire.call(1, "subscribe", ["room.7", "room.8"]);
    await wire.next();
  }
  (rpc.topic("room.7", { guards: [loginRequired] }) as unknown as JsonRpc).publish(
    "room.7" as never,
  );
  rpc.publish("room.8" as never);
  assertEquals((await ann.next()).method, "room.7");
  assertEquals((await stranger.next()).method, "room.8");
  stranger.call(2, "get_subscriptions");
  assertEquals((await stranger.next()).result, ["room.8"]);
});

test("method() throws if `use` holds something that is not a middleware", () => {
  for (const use of [[undefined], [nobody, null], [{ admits: () => true }], nobody, null]) {
    const why = 'Cannot register "secret": its `use` is not an array of functions';
    const options = { use: use as never };
    assertThrows(() => new JsonRpc().method("secret", options, () => 1), TypeError, why);
    assertThrows(() => new JsonRpc().addMethods({ secret: () => 1 }, options), TypeError, why);
  }
});

test("guard() lets a call through if it returns true", async () => {
  const rpc = new JsonRpc().method("ping", { use: [guard(() => true)] }, () => "pong");
  await using client = await pair(rpc);
  assertEquals(await client.call("ping"), "pong");
  assert((await client.getMethods()).includes("ping"));
});

const refusals: Readonly<Record<string, readonly [answer: () => unknown, logged: string]>> = {
  "false": [() => false, ""],
  "undefined": [() => undefined, "expected true or false"],
  "null": [() => null, "expected true or false"],
  "1": [() => 1, "expected true or false"],
  "a text": [() => "yes", "expected true or false"],
  "an object": [() => ({}), "expected true or false"],
  "a Boolean object": [() => Object(true), "expected true or false"],
  "a promise of true": [() => Promise.resolve(true), "expected true or false"],
  "a promise that rejects": [() => Promise.reject(new Error("later")), "expected true or false"],
  "an error, thrown": [() => {
    throw new Error("guard broke", { cause: new Error("deep inside") });
  }, "guard broke"],
  "undefined, thrown": [() => {
    throw undefined;
  }, "undefined"],
};

for (const [what, [answer, logged]] of Object.entries(refusals)) {
  test(`guard() refuses if it gives ${what}`, async () => {
    const logger = silentLog();
    let runs = 0;
    const use = [guardGiving(answer)];
    const rpc = new JsonRpc({ logger }).method("ping", { use }, () => runs++).topic("news", {
      guards: use,
    });
    await using client = await pair(rpc);
    await assertRejects(() => client.call("ping"), RpcMethodNotFoundError);
    await assertRejects(() => client.subscribe("news", () => {}));
    assertEquals((await client.getMethods()).includes("ping"), false);
    assertEquals(await client.getTopics(), []);
    await quietMoment();
    assertEquals([runs, rpc.publish("news", 1).deliveries], [0, 0]);
    if (logged === "") {
      return assertEquals(logger.lines.filter((line) => !line.startsWith("debug: Refused")), []);
    }
    for (const trace of [logged, 'method "ping"', 'topic "news"']) {
      assertStringIncludes(logger.text, trace);
    }
  });
}

test("guard() gets the user, the name, the kind and the connection", async () => {
  const questions: GuardQuestion[] = [];
  const use = [guard((question) => questions.push(question) > 0)];
  const rpc = new JsonRpc()
    .method("ping", { use }, (_params: unknown, { connection }) => {
      assertStrictEquals(questions[0]?.connection, connection);
      return "pong";
    })
    .addMethods("group", { pong: () => "ping" }, { use })
    .topic("room.*", { guards: use });
  const wire = bareUser(rpc, "ada");
  wire.call(1, "ping");
  wire.call(2, "group.pong");
  wire.call(3, "subscribe", ["room.7"]);
  await wire.some(3);
  assertEquals(questions.map(({ user, kind, name }) => [user, kind, name]), [
    ["ada", "method", "ping"],
    ["ada", "method", "group.pong"],
    ["ada", "topic", "room.7"],
  ]);
  wire.close();
});

test("guard() gets the current user of the connection", async () => {
  const rpc = new JsonRpc()
    .user<string>()
    .method("login", ([user]: [string], { connection }) => connection.login(user))
    .method("secret", { use: [guard(({ user }) => user === "ada")] }, () => "secret");
  await using client = await pair(rpc);
  const secret = () => client.call("secret").catch(({ code }) => code);
  const answers: unknown[] = [];
  for (const user of ["bob", "ada", "eve"]) {
    await client.call("login", [user]);
    answers.push(await secret());
  }
  assertEquals(answers, [-32601, "secret", -32601]);
});

test("every guard must let the call through, and none is asked after one has refused", async () => {
  const asked: string[] = [];
  const named = (name: string, answer: boolean) => guard(() => (asked.push(name), answer));
  const rpc = new JsonRpc().method("ping", {
    use: [named("a", true), named("b", false), named("c", true)],
  }, () => "pong");
  await using client = await pair(rpc);
  await assertRejects(() => client.call("ping"), RpcMethodNotFoundError);
  assertEquals(asked, ["a", "b"]);
});

test("use() with a guard hides every method and topic from callers whom it refuses", async () => {
  const rpc = new JsonRpc().method("ping", () => "pong").topic("news")
    .use(guard(({ user }) => user === "ada"));
  const [stranger, ada] = [bareUser(rpc, null), bareUser(rpc, "ada")];
  for (const method of ["ping", "get_methods", "get_topics", "subscribe", "nowhere"]) {
    stranger.call(1, method, method === "subscribe" ? ["news"] : undefined);
    assertEquals((await stranger.next()).error?.code, -32601);
  }
  ada.call(1, "ping");
  ada.call(2, "nowhere");
  const [pong, missing] = await ada.some(2);
  assertEquals([pong?.result, missing?.error?.code], ["pong", -32601]);
  stranger.close();
  ada.close();
});

// Calls that might show a difference between a hidden method and a missing one.
const probes: readonly unknown[] = [undefined, [], {}, [1, 2, 3], { a: 1 }, "text", 1, true];

for (const scalarParams of [false, true]) {
  const where = scalarParams ? "with scalarParams" : "without scalarParams";
  test(`a guarded method answers exactly as a missing one does, ${where}`, async () => {
    const options = { use: [nobody], names: ["a"] };
    const rpc = new JsonRpc({ scalarParams })
      .method("hidden1", options, () => "secret")
      .addMethods({ hidden2: () => "secret" }, { use: [nobody] })
      .topic("hidden3", { guards: [nobody] });
    const wire = bareClient(rpc);
    for (const params of probes) {
      for (const n of [1, 2, 3]) wire.call(1, `hidden${n}`, params);
      wire.call(1, "missing", params);
      const answers = (await wire.some(4)).map((answer) => JSON.stringify(answer));
      assertEquals(new Set(answers).size, 1, `params ${JSON.stringify(params)}: ${answers}`);
    }
    wire.close();
  });
}

for (const way of ["ws", "url"] as const) {
  test(`guard() refuses calls, notifications and batch entries over ${way}`, async () => {
    let runs = 0;
    const rpc = new JsonRpc().method("secret", { use: [nobody] }, () => runs++)
      .method("ping", () => "pong");
    await using server = await serveHere(rpc);
    await using client = await connect<typeof rpc>(server[way]);
    await assertRejects(() => client.call("secret"), RpcMethodNotFoundError);
    client.notify("secret");
    const results = await client.batch((b) => {
      b.notify("secret");
      return [b.call("ping"), b.call("secret").catch(({ code }) => code)];
    });
    assertEquals(results, ["pong", -32601]);
    assertEquals(runs, 0);
    const methods = await client.getMethods();
    assertEquals([methods.includes("ping"), methods.includes("secret")], [true, false]);
  });
}

test("guard() refuses over GET", async () => {
  const rpc = new JsonRpc().method("secret", { get: true, use: [nobody] }, () => "secret")
    .method("open", { get: true }, () => "open");
  await using server = await serveHere(rpc);
  const ask = async (method: string) =>
    await (await fetch(`${server.url}/?id=1&method=${method}`)).json();
  assertEquals((await ask("open")).result, "open");
  assertEquals(await ask("secret"), await ask("missing"));
});

// -- guards by user --

interface User {
  readonly name: string;
  readonly permissions?: Iterable<string>;
  readonly superuser?: boolean;
}

const users: Readonly<Record<string, User | null | undefined>> = {
  nobody: null,
  undefined: undefined,
  plain: { name: "plain" },
  operator: { name: "operator", permissions: ["read", "operate"] },
  setOperator: { name: "setOperator", permissions: new Set(["operate"]) },
  reader: { name: "reader", permissions: ["read", "operates", "OPERATE"] },
  superuser: { name: "superuser", superuser: true },
  almost: { name: "almost", superuser: 1 as unknown as boolean, permissions: [] },
  broken: { name: "broken", permissions: 7 as unknown as string[] },
  text: "operate" as unknown as User,
};

const byUser: Readonly<Record<string, readonly [guard: Guard<never>, admitted: string[]]>> = {
  "loginRequired lets users through": [
    loginRequired as Guard<never>,
    Object.keys(users).filter((name) => name !== "nobody" && name !== "undefined"),
  ],
  "permissionRequired() admits who has the permission, and superusers": [
    permissionRequired("operate") as Guard<never>,
    ["operator", "setOperator", "superuser"],
  ],
  "userPassesTest() admits who passes": [
    userPassesTest(({ name }: User) => name.startsWith("s")) as Guard<never>,
    ["setOperator", "superuser"],
  ],
  "userPassesTest() admits nobody when its answer is no boolean": [
    userPassesTest((() => "yes") as unknown as () => boolean) as Guard<never>,
    [],
  ],
};

for (const [name, [only, admitted]] of Object.entries(byUser)) {
  test(name, async () => {
    const rpc = new JsonRpc({ logger: silentLog() })
      .method("secret", { use: [only] }, () => "secret")
      .topic("news", { guards: [only] });
    const admittedHere: string[] = [];
    for (const [user, record] of Object.entries(users)) {
      const wire = bareUser(rpc, record);
      wire.call(1, "secret");
      wire.call(2, "subscribe", ["news"]);
      const [secret, news] = await wire.some(2);
      assertEquals(secret?.result === "secret", String(news?.result) === "news");
      if (secret?.result === "secret") admittedHere.push(user);
      wire.close();
    }
    assertEquals(admittedHere, admitted);
  });
}
