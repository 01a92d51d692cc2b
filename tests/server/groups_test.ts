import { assertEquals, assertRejects, assertThrows } from "@std/assert";
import { test } from "node:test";
import { z } from "zod";
import { guard, JsonRpc, method, RpcInvalidParamsError } from "@x/jsonrpc";
import { tryCall } from "@x/jsonrpc/try_call";
import { silentLog } from "../helpers/log.ts";
import { pair } from "../helpers/client.ts";

const nobody = guard(() => false);

test("addMethods() takes records of records, with methods that have options of their own", async () => {
  const users = {
    get: method({ params: z.object({ id: z.number() }) }, ({ id }) => `user ${id}`),
    roles: { list: () => ["admin"], hidden: method({ use: [nobody] }, () => 1) },
  };
  const rpc = new JsonRpc().addMethods("users", users).addMethods({ rooms: { count: () => 2 } });
  await using client = await pair(rpc);
  assertEquals(await client.call("users.get", { id: 7 }), "user 7");
  assertEquals(await client.remote.users.roles.list(), ["admin"]);
  assertEquals(await client.call("rooms.count"), 2);
  await assertRejects(() => client.call("users.get", { id: "7" as never }), RpcInvalidParamsError);
  const listed = await client.getMethods();
  assertEquals(listed.includes("users.roles.list"), true);
  assertEquals(listed.includes("users.roles.hidden"), false);
});

test("addMethods() puts the guards of a group around those of its methods", async () => {
  const seen: string[] = [];
  const note = (text: string) => (_request: unknown, next: () => unknown) => {
    seen.push(text);
    return next();
  };
  const group = { a: method({ use: [note("own")] }, () => 1), b: () => 2 };
  const rpc = new JsonRpc().addMethods("g", group, { use: [note("group")] });
  await using client = await pair(rpc);
  await client.call("g.a");
  await client.call("g.b");
  assertEquals(seen, ["group", "own", "group"]);
});

test("addMethods() leaves objects alone that a class instance holds", async () => {
  class Service {
    readonly database = { drop: () => "dropped" };
    ping() {
      return "pong";
    }
  }
  const rpc = new JsonRpc().addMethods("service", new Service());
  await using client = await pair(rpc);
  assertEquals((await client.getMethods()).filter((name) => name.startsWith("service")), [
    "service.ping",
  ]);
});

test("request.error() makes declared errors, and tryCall() gives them their name", async () => {
  const errors = {
    outOfStock: { code: 409, data: z.object({ left: z.number() }) },
    closed: { code: 503 },
  };
  const rpc = new JsonRpc()
    .method("buy", { errors }, ([count]: [number], request) => {
      if (count > 100) throw request.error("closed");
      if (count > 3) throw request.error("outOfStock", { left: 3 });
      return count;
    });
  await using client = await pair(rpc);
  assertEquals(await tryCall(client, "buy", [2]), { ok: true, result: 2 });
  const refused = await tryCall(client, "buy", [5]);
  assertEquals([refused.ok, refused.error?.name, refused.error?.message], [
    false,
    "outOfStock",
    "outOfStock",
  ]);
  if (refused.error?.name === "outOfStock") {
    assertEquals([refused.error.code, refused.error.data.left], [409, 3]);
  }
  assertEquals((await tryCall(client, "buy", [500])).error?.name, "closed");
});

test("request.error() refuses a name or data that the method does not declare", async () => {
  const logger = silentLog();
  const rpc = new JsonRpc({ logger })
    .method("plain", (_params, request) => {
      throw Reflect.apply(request.error, request, ["nothing"]);
    })
    .method("wrong", { errors: { full: { code: 1, data: z.number() } } }, (_params, request) => {
      throw request.error("full", "text" as never);
    })
    .method("other", { errors: { full: { code: 1 } } }, (_params, request) => {
      throw Reflect.apply(request.error, request, ["toString"]);
    });
  await using client = await pair(rpc);
  for (const name of ["plain", "wrong", "other"] as const) {
    assertEquals((await tryCall(client, name)).error?.name, "RpcInternalError");
  }
});

test("tryCall() rejects with what is no failure of the call", async () => {
  const rpc = new JsonRpc().method("wait", () => new Promise<null>(() => {}));
  await using client = await pair(rpc);
  const signal = AbortSignal.abort(new Error("enough"));
  await assertRejects(() => tryCall(client, "wait", undefined, { signal }), Error, "enough");
});

test("method() throws if a declared error is no word or has no integer as its code", () => {
  for (const errors of [{ "two words": { code: 1 } }, { full: { code: 1.5 } }]) {
    assertThrows(
      () => new JsonRpc().method("buy", { errors }, () => 1),
      TypeError,
      'Cannot register "buy": expected error',
    );
  }
});

test("errors of a group are those of each of its methods", async () => {
  const shop = {
    buy: (_params: unknown, request: { error(name: "closed"): Error }) => {
      throw request.error("closed");
    },
  };
  const rpc = new JsonRpc().addMethods("shop", shop, { errors: { closed: { code: 503 } } });
  await using client = await pair(rpc);
  const { error } = await tryCall(client, "shop.buy");
  assertEquals(error?.name === "closed" && error.code, 503);
});
