import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import fc from "fast-check";
import { test } from "node:test";
import { RpcInvalidParamsError, RpcMethodNotFoundError } from "@x/jsonrpc";
import type { JsonRpcClient, RpcRequest } from "@x/jsonrpc";
import { django } from "@x/jsonrpc/django";
import type { DjangoModel, DjangoOptions } from "@x/jsonrpc/django";
import { Database } from "../../src/auth/django/database.ts";
import { conditionOf } from "../../src/auth/django/lookups.ts";
import { modelMethods } from "../../src/auth/django/models.ts";
import { needsDjango } from "../helpers/django.ts";
import { siteAndServer, withSession } from "../helpers/django_server.ts";

const real = needsDjango();

const MESSAGE: DjangoModel = {
  app: "chatsite",
  model: "message",
  fields: ["author", "text", "pinned"],
  actions: ["view", "add", "change", "delete"],
};

/** A site with five messages, and a user who may do everything with them. */
async function withMessages(options: Partial<DjangoOptions> = {}) {
  const place = await siteAndServer({}, { models: [MESSAGE], ...options });
  await place.site.python(`
for index in range(5):
    Message.objects.create(author="ada", text=f"text {index}", pinned=index == 0)
for action in ["view", "delete"]:
    ada.user_permissions.add(permission(f"{action}_message"))`);
  return { ...place, open: async (name: string) => await openAs(place, name) };
}

async function openAs(
  { site, server }: Awaited<ReturnType<typeof siteAndServer>>,
  name: string,
): Promise<JsonRpcClient> {
  return await withSession(server.ws, await site.login(name));
}

function invalid(call: Promise<unknown>): Promise<Error> {
  return assertRejects(() => call, RpcInvalidParamsError);
}

test("the model methods read and write rows as those of aiohttp-json-rpc do", real, async () => {
  await using place = await withMessages();
  await using ada = await place.open("ada");
  const rows = await ada.call("db__chatsite.view_message") as { pk: number }[];
  assertEquals(rows.length, 5);
  assertEquals(rows[0], { pk: 1, id: 1, author: "ada", text: "text 0", pinned: 1 } as never);
  assertEquals(
    await ada.call("db__chatsite.view_message", { text: "text 3" }),
    [{ pk: 4, id: 4, author: "ada", text: "text 3", pinned: 0 }],
  );
  const added = { author: "ada", text: "new'; DROP TABLE x; --", pinned: true };
  assertEquals(await ada.call("db__chatsite.add_message", added), {
    ...{ pk: 6, id: 6 },
    ...added,
    pinned: 1,
  });
  assertEquals(await ada.call("db__chatsite.change_message", { pk: 6, text: "changed" }), true);
  assertEquals(await ada.call("db__chatsite.delete_message", { pk__lte: 4 }), true);
  const left = await place.site.python("result = list(Message.objects.values_list('id', 'text'))");
  assertEquals(left, [[5, "text 4"], [6, "changed"]]);
});

test(
  "each model method needs its own permission, and the server only offers the declared ones",
  real,
  async () => {
    await using place = await withMessages({
      models: [{ ...MESSAGE, actions: ["view", "delete"] }],
    });
    await using ada = await place.open("ada");
    await using bob = await place.open("bob");
    await using root = await place.open("root");
    await ada.call("db__chatsite.view_message");
    await root.call("db__chatsite.view_message");
    for (const action of ["add", "change"]) {
      await assertRejects(
        () => root.call(`db__chatsite.${action}_message`, {}),
        RpcMethodNotFoundError,
      );
    }
    for (const method of ["db__chatsite.view_message", "db__chatsite.delete_message"]) {
      await assertRejects(() => bob.call(method, { pk: 1 }), RpcMethodNotFoundError);
    }
    const listed = (await bob.call("get_methods") as string[]).filter((each) => /^db__/.test(each));
    assertEquals(listed, []);
    await place.site.python(`ada.user_permissions.clear(); ada.groups.clear()`);
    await assertRejects(() => ada.call("db__chatsite.view_message"), RpcMethodNotFoundError);
  },
);

test(
  "there are no model methods unless models are declared, and each has view alone by default",
  real,
  async () => {
    const { actions: _, ...model } = MESSAGE;
    await using place = await withMessages({ models: [model] });
    await using root = await place.open("root");
    const methods = async (client: JsonRpcClient) =>
      (await client.call("get_methods") as string[]).filter((each) => /^db__/.test(each));
    assertEquals(await methods(root), ["db__chatsite.view_message"]);
    await using without = await siteAndServer();
    await using other = await openAs(without, "root");
    assertEquals(await methods(other), []);
  },
);

test("a caller can name only declared fields, and no SQL", real, async () => {
  await using place = await withMessages();
  await using ada = await place.open("ada");
  const names = [
    ...["password", "author; DROP TABLE", 'text" = 1 OR "text', "text__regex", "__proto__", ""],
    ...["constructor", "author__text", "pk__", "text__exact__in"],
  ];
  for (const name of names) {
    await invalid(ada.call("db__chatsite.view_message", { [name]: "x" }));
    await invalid(ada.call("db__chatsite.delete_message", { [name]: "x" }));
    await invalid(ada.call("db__chatsite.add_message", { text: "x", [name]: "x" }));
    await invalid(ada.call("db__chatsite.change_message", { pk: 1, [name]: "x" }));
  }
  for (const value of [[], {}, ["x"], [["x"]]]) {
    await invalid(ada.call("db__chatsite.view_message", { text: value }));
    await invalid(ada.call("db__chatsite.add_message", { text: value }));
  }
  // All of them wanted to do harm, and nothing has changed.
  assertEquals((await ada.call("db__chatsite.view_message") as unknown[]).length, 5);
});

