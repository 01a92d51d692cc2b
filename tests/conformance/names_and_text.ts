/**
 * Difficult names and texts, and answers to no call.
 */
import { assert, assertEquals } from "@std/assert";
import { call, failure, result } from "../helpers/messages.ts";
import { codeOf, overBoth, overWebSocket } from "./case.ts";

// -- section 8, and names that every object has --

overBoth("reserves names that begin with `rpc.` or `$/`", async (client) => {
  for (const name of ["rpc.", "rpc.nothing", "rpc.ping", "$/", "$/nothing", "$/cancelRequest"]) {
    assertEquals(await client.ask(call(name, 1, {})), failure(1, -32601));
  }
});

/** Names that every object or function of JavaScript has, or that have a meaning for the language. */
const PROTOTYPE_NAMES = [
  ...Object.getOwnPropertyNames(Object.prototype),
  ...["prototype", "name", "length", "call", "apply", "bind", "arguments", "caller"],
  ...["then", "catch", "finally", "toJSON", "next", "return", "throw", "default"],
];

overBoth("answers -32601 to the names that every object has", async (client) => {
  assert(PROTOTYPE_NAMES.length >= 28 && PROTOTYPE_NAMES.includes("__proto__"));
  for (const name of PROTOTYPE_NAMES) {
    assertEquals(await client.ask(call(name, 1)), failure(1, -32601));
    assertEquals(await client.ask(call(`ping.${name}`, 1)), failure(1, -32601));
  }
});

overBoth("takes such names in params and ids as data", async (client) => {
  const named = `{${PROTOTYPE_NAMES.map((name) => `"${name}":{"polluted":"yes"}`)}}`;
  const answer = await client.ask(`{"jsonrpc":"2.0","method":"echo","params":${named},"id":1}`);
  assertEquals(JSON.stringify(answer.result), named);
  const nested = `[${named},{"constructor":{"prototype":{"polluted":"yes"}}}]`;
  const again = await client.ask(`{"jsonrpc":"2.0","method":"echo","params":${nested},"id":1}`);
  assertEquals(JSON.stringify(again.result), nested);
  assertEquals(await client.ask(call("polluted", 1)), result(1, "no"));
});

overBoth("takes no params from a prototype", async (client) => {
  const params = '{"__proto__": {"minuend": 42, "subtrahend": 23}}';
  const request = `{"jsonrpc": "2.0", "method": "subtract", "params": ${params}, "id": 1}`;
  assertEquals(await client.ask(request), failure(1, -32602));
  const polluted = `{"jsonrpc": "2.0", "__proto__": {"method": "ping", "id": 1}}`;
  assertEquals(await client.ask(polluted), failure(null, -32600));
});

overBoth("answers a hidden method as a missing one, and lists neither", async (client) => {
  assertEquals(await client.ask(call("hidden", 1)), await client.ask(call("missing", 1)));
  const { result } = await client.ask(call("get_methods", 1));
  assert(!(result as string[]).includes("hidden"));
});

overBoth("lists methods and topics that the caller may use", async (client) => {
  const methods = (await client.ask(call("get_methods", 1))).result as string[];
  for (const name of ["ping", "subtract", "get_methods", "get_topics"]) {
    assert(methods.includes(name));
  }
  assertEquals(new Set(methods).size, methods.length);
  assertEquals(await client.ask(call("get_topics", 1)), result(1, ["news", "weather"]));
});

// -- text --

overBoth("answers -32700 to text that is not JSON", async (client) => {
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
    assertEquals(await client.ask(text), failure(null, -32700), JSON.stringify(text));
  }
});

overBoth("answers -32600 to JSON that is not a request", async (client) => {
  for (const text of ["1", '"ping"', "null", "true", "{}", '{"foo": "boo"}', '{"id": []}', "-0"]) {
    assertEquals(await client.ask(text), failure(null, -32600), text);
  }
  assertEquals(await client.ask('{"id": 1}'), failure(1, -32600));
});

overBoth("takes white space of JSON in any amount", async (client) => {
  const space = " \t\r\n".repeat(1_000);
  const text = JSON.stringify(call("ping", 1)).replaceAll(
    /[{}:,]/g,
    (mark) => space + mark + space,
  );
  assertEquals(await client.ask(text), result(1, "pong"));
});

overBoth("takes or refuses a byte order mark, as one answer", async (client) => {
  const { error, id, ...rest } = await client.ask(`\ufeff${JSON.stringify(call("ping", 1))}`);
  if (error === undefined) assertEquals([rest.result, id], ["pong", 1]);
  else assertEquals([error.code, id], [-32700, null]);
});

overBoth("returns every character", async (client) => {
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
  assertEquals(await client.ask(call("echo", 1, texts)), result(1, texts));
});

overBoth("returns lone surrogates, escaped", async (client) => {
  const params = String.raw`["\ud800", "\udc00", "\udc00\ud800", {"\ud800": "a\ud800"}]`;
  const answer = await client.ask(
    `{"jsonrpc":"2.0","method":"echo","params":${params},"id":"\\ud800"}`,
  );
  assertEquals(answer, result("\ud800", JSON.parse(params)));
});

overBoth("takes 128 levels of nesting and answers -32700 to one more", async (client) => {
  const nested = (levels: number) =>
    `{"jsonrpc":"2.0","method":"echo","params":${"[".repeat(levels)}${"]".repeat(levels)},"id":1}`;
  assertEquals((await client.ask(nested(127))).id, 1);
  assertEquals(await codeOf(client, nested(128)), -32700);
});

overBoth(
  "answers -32700 to 100,000 nested arrays or objects, ten times in a row",
  async (client) => {
    const deep = "[".repeat(100_000) + "]".repeat(100_000);
    const objects = `${'{"a":'.repeat(100_000)}1${"}".repeat(100_000)}`;
    for (let time = 0; time < 5; time++) {
      for (const params of [deep, objects]) {
        assertEquals(
          await codeOf(client, `{"jsonrpc":"2.0","method":"echo","params":${params},"id":1}`),
          -32700,
        );
      }
    }
  },
);

overBoth("counts no brackets in strings as nesting", async (client) => {
  const params = ["[".repeat(1_000), '\\"[{'.repeat(1_000), { ["{".repeat(1_000)]: "\\" }];
  assertEquals(await client.ask(call("echo", 1, params)), result(1, params));
});

// -- answers to no call --

overBoth("never answers an answer, not even an invalid one", async (client) => {
  const answers = [
    ...[0, 1, "1", "", null, undefined].flatMap((id) => [result(id), failure(id, -32603)]),
    { result: 1 },
    { error: null, id: 1 },
    { jsonrpc: "1.0", result: 1, id: 1 },
    { ...result(1, 1), ...failure(1, -32600) },
    result({}, 1),
    result(true, 1),
  ];
  for (const answer of answers) await client.notify(answer);
  await client.notify(answers);
});

overWebSocket("never answers thousands of answers to no call", async (client) => {
  for (let id = 0; id < 4_000; id++) {
    client.send(result(id), failure(null, -32700), failure(`${id}`, -32600), [
      result(id),
      result(id),
    ]);
  }
  await client.assertSilent();
});
