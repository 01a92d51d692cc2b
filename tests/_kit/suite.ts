/**
 * Conformance as a function of a running server (target.ts): each case is told the server's URL and speaks
 * JSON text to it, through doors that know nothing of our client.
 */
import { assert, assertEquals } from "@std/assert";
import {
  assertAlive,
  assertStatus,
  dial,
  Line,
  Post,
  rawPost,
  rawRequest,
  rawSocket,
  rawUpgrade,
} from "./doors.ts";
import type { Door, RawRequest } from "./doors.ts";
import { call, codesOf, failure, idsOf, notice, result } from "./messages.ts";
import type { Message } from "./messages.ts";

/** Something that holds of a server. */
export interface Case {
  /** What holds, as a sentence. */
  readonly name: string;
  /** Fails if it does not. */
  run(url: string): Promise<void>;
}

/** All that holds. */
export const cases: Case[] = [];

/** Adds what holds over both doors. Each is still good for an answer at the end. */
function both(name: string, run: (door: Door) => Promise<void>): void {
  line(`${name}, over WebSocket`, run);
  post(`${name}, over POST`, run);
}

/** Adds what holds on one WebSocket, which still answers at the end and has nothing left to say. */
function line(name: string, run: (line: Line, url: string) => Promise<void>): void {
  cases.push({ name, run: (url) => through(Line.open(url), (line) => run(line, url)) });
}

function post(name: string, run: (post: Post, url: string) => Promise<void>): void {
  cases.push({ name, run: (url) => through(new Post(url), (post) => run(post, url)) });
}

/** Adds what may cost a connection: afterwards a fresh one is answered. */
function abuse(name: string, run: (url: string) => Promise<void>): void {
  cases.push({ name, run: (url) => run(url).then(() => assertAlive(url)) });
}

async function through<D extends Door>(
  opening: D | Promise<D>,
  run: (door: D) => Promise<void>,
): Promise<void> {
  const door = await opening;
  await run(door);
  await door.leave();
}

async function codeOf(door: Door, message: unknown): Promise<number | undefined> {
  return (await door.ask(message)).error?.code;
}

/** A key that no other case uses, to count side effects by. */
let lastKey = 0;
function newKey(): string {
  return `key ${++lastKey}`;
}

async function notedOf(door: Door, key: string): Promise<unknown> {
  return (await door.ask(call("noted", "noted", [key]))).result;
}

// -- the examples of the specification, section 7, with the answers printed there --

const EXAMPLES: Readonly<Record<string, readonly [request: string, answer?: string][]>> = {
  "rpc call with positional parameters": [
    [
      '{"jsonrpc": "2.0", "method": "subtract", "params": [42, 23], "id": 1}',
      '{"jsonrpc": "2.0", "result": 19, "id": 1}',
    ],
    [
      '{"jsonrpc": "2.0", "method": "subtract", "params": [23, 42], "id": 2}',
      '{"jsonrpc": "2.0", "result": -19, "id": 2}',
    ],
  ],
  "rpc call with named parameters": [
    [
      '{"jsonrpc": "2.0", "method": "subtract", "params": {"subtrahend": 23, "minuend": 42}, "id": 3}',
      '{"jsonrpc": "2.0", "result": 19, "id": 3}',
    ],
    [
      '{"jsonrpc": "2.0", "method": "subtract", "params": {"minuend": 42, "subtrahend": 23}, "id": 4}',
      '{"jsonrpc": "2.0", "result": 19, "id": 4}',
    ],
  ],
  "a Notification": [
    ['{"jsonrpc": "2.0", "method": "update", "params": [1,2,3,4,5]}'],
    ['{"jsonrpc": "2.0", "method": "foobar"}'],
  ],
  "rpc call of non-existent method": [[
    '{"jsonrpc": "2.0", "method": "foobar", "id": "1"}',
    '{"jsonrpc": "2.0", "error": {"code": -32601, "message": "Method not found"}, "id": "1"}',
  ]],
  "rpc call with invalid JSON": [[
    '{"jsonrpc": "2.0", "method": "foobar, "params": "bar", "baz]',
    '{"jsonrpc": "2.0", "error": {"code": -32700, "message": "Parse error"}, "id": null}',
  ]],
  "rpc call with invalid Request object": [[
    '{"jsonrpc": "2.0", "method": 1, "params": "bar"}',
    '{"jsonrpc": "2.0", "error": {"code": -32600, "message": "Invalid Request"}, "id": null}',
  ]],
  "rpc call Batch, invalid JSON": [[
    `[
      {"jsonrpc": "2.0", "method": "sum", "params": [1,2,4], "id": "1"},
      {"jsonrpc": "2.0", "method"
    ]`,
    '{"jsonrpc": "2.0", "error": {"code": -32700, "message": "Parse error"}, "id": null}',
  ]],
  "rpc call with an empty Array": [[
    "[]",
    '{"jsonrpc": "2.0", "error": {"code": -32600, "message": "Invalid Request"}, "id": null}',
  ]],
  "rpc call with an invalid Batch (but not empty)": [[
    "[1]",
    '[{"jsonrpc": "2.0", "error": {"code": -32600, "message": "Invalid Request"}, "id": null}]',
  ]],
  "rpc call with invalid Batch": [[
    "[1,2,3]",
    `[
      {"jsonrpc": "2.0", "error": {"code": -32600, "message": "Invalid Request"}, "id": null},
      {"jsonrpc": "2.0", "error": {"code": -32600, "message": "Invalid Request"}, "id": null},
      {"jsonrpc": "2.0", "error": {"code": -32600, "message": "Invalid Request"}, "id": null}
    ]`,
  ]],
  "rpc call Batch": [[
    `[
      {"jsonrpc": "2.0", "method": "sum", "params": [1,2,4], "id": "1"},
      {"jsonrpc": "2.0", "method": "notify_hello", "params": [7]},
      {"jsonrpc": "2.0", "method": "subtract", "params": [42,23], "id": "2"},
      {"foo": "boo"},
      {"jsonrpc": "2.0", "method": "foo.get", "params": {"name": "myself"}, "id": "5"},
      {"jsonrpc": "2.0", "method": "get_data", "id": "9"}
    ]`,
    `[
      {"jsonrpc": "2.0", "result": 7, "id": "1"},
      {"jsonrpc": "2.0", "result": 19, "id": "2"},
      {"jsonrpc": "2.0", "error": {"code": -32600, "message": "Invalid Request"}, "id": null},
      {"jsonrpc": "2.0", "error": {"code": -32601, "message": "Method not found"}, "id": "5"},
      {"jsonrpc": "2.0", "result": ["hello", 5], "id": "9"}
    ]`,
  ]],
  "rpc call Batch (all notifications)": [[
    `[
      {"jsonrpc": "2.0", "method": "notify_sum", "params": [1,2,4]},
      {"jsonrpc": "2.0", "method": "notify_hello", "params": [7]}
    ]`,
  ]],
};