test(
  "model methods refuse empty writes, unknown rows, and values that the database refuses",
  real,
  async () => {
    await using place = await withMessages({ maxRows: 4 });
    await using ada = await place.open("ada");
    await invalid(ada.call("db__chatsite.delete_message"));
    await invalid(ada.call("db__chatsite.delete_message", {}));
    await invalid(ada.call("db__chatsite.add_message", {}));
    await invalid(ada.call("db__chatsite.add_message", { text: "without an author" }));
    await invalid(ada.call("db__chatsite.change_message", { pk: 1 }));
    await invalid(ada.call("db__chatsite.change_message", { pk: 99, text: "x" }));
    await invalid(ada.call("db__chatsite.change_message", { text: "x" }));
    await invalid(ada.call("db__chatsite.change_message", { pk: [1, 2], text: "x" }));
    await invalid(ada.call("db__chatsite.change_message", { pk: 1, text: null }));
    const error = await invalid(ada.call("db__chatsite.view_message")) as RpcInvalidParamsError;
    assertEquals(error.data, "Expected a narrower lookup: there are more than 4 rows");
    assertEquals(
      (await ada.call("db__chatsite.view_message", { pk__gt: 1 }) as unknown[]).length,
      4,
    );
    assert(place.log.text.includes("The database refused a statement"), place.log.text);
  },
);

test("change and delete answer true with a driver that gives no rows for a write", async () => {
  const written: string[] = [];
  // As mysql2 does: rows for SELECT, a record for anything else.
  const query = (sql: string): Iterable<unknown> => {
    if (sql.startsWith("SELECT")) return [{ 1: 1 }];
    written.push(sql);
    return { affectedRows: 1 } as unknown as Iterable<unknown>;
  };
  const methods = modelMethods([MESSAGE], new Database(query, "mysql"), 10);
  const request = { connection: { logger: console } } as unknown as RpcRequest;
  const call = (action: string, params: unknown) =>
    methods[`db__chatsite.${action}_message`]?.handler(params as never, request as never);
  assertEquals(await call("change", { pk: 1, text: "changed" }), true);
  assertEquals(await call("delete", { pk: 1 }), true);
  assertEquals(written, [
    "UPDATE `chatsite_message` SET `text` = ? WHERE `id` = ?",
    "DELETE FROM `chatsite_message` WHERE `id` = ?",
  ]);
});

const COLUMNS = new Map([["text", '"text"'], ["pk", '"id"']]);

test("conditionOf() knows Django's common lookups", () => {
  for (
    const [lookup, sql, params] of [
      [{}, "", []],
      [{ text: "a" }, '"text" = ?', ["a"]],
      [{ text: null }, '"text" IS NULL', []],
      [{ pk__in: [1, 2] }, '"id" IN (?, ?)', [1, 2]],
      [{ pk__in: [] }, "1 = 0", []],
      [{ pk__gte: 1, pk__lt: 5 }, '"id" >= ? AND "id" < ?', [1, 5]],
      [{ text__contains: "5%_!" }, `"text" LIKE ? ESCAPE '!'`, ["%5!%!_!!%"]],
      [{ text__startswith: "a" }, `"text" LIKE ? ESCAPE '!'`, ["a%"]],
      [{ text__isnull: false }, '"text" IS NOT NULL', []],
    ] as const
  ) assertEquals(conditionOf(lookup, COLUMNS), { sql, params: [...params] });
});

test("conditionOf() never puts a caller's text into SQL", () => {
  fc.assert(fc.property(fc.dictionary(fc.string(), fc.jsonValue()), (lookups) => {
    try {
      conditionOf(lookups, COLUMNS);
    } catch (error) {
      assert(error instanceof RpcInvalidParamsError);
    }
  }));
  fc.assert(
    fc.property(fc.constantFrom("text", "text__contains", "text__gt"), fc.string(), (key, text) => {
      const { sql } = conditionOf({ [key]: text }, COLUMNS);
      assert(/^"text" (?:= \?|> \?|LIKE \? ESCAPE '!')$/.test(sql), sql);
    }),
  );
});

test("django() throws if a name of the program is not a plain name", () => {
  const query = () => [];
  const bad = [
    { ...MESSAGE, fields: ['text" --'] },
    { ...MESSAGE, table: "a b" },
    { ...MESSAGE, app: "x;y" },
    { ...MESSAGE, primaryKey: "" },
    { ...MESSAGE, actions: ["drop" as "view"] },
    { ...MESSAGE, actions: ["constructor" as "view"] },
  ];
  for (const model of bad) {
    assertThrows(() => django({ secretKey: "k", query, models: [model] }), TypeError);
  }
  for (
    const options of [
      { secretKey: "" },
      { secretKey: undefined as unknown as string },
      { secretKeyFallbacks: [""] },
      { query: undefined as unknown as () => [] },
      { dialect: "oracle" as "sqlite" },
      { sessionEngine: "cache" as "db" },
      { userModel: "User" },
      { tables: { user: "a-b" } },
      { usernameField: "user name" },
    ]
  ) assertThrows(() => django({ secretKey: "k", query, ...options }), TypeError);
  for (const options of [{ recheckMs: 0 }, { maxRows: 0 }, { timeZone: "Mars/Olympus" }]) {
    assertThrows(() => django({ secretKey: "k", query, ...options }), RangeError);
  }
  django(Object.freeze({ secretKey: new Uint8Array([1]), query }));
});
