import { assertEquals, assertStringIncludes, assertThrows } from "@std/assert";
import { test } from "node:test";
import { guard, JsonRpc, rawJson, type } from "@x/jsonrpc";
import { silentLog } from "../helpers/log.ts";
import type { Message } from "../helpers/messages.ts";
import { Post, RawSocket } from "../helpers/raw_client.ts";
import { serveHere } from "../helpers/server.ts";
import type { LocalServer } from "../helpers/server.ts";

/** Gives what a value is, with the types of its leaves. */
function typed(value: unknown): unknown {
  if (typeof value !== "object" || value === null) return `${typeof value} ${value}`;
  return Array.isArray(value)
    ? value.map(typed)
    : Object.entries(value).map(([name, each]) => [name, typed(each)]);
}

function serverOf() {
  const echo = (params: object | undefined) => rawJson(JSON.stringify(typed(params)));
  return new JsonRpc({ logger: silentLog() })
    .method("ping", () => "pong")
    .method("plain", { get: true }, echo)
    .method("strings", { get: true, bigIntegers: "string" }, echo)
    .method("bigints", { get: true, bigIntegers: "bigint" }, echo)
    .method("named", { names: ["a", "b"], bigIntegers: "bigint" }, echo)
    .method("schema", { params: type<{ a: number }>() }, echo)
    .method(
      "scalar",
      { scalarParams: true, bigIntegers: "string" },
      (params: unknown) => typed(params) as string,
    )
    .method("hidden", { use: [guard(() => false)] }, echo)
    .method("hidden strings", { use: [guard(() => false)], bigIntegers: "string" }, echo);
}

type Ask = (method: string, params: string) => Promise<Message>;

function textOf(method: string, params: string, id = 1): string {
  return `{"jsonrpc":"2.0","method":${JSON.stringify(method)},"params":${params},"id":${id}}`;
}

/** Every way in: sends params as a text, and gives the answer. */
const WAYS: Readonly<Record<string, (server: LocalServer) => Promise<[Ask, () => unknown]>>> = {
  async WebSocket({ url }) {
    const socket = await RawSocket.open(url);
    return [(method, params) => socket.ask(textOf(method, params)), () => socket.leave()];
  },
  async "a batch over WebSocket"({ url }) {
    const socket = await RawSocket.open(url);
    return [async (method, params) => {
      // With neighbours that have no, and other, large numbers.
      const others = [textOf("plain", "[1]", 2), textOf("strings", "[55555555555555555555]", 3)];
      const batch = `[${others[0]},7,${textOf(method, params)},${others[1]}]`;
      const [first, , answer, last] = await socket.ask(batch) as unknown as Message[];
      assertEquals([first?.result, last?.result], [["number 1"], ["string 55555555555555555555"]]);
      return answer as Message;
    }, () => socket.leave()];
  },
  POST({ url }) {
    const post = new Post(url);
    return Promise.resolve([(method, params) => post.ask(textOf(method, params)), () => {}]);
  },
  GET({ url }) {
    return Promise.resolve([async (method, params) => {
      const query = new URLSearchParams({ method, params, id: "1" });
      return await (await fetch(`${url}/?${query}`)).json();
    }, () => {}]);
  },
};

const ROUNDED = [
  "9007199254740993",
  "-9007199254740993",
  "12345678901234567890",
  "18446744073709551615",
  "1".repeat(400),
  "1e400",
];
// All that a number holds, or that was a number of JavaScript before it was sent.
const EXACT = [
  "9007199254740991",
  "9007199254740992",
  "18446744073709551616",
  "100000000000000000000",
  "123456789012345680000",
  "1e300",
  "-1.5e+30",
  "0.12345678901234567890123",
  '"12345678901234567890"',
];

for (const [way, open] of Object.entries(WAYS)) {
  test(`integers that would be rounded are refused, and no other number, over ${way}`, async () => {
    await using server = await serveHere(serverOf());
    const [ask, leave] = await open(server);
    for (const number of ROUNDED) {
      for (const params of [`[${number}]`, `{"a":[{"b":${number}}]}`, `["x",[[1,${number}]]]`]) {
        const { error } = await ask("plain", params);
        const { code, data } = error as { code: number; data: string };
        assertEquals(code, -32602, params);
        assertStringIncludes(data, `The number ${number.slice(0, 40)}`);
      }
    }
    for (const number of EXACT) {
      const value = JSON.parse(number);
      assertEquals((await ask("plain", `[${number}]`)).result, [`${typeof value} ${value}`]);
    }
    await leave();
  });

  test(`integers beyond 2^53 are strings or bigints if the method says so, over ${way}`, async () => {
    await using server = await serveHere(serverOf());
    const [ask, leave] = await open(server);
    const params =
      '[1, 9007199254740991, -9007199254740993, [{"__proto__": 1234567890123456789}], 1e300]';
    for (const [method, type] of [["strings", "string"], ["bigints", "bigint"]] as const) {
      assertEquals((await ask(method, params)).result, [
        "number 1",
        "number 9007199254740991",
        `${type} -9007199254740993`,
        [[["__proto__", `${type} 1234567890123456789`]]],
        "number 1e+300",
      ]);
      const most = "9".repeat(1000);
      assertEquals((await ask(method, `[${most}]`)).result, [`${type} ${most}`]);
      for (const tooLong of [`1${most}`, "1e400"]) {
        const { error } = await ask(method, `[${tooLong}]`);
        assertStringIncludes(String((error as { data: unknown }).data), "at most 1000 digits");
      }
    }
    await leave();
  });
}

test("large integers find their way through names, schemas and scalar params", async () => {
  await using server = await serveHere(serverOf());
  const post = new Post(server.url);
  const big = "1234567890123456789";
  const named = (await post.ask(textOf("named", `[${big}, 2]`))).result;
  assertEquals(named, [["a", `bigint ${big}`], ["b", "number 2"]]);
  assertEquals((await post.ask(textOf("scalar", big))).result, `string ${big}`);
  const { error } = await post.ask(textOf("schema", `{"a":${big}}`));
  assertEquals((error as { code: number }).code, -32602);
  // A built-in method has no use for them.
  const { error: other } = await post.ask(textOf("get_methods", `[${big}]`));
  assertEquals((other as { code: number }).code, -32602);
});

test("a large integer does not show whether a hidden method exists", async () => {
  await using server = await serveHere(serverOf());
  const post = new Post(server.url);
  const answers = [];
  for (const method of ["hidden", "hidden strings", "no such method"]) {
    answers.push((await post.ask(textOf(method, "[1234567890123456789]"))).error);
  }
  assertEquals(answers, Array(3).fill({ code: -32601, message: "Method not found" }));
});

test("a message deeper than the stack, with a maxDepth that allows it, ends no server", async () => {
  const rpc = new JsonRpc({ logger: silentLog(), maxDepth: 200_000, maxValues: Infinity })
    .method("ping", () => "pong")
    .method("size", (params: unknown[]) => params.length);
  await using server = await serveHere(rpc);
  const socket = await RawSocket.open(server.url);
  const deep = `${"[".repeat(5000)}12345678901234567890${"]".repeat(5000)}`;
  assertEquals((await socket.ask(textOf("size", `[${deep}]`))).result, 1);
  await socket.leave();
});

test("method() refuses a mode of large integers that does not exist", () => {
  const bigIntegers = "number" as "string";
  assertThrows(
    () => new JsonRpc().method("x", { bigIntegers }, () => 1),
    TypeError,
    'Expected `bigIntegers` to be "refuse", "string" or "bigint", got `number`',
  );
});
