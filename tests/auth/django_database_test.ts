import { assertEquals, assertRejects, assertThrows } from "@std/assert";
import { test } from "node:test";
import { Database, identifier, isTrue } from "../../src/auth/django/database.ts";
import type { Dialect } from "../../src/auth/django/database.ts";
import { DjangoUsers } from "../../src/auth/django/users.ts";

const DIALECTS: Readonly<Record<Dialect, [sql: string, params: unknown[]]>> = {
  sqlite: ['SELECT "a" FROM "t" WHERE "b" = ? AND "c" IN (?, ?)', [1, "x?", null]],
  postgres: ['SELECT "a" FROM "t" WHERE "b" = $1 AND "c" IN ($2, $3)', [true, "x?", null]],
  mysql: ["SELECT `a` FROM `t` WHERE `b` = ? AND `c` IN (?, ?)", [1, "x?", null]],
};

for (const [dialect, expected] of Object.entries(DIALECTS)) {
  test(`Database writes placeholders, names and booleans as ${dialect} does`, async () => {
    const asked: unknown[] = [];
    const query = (...call: unknown[]) => (asked.push(...call), Promise.resolve([{ a: 1 }]));
    const database = new Database(query, dialect as Dialect);
    const sql = 'SELECT "a" FROM "t" WHERE "b" = ? AND "c" IN (?, ?)';
    assertEquals(await database.run(sql, [true, "x?", null]), [{ a: 1 }]);
    assertEquals(asked, expected);
  });
}

test("a query that gives no list of rows is named as the fault", async () => {
  // As node-postgres does: the rows are in a member.
  const query = () => ({ rows: [] }) as unknown as Iterable<unknown>;
  const database = new Database(query, "postgres");
  await assertRejects(
    () => database.run("SELECT 1", []),
    TypeError,
    "Expected `query` to give a list of rows, got a value of type object",
  );
});

test("identifier() takes plain names alone", () => {
  assertEquals([identifier("auth_user"), identifier("A1")], ['"auth_user"', '"A1"']);
  for (const name of ["", "1a", 'a"b', "a b", "a;b", "a.b", "ä", "a".repeat(64), "a\n"]) {
    assertThrows(() => identifier(name), TypeError);
  }
});

test("isTrue() reads booleans as drivers give them", () => {
  assertEquals([true, 1, 1n].map(isTrue), [true, true, true]);
  for (const value of [false, 0, 0n, null, undefined, "0", "false", 2]) {
    assertEquals(isTrue(value), false);
  }
});

test("a user model of the site's own has tables and columns named after it", async () => {
  const asked: string[] = [];
  const row = { id: "0f8fad5bd9cb469fa16570867728950e", email: "ada@example.org", password: "x" };
  const query = (sql: string, params: readonly unknown[]) => {
    asked.push(sql);
    return sql.startsWith("SELECT *") && params[0] === row.id ? [row] : [];
  };
  const users = new DjangoUsers({
    database: new Database(query, "sqlite"),
    ...{ userModel: "accounts.Person", usernameField: "email", tables: { permission: "perms" } },
  });
  // SQLite holds UUIDs without dashes; a model without `is_active` has active users.
  const account = await users.find("0f8fad5b-d9cb-469f-a165-70867728950e");
  assertEquals(account?.user.name, "ada@example.org");
  assertEquals(account?.user.id, "0f8fad5b-d9cb-469f-a165-70867728950e");
  const [first, , permissions = ""] = asked;
  assertEquals(first, 'SELECT * FROM "accounts_person" WHERE "id" = ?');
  for (
    const part of [
      ...[
        '"accounts_person_user_permissions" WHERE "person_id" = ?',
        '"accounts_person_groups" ug',
      ],
      ...['"perms" p', 'ug."person_id" = ?'],
    ]
  ) assertEquals(permissions.includes(part), true, permissions);
});

test("a name with a null character is nobody's, and costs no query", async () => {
  // PostgreSQL refuses such a text with an error: strangers could fill the log with it.
  const query = (): never => {
    throw new Error('invalid byte sequence for encoding "UTF8": 0x00');
  };
  const database = new Database(query, "postgres");
  const users = new DjangoUsers({
    database,
    ...{ userModel: "auth.User", usernameField: "username", tables: {} },
  });
  assertEquals(await users.findByName("ada\0"), undefined);
});
