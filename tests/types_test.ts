import { test } from "node:test";
import { assertEquals } from "@std/assert";
import { connect, guard, JsonRpc, loginRequired, type } from "@x/jsonrpc";
import type { ApiOf, JsonRpcClient, RpcRequest, Schema } from "@x/jsonrpc";
import type { Plugin } from "@x/jsonrpc/plugin";
import { mockServer, testClient } from "@x/jsonrpc/testing";
import { pair } from "./helpers/client.ts";
import { is } from "./helpers/is.ts";

// Most of this file is checked by the compiler alone: what stands here compiles, and what stands
// below `@ts-expect-error` does not.

interface User {
  readonly name: string;
  readonly admin: boolean;
}

interface Admin extends User {
  readonly admin: true;
}

interface Point {
  readonly x: number;
  readonly y: number;
}

class Counter {
  #total = 0;
  add([n]: [number]): number {
    return this.#total += n;
  }
  async later(_params: unknown, _request: RpcRequest): Promise<string> {
    return await Promise.resolve("later");
  }
  readonly label = "no method";
  _hidden(): void {}
}

/** The user of a connection. */
function backend(): Plugin<User | null> {
  return {
    name: "test",
    handshake: (handshake) => void (handshake.user = { name: "ada", admin: true }),
  };
}

const users = guard<User>(({ user }) => user !== null);
const admins = guard<Admin>(({ user }) => (user as User | null)?.admin === true);
const text: Schema<number, string> = type<never>() as unknown as Schema<number, string>;

function example() {
  return new JsonRpc()
    .use((_request, next) => next())
    .use({ name: "test", middleware: (_request, next) => next() })
    .use(backend())
    .method("ping", () => "pong" as const)
    .method("add", ({ a, b }: { a: number; b: number }) => a + b)
    .method("later", async ([n]: [number]) => await Promise.resolve({ n }))
    .method("maybe", (name: [string] | undefined) => name?.[0])
    .method("nothing", () => {})
    .method("whoAmI", (_params: unknown, { user }) => {
      is<User | null>()(user);
      return user;
    })
    .method("named", { names: ["a"] }, ({ a }: { a: string }) => a)
    .method("greet", { use: [users] }, (_params: unknown, { user }) => {
      is<string>()(user.name);
      return user.name;
    })
    .method("ban", { use: [users, admins] }, ([name]: [string], { user, connection }) => {
      is<true>()(user.admin);
      is<true>()(connection.user.admin);
      return name.length;
    })
    .method("home", { use: [loginRequired] }, (_params: unknown, { user }) => user.name)
    .method("convert", { params: text, result: type<Point>(), scalarParams: true }, (n) => {
      is<number>()(n);
      return { x: n, y: n };
    })
    .addMethods("counter", new Counter())
    .addMethods("a.b", { deep: ([n]: [number]) => n, alone: () => true, value: 7 })
    .addMethods({ top: (params: string[]) => params.length })
    .topic("clock", { schema: type<string>() })
    .topic("any")
    .topic("room.*", { schema: type<Point>(), guards: [users] })
    .topic("a.*.b.*");
}

type Rpc = ReturnType<typeof example>;

/** Never called: its types are the test. */
async function calls(client: JsonRpcClient<ApiOf<Rpc>>): Promise<void> {
  is<"pong">()(await client.call("ping"));
  is<"pong">()(await client.call("ping", undefined, { timeoutMs: 1 }));
  is<number>()(await client.call("add", { a: 1, b: 2 }));
  is<number>()(await client.call("add", { a: 1, b: 2 }, { onProgress: () => {} }));
  is<{ n: number }>()(await client.call("later", [1]));
  is<string | null>()(await client.call("maybe"));
  is<string | null>()(await client.call("maybe", ["name"]));
  is<null>()(await client.call("nothing"));
  is<User | null>()(await client.call("whoAmI"));
  is<string>()(await client.call("named", { a: "a" }));
  is<string>()(await client.call("greet"));
  is<string>()(await client.call("home"));
  is<number>()(await client.call("ban", ["eve"]));
  is<Point>()(await client.call("convert", "7"));
  is<number>()(await client.call("counter.add", [1]));
  is<string>()(await client.call("counter.later"));
  is<number>()(await client.call("a.b.deep", [1]));
  is<true>()(await client.call("a.b.alone"));
  is<number>()(await client.call("top", ["a"]));

  // @ts-expect-error -- no such method
  await client.call("pong");
  // @ts-expect-error -- params are missing
  await client.call("add");
  // @ts-expect-error -- one of the params is missing
  await client.call("add", { a: 1 });
  // @ts-expect-error -- of another type
  await client.call("add", { a: 1, b: "2" });
  // @ts-expect-error -- one too many
  await client.call("add", { a: 1, b: 2, c: 3 });
  // @ts-expect-error -- by position, of a method that takes names
  await client.call("add", [1, 2]);
  // @ts-expect-error -- callers pass what goes into the schema, not what comes out
  await client.call("convert", 7);
  // @ts-expect-error -- a field is no method
  await client.call("counter.label");
  // @ts-expect-error -- private
  await client.call("counter._hidden");
  // @ts-expect-error -- a value is no method
  await client.call("a.b.value");
  // @ts-expect-error -- an option that there is none of
  await client.call("ping", undefined, { timeout: 1 });
}