for (const [name, exchanges] of Object.entries(EXAMPLES)) {
  both(`answers the example "${name}"`, async (door) => {
    for (const [request, answer] of exchanges) {
      if (answer === undefined) await door.tell(request);
      else assertEquals(await door.ask(request), JSON.parse(answer));
    }
  });
}

// -- section 4: requests --

both('takes `jsonrpc` only if it is exactly "2.0"', async (door) => {
  for (const jsonrpc of ["1.0", "2", "2.00", " 2.0", "", 2, 2.1, null, true, ["2.0"], undefined]) {
    const { error, id } = await door.ask({ jsonrpc, method: "ping", id: 1 });
    assertEquals([error?.code, error?.message, id], [-32600, "Invalid Request", 1]);
  }
});

both("tells member names apart by case", async (door) => {
  assertEquals(await codeOf(door, { JSONRPC: "2.0", method: "ping", id: 1 }), -32600);
  assertEquals(await codeOf(door, { jsonrpc: "2.0", Method: "ping", id: 1 }), -32600);
  assertEquals(await door.ask({ jsonrpc: "2.0", method: "echo", PARAMS: [1], id: 1 }), result(1));
  await door.tell({ jsonrpc: "2.0", method: "ping", ID: 1, Id: 1 });
});

both("takes only a string as the method", async (door) => {
  for (const method of [1, 0, null, true, ["ping"], { name: "ping" }, undefined]) {
    assertEquals(await codeOf(door, { jsonrpc: "2.0", method, id: 1 }), -32600);
  }
});

both("finds a method by its exact name", async (door) => {
  for (const name of ["PING", "Ping", " ping", "ping ", "ping\0", "", "p", "пинг", "\ud800"]) {
    assertEquals(await door.ask(call(name, 1)), failure(1, -32601));
  }
  assertEquals(await door.ask(call("a".repeat(100_000), 1)), failure(1, -32601));
});

both("ignores members that a request need not have", async (door) => {
  const request = { ...call("echo", 1, [1]), result: 2, error: { code: 3 }, extra: {}, trace: "a" };
  assertEquals(await door.ask(request), result(1, [1]));
});

both("hands params on as they came, by position and by name", async (door) => {
  for (const params of [[], [1, "a", null, [2]], {}, { a: { b: [1] }, B: null, "": 0 }]) {
    assertEquals(await door.ask(call("echo", 1, params)), result(1, params));
  }
});

both("takes params of null as none", async (door) => {
  assertEquals(await door.ask(call("echo", 1)), result(1));
  assertEquals(await door.ask(call("echo", 1, null)), result(1));
});

both(
  "refuses params that are neither array nor object, and does not run the method",
  async (door) => {
    const key = newKey();
    for (const params of [key, "", 1, 0, true, false]) {
      assertEquals(await codeOf(door, call("note", 1, params)), -32600);
      await door.tell(notice("note", params));
    }
    assertEquals(await notedOf(door, key), 0);
  },
);

both("answers -32602 when a method does not take the params", async (door) => {
  assertEquals(await door.ask(call("subtract", 1, { minuend: 42 })), failure(1, -32602));
  assertEquals(
    await door.ask(call("subtract", 1, { Minuend: 42, Subtrahend: 23 })),
    failure(1, -32602),
  );
  assertEquals(await codeOf(door, call("subtract", 1, [42, 23, 1])), -32602);
});

both("answers to an id of every kind, as it came", async (door) => {
  const numbers = ["0", "-1", "1.5", "1e2", "0.1", "9007199254740991", "-9007199254740991"];
  const strings = ['""', '"0"', '"1"', '"null"', '"é\\u0000\\ud83d\\ude00"', '"__proto__"'];
  for (const id of [...numbers, ...strings, "null"]) {
    const answer = await door.ask(`{"jsonrpc": "2.0", "method": "ping", "id": ${id}}`);
    assertEquals(answer, result(JSON.parse(id), "pong"));
  }
});

both(
  "refuses an id that is no string, number or null, or that lost digits, with id null",
  async (door) => {
    const huge = ["9007199254740992", "9007199254740993", "-9007199254740992", "1e400", "-1e400"];
    const key = newKey();
    for (const id of [...huge, "{}", "[]", "[1]", "true", "false", '{"id": 1}']) {
      const answer = await door.ask(
        `{"jsonrpc": "2.0", "method": "note", "params": ["${key}"], "id": ${id}}`,
      );
      assertEquals([answer.error?.code, answer.id], [-32600, null]);
    }
    assertEquals(await notedOf(door, key), 0);
  },
);

