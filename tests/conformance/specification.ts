/**
 * The sentences of the specification.
 */
import { assertEquals } from "@std/assert";
import { call, codesOf, failure, idsOf, notice, result } from "../helpers/messages.ts";
import { codeOf, newKey, notedOf, overBoth } from "./case.ts";

// -- section 4: requests --

overBoth('takes `jsonrpc` only if it is exactly "2.0"', async (client) => {
  for (const jsonrpc of ["1.0", "2", "2.00", " 2.0", "", 2, 2.1, null, true, ["2.0"], undefined]) {
    const { error, id } = await client.ask({ jsonrpc, method: "ping", id: 1 });
    assertEquals([error?.code, error?.message, id], [-32600, "Invalid Request", 1]);
  }
});

overBoth("distinguishes member names by case", async (client) => {
  assertEquals(await codeOf(client, { JSONRPC: "2.0", method: "ping", id: 1 }), -32600);
  assertEquals(await codeOf(client, { jsonrpc: "2.0", Method: "ping", id: 1 }), -32600);
  assertEquals(await client.ask({ jsonrpc: "2.0", method: "echo", PARAMS: [1], id: 1 }), result(1));
  await client.notify({ jsonrpc: "2.0", method: "ping", ID: 1, Id: 1 });
});

overBoth("takes only a string as the method", async (client) => {
  for (const method of [1, 0, null, true, ["ping"], { name: "ping" }, undefined]) {
    assertEquals(await codeOf(client, { jsonrpc: "2.0", method, id: 1 }), -32600);
  }
});

overBoth("finds a method by its exact name", async (client) => {
  for (const name of ["PING", "Ping", " ping", "ping ", "ping\0", "", "p", "пинг", "\ud800"]) {
    assertEquals(await client.ask(call(name, 1)), failure(1, -32601));
  }
  assertEquals(await client.ask(call("a".repeat(100_000), 1)), failure(1, -32601));
});

overBoth("ignores members that a request need not have", async (client) => {
  const request = { ...call("echo", 1, [1]), result: 2, error: { code: 3 }, extra: {}, trace: "a" };
  assertEquals(await client.ask(request), result(1, [1]));
});

overBoth("passes params on unchanged, by position and by name", async (client) => {
  for (const params of [[], [1, "a", null, [2]], {}, { a: { b: [1] }, B: null, "": 0 }]) {
    assertEquals(await client.ask(call("echo", 1, params)), result(1, params));
  }
});

overBoth("treats params of null as absent", async (client) => {
  assertEquals(await client.ask(call("echo", 1)), result(1));
  assertEquals(await client.ask(call("echo", 1, null)), result(1));
});

overBoth("refuses params that are neither array nor object, and runs nothing", async (client) => {
  const key = newKey();
  for (const params of [key, "", 1, 0, true, false]) {
    assertEquals(await codeOf(client, call("note", 1, params)), -32600);
    await client.notify(notice("note", params));
  }
  assertEquals(await notedOf(client, key), 0);
});

overBoth("answers -32602 when a method refuses the params", async (client) => {
  assertEquals(await client.ask(call("subtract", 1, { minuend: 42 })), failure(1, -32602));
  assertEquals(
    await client.ask(call("subtract", 1, { Minuend: 42, Subtrahend: 23 })),
    failure(1, -32602),
  );
  assertEquals(await codeOf(client, call("subtract", 1, [42, 23, 1])), -32602);
});

overBoth("answers with the same id, of any valid kind", async (client) => {
  const numbers = ["0", "-1", "1.5", "1e2", "0.1", "9007199254740991", "-9007199254740991"];
  const strings = ['""', '"0"', '"1"', '"null"', '"é\\u0000\\ud83d\\ude00"', '"__proto__"'];
  for (const id of [...numbers, ...strings, "null"]) {
    const answer = await client.ask(`{"jsonrpc": "2.0", "method": "ping", "id": ${id}}`);
    assertEquals(answer, result(JSON.parse(id), "pong"));
  }
});

overBoth("refuses an invalid id, or a number that lost digits, with id null", async (client) => {
  const huge = ["9007199254740992", "9007199254740993", "-9007199254740992", "1e400", "-1e400"];
  const key = newKey();
  for (const id of [...huge, "{}", "[]", "[1]", "true", "false", '{"id": 1}']) {
    const answer = await client.ask(
      `{"jsonrpc": "2.0", "method": "note", "params": ["${key}"], "id": ${id}}`,
    );
    assertEquals([answer.error?.code, answer.id], [-32600, null]);
  }
  assertEquals(await notedOf(client, key), 0);
});

overBoth("takes the last of two members with the same name, and answers once", async (client) => {
  const twice = '{"jsonrpc": "2.0", "method": "fail", "method": "ping", "id": 1, "id": 2}';
  assertEquals(await client.ask(twice), result(2, "pong"));
});

// -- section 4.1: notifications --

const NOTIFICATIONS = [
  notice("ping"),
  notice("nothing"),
  notice("hidden"),
  notice("fail", ["error"]),
  notice("failLater", ["error"]),
  notice("refuse"),
  notice("give", ["bigint"]),
  notice("subtract", [1]),
  notice("ping", "scalar"),
  notice("large", [2_000_000]),
  notice("rpc.discover"),
  notice("rpc.nothing"),
  notice("$/nothing", { id: 1 }),
  notice("$/cancelRequest"),
  notice("$/cancelRequest", { id: 1 }),
  notice("$/cancelRequest", "scalar"),
  notice("$/progress", { token: 1, value: 2 }),
  notice("$/progress", 1),
  notice("__proto__"),
  notice(""),
];