/** Never called, either. */
async function remotes({ remote }: JsonRpcClient<ApiOf<Rpc>>): Promise<void> {
  is<"pong">()(await remote.ping());
  is<number>()(await remote.add({ a: 1, b: 2 }));
  is<number>()(await remote.add({ a: 1, b: 2 }, { timeoutMs: 0 }));
  is<number>()(await remote.counter.add([1]));
  is<string>()(await remote.counter.later());
  is<number>()(await remote.a.b.deep([1]));
  is<number>()(await remote["top"](["a"]));

  // @ts-expect-error -- no such method
  await remote.pong();
  // @ts-expect-error -- no such method in this group
  await remote.counter.subtract([1]);
  // @ts-expect-error -- a group is no method
  await remote.counter([1]);
  // @ts-expect-error -- a method is no group
  await remote.ping.pong();
  // @ts-expect-error -- of another type
  await remote.counter.add(["1"]);
}

/** Never called, either. */
async function batches(client: JsonRpcClient<ApiOf<Rpc>>): Promise<void> {
  const results = await client.batch((b) => [b.call("ping"), b.call("add", { a: 1, b: 2 })]);
  is<["pong", number]>()(results);
  is<[]>()(await client.batch(() => []));
  const caught = await client.batch((b) => [b.call("ping").catch(() => 7)]);
  is<["pong" | number]>()(caught);
  await client.batch((b) => {
    b.notify("add", { a: 1, b: 2 });
    // @ts-expect-error -- no such method
    b.notify("pong");
    // @ts-expect-error -- of another type
    return [b.call("add", { a: 1, b: "2" })];
  });
  client.notify("add", { a: 1, b: 2 });
  // @ts-expect-error -- no such method
  client.notify("pong");
}

/** Never called, either. */
async function topics(rpc: Rpc, client: JsonRpcClient<ApiOf<Rpc>>): Promise<void> {
  await client.subscribe("clock", (time) => is<string>()(time));
  await client.subscribe("any", (data) => is<unknown>()(data));
  await client.subscribe("room.7", (point) => is<Point>()(point));
  await client.subscribe("a.1.b.2", (data) => is<unknown>()(data));
  await client.unsubscribe("room.7");
  is<number>()(rpc.publish("clock", "12:00").deliveries);
  rpc.publish("any", [1, "a"]);
  rpc.publish("room.7", { x: 1, y: 2 });
  for (const { user } of rpc.connections) is<User | null>()(user);
  for (const { user } of rpc.subscribers(["clock"])) is<User | null>()(user);

  // @ts-expect-error -- no such topic
  await client.subscribe("clocks", () => {});
  // @ts-expect-error -- fits no pattern
  await client.subscribe("a.1.c.2", () => {});
  // @ts-expect-error -- the handler takes another type
  await client.subscribe("clock", (time: number) => time);
  // @ts-expect-error -- no such topic
  rpc.publish("clocks", "12:00");
  // @ts-expect-error -- of another type
  rpc.publish("clock", 12);
  // @ts-expect-error -- of another type
  rpc.publish("room.7", { x: 1 });
}

/** What a server in another repository, or another language, offers. */
interface ByHand {
  readonly methods: {
    add(params: [number, number]): number;
    ping(): "pong";
    "math.double"(params: [number]): Promise<number>;
  };
  readonly topics: { readonly clock: string };
}

/** Never called, either. */
async function byHand(url: string): Promise<void> {
  const client = await connect<ByHand>(url);
  is<number>()(await client.call("add", [1, 2]));
  is<"pong">()(await client.call("ping"));
  is<number>()(await client.remote.math.double([1]));
  await client.subscribe("clock", (time) => is<string>()(time));
  // @ts-expect-error -- no such method
  await client.call("subtract", [1, 2]);
  // @ts-expect-error -- of another type
  await client.call("add", ["1", "2"]);

  const methodsAlone = await connect<Pick<ByHand, "methods">>(url);
  is<number>()(await methodsAlone.call("add", [1, 2]));
  await methodsAlone.subscribe("any", (data) => is<unknown>()(data));

  const unknown = await connect(url);
  is<unknown>()(await unknown.call("any", { thing: 1 }));
  // With `noUncheckedIndexedAccess` a member may be missing.
  is<unknown>()(await unknown.remote.any?.thing?.([1]));
  await unknown.subscribe("any", (data) => is<unknown>()(data));
}

