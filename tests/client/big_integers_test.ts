/**
 * What a client gets of integers that a JavaScript number cannot hold: in calls to it, results and events.
 */
import { assertEquals, assertStringIncludes, assertThrows } from "@std/assert";
import { test } from "node:test";
import { connect, JsonRpc, rawJson } from "@x/jsonrpc";
import { bigIntegers } from "@x/jsonrpc/big_integers";
import { quietMoment } from "../helpers/deferred.ts";
import { silentLog } from "../helpers/log.ts";
import { serveHere } from "../helpers/server.ts";
import { bareServer } from "../helpers/wire.ts";

const BIG = "12345678901234567890";

function textOf(params: string, id: number | undefined = 1): string {
  const end = id === undefined ? "" : `,"id":${id}`;
  return `{"jsonrpc":"2.0","method":"take","params":${params}${end}}`;
}

/** A client with a method that says what it was given. */
async function taker(reviver?: ReturnType<typeof bigIntegers>) {
  const [client, wire] = await bareServer({ logger: silentLog(), ...reviver && { reviver } });
  const taken: unknown[] = [];
  client.method("take", (params) => {
    taken.push(params);
    return String(
      JSON.stringify(params, (_, each) => typeof each === "bigint" ? `${each}n` : each),
    );
  });
  return { client, wire, taken };
}

test("a client's method never gets a number that may have been rounded", async () => {
  const { client, wire, taken } = await taker();
  const numbers = ["9007199254740993", "-9007199254740993", BIG, "1".repeat(400), "1e400"];
  for (const number of numbers) {
    for (const params of [`[${number}]`, `{"a":[{"b":${number}}]}`, number]) {
      wire.send(textOf(params));
      const { error } = await wire.next();
      assertEquals(error?.code, -32602, params);
      assertStringIncludes(String(error?.data), "may be rounded (reviver)");
    }
  }
  wire.send(`[${textOf("[1]", 1)},${textOf(`[${BIG}]`, 2)},${textOf("[2]", 3)}]`);
  const answers = await wire.next() as unknown as { result?: string; error?: { code: number } }[];
  assertEquals(answers.map(({ result, error }) => result ?? error?.code), ["[1]", -32602, "[2]"]);
  wire.send(textOf(`[${BIG}]`, undefined));
  await quietMoment();
  assertEquals(taken, [[1], [2]]);
  await client.close();
});

test("a client's method gets all numbers that are exact", async () => {
  const { client, wire } = await taker();
  for (
    const params of [
      "[9007199254740991,-9007199254740991,0.1,1e-300,-0]",
      `["${BIG}",null,true,false,""]`,
      "{}",
      "[]",
    ]
  ) {
    wire.send(textOf(params));
    assertEquals((await wire.next()).result, JSON.stringify(JSON.parse(params)));
  }
  await client.close();
});

for (const [as, shown] of [["bigint", `"${BIG}n"`], ["string", `"${BIG}"`]] as const) {
  test(`bigIntegers("${as}") gives a client's method all digits`, async () => {
    const { client, wire } = await taker(bigIntegers(as));
    wire.send(textOf(`{"a":[${BIG},1,1e300],"__proto__":-${BIG}}`));
    const { result } = await wire.next();
    assertStringIncludes(String(result), `{"a":[${shown},1,1e+300]`);
    wire.send(textOf("1".repeat(1001)));
    assertEquals((await wire.next()).result, "null", "Infinity");
    await client.close();
  });

  test(`bigIntegers("${as}") gives results and events all digits, over each carrier`, async () => {
    const rpc = new JsonRpc({ logger: silentLog() })
      .method("newest", () => rawJson(`{"id":${BIG}}`))
      .topic("ids", { retain: true });
    rpc.publish("ids", rawJson(`[${BIG}]`));
    await using server = await serveHere(rpc);
    const wanted = as === "bigint" ? BigInt(BIG) : BIG;
    for (const url of [server.ws, server.url]) {
      const client = await connect(url, { reviver: bigIntegers(as) });
      assertEquals(await client.call("newest"), { id: wanted });
      if (url === server.ws) {
        const got = new Promise((resolve) => void client.subscribe("ids", resolve));
        assertEquals(await got, [wanted]);
      }
      await client.close();
    }
  });
}

test("bigIntegers() refuses what it cannot give", () => {
  assertThrows(
    () => bigIntegers("number" as "bigint"),
    TypeError,
    'Expected "bigint" or "string", got `number`',
  );
});

test("a client's method gets no params for null, and may answer with any thenable", async () => {
  const [client, wire] = await bareServer();
  // deno-lint-ignore no-explicit-any -- its default stands for absent params
  client.method("take", ({ a }: any = { a: "default" }) => ({
    then: (resolve: (value: unknown) => void) => resolve(a),
  }));
  for (const [params, wanted] of [["null", "default"], ['{"a":1}', 1]] as const) {
    wire.send(textOf(params));
    assertEquals((await wire.next()).result, wanted);
  }
  wire.send('{"jsonrpc":"2.0","method":"take","id":2}');
  assertEquals((await wire.next()).result, "default");
  await client.close();
});