overBoth("never answers a notification, not even one that fails", async (client) => {
  for (const notification of NOTIFICATIONS) await client.notify(notification);
});

overBoth("never answers a batch of notifications", async (client) => {
  await client.notify(NOTIFICATIONS);
  await client.notify([notice("ping")]);
});

overBoth("runs a notification", async (client) => {
  const key = newKey();
  await client.notify(notice("note", [key]));
  await client.notify(notice("noteAndFail", [key]));
  await client.notify([notice("note", [key]), notice("note", [key])]);
  assertEquals(await notedOf(client, key), 4);
});

// -- section 5: answers --

overBoth("gives a result of null when a method returns nothing", async (client) => {
  for (const what of ["undefined", "nan", "infinity"]) {
    assertEquals(await client.ask(call("give", 1, [what])), result(1, null));
  }
});

overBoth("awaits a promise or thenable, and calls toJSON", async (client) => {
  assertEquals(await client.ask(call("later", 1, ["a"])), result(1, ["a"]));
  assertEquals(await client.ask(call("give", 1, ["thenable"])), result(1, "then"));
  assertEquals(await client.ask(call("give", 1, ["date"])), result(1, "1970-01-01T00:00:00.000Z"));
});

const WITHOUT_JSON = ["bigint", "cycle", "function", "symbol", "unwillingJson", "failingJson"];

overBoth("answers -32603 without details when a result has no JSON", async (client) => {
  for (const what of [...WITHOUT_JSON, "failingThen"]) {
    assertEquals(await client.ask(call("give", 1, [what])), failure(1, -32603));
  }
});

const THROWN = ["error", "errorWithCode", "lookalike", "string", "number", "emptyString", "null"]
  .concat(["undefined", "false", "bigint", "symbol", "promise", "rejectedPromise", "nothing"]);

overBoth("answers -32603 to anything that a method throws, and tells no secret", async (client) => {
  for (const how of [...THROWN, "dataWithoutJson"]) {
    assertEquals(await client.ask(call("fail", how, [how])), failure(how, -32603));
    assertEquals(await client.ask(call("failLater", how, [how])), failure(how, -32603));
  }
});

overBoth(
  "answers an RpcError with its code, message and data, without its cause",
  async (client) => {
    const error = { code: 402, message: "Not enough money", data: { missing: 3 } };
    assertEquals(await client.ask(call("refuse", 1)), { jsonrpc: "2.0", error, id: 1 });
  },
);

overBoth("answers a long result, and -32008 in place of one over the limit", async (client) => {
  const { result } = await client.ask(call("large", 1, [1_000_000]));
  assertEquals((result as string).length, 1_000_000);
  for (const method of ["large", "refuseAtLength"]) {
    assertEquals(await codeOf(client, call(method, 1, [1_048_577])), -32008);
  }
});

// -- section 6: batches --

overBoth("answers a batch in its order, slow ones too", async (client) => {
  const batch = ["later", "echo", "later", "failLater", "echo", "nothing"]
    .map((method, id) => call(method, id, ["error"]));
  const answers = await client.ask(batch);
  assertEquals(idsOf(answers), [0, 1, 2, 3, 4, 5]);
  assertEquals(codesOf(answers), [undefined, undefined, undefined, -32603, undefined, -32601]);
});

overBoth("answers a batch of one with an array of one", async (client) => {
  assertEquals(await client.ask([call("ping", 1)]), [result(1, "pong")]);
});

overBoth("answers in a batch neither notifications nor answers", async (client) => {
  const batch = [...NOTIFICATIONS, result(1), call("ping", 1), failure(2, -32600), notice("ping")];
  assertEquals(await client.ask(batch), [result(1, "pong")]);
});

overBoth("answers each invalid entry of a batch with -32600 and id null", async (client) => {
  const wrong = [1, "ping", null, true, [], [[]], [call("ping", 1)], {}];
  assertEquals(await client.ask(wrong), wrong.map(() => failure(null, -32600)));
  for (const one of wrong) assertEquals(await client.ask([one]), [failure(null, -32600)]);
});

overBoth("answers calls of a batch that share an id each once, in their order", async (client) => {
  const batch = [1, 2, 3].map((value) => call("echo", "same", [value]));
  assertEquals(await client.ask(batch), [1, 2, 3].map((value) => result("same", [value])));
});

overBoth("takes a batch of 1,000; one of 1,001 is one -32010 and runs nothing", async (client) => {
  const key = newKey();
  const batch = Array.from({ length: 1000 }, (_, id) => call("note", id, [key]));
  assertEquals(idsOf(await client.ask(batch)), batch.map(({ id }) => id));
  const { error, id } = await client.ask([...batch, notice("note", [key])]);
  assertEquals([error?.code, id], [-32010, null]);
  assertEquals(await notedOf(client, key), 1000);
});

overBoth("answers a batch whose answer is over the limit with one -32011", async (client) => {
  const batch = Array.from({ length: 60 }, (_, id) => call("large", id, [20_000]));
  const { error, id } = await client.ask(batch);
  assertEquals([error?.code, id], [-32011, null]);
});