/** Never called, either. */
function guards(): void {
  const rpc = new JsonRpc().use(backend());
  // @ts-expect-error -- no guard makes sure that there is a user
  rpc.method("greet", (_params: unknown, { user }) => user.name);
  rpc.method("greet", { use: [(_request, next) => next()] }, (_params: unknown, { user }) => {
    is<User | null>()(user);
  });
  new JsonRpc().method("noUser", (_params: unknown, { user }) => is<null>()(user));
  // @ts-expect-error -- a topic takes guards, and no other layers
  rpc.topic("clock", { guards: [(_request, next) => next()] });
  // @ts-expect-error -- a guard answers at once
  guard(() => Promise.resolve(true));
}

/** Never called, either. */
async function streams(url: string): Promise<void> {
  const names = { unsubscribe: "leave", notification: "said" };
  const rpc = new JsonRpc().use(backend())
    .method("ping", () => "pong" as const)
    .stream("listen", { unsubscribe: "stop", notification: "heard" }, function* ([to]: [
      number,
    ]) {
      yield to;
    })
    .stream(
      "watch",
      { ...names, use: [loginRequired], params: text, scalarParams: true },
      function* (params, { user }) {
        is<number>()(params);
        is<string>()(user.name);
        yield params;
      },
    )
    .stream(
      "guess",
      { ...names, unsubscribe: "end" },
      function* (_params: unknown, { user }) {
        is<User | null>()(user);
        yield 1;
      },
    );
  const client = await connect<typeof rpc>(url);
  is<string>()(await client.call("listen", [3]));
  is<string>()(await client.call("watch", "3"));
  is<boolean>()(await client.call("stop", ["id"]));
  is<"pong">()(await client.call("ping"));
  // @ts-expect-error -- of another type
  await client.call("listen", ["3"]);
  // @ts-expect-error -- no such method
  await client.call("leave", ["id"]);
}

/** Never called, either. */
async function servers(): Promise<void> {
  const mock = await mockServer<ByHand>({ methods: [] });
  const client = await testClient(mock.method("more", () => 1));
  is<number>()(await client.call("add", [1, 2]));
  is<number>()(await client.remote.math.double([1]));
  is<number>()(await client.call("more"));
  mock.publish("clock", "12:00");
  // @ts-expect-error -- no such method
  await client.call("subtract", [1, 2]);
  // @ts-expect-error -- no such topic
  mock.publish("clocks", "12:00");
  const unknown = await mockServer({ methods: [] });
  is<unknown>()(await (await testClient(unknown)).call("any", { thing: 1 }));

  const withUsers = new JsonRpc().use(backend());
  for (const rpc of [new JsonRpc(), withUsers, withUsers.client<object>(), example()]) anyOf(rpc);
  const small: JsonRpc = new JsonRpc().method("ping", () => "pong").topic("clock");
  const large = new JsonRpc().method("ping", () => "pong").method("pong", () => "ping");
  const ping: ReturnType<typeof pings> = large;
  // @ts-expect-error -- a method is missing
  const pong: typeof large = pings();
  assertEquals([small, ping, pong].length, 3);
}

// deno-lint-ignore no-explicit-any -- a function that takes each server
function anyOf(rpc: JsonRpc<any>): void {
  rpc.method("any", () => 1);
}

function pings() {
  return new JsonRpc().method("ping", () => "pong");
}

test("is() distinguishes types that can be assigned to each other", () => {
  is<number>()(1 as number);
  // @ts-expect-error -- a narrower one
  is<number>()(1 as const);
  // @ts-expect-error -- a wider one
  is<number>()(1 as number | undefined);
  // @ts-expect-error -- no type at all
  is<number>()(JSON.parse("1"));
});

test("connect<typeof rpc>() gives a client that does what its types say", async () => {
  for (
    const checked of [calls, remotes, batches, topics, byHand, guards, streams, servers]
  ) {
    assertEquals(typeof checked, "function");
  }
  const rpc = example();
  await using client = await pair(rpc);
  assertEquals(await client.call("add", { a: 1, b: 2 }), 3);
  assertEquals(await client.remote.counter.add([2]), 2);
  assertEquals(await client.remote.a.b.deep([4]), 4);
  assertEquals(await client.batch((b) => [b.call("ping"), b.call("top", ["a"])]), ["pong", 1]);
});