both("takes the last of two members with the same name, and answers once", async (door) => {
  const twice = '{"jsonrpc": "2.0", "method": "fail", "method": "ping", "id": 1, "id": 2}';
  assertEquals(await door.ask(twice), result(2, "pong"));
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

both("never answers a notification, whatever becomes of it", async (door) => {
  for (const notification of NOTIFICATIONS) await door.tell(notification);
});

both("never answers a batch of notifications", async (door) => {
  await door.tell(NOTIFICATIONS);
  await door.tell([notice("ping")]);
});

both("runs a notification", async (door) => {
  const key = newKey();
  await door.tell(notice("note", [key]));
  await door.tell(notice("noteAndFail", [key]));
  await door.tell([notice("note", [key]), notice("note", [key])]);
  assertEquals(await notedOf(door, key), 4);
});

// -- section 5: answers --

both("gives a result of null when there is nothing to say", async (door) => {
  for (const what of ["undefined", "nan", "infinity"]) {
    assertEquals(await door.ask(call("give", 1, [what])), result(1, null));
  }
});

both("gives what a promise, a thenable or a toJSON gives", async (door) => {
  assertEquals(await door.ask(call("later", 1, ["a"])), result(1, ["a"]));
  assertEquals(await door.ask(call("give", 1, ["thenable"])), result(1, "then"));
  assertEquals(await door.ask(call("give", 1, ["date"])), result(1, "1970-01-01T00:00:00.000Z"));
});

const WITHOUT_JSON = ["bigint", "cycle", "function", "symbol", "unwillingJson", "failingJson"];

both("answers a bland -32603 when a result has no JSON", async (door) => {
  for (const what of [...WITHOUT_JSON, "failingThen"]) {
    assertEquals(await door.ask(call("give", 1, [what])), failure(1, -32603));
  }
});

const THROWN = ["error", "errorWithCode", "lookalike", "string", "number", "emptyString", "null"]
  .concat(["undefined", "false", "bigint", "symbol", "promise", "rejectedPromise", "nothing"]);

both("answers a bland -32603 whatever a method throws, and tells no secret", async (door) => {
  for (const how of [...THROWN, "dataWithoutJson"]) {
    assertEquals(await door.ask(call("fail", how, [how])), failure(how, -32603));
    assertEquals(await door.ask(call("failLater", how, [how])), failure(how, -32603));
  }
});

both("answers an RpcError with its code, message and data, without its cause", async (door) => {
  const error = { code: 402, message: "Not enough money", data: { missing: 3 } };
  assertEquals(await door.ask(call("refuse", 1)), { jsonrpc: "2.0", error, id: 1 });
});

both("answers a long result, and -32008 in place of one over the limit", async (door) => {
  const { result } = await door.ask(call("large", 1, [1_000_000]));
  assertEquals((result as string).length, 1_000_000);
  for (const method of ["large", "refuseAtLength"]) {
    assertEquals(await codeOf(door, call(method, 1, [1_048_577])), -32008);
  }
});

// -- section 6: batches --

both("answers a batch in its order, slow ones too", async (door) => {
  const batch = ["later", "echo", "later", "failLater", "echo", "nothing"]
    .map((method, id) => call(method, id, ["error"]));
  const answers = await door.ask(batch);
  assertEquals(idsOf(answers), [0, 1, 2, 3, 4, 5]);
  assertEquals(codesOf(answers), [undefined, undefined, undefined, -32603, undefined, -32601]);
});

both("answers a batch of one with an array of one", async (door) => {
  assertEquals(await door.ask([call("ping", 1)]), [result(1, "pong")]);
});

both("answers in a batch only what is no notification and no answer", async (door) => {
  const batch = [...NOTIFICATIONS, result(1), call("ping", 1), failure(2, -32600), notice("ping")];
  assertEquals(await door.ask(batch), [result(1, "pong")]);
});

both("answers each wrong entry of a batch with -32600 and id null", async (door) => {
  const wrong = [1, "ping", null, true, [], [[]], [call("ping", 1)], {}];
  assertEquals(await door.ask(wrong), wrong.map(() => failure(null, -32600)));
  for (const one of wrong) assertEquals(await door.ask([one]), [failure(null, -32600)]);
});

both("answers calls of a batch that share an id each once, in their order", async (door) => {
  const batch = [1, 2, 3].map((value) => call("echo", "same", [value]));
  assertEquals(await door.ask(batch), [1, 2, 3].map((value) => result("same", [value])));
});

both(
  "takes a batch of 100, and answers one of 101 with one -32010 and runs none of it",
  async (door) => {
    const key = newKey();
    const batch = Array.from({ length: 100 }, (_, id) => call("note", id, [key]));
    assertEquals(idsOf(await door.ask(batch)), batch.map(({ id }) => id));
    const { error, id } = await door.ask([...batch, notice("note", [key])]);
    assertEquals([error?.code, id], [-32010, null]);
    assertEquals(await notedOf(door, key), 100);
  },
);

both("answers a batch whose answer is over the limit with one -32011", async (door) => {
  const batch = Array.from({ length: 60 }, (_, id) => call("large", id, [20_000]));
  const { error, id } = await door.ask(batch);
  assertEquals([error?.code, id], [-32011, null]);
});

// -- section 8, and names that are not what they seem --

both("keeps names with `rpc.` and `$/` to itself", async (door) => {
  for (const name of ["rpc.", "rpc.nothing", "rpc.ping", "$/", "$/nothing", "$/cancelRequest"]) {
    assertEquals(await door.ask(call(name, 1, {})), failure(1, -32601));
  }
});

/** What every object has in JavaScript, and what a careless one would do with more. */
const PROTOTYPE_NAMES = [
  ...Object.getOwnPropertyNames(Object.prototype),
  ...["prototype", "name", "length", "call", "apply", "bind", "arguments", "caller"],
  ...["then", "catch", "finally", "toJSON", "next", "return", "throw", "default"],
];

both("has none of the names that every object has", async (door) => {
  assert(PROTOTYPE_NAMES.length >= 28 && PROTOTYPE_NAMES.includes("__proto__"));
  for (const name of PROTOTYPE_NAMES) {
    assertEquals(await door.ask(call(name, 1)), failure(1, -32601));
    assertEquals(await door.ask(call(`ping.${name}`, 1)), failure(1, -32601));
  }
});

both("takes such names in params and ids as data", async (door) => {
  const named = `{${PROTOTYPE_NAMES.map((name) => `"${name}":{"polluted":"yes"}`)}}`;
  const answer = await door.ask(`{"jsonrpc":"2.0","method":"echo","params":${named},"id":1}`);
  assertEquals(JSON.stringify(answer.result), named);
  const nested = `[${named},{"constructor":{"prototype":{"polluted":"yes"}}}]`;
  const again = await door.ask(`{"jsonrpc":"2.0","method":"echo","params":${nested},"id":1}`);
  assertEquals(JSON.stringify(again.result), nested);
  assertEquals(await door.ask(call("polluted", 1)), result(1, "no"));
});

both("takes no params from a prototype", async (door) => {
  const params = '{"__proto__": {"minuend": 42, "subtrahend": 23}}';
  const request = `{"jsonrpc": "2.0", "method": "subtract", "params": ${params}, "id": 1}`;
  assertEquals(await door.ask(request), failure(1, -32602));
  const polluted = `{"jsonrpc": "2.0", "__proto__": {"method": "ping", "id": 1}}`;
  assertEquals(await door.ask(polluted), failure(null, -32600));
});

both("answers a hidden method as a missing one, and lists neither", async (door) => {
  assertEquals(await door.ask(call("hidden", 1)), await door.ask(call("missing", 1)));
  const { result } = await door.ask(call("get_methods", 1));
  assert(!(result as string[]).includes("hidden"));
});

both("lists methods and topics that the caller may use", async (door) => {
  const methods = (await door.ask(call("get_methods", 1))).result as string[];
  for (const name of ["ping", "subtract", "get_methods", "get_topics"]) {
    assert(methods.includes(name));
  }
  assertEquals(new Set(methods).size, methods.length);
  assertEquals(await door.ask(call("get_topics", 1)), result(1, ["news", "weather"]));
});

// -- text --

both("answers -32700 to what is no JSON", async (door) => {
  const cut = ["", " ", "{", "[", "}", '"', '{"jsonrpc": "2.0"', "[{}", "[1,]", '{"a":1,}', "\\"];
  const loose = [
    "{'a': 1}",
    "{a: 1}",
    "NaN",
    "Infinity",
    "undefined",
    "01",
    "1.",
    ".5",
    "+1",
    "0x1",
  ];
  const trailing = [
    "{} {}",
    "[] []",
    "{}x",
    '{"jsonrpc":"2.0"}{"jsonrpc":"2.0"}',
    "null,",
    "// a\n1",
  ];
  const spaces = [
    "\v{}",
    "\f{}",
    "\u00a0{}",
    "\u2028{}",
    "{}\0",
    '["\n"]',
    '["\\x41"]',
    "[1\u00a0]",
  ];
  for (const text of [...cut, ...loose, ...trailing, ...spaces]) {
    assertEquals(await door.ask(text), failure(null, -32700), JSON.stringify(text));
  }
});

both("answers -32600 to JSON that is no request", async (door) => {
  for (const text of ["1", '"ping"', "null", "true", "{}", '{"foo": "boo"}', '{"id": []}', "-0"]) {
    assertEquals(await door.ask(text), failure(null, -32600), text);
  }
  assertEquals(await door.ask('{"id": 1}'), failure(1, -32600));
});

both("takes white space of JSON in any amount", async (door) => {
  const space = " \t\r\n".repeat(1_000);
  const text = JSON.stringify(call("ping", 1)).replaceAll(
    /[{}:,]/g,
    (mark) => space + mark + space,
  );
  assertEquals(await door.ask(text), result(1, "pong"));
});

both("takes or refuses a byte order mark, as one answer", async (door) => {
  const { error, id, ...rest } = await door.ask(`\ufeff${JSON.stringify(call("ping", 1))}`);
  if (error === undefined) assertEquals([rest.result, id], ["pong", 1]);
  else assertEquals([error.code, id], [-32700, null]);
});

both("gives every character back", async (door) => {
  const texts = [
    "é",
    "漢字",
    "😀",
    "\0",
    "\u2028\u2029",
    '"\\/\b\f\n\r\t',
    "\ufeff",
    "\uffff",
    "\x7f",
  ];
  assertEquals(await door.ask(call("echo", 1, texts)), result(1, texts));
});

both("gives lone surrogates back, escaped", async (door) => {
  const params = String.raw`["\ud800", "\udc00", "\udc00\ud800", {"\ud800": "a\ud800"}]`;
  const answer = await door.ask(
    `{"jsonrpc":"2.0","method":"echo","params":${params},"id":"\\ud800"}`,
  );
  assertEquals(answer, result("\ud800", JSON.parse(params)));
});

both("takes 128 levels of nesting and answers -32700 to one more", async (door) => {
  const nested = (levels: number) =>
    `{"jsonrpc":"2.0","method":"echo","params":${"[".repeat(levels)}${"]".repeat(levels)},"id":1}`;
  assertEquals((await door.ask(nested(127))).id, 1);
  assertEquals(await codeOf(door, nested(128)), -32700);
});

both("answers -32700 to 100,000 nested arrays or objects, ten times in a row", async (door) => {
  const deep = "[".repeat(100_000) + "]".repeat(100_000);
  const objects = `${'{"a":'.repeat(100_000)}1${"}".repeat(100_000)}`;
  for (let time = 0; time < 5; time++) {
    for (const params of [deep, objects]) {
      assertEquals(
        await codeOf(door, `{"jsonrpc":"2.0","method":"echo","params":${params},"id":1}`),
        -32700,
      );
    }
  }
});

both("counts no brackets in strings as nesting", async (door) => {
  const params = ["[".repeat(1_000), '\\"[{'.repeat(1_000), { ["{".repeat(1_000)]: "\\" }];
  assertEquals(await door.ask(call("echo", 1, params)), result(1, params));
});

// -- answers that nobody asked for --

both("never answers an answer, wrong ones included", async (door) => {
  const answers = [
    ...[0, 1, "1", "", null, undefined].flatMap((id) => [result(id), failure(id, -32603)]),
    { result: 1 },
    { error: null, id: 1 },
    { jsonrpc: "1.0", result: 1, id: 1 },
    { ...result(1, 1), ...failure(1, -32600) },
    result({}, 1),
    result(true, 1),
  ];
  for (const answer of answers) await door.tell(answer);
  await door.tell(answers);
});

line("never answers thousands of answers that nobody asked for", async (line) => {
  for (let id = 0; id < 2_500; id++) {
    line.say(result(id), failure(null, -32700), failure(`${id}`, -32600), [result(id), result(id)]);
  }
  await line.silence();
});

// -- one connection, many messages --

line("answers thousands of calls on one connection each once", async (line) => {
  const calls = Array.from({ length: 3_000 }, (_, id) => call(id % 2 ? "echo" : "later", id, [id]));
  const answers: Message[] = [];
  for (let from = 0; from < calls.length; from += 500) {
    line.say(...calls.slice(from, from + 500));
    answers.push(...await line.some(500));
  }
  answers.sort((a, b) => Number(a.id) - Number(b.id));
  assertEquals(answers, calls.map(({ id }) => result(id, [id])));
});

line("takes thousands of notifications and answers calls between them", async (line) => {
  const key = newKey();
  for (let time = 0; time < 8; time++) {
    for (let count = 0; count < 1_000; count++) line.say(notice("note", [key]));
    assertEquals(await notedOf(line, key), (time + 1) * 1_000);
  }
});

line("lets a slow call delay nobody", async (line) => {
  line.say(call("hang", "slow", [newKey()]));
  for (let id = 0; id < 10; id++) {
    assertEquals(await line.ask(call("echo", id, [id])), result(id, [id]));
  }
});

line("answers two calls in flight that share an id, both", async (line) => {
  line.say(call("later", 1, ["a"]), call("later", 1, ["b"]));
  assertEquals(await line.some(2), [result(1, ["a"]), result(1, ["b"])]);
});

line("runs 1,000 calls at once and answers -32009 to more, also in a batch", async (line, url) => {
  const hanging = (count: number) =>
    Array.from({ length: count }, (_, id) => call("hang", id, [newKey()]));
  line.say(...hanging(999));
  line.say([call("hang", "last", [newKey()]), call("ping", "a"), notice("ping")]);
  assertEquals(await codeOf(line, call("ping", "b")), -32009);
  await assertAlive(url);
  line.say(cancel("last"));
  assertEquals(codesOf(await line.next()), [-32800, -32009]);
  for (let id = 0; id < 999; id++) line.say(cancel(id));
  assertEquals(codesOf(await line.some(999)), Array(999).fill(-32800));
});

// -- cancelling --

function cancel(id: unknown): Message {
  return notice("$/cancelRequest", { id });
}

line("answers -32800 to a call that is cancelled, once, and tells its handler", async (line) => {
  const key = newKey();
  line.say(call("hang", 1, [key]), cancel(2), cancel("1"), cancel(1), cancel(1));
  assertEquals(await line.next(), failure(1, -32800));
  assertEquals(await notedOf(line, key), 1);
});

line("ignores a cancel when the answer has left", async (line) => {
  await line.ask(call("ping", 1));
  await line.tell(cancel(1));
});

abuse("tells the handlers when their caller is gone", async (url) => {
  const key = newKey();
  const leaving = await Line.open(url);
  leaving.say(call("hang", 1, [key]), notice("hang", [key]));
  await leaving.silence();
  leaving.hangUp();
  await through(Line.open(url), async (line) => {
    while (await notedOf(line, key) !== 2);
  });
});

// -- calls from server to client --

/** What a client does that has one method: answers `question` by what `answerTo` makes of its params. */
async function answerQuestion(line: Line, answerTo: (id: unknown, params: unknown) => Message) {
  const { jsonrpc, method, params, id } = await line.next();
  assertEquals([jsonrpc, method], ["2.0", "question"]);
  line.say(answerTo(id, params));
}

line("calls the client while the client's own call is open", async (line) => {
  line.say(call("askBack", "mine", ["really?"]));
  await answerQuestion(line, (id, params) => result(id, params));
  assertEquals(await line.next(), result("mine", ["really?"]));
});

line("passes the client's error on to whoever called", async (line) => {
  line.say(call("askBack", "mine"));
  const error = { code: 7, message: "no", data: [1] };
  await answerQuestion(line, (id) => ({ jsonrpc: "2.0", error, id }));
  assertEquals(await line.next(), { jsonrpc: "2.0", error, id: "mine" });
});

line(
  "fails a call whose answer has both a result and an error, or no proper error",
  async (line) => {
    const wrong = [{ result: 1, error: { code: 1, message: "" } }, { error: {} }, { error: 1 }];
    for (const outcome of wrong) {
      line.say(call("askBack", "mine"));
      await answerQuestion(line, (id) => ({ jsonrpc: "2.0", id, ...outcome as object }));
      assertEquals((await line.next()).error?.code, -32603);
    }
  },
);

line("matches an answer by its very id, and takes only the first", async (line) => {
  line.say(call("askBack", "mine"));
  await answerQuestion(line, (id) => {
    for (const odd of [`${id}`, [id], { id }, null, true, -1, Number(id) + 1]) {
      line.say(result(odd, "wrong"));
    }
    line.say(result(id, "right"));
    return result(id, "second");
  });
  assertEquals(await line.next(), result("mine", "right"));
});

line("gives each of many calls its own answer, in whatever order they come", async (line) => {
  const numbers = Array.from({ length: 200 }, (_, number) => number);
  line.say(...numbers.map((number) => call("askBack", number, [number])));
  const questions = await line.some(200);
  assertEquals(new Set(idsOf(questions)).size, 200);
  line.say(questions.reverse().map(({ id, params }) => result(id, params)));
  const answers = await line.some(200);
  assertEquals(answers.reverse(), numbers.map((number) => result(number, [number])));
});

line("nests calls in both directions ten deep", async (line) => {
  line.say(call("nest", "top", [10]));
  const asked: unknown[] = [];
  // What the server asks is asked back, until it is at the bottom; then all the answers come home.
  for (let depth = 9; depth >= 0; depth--) {
    const { method, params, id } = await line.next();
    assertEquals([method, params], ["nest", [depth]]);
    asked.push(id);
    line.say(call("nest", `mine ${depth}`, params));
  }
  let said: unknown = "bottom";
  for (let depth = 0; depth < 10; depth++) {
    assertEquals(await line.next(), result(`mine ${depth}`, said));
    line.say(result(asked.pop(), said));
    said = `${depth + 1} ${said}`;
  }
  assertEquals(await line.next(), result("top", said));
});

line("tells the caller of progress before the answer", async (line) => {
  line.say(call("report", "mine", ["a", "b"]), notice("report", ["untold"]));
  const progress = (value: string) => notice("$/progress", { token: "mine", value });
  assertEquals(await line.some(3), [progress("a"), progress("b"), result("mine", "reported")]);
});

// -- topics --

async function publish(url: string, topic: string, ...events: unknown[]): Promise<void> {
  await through(new Post(url), async (post) => {
    assertEquals(await post.ask(call("publish", 1, [topic, ...events])), result(1));
  });
}

line("subscribes to a bare topic, a list and a record of topics", async (line) => {
  for (const params of ["news", ["news"], { topics: "news" }, { topics: ["news", "news"] }]) {
    assertEquals(await line.ask(call("subscribe", 1, params)), result(1, ["news"]));
    assertEquals(await line.ask(call("unsubscribe", 1, params)), result(1, []));
  }
  await line.tell(notice("subscribe", "news"));
  assertEquals(await line.ask(call("get_subscriptions", 1)), result(1, ["news"]));
});

line("leaves unknown and forbidden topics out of the subscriptions, alike", async (line) => {
  const names = ["news", "nothing", "secret", "__proto__", "room", "room.1.2", "room.*", "*", ""];
  assertEquals(await line.ask(call("subscribe", 1, names)), result(1, ["news"]));
  assertEquals(await line.ask(call("subscribe", 1, "secret")), result(1, ["news"]));
  assertEquals(await line.ask(call("get_subscriptions", 1)), result(1, ["news"]));
  assertEquals(await line.ask(call("unsubscribe", 1, names)), result(1, []));
});

line("tells the subscriptions when asked to subscribe to nothing", async (line) => {
  await line.ask(call("subscribe", 1, "news"));
  for (const params of [undefined, null, [], { topics: [] }]) {
    for (const method of ["subscribe", "unsubscribe"]) {
      assertEquals(await line.ask(call(method, 1, params)), result(1, ["news"]));
    }
  }
});

line("answers -32602 when topics are no strings", async (line) => {
  for (const params of [1, true, [1], [["news"]], [null], {}, { topics: 1 }, { topics: null }]) {
    for (const method of ["subscribe", "unsubscribe"]) {
      assertEquals(await codeOf(line, call(method, 1, params)), -32602);
    }
  }
});

line("sends events in order, scalars as they are, until unsubscribed", async (line, url) => {
  const events = [1, "a", null, [2], { a: 3 }, 0, "", false, ...Array(500).keys()];
  await line.ask(call("subscribe", 1, "news"));
  await publish(url, "news", ...events);
  assertEquals(await line.some(events.length), events.map((event) => notice("news", event)));
  assertEquals(await line.ask(call("unsubscribe", 1, "news")), result(1, []));
  await publish(url, "news", "unheard");
});

line("sends the last event after the answer, then what is new", async (line, url) => {
  await publish(url, "weather", "rain", "sun");
  line.say(call("subscribe", 1, "weather"));
  assertEquals(await line.some(2), [result(1, ["weather"]), notice("weather", "sun")]);
  await publish(url, "weather", "snow");
  assertEquals(await line.next(), notice("weather", "snow"));
  assertEquals(await line.ask(call("subscribe", 2, "weather")), result(2, ["weather"]));
});

line("sends the last event after the answer of a whole batch", async (line, url) => {
  await publish(url, "weather", "fog");
  line.say([call("subscribe", 1, "weather"), call("later", 2, [])]);
  const answers = [result(1, ["weather"]), result(2, [])];
  assertEquals(await line.some(2), [answers, notice("weather", "fog")]);
});

line("sends nothing of before when the topic keeps nothing", async (line, url) => {
  await publish(url, "news", "old");
  await line.ask(call("subscribe", 1, "news"));
});

line("takes the names of a pattern one by one", async (line, url) => {
  assertEquals(await line.ask(call("subscribe", 1, "room.7")), result(1, ["room.7"]));
  await publish(url, "room.8", "elsewhere");
  await publish(url, "room.7", "here");
  assertEquals(await line.next(), notice("room.7", "here"));
});

line("sends an event to each subscriber once", async (line, url) => {
  await through(Line.open(url), async (other) => {
    for (const each of [line, line, other]) await each.ask(call("subscribe", 1, "news"));
    await publish(url, "news", "all");
    for (const each of [line, other]) assertEquals(await each.next(), notice("news", "all"));
  });
  await publish(url, "news", "one");
  assertEquals(await line.next(), notice("news", "one"));
});

line("answers -32006 to more than 1,024 subscriptions, and keeps those it has", async (line) => {
  const rooms = (count: number) => Array.from({ length: count }, (_, room) => `room.many${room}`);
  assertEquals(await codeOf(line, call("subscribe", 1, rooms(1_025))), -32006);
  assertEquals((await line.ask(call("subscribe", 1, rooms(1_024)))).result, rooms(1_024));
  assertEquals(await codeOf(line, call("subscribe", 1, "news")), -32006);
  assertEquals((await line.ask(call("get_subscriptions", 1))).result, rooms(1_024));
});

post("has no methods over POST that need a connection", async (post) => {
  const names = ["subscribe", "unsubscribe", "get_subscriptions"];
  for (const name of names) {
    assertEquals(await post.ask(call(name, 1, ["news"])), failure(1, -32601));
  }
  const listed = (await post.ask(call("get_methods", 1))).result as string[];
  assertEquals(names.filter((name) => listed.includes(name)), []);
  assertEquals(await post.ask(call("askBack", 1)), failure(1, -32603));
});

line("lists the methods that need a connection where there is one", async (line) => {
  const listed = (await line.ask(call("get_methods", 1))).result as string[];
  for (const name of ["subscribe", "unsubscribe", "get_subscriptions"]) {
    assert(listed.includes(name));
  }
});

// -- frames --

const MAX_MESSAGE_BYTES = 1_048_576;

/** A call whose text has so many bytes. */
function callOf(bytes: number): string {
  const rest = JSON.stringify(call("note", 1, [""])).length;
  return JSON.stringify(call("note", 1, ["a".repeat(bytes - rest)]));
}

line("answers -32700 to a binary frame", async (line) => {
  line.sayBytes(new TextEncoder().encode(JSON.stringify(call("ping", 1))));
  const { error, id } = await line.next();
  assertEquals([error?.code, error?.message, id], [-32700, "Parse error", null]);
});

line("takes a message of exactly maxMessageBytes", async (line) => {
  assertEquals(await line.ask(callOf(MAX_MESSAGE_BYTES)), result(1, 1));
});

abuse("closes with 1009 when a message is over maxMessageBytes", async (url) => {
  for (const bytes of [MAX_MESSAGE_BYTES + 1, 4 * MAX_MESSAGE_BYTES]) {
    const line = await Line.open(url);
    line.say(callOf(bytes));
    assertEquals((await line.closed).code, 1009);
  }
});

/** A masked frame of a client; the mask is all zero, so that the payload stays as it is. */
function frame(opcode: number, payload: Uint8Array | string, final = true): Uint8Array {
  const bytes = typeof payload === "string" ? new TextEncoder().encode(payload) : payload;
  const head = [opcode | (final ? 0x80 : 0), 0x80 | bytes.length, 0, 0, 0, 0];
  assert(bytes.length < 126);
  return new Uint8Array([...head, ...bytes]);
}

const TEXT_FRAME = 1;

/** What frames no honest client would send. */
const WRONG_FRAMES: Readonly<Record<string, Uint8Array>> = {
  "text that is no UTF-8": frame(TEXT_FRAME, new Uint8Array([0xff, 0xfe, 0xc0, 0x80])),
  "a reserved opcode": frame(7, "a"),
  "a continuation of nothing": frame(0, "a"),
  "a fragmented ping": frame(9, "a", false),
  "a close frame with a wrong code": frame(8, new Uint8Array([0, 1])),
  "a frame that claims 2^62 bytes": new Uint8Array([0x81, 0xff, 0x40, 0, 0, 0, 0, 0, 0, 0, 1, 2]),
  "an unmasked frame": new Uint8Array([0x81, 2, 0x7b, 0x7d]),
  "bytes at random": crypto.getRandomValues(new Uint8Array(1_000)),
};

for (const [what, bytes] of Object.entries(WRONG_FRAMES)) {
  abuse(`survives ${what}`, async (url) => {
    const socket = await rawSocket(url);
    socket.write(bytes);
    await assertAlive(url);
    socket.destroy();
  });
}

abuse("survives a peer that breaks off, at whatever point", async (url) => {
  const whole = frame(TEXT_FRAME, JSON.stringify(call("later", 1, [])));
  for (const length of [0, 1, 6, 20, whole.length]) {
    const socket = await rawSocket(url);
    socket.write(whole.subarray(0, length));
    socket.resetAndDestroy();
  }
  for (
    const text of ["", "GET", "GET / HTTP/1.1\r\n", "POST / HTTP/1.1\r\ncontent-length: 9\r\n\r\n"]
  ) {
    const socket = await dial(url);
    socket.write(text);
    socket.destroy();
  }
});

// -- the door of WebSockets --

const SWITCHING = 101;

/** Adds what holds of the response to a request that asks for a WebSocket. */
function upgrade(
  name: string,
  status: number,
  headers: (url: string) => RawRequest["headers"],
  expected: Readonly<Record<string, string | null>> = {},
): void {
  abuse(name, async (url) => {
    const response = assertStatus(await rawUpgrade(url, headers(url)), status);
    for (const [header, value] of Object.entries(expected)) {
      assertEquals(response.headers.get(header), value);
    }
  });
}

upgrade(
  "opens a WebSocket, and names no subprotocol when none was offered",
  SWITCHING,
  () => ({}),
  {
    "sec-websocket-protocol": null,
    "sec-websocket-accept": "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=",
  },
);

for (
  const [offered, chosen] of [
    ["jsonrpc", "jsonrpc"],
    ["jsonrpc, bearer.token", "jsonrpc"],
    ["bearer.token, jsonrpc", "jsonrpc"],
    ["bearer.token,jsonrpc", "jsonrpc"],
    ["a, jsonrpc ,b", "jsonrpc"],
    ["bearer.token", null],
    ["graphql, bearer.token", null],
    ["JSONRPC, jsonrpc2", null],
  ] as const
) {
  upgrade(
    `answers the subprotocols "${offered}" with ${chosen}`,
    SWITCHING,
    () => ({ "sec-websocket-protocol": offered }),
    { "sec-websocket-protocol": chosen },
  );
}

cases.push({
  name: "talks to a client that offers jsonrpc and a token",
  run: (url) =>
    through(Line.open(url, ["jsonrpc", "bearer.token"]), (line) => {
      assertEquals(line.protocol, "jsonrpc");
      return Promise.resolve();
    }),
});

for (const version of [undefined, "", "8", "12", "14", "13, 8", "x"]) {
  upgrade(
    `refuses version ${version} of the WebSocket protocol and names 13`,
    426,
    () => ({ "sec-websocket-version": version }),
    { "sec-websocket-version": "13" },
  );
}

for (
  const key of [undefined, "", "short", "dGhlIHNhbXBsZSBub25jZQ", "a".repeat(24), "é".repeat(24)]
) {
  upgrade(`refuses the key ${key}`, 400, () => ({ "sec-websocket-key": key }));
}

/** Waits until the server has noticed that all others are gone. */
async function placesAreFree(url: string): Promise<void> {
  await through(new Post(url), async (post) => {
    while ((await post.ask(call("connections", 1))).result !== 0);
  });
}

abuse("gives the places of refused WebSockets back", async (url) => {
  const wrong: RawRequest["headers"][] = [
    { "sec-websocket-version": "8" },
    { "sec-websocket-key": "short" },
    { origin: "https://foreign.example" },
    { connection: "close" },
  ];
  for (const headers of wrong) {
    const statuses = await Promise.all(
      Array.from({ length: 210 }, async () => (await rawUpgrade(url, headers)).status),
    );
    assert(statuses.every((status) => status !== SWITCHING && status !== 503), `${statuses}`);
  }
});

abuse("gives the places of closed WebSockets back", async (url) => {
  for (let round = 0; round < 6; round++) {
    const lines = await Promise.all(Array.from({ length: 50 }, () => Line.open(url)));
    await Promise.all(lines.map((line) => line.leave()));
  }
});

abuse("gives the places of peers back that vanish without a word", async (url) => {
  for (let round = 0; round < 5; round++) {
    const sockets = await Promise.all(Array.from({ length: 50 }, () => rawSocket(url)));
    for (const socket of sockets) socket.resetAndDestroy();
    await placesAreFree(url);
  }
});

abuse("takes 200 connections, refuses one more with 503, and takes one again", async (url) => {
  const lines: Line[] = [];
  await placesAreFree(url);
  for (let count = 0; count < 200; count++) lines.push(await Line.open(url));
  assertStatus(await rawUpgrade(url), 503);
  assertEquals(await lines[0]!.ask(call("ping", 1)), result(1, "pong"));
  await new Post(url).leave();
  await Promise.all(lines.map((line) => line.leave()));
});

// -- origins --

const FOREIGN = [
  "https://foreign.example",
  "http://127.0.0.1",
  "http://127.0.0.1:1",
  "http://localhost",
  "http://127.0.0.1.foreign.example",
  "http://foreign.example#127.0.0.1",
  "file://",
  "null",
  "",
  "*",
  "127.0.0.1",
];

/** The server's own origin, also behind a proxy that speaks TLS. */
const OWN = (url: string) => [new URL(url).origin, new URL(url).origin.replace("http:", "https:")];

abuse("refuses pages of foreign origins with 403 at both doors", async (url) => {
  const key = newKey();
  const hostile = [
    ...FOREIGN,
    `${OWN(url)[0]}0`,
    `http://user@foreign.example@${new URL(url).host}x`,
  ];
  for (const origin of hostile) {
    assertStatus(await rawUpgrade(url, { origin }), 403);
    assertStatus(await rawPost(url, JSON.stringify(call("note", 1, [key])), { origin }), 403);
  }
  assertEquals(await notedOf(new Post(url), key), 0);
});

abuse("lets pages of its own origin in at both doors, and who names none", async (url) => {
  for (const origin of [...OWN(url), undefined]) {
    assertStatus(await rawUpgrade(url, { origin }), SWITCHING);
    const { body } = assertStatus(
      await rawPost(url, JSON.stringify(call("ping", 1)), { origin }),
      200,
    );
    assert(body.includes('"pong"'));
  }
});

// -- the door of POSTs --

post("answers at every path", async (_post, url) => {
  for (const path of ["rpc", "a/b?method=fail&id=2", "?", "%00", "//"]) {
    assertEquals(await new Post(`${url}/${path}`).ask(call("ping", 1)), result(1, "pong"));
  }
});

post("answers many POSTs at once, each with its own", async (post) => {
  const ids = Array.from({ length: 100 }, (_, id) => id);
  const answers = await Promise.all(
    ids.map((id) => post.ask(call(id % 2 ? "later" : "echo", id, [id]))),
  );
  assertEquals(answers, ids.map((id) => result(id, [id])));
});

const JSON_TYPES = ["application/json", "application/json-rpc", "application/jsonrequest"]
  .concat(["application/json; charset=utf-8", "Application/JSON", "application/json;a=b"]);

const OTHER_TYPES = ["text/plain", "text/plain;charset=UTF-8", "application/x-www-form-urlencoded"]
  .concat(["multipart/form-data", "text/json", "application/jsonx", "application/json-patch+json"])
  .concat(["x-application/json", "text/plain; application/json", "application/ json", "json", ""]);

abuse("takes JSON by its three names", async (url) => {
  for (const type of JSON_TYPES) {
    const { body } = assertStatus(
      await rawPost(url, JSON.stringify(call("ping", 1)), { "content-type": type }),
      200,
    );
    assert(body.includes('"pong"'), type);
  }
});

abuse("refuses every other content type with 415, and does not run the method", async (url) => {
  const key = newKey();
  for (const type of [...OTHER_TYPES, undefined]) {
    const text = JSON.stringify(call("note", 1, [key]));
    assertStatus(await rawPost(url, text, { "content-type": type }), 415);
  }
  assertEquals(await notedOf(new Post(url), key), 0);
});

abuse("refuses every other HTTP method with 405, and says which it takes", async (url) => {
  for (const method of ["GET", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS"]) {
    const response = assertStatus(await rawRequest(url, { method }), 405);
    assert(response.headers.get("allow")?.split(/, */).includes("POST"), method);
  }
});

post("answers an empty body as what is no JSON", async (post, url) => {
  assertEquals(await post.ask(""), failure(null, -32700));
  const { body } = assertStatus(await rawPost(url, "", { "content-length": undefined }), 200);
  assert(body.includes("-32700"));
});

/** The body as a server wants it that was not told its length. */
function chunked(body: string, size = 64 * 1024): string {
  const chunks = body.match(new RegExp(`.{1,${size}}`, "gs")) ?? [];
  return [...chunks, ""].map((chunk) => `${chunk.length.toString(16)}\r\n${chunk}\r\n`).join("");
}

const CHUNKED = { "content-length": undefined, "transfer-encoding": "chunked" };

abuse("takes a POST of exactly maxMessageBytes, declared or in chunks", async (url) => {
  const text = callOf(MAX_MESSAGE_BYTES);
  for (const response of [await rawPost(url, text), await rawPost(url, chunked(text), CHUNKED)]) {
    assert(assertStatus(response, 200).body.includes('"result":'), response.body);
  }
});

abuse(
  "refuses a POST over maxMessageBytes with 413 and -32007, declared or in chunks",
  async (url) => {
    const text = callOf(MAX_MESSAGE_BYTES + 1);
    for (const response of [await rawPost(url, text), await rawPost(url, chunked(text), CHUNKED)]) {
      const { body, headers } = assertStatus(response, 413);
      assertEquals(headers.get("content-type"), "application/json");
      assert(body.includes('"code":-32007') && body.includes('"id":null'), body);
    }
  },
);

abuse("counts the bytes of a POST in chunks, and joins characters that were cut", async (url) => {
  const text = JSON.stringify(call("echo", 1, ["é漢😀".repeat(100)]));
  const bytes = String.fromCharCode(...new TextEncoder().encode(text));
  const response = await rawPost(url, chunked(bytes, 7), CHUNKED, "latin1");
  assert(assertStatus(response, 200).body.includes("é漢😀".repeat(100)));
});
